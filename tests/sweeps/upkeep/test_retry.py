import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState

from sweeps.errors import InfrastructureError, InputError, LeaseLostError
from sweeps.space.spec import SweepSpec
from sweeps.study.records import RETRY_OF
from sweeps.upkeep.retry import Retry, choose, retry_failed
from tests.sweeps.fabricated import EPOCHS, RESULTS, Fabricated, trial
from trainer.training.oof import OOF
from trainer.training.result import CHECKPOINT, RESULT, WEIGHTS

FAIL = TrialState.FAIL
COMPLETE = TrialState.COMPLETE
PRUNED = TrialState.PRUNED
RUNNING = TrialState.RUNNING
WAITING = TrialState.WAITING
Make = Callable[..., SweepSpec]

# --- which


def chosen(trials: list[FrozenTrial], *numbers: int) -> list[int]:
    return [one.number for one in choose(trials, numbers)]


def test_all_failed_trials_are_repeated_unless_some_are_named() -> None:
    trials = [trial(0, FAIL), trial(1), trial(2, FAIL), trial(3, FAIL)]
    assert chosen(trials) == [0, 2, 3]
    assert chosen(trials, 3, 0, 3) == [0, 3]
    assert chosen(trials[1:2]) == []


def test_a_trial_is_repeated_from_its_last_try() -> None:
    trials = [
        trial(0, FAIL),
        trial(1, FAIL),
        trial(2, FAIL, retry_of=0),
        trial(3, FAIL, retry_of=0),
    ]
    assert chosen(trials) == [3, 1]
    assert chosen(trials, 0) == chosen(trials, 2) == chosen(trials, 0, 2, 3) == [3]


@pytest.mark.parametrize("state", [COMPLETE, PRUNED, RUNNING, WAITING])
def test_a_trial_whose_retry_did_not_fail_is_left_alone(state: TrialState) -> None:
    assert chosen([trial(0, FAIL), trial(1, state, retry_of=0)]) == []


@pytest.mark.parametrize(
    ("number", "problem"),
    [
        (7, "there is no trial 7, only 0 to 5"),
        (1, "trial 1 did not fail: it completed"),
        (2, "trial 2 did not fail: it was pruned"),
        (3, "trial 3 did not fail: it is marked running; `sweeps run` continues it"),
        (5, "trial 5 did not fail: it is to be continued by `sweeps run`"),
        (4, "trial 4 was retried already: trial 5 is to be continued by `sweeps run`"),
    ],
)
def test_a_trial_that_cannot_be_repeated_is_an_error(number: int, problem: str) -> None:
    trials = [
        trial(0, FAIL),
        trial(1),
        trial(2, PRUNED),
        trial(3, RUNNING),
        trial(4, FAIL),
        trial(5, WAITING, retry_of=4),
    ]
    with pytest.raises(InputError, match="--trial: ") as caught:
        chosen(trials, 0, number)
    assert str(caught.value) == f"--trial: {problem}\n`sweeps status` lists the failed ones"


def test_all_that_is_wrong_is_said_at_once() -> None:
    with pytest.raises(
        InputError, match=r"^--trial: there is no trial 3 yet; there is no trial 9 yet\n"
    ):
        choose([], [9, 3])


# --- the new trial


@pytest.fixture
def toy(storage: RDBStorage, make_spec: Make, tmp_path: Path) -> Fabricated:
    """A sweep of either kind of storage whose trial 1 failed in its second fold."""
    toy = Fabricated(storage, make_spec(), tmp_path / "runs")
    toy.add()
    number = toy.add(FAIL)
    toy.write(number, 0, *RESULTS, WEIGHTS, f"{EPOCHS}/0001.npz")
    toy.write(number, 1, CHECKPOINT)
    (toy.directory(number) / "attempt.json").write_text("{}")
    return toy


def retried(
    toy: Fabricated, *numbers: int, confirm: Callable[[], None] = lambda: None
) -> list[Retry]:
    return retry_failed(toy.sweep, numbers, files=toy.files, confirm=confirm)


