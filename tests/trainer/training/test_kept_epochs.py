"""Epochs that may yet score a fold: one common epoch, the best on average over the folds."""

import csv
import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

from tests.trainer.conftest import DONE, Watcher, curve, files, oof, tensors
from trainer.files import write_csv
from trainer.metrics import METRICS, Goal, confusion, f1_per_class, score_fold
from trainer.training import kept_epochs
from trainer.training.fold_run import FoldRun
from trainer.training.kept_epochs import KeptEpochs, leave_results_only, score_common_epoch
from trainer.training.result import FoldResult, read_result

# what is kept of one fold run


@pytest.fixture
def keeper(tmp_path):
    """Keep an epoch whose weight and probabilities are its number."""
    kept = KeptEpochs(tmp_path)

    def keep(epoch: int) -> KeptEpochs:
        network = nn.Linear(1, 1)
        nn.init.constant_(network.weight, epoch)
        kept.keep(
            epoch,
            network,
            rows_N=np.arange(2),
            probs_NK=np.full((2, 1), epoch, dtype=np.float32),
            folds_hash="a hash",
        )
        return kept

    return keep


def test_nothing_kept_is_false_and_can_be_discarded(tmp_path):
    kept = KeptEpochs(tmp_path)
    assert not kept
    kept.discard()
    kept.keep_only(1)


def test_a_kept_epoch_is_found_by_its_number_and_replaced(keeper, tmp_path):
    kept = keeper(3)
    keeper(12)
    keeper(3)
    assert kept
    assert kept.probs(12).tolist() == [[12.0], [12.0]]
    assert files(tmp_path / "epochs") == [
        "0003.npz",
        "0003.safetensors",
        "0012.npz",
        "0012.safetensors",
    ]


def test_all_but_one_can_be_removed(keeper, tmp_path):
    for epoch in (1, 2, 3):
        kept = keeper(epoch)
    kept.keep_only(2)
    assert files(tmp_path / "epochs") == ["0002.npz", "0002.safetensors"]


def test_adopting_leaves_the_epoch_as_the_fold_runs_own_and_keeps_it(keeper, tmp_path):
    keeper(1)
    kept = keeper(2)
    kept.adopt(2)
    assert files(tmp_path) == ["epochs", "model.safetensors", "oof.npz"]
    assert safetensors.torch.load_file(tmp_path / "model.safetensors")["weight"].item() == 2
    assert oof(tmp_path)[0, 0] == 2
    kept.adopt(1)
    assert oof(tmp_path)[0, 0] == 1
    kept.discard()
    assert files(tmp_path) == ["model.safetensors", "oof.npz"]


def test_results_only_are_left(keeper, tmp_path):
    keeper(1)
    for name in (*DONE, "last.ckpt"):
        (tmp_path / name).write_text("")
    (tmp_path / ".epochs.gone").mkdir()  # of a crash
    leave_results_only(tmp_path)
    assert files(tmp_path) == DONE
    leave_results_only(tmp_path)
    leave_results_only(tmp_path / "nowhere")


# one epoch for all folds


@pytest.fixture
def folds_of(train, tiny, tmp_path):
    """Train all 3 folds, keeping every epoch; their results,
    and what each said after each epoch.
    """

    def run(**changes: object):
        config = tiny(**{"checkpoint": "best", **changes})
        watchers = [Watcher() for _ in range(3)]
        results = [
            train(config, f"fold-{fold}", fold=fold, reporter=watchers[fold]) for fold in range(3)
        ]
        return results, [
            [dict(report.metrics) for report in watcher.reports] for watcher in watchers
        ]

    return run


def overwrite(directory, metric: str, values: list[float]) -> None:
    """Give a fold another curve of one metric."""
    with (directory / "curve.csv").open() as file:
        lines = [dict(row) for row in csv.DictReader(file)]
    for line, value in zip(lines, values, strict=True):
        line[metric] = str(value)
    write_csv(directory / "curve.csv", lines[0], (line.values() for line in lines))


def test_the_epoch_is_the_best_on_average_over_the_folds(folds_of, toy, tmp_path):
    results, _ = folds_of()
    for fold, values in enumerate([[0.9, 0.5, 0.1], [0.1, 0.5, 0.1], [0.1, 0.5, 0.9]]):
        overwrite(tmp_path / f"fold-{fold}", "f1", values)
    scored = score_common_epoch(
        results, toy[1], directory=tmp_path, metric="f1", goal=Goal.MAXIMIZE
    )
    assert [result.scored_epoch for result in scored] == [2, 2, 2]
    assert [result.metrics["f1"] for result in scored] == [0.5] * 3


