import os
from collections.abc import Callable
from pathlib import Path

import pytest
from optuna.storages import RDBStorage
from optuna.trial import TrialState

from sweeps.errors import InputError, LeaseLostError, SweepBusyError
from sweeps.space.spec import SweepSpec
from sweeps.study.lease import Lease, find_holder
from sweeps.upkeep.garbage import OLD_S, Collected, collect, freed_bytes
from sweeps.upkeep.leftovers import claims
from sweeps.upkeep.retry import retry_failed
from tests.sweeps.fabricated import RESULTS, Fabricated
from trainer.training.result import CHECKPOINT, WEIGHTS

NOW = 1_800_000_000.0
SIZE = 10  # bytes of a file
EPOCH = "0001.safetensors"
Make = Callable[..., SweepSpec]


@pytest.fixture
def toy(sqlite_storage: RDBStorage, make_spec: Make, tmp_path: Path) -> Fabricated:
    """A sweep without trials that keeps the weights of its best two."""
    return Fabricated(sqlite_storage, make_spec(keep=2), tmp_path / "runs")


def gc(sweep: Fabricated, **options: bool | int) -> Collected:
    claimed = claims(sweep.sweep.storage, runs=sweep.runs)
    return collect(sweep.sweep, runs=sweep.runs, claimed=claimed, now=NOW, **options)  # type: ignore[arg-type]


