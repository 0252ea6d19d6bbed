"""What a new trial takes over from an earlier one."""

import dataclasses
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from sweeps.paths import TrialFiles
from sweeps.running.finished_folds import finished_folds, take_over_folds
from sweeps.running.messages import Assignment
from sweeps.running.trial import run_trial
from tests.sweeps.fabricated import EPOCHS, RESULTS
from tests.sweeps.running.trial_runs import Listener
from trainer.training.oof import OOF
from trainer.training.result import RESULT, WEIGHTS


@pytest.mark.parametrize("missing", [*sorted(RESULTS), WEIGHTS])
def test_a_fold_is_finished_when_all_its_files_are_there(tmp_path: Path, missing: str) -> None:
    for fold in range(2):
        folder = tmp_path / f"fold-{fold}"
        folder.mkdir()
        for name in (*RESULTS, WEIGHTS):
            (folder / name).touch()
    assert len(list(finished_folds(TrialFiles(tmp_path)))) == 2
    (tmp_path / "fold-0" / missing).unlink()
    assert list(finished_folds(TrialFiles(tmp_path))) == [tmp_path / "fold-1"]


def test_a_fold_without_its_kept_epochs_has_no_say_in_a_common_one(tmp_path: Path) -> None:
    for fold, kept in enumerate((EPOCHS, ".epochs.gone")):
        (tmp_path / f"fold-{fold}" / kept).mkdir(parents=True)
        for name in (*RESULTS, WEIGHTS):
            (tmp_path / f"fold-{fold}" / name).touch()
    (tmp_path / "config.json").write_text(json.dumps({"checkpoint": "best"}))
    assert list(finished_folds(TrialFiles(tmp_path))) == [tmp_path / "fold-0"]
    (tmp_path / "config.json").write_text(json.dumps({"checkpoint": "last"}))
    assert len(list(finished_folds(TrialFiles(tmp_path)))) == 2


def pruned(directory: Path, *, weights_of: tuple[int, ...] = ()) -> Path:
    """A trial with two finished folds and one that was begun."""
    for fold in range(2):
        (directory / f"fold-{fold}").mkdir(parents=True)
        for name in (*RESULTS, *([WEIGHTS] if fold in weights_of else [])):
            (directory / f"fold-{fold}" / name).write_text(f"{fold}")
    (directory / "fold-2").mkdir()
    return directory


def names(directory: Path) -> list[str]:
    return sorted(p.relative_to(directory).as_posix() for p in directory.rglob("*") if p.is_file())


def test_folds_whose_weights_are_gone_are_taken_over_only_where_they_need_none(
    tmp_path: Path,
) -> None:
    source = pruned(tmp_path / "trial-0003", weights_of=(1,))
    assert take_over_folds(source, tmp_path / "trial-0007") == 1
    assert names(tmp_path / "trial-0007") == sorted(
        f"fold-1/{name}" for name in (*RESULTS, WEIGHTS)
    )
    assert take_over_folds(source, tmp_path / "trial-0008", without_weights=True) == 2
    assert names(tmp_path / "trial-0008") == sorted(
        [*(f"fold-{fold}/{name}" for fold in range(2) for name in RESULTS), f"fold-1/{WEIGHTS}"]
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "trial-0003",
        "trial-0007",
        "trial-0008",
    ]


def test_taking_over_once_more_changes_nothing(tmp_path: Path) -> None:
    source = pruned(tmp_path / "trial-0003")
    target = tmp_path / "trial-0007"
    for _ in range(2):
        assert take_over_folds(source, target, without_weights=True) == 2
        (target / "fold-0" / "last.ckpt").touch()  # of a trial that was never recorded
    (target / "fold-0" / "last.ckpt").unlink()
    assert names(target) == names(source)


def test_a_pruned_trial_that_is_finished_equals_one_that_was_never_stopped(
    assignment: Callable[..., Assignment],
) -> None:
    given = assignment(epochs=1)
    assert run_trial(given, Listener(stop_after_fold=0)).state == "stopped"
    (given.files.fold(0) / WEIGHTS).unlink()  # as retention does
    new = dataclasses.replace(given, number=4, without_weights=True)
    assert take_over_folds(given.files.directory, new.files.directory, without_weights=True) == 1
    whole = dataclasses.replace(given, number=5)
    assert run_trial(new, Listener()) == run_trial(whole, Listener())
    for name in (f"fold-0/{OOF}", f"fold-1/{OOF}", f"fold-1/{WEIGHTS}"):
        finished, undisturbed = (one.files.directory / name for one in (new, whole))
        assert finished.read_bytes() == undisturbed.read_bytes()
    assert not (new.files.fold(0) / WEIGHTS).exists()


@pytest.mark.parametrize("without_weights", [True, False])
def test_weights_that_are_removed_meanwhile_are_missed_only_where_they_are_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, without_weights: bool
) -> None:
    source = pruned(tmp_path / "trial-0003", weights_of=(0, 1))

    def link(path: Path, target: Path) -> None:
        if path.name == WEIGHTS:
            path.unlink()
            raise FileNotFoundError(path)
        shutil.copy2(path, target)

    monkeypatch.setattr(os, "link", link)
    target = tmp_path / "trial-0007"
    if without_weights:
        assert take_over_folds(source, target, without_weights=True) == 2
        assert (target / "fold-0" / RESULT).is_file()
        return
    with pytest.raises(FileNotFoundError):
        take_over_folds(source, target)
    assert not target.exists()