def test_the_direction_counts(folds_of, toy, tmp_path):
    results, _ = folds_of()
    for fold in range(3):
        overwrite(tmp_path / f"fold-{fold}", "loss", [0.1, 0.5, 0.9])
    scored = score_common_epoch(
        results, toy[1], directory=tmp_path, metric="loss", goal=Goal.MINIMIZE
    )
    assert [result.scored_epoch for result in scored] == [1, 1, 1]


def test_metrics_oof_weights_and_result_are_of_that_epoch(folds_of, train, tiny, toy, tmp_path):
    results, reports = folds_of(scheduler="none")
    labels_N = toy[1].manifest.labels_N
    for fold in range(3):
        overwrite(tmp_path / f"fold-{fold}", "f1", [0.0, 1.0, 0.0])
    scored = score_common_epoch(
        results, toy[1], directory=tmp_path, metric="f1", goal=Goal.MAXIMIZE
    )
    for fold, result in enumerate(scored):
        place = tmp_path / f"fold-{fold}"
        train(tiny(epochs=2, scheduler="none"), f"short-{fold}", fold=fold, every_epoch=True)
        probs_NK = oof(place)
        np.testing.assert_array_equal(probs_NK, oof(tmp_path / f"short-{fold}"))
        assert tensors(place) == tensors(tmp_path / f"short-{fold}")
        assert result.metrics == {**{name: reports[fold][1][name] for name in METRICS}, "f1": 1.0}
        own_N = labels_N[toy[1].valid_rows(fold)]
        assert score_fold(probs_NK, own_N)["accuracy"] == result.metrics["accuracy"]
        assert result.f1_per_class == f1_per_class(probs_NK, own_N).tolist()
        assert result.confusion == confusion(probs_NK, own_N).tolist()
        assert json.loads((place / "result.json").read_text()) == dataclasses.asdict(result)
        assert (result.epochs, result.scored_epoch, result.biased) == (3, 2, False)


def test_the_kept_epochs_are_gone_and_the_fold_is_done(folds_of, train, tiny, toy, tmp_path):
    results, _ = folds_of()
    assert all(files(tmp_path / f"fold-{fold}") == sorted([*DONE, "epochs"]) for fold in range(3))
    scored = score_common_epoch(
        results, toy[1], directory=tmp_path, metric="f1", goal=Goal.MAXIMIZE
    )
    assert all(files(tmp_path / f"fold-{fold}") == DONE for fold in range(3))
    assert train(tiny(checkpoint="best"), "fold-1", fold=1) == scored[1]


def test_folds_of_different_length_are_scored_by_an_epoch_that_all_reached(folds_of, toy, tmp_path):
    results, _ = folds_of()
    for fold, values in enumerate([[0.1, 0.2, 0.9], [0.1, 0.2, 0.9], [0.1, 0.2, 0.9]]):
        overwrite(tmp_path / f"fold-{fold}", "f1", values)
    short = (tmp_path / "fold-1" / "curve.csv").read_text().splitlines(keepends=True)
    (tmp_path / "fold-1" / "curve.csv").write_text(
        "".join(short[:3])
    )  # it stopped after two epochs
    scored = score_common_epoch(
        results, toy[1], directory=tmp_path, metric="f1", goal=Goal.MAXIMIZE
    )
    assert [result.scored_epoch for result in scored] == [2, 2, 2]


def test_folds_that_stop_early_have_a_common_epoch(folds_of, toy, tmp_path, monkeypatch):
    score = FoldRun._score
    worse = {
        0: [5.0, 4.0, 3.0, 2.0],
        1: [2.0, 1.0, 2.0],
        2: [3.0, 3.0],
    }  # patience ends folds 1 and 2
    monkeypatch.setattr(
        FoldRun,
        "_score",
        lambda run, at: {**score(run, at), "loss": worse[run._setup.fold][at - 1]},
    )
    results, _ = folds_of(epochs=4, patience=1)
    assert [result.epochs for result in results] == [4, 3, 2]
    scored = score_common_epoch(
        results, toy[1], directory=tmp_path, metric="loss", goal=Goal.MINIMIZE
    )
    assert [(result.epochs, result.scored_epoch) for result in scored] == [(4, 2), (3, 2), (2, 2)]


def test_an_own_metric_can_choose_and_stays_in_the_result(folds_of, train, tiny, toy, tmp_path):
    (tmp_path / "my_task.py").write_text(
        "def first(probs_NK, labels_N, classes):\n    return probs_NK[0, 0]\n"
    )
    config = tiny(checkpoint="best", metric="my_task.py:first")
    results = [train(config, f"fold-{fold}", fold=fold, code=tmp_path) for fold in range(3)]
    values = [
        [float(row["metric"]) for row in curve(tmp_path / f"fold-{fold}")] for fold in range(3)
    ]
    scored = score_common_epoch(
        results, toy[1], directory=tmp_path, metric="metric", goal=Goal.MAXIMIZE
    )
    epoch = int(np.mean(values, axis=0).argmax())
    assert [result.metrics["metric"] for result in scored] == [row[epoch] for row in values]