def everything(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def aged(path: Path, age_s: float) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        path.write_text("0123456789")
    os.utime(path, (NOW - age_s, NOW - age_s))
    return path


def test_a_driver_that_takes_the_sweep_over_meanwhile_stops_the_removal(
    toy: Fabricated, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(3):
        toy.add_with_files(TrialState.PRUNED)
    asked: list[int] = []

    def confirm(lease: Lease) -> None:
        asked.append(1)
        if len(asked) == 2:
            raise LeaseLostError("another driver took over sweep 'toy'; this one stops")

    monkeypatch.setattr(Lease, "confirm", confirm)
    before = everything(toy.files.directory)
    with pytest.raises(LeaseLostError):
        gc(toy)
    assert len(before - everything(toy.files.directory)) == 1


def test_what_goes_and_what_stays(toy: Fabricated) -> None:
    states = (TrialState.COMPLETE,) * 3 + (
        TrialState.PRUNED,
        TrialState.FAIL,
        TrialState.WAITING,
        TrialState.RUNNING,
    )
    for state in states:
        toy.add_with_files(state)
    assert gc(toy) == Collected("toy", keep=2, weights=4, checkpoints=9, freed_bytes=13 * SIZE)
    assert [toy.found(number) for number in range(7)] == [
        RESULTS | {WEIGHTS},
        RESULTS | {WEIGHTS},
        RESULTS,
        RESULTS,
        RESULTS | {WEIGHTS, EPOCH},
        RESULTS | {WEIGHTS, EPOCH, CHECKPOINT},
        RESULTS | {WEIGHTS, EPOCH, CHECKPOINT},
    ]
    assert gc(toy) == Collected("toy", keep=2)


def test_keep_and_failed_take_more(toy: Fabricated) -> None:
    for state in (TrialState.COMPLETE, TrialState.COMPLETE, TrialState.FAIL):
        toy.add_with_files(state)
    assert gc(toy, keep=1, include=["failed"]) == Collected(
        "toy", keep=1, weights=4, checkpoints=6, freed_bytes=100
    )
    assert [toy.found(number) for number in range(3)] == [RESULTS | {WEIGHTS}, RESULTS, RESULTS]


def test_the_traceback_of_a_failed_trial_stays_and_its_retry_has_none(toy: Fabricated) -> None:
    toy.add_with_files(TrialState.FAIL)
    error = toy.files.trial(0).error
    error.write_text("Traceback ...")
    aged(error, OLD_S + 1)
    retry_failed(toy.sweep, files=toy.files, confirm=lambda: None)
    assert gc(toy, include=["failed"]).unknown == 0
    assert error.read_text() == "Traceback ..."
    assert not toy.files.trial(1).error.exists()


def test_a_dry_run_says_the_same_and_removes_nothing(toy: Fabricated) -> None:
    for _ in range(3):
        toy.add_with_files()
    before = everything(toy.runs)
    found = gc(toy, dry_run=True)
    assert everything(toy.runs) == before
    assert found == gc(toy)
    assert found.weights == 2


def test_weights_that_another_sweep_ranks_high_stay(toy: Fabricated, make_spec: Make) -> None:
    for score in (0.1, 0.8, 0.9):
        toy.add_with_files(score=score)
    from sweeps.study.records import Origin

    newer = Fabricated(toy.sweep.storage, make_spec(name="newer", keep=1), toy.runs)
    newer.add(score=0.1, of=Origin("toy", 0))
    assert gc(toy).weights == 0
    newer.add(score=0.5)
    assert gc(toy).weights == 2


def test_temporary_files_go_once_nobody_can_be_writing_them(toy: Fabricated) -> None:
    toy.add()
    names = (
        "trial-0000/fold-0/.oof.npz.123.tmp",
        "trial-0000/.config.json.9.tmp",
        ".spec.yaml.7.tmp",
    )
    for name in names:
        aged(toy.files.directory / name, OLD_S + 1)
        aged(toy.files.directory / f"{name[:-4]}x.tmp", OLD_S - 1)
    cut_short = toy.files.directory / ".trial-0001.77.tmp"  # by `sweeps retry`
    aged(cut_short / "fold-0" / "oof.npz", 0)
    aged(cut_short, OLD_S + 1)
    stay = [
        toy.files.directory / name for name in ("notes.tmp", ".hidden", "check/.rejected.csv.5.tmp")
    ]
    for path in stay:
        aged(path, 2 * OLD_S)
    assert gc(toy) == Collected("toy", keep=2, temporary=4, freed_bytes=4 * SIZE)
    assert not cut_short.exists()
    assert all(path.exists() for path in stay)
    assert len(list(toy.files.directory.rglob("*x.tmp"))) == 3


def test_a_directory_goes_when_the_storage_does_not_know_its_trial(toy: Fabricated) -> None:
    toy.add_with_files()
    toy.write(1, 0, *RESULTS, WEIGHTS)
    other = toy.files.directory / "trial-12"
    other.mkdir()  # not a name that we give
    assert gc(toy) == Collected("toy", keep=2, checkpoints=2, unknown=1, freed_bytes=6 * SIZE)
    assert toy.directory(0).exists()
    assert not toy.directory(1).exists()
    assert other.exists()


def test_what_has_another_name_elsewhere_frees_nothing(tmp_path: Path) -> None:
    first = tmp_path / "a" / "1"
    second = tmp_path / "2"
    third = tmp_path / "3"
    aged(first, 0)
    for name in (second, third):
        name.hardlink_to(first)
    assert freed_bytes([first.parent, second]) == 0
    assert freed_bytes([first.parent, second, third]) == SIZE


def test_a_sweep_with_a_driver_is_left_alone_and_a_free_one_stays_free(toy: Fabricated) -> None:
    toy.add_with_files(TrialState.PRUNED)
    lease = Lease.acquire(toy.sweep.storage.engine, "toy", on_lost=lambda error: None)
    with pytest.raises(
        SweepBusyError, match=rf"sweep 'toy' is already running: process {os.getpid()} on"
    ):
        gc(toy)
    lease.release()
    assert WEIGHTS in toy.found(0)
    gc(toy)
    assert find_holder(toy.sweep.storage.engine, "toy") is None


@pytest.mark.parametrize(
    ("identity", "match"),
    [(None, "has no files of it"), ('{"uuid": "b"}', "belongs to another sweep of that name")],
)
def test_a_folder_that_is_not_the_sweeps_is_left_alone(
    toy: Fabricated, identity: str | None, match: str
) -> None:
    toy.write(5, 0, WEIGHTS)
    path = toy.files.directory / "sweep.json"
    path.unlink() if identity is None else path.write_text(identity)
    with pytest.raises(
        InputError,
        match=rf"sweep 'toy' is in the storage, but .*runs/toy {match}\. Give the --runs",
    ):
        gc(toy)
    assert WEIGHTS in toy.found(5)


def test_what_cannot_be_removed_is_named(toy: Fabricated, monkeypatch: pytest.MonkeyPatch) -> None:
    toy.add_with_files(TrialState.PRUNED)

    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("sweeps.upkeep.garbage.remove", refuse)
    with pytest.raises(
        InputError,
        match=r"trial-0000/fold-\d/model\.safetensors: cannot be removed \(Permission denied",
    ):
        gc(toy)
    assert find_holder(toy.sweep.storage.engine, "toy") is None


# --- models trained on all images


def test_refits_stay_unless_asked_and_go_whole(toy: Fabricated) -> None:
    for score in (0.9, 0.8, 0.1):
        toy.add_with_files(score=score)
    gc(toy)
    done, begun = (toy.directory(number) / "refit-0" for number in (0, 2))
    aged(done / WEIGHTS, 2 * OLD_S)
    aged(done / "result.json", 2 * OLD_S)
    aged(begun / CHECKPOINT, 2 * OLD_S)
    assert gc(toy, keep=1).weights == 2
    assert done.is_dir()
    assert begun.is_dir()
    assert gc(toy, include=["refits"]) == Collected(
        "toy", keep=2, weights=1, checkpoints=1, freed_bytes=3 * SIZE
    )
    assert not done.exists()
    assert not begun.exists()
    assert toy.found(0) == RESULTS | {WEIGHTS}


def test_a_refit_that_may_be_in_training_stays(toy: Fabricated) -> None:
    refit = toy.directory(toy.add_with_files()) / "refit-1"
    gc(toy)
    aged(refit / WEIGHTS, 2 * OLD_S)
    aged(refit / CHECKPOINT, OLD_S - 1)
    assert gc(toy, include=["refits"]) == Collected("toy", keep=2)
    assert refit.is_dir()