def test_a_retry_waits_with_the_parameters_and_finished_folds_of_what_failed(
    toy: Fabricated,
) -> None:
    assert retried(toy) == [Retry(failed=1, number=2, folds=1)]
    _, failed, new = toy.sweep.trials()
    assert (new.number, new.state, new.params, new.distributions) == (
        2,
        WAITING,
        failed.params,
        failed.distributions,
    )
    assert (new.user_attrs, new.intermediate_values) == ({RETRY_OF: 1}, {})
    assert toy.found(2) == {*RESULTS, WEIGHTS, "0001.npz"}
    for name in (RESULT, f"{EPOCHS}/0001.npz"):
        assert (toy.directory(2) / "fold-0" / name).samefile(toy.directory(1) / "fold-0" / name)
    assert sorted(path.name for path in toy.files.directory.iterdir() if path.is_dir()) == [
        "trial-0001",
        "trial-0002",
    ]
    assert retried(toy) == []


def test_a_retry_that_failed_is_repeated_in_turn_with_the_seed_of_the_first(
    toy: Fabricated,
) -> None:
    retried(toy)
    storage = toy.sweep.storage
    trial_id = storage.get_trial_id_from_study_id_trial_number(toy.sweep.study_id, 2)
    for state in (RUNNING, FAIL):
        storage.set_trial_state_values(trial_id, state)
    toy.write(2, 1, *RESULTS, WEIGHTS)
    assert retried(toy, 1) == [Retry(failed=2, number=3, folds=2)]
    assert toy.sweep.trials()[3].user_attrs == {RETRY_OF: 1}


@pytest.fixture
def sqlite(sqlite_storage: RDBStorage, make_spec: Make, tmp_path: Path) -> Fabricated:
    """A sweep of two failed trials, with two finished folds each."""
    toy = Fabricated(sqlite_storage, make_spec(), tmp_path / "runs")
    for _ in range(2):
        toy.write(toy.add(FAIL), 0, *RESULTS, WEIGHTS)
    return toy


def test_several_get_numbers_one_after_the_other(sqlite: Fabricated) -> None:
    shutil.rmtree(sqlite.directory(1))  # it failed before it began
    assert retried(sqlite) == [Retry(0, 2, 1), Retry(1, 3, 0)]
    assert not sqlite.directory(3).exists()


def test_what_lies_under_the_new_number_gives_way(sqlite: Fabricated) -> None:
    """A retry, or an ask, that was killed before the storage knew of it."""
    sqlite.write(2, 1, RESULT, OOF)
    retried(sqlite, 0)
    assert [path.name for path in sqlite.directory(2).iterdir()] == ["fold-0"]


def test_files_are_copied_where_they_cannot_have_two_names(
    sqlite: Fabricated, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(source: Path, target: Path) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    retried(sqlite, 0)
    old, new = (sqlite.directory(number) / "fold-0" / RESULT for number in (0, 2))
    assert old.read_text() == new.read_text()
    assert not old.samefile(new)


def test_a_full_disk_leaves_everything_as_it_was(
    sqlite: Fabricated, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = sorted(sqlite.runs.rglob("*"))

    def full(source: Path, target: Path) -> None:
        if source.name == RESULT:
            raise OSError(errno.ENOSPC, "No space left on device")
        target.touch()

    monkeypatch.setattr(os, "link", full)
    monkeypatch.setattr(shutil, "copy2", full)
    with pytest.raises(
        InfrastructureError,
        match=r"trial-0002: the finished folds of trial 0 cannot be put there \(No",
    ):
        retried(sqlite)
    assert sorted(sqlite.runs.rglob("*")) == before
    assert len(sqlite.sweep.trials()) == 2


def test_nothing_is_stored_once_the_sweep_is_another_drivers(sqlite: Fabricated) -> None:
    def lost() -> None:
        raise LeaseLostError("another driver took over")

    before = sorted(sqlite.runs.rglob("*"))
    with pytest.raises(LeaseLostError, match="another driver took over"):
        retried(sqlite, confirm=lost)
    assert len(sqlite.sweep.trials()) == 2
    assert sorted(sqlite.runs.rglob("*")) == before


def test_another_program_that_adds_trials_is_noticed(sqlite: Fabricated) -> None:
    with pytest.raises(
        InfrastructureError, match="another program adds trials to sweep 'toy'; stopping"
    ):
        retried(sqlite, confirm=lambda: sqlite.add() and None)