# crashes


def state(tmp_path) -> list[dict[str, bytes]]:
    return [
        {
            path.name: path.read_bytes()
            for path in (tmp_path / f"fold-{fold}").iterdir()
            if path.is_file()
        }
        for fold in range(3)
    ]


@pytest.fixture(scope="module")
def trained():
    """What the first test has trained for all of them: the results, their folder, its end."""
    return {}


@pytest.fixture
def expected(folds_of, toy, tmp_path, tmp_path_factory, trained):
    """Three trained folds whose best epoch is the second, and what scoring makes of them."""
    if not trained:
        results, _ = folds_of()
        folder = tmp_path_factory.mktemp("trained")
        for fold in range(3):
            overwrite(tmp_path / f"fold-{fold}", "f1", [0.0, 1.0, 0.0])
            for name in ("folds", "scored"):
                shutil.copytree(tmp_path / f"fold-{fold}", folder / name / f"fold-{fold}")
        scored = folder / "scored"
        score_common_epoch(results, toy[1], directory=scored, metric="f1", goal=Goal.MAXIMIZE)
        trained.update(results=results, folder=folder / "folds", state=state(scored))
    shutil.copytree(trained["folder"], tmp_path, dirs_exist_ok=True)
    return trained["results"], trained["state"]


def reread(results: list[FoldResult], directory: Path) -> list[FoldResult | None]:
    """What another process finds."""
    known = {"config_hash": results[0].config_hash, "folds_hash": results[0].folds_hash}
    return [read_result(directory / f"fold-{fold}", **known) for fold in range(3)]


def crash_at(patch: pytest.MonkeyPatch, name: str, call: int, *, afterwards: bool) -> None:
    """The `call`-th call of a function of the module fails, before or after it did its work."""
    count = [0]
    function = getattr(kept_epochs, name)

    def crashing(*args: object, **settings: object) -> object:
        count[0] += 1
        if count[0] == call and not afterwards:
            raise OSError("the power failed")
        value = function(*args, **settings)
        if count[0] == call:
            raise OSError("the power failed")
        return value

    patch.setattr(kept_epochs, name, crashing)


@pytest.mark.parametrize("afterwards", [False, True])
@pytest.mark.parametrize("call", [1, 2, 3])
def test_a_crash_while_scoring_is_repaired_by_scoring_again(
    expected, toy, tmp_path, call, afterwards
):
    results, wanted = expected
    with pytest.MonkeyPatch.context() as patch:
        crash_at(patch, "write_result", call, afterwards=afterwards)
        with pytest.raises(OSError, match="power"):
            score_common_epoch(results, toy[1], directory=tmp_path, metric="f1", goal=Goal.MAXIMIZE)
    scored = score_common_epoch(
        reread(results, tmp_path), toy[1], directory=tmp_path, metric="f1", goal=Goal.MAXIMIZE
    )
    assert state(tmp_path) == wanted
    assert [result.scored_epoch for result in scored] == [2, 2, 2]
    assert files(tmp_path / "fold-0") == DONE


@pytest.mark.parametrize("removed", ["0002.safetensors", "0002.npz", "0001.npz"])
def test_a_crash_while_the_kept_epochs_are_removed_is_repaired(
    expected, toy, tmp_path, monkeypatch, removed
):
    results, wanted = expected

    def half(folder: Path, **_: object) -> None:
        if folder.exists():
            (folder / removed).unlink()
            raise OSError("the power failed")

    with monkeypatch.context() as patch:
        patch.setattr(kept_epochs.shutil, "rmtree", half)
        with pytest.raises(OSError, match="power"):
            score_common_epoch(results, toy[1], directory=tmp_path, metric="f1", goal=Goal.MAXIMIZE)
    scored = score_common_epoch(
        reread(results, tmp_path), toy[1], directory=tmp_path, metric="f1", goal=Goal.MAXIMIZE
    )
    assert state(tmp_path) == wanted
    assert [result.scored_epoch for result in scored] == [2, 2, 2]
    assert files(tmp_path / "fold-0") == DONE


def test_scoring_twice_is_scoring_once(expected, toy, tmp_path):
    results, wanted = expected
    scored = score_common_epoch(
        results, toy[1], directory=tmp_path, metric="f1", goal=Goal.MAXIMIZE
    )
    assert (
        score_common_epoch(scored, toy[1], directory=tmp_path, metric="f1", goal=Goal.MAXIMIZE)
        == scored
    )
    assert state(tmp_path) == wanted


def test_no_torch_generator_is_touched(expected, toy, tmp_path):
    before = torch.get_rng_state()
    score_common_epoch(expected[0], toy[1], directory=tmp_path, metric="f1", goal=Goal.MAXIMIZE)
    assert torch.equal(torch.get_rng_state(), before)
