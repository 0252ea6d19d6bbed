import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa
from optuna.storages import RDBStorage
from optuna.trial import TrialState
from torch import nn

from sweeps.errors import InputError, LeaseLostError
from sweeps.paths import SweepFiles, TrialFiles
from sweeps.running.events import Event, TrialEnded, TrialStarted
from sweeps.space.spec import SweepSpec
from sweeps.study.records import Origin
from sweeps.upkeep.leftovers import (
    ALL,
    NOTHING,
    Part,
    Parts,
    best_origins,
    claims,
    files_of,
    keep_of,
    needed_elsewhere,
    remove,
    superfluous,
)
from sweeps.upkeep.retention import Retention
from tests.sweeps.fabricated import RESULTS, Fabricated, trial
from trainer.metrics import Goal
from trainer.training.kept_epochs import KeptEpochs
from trainer.training.result import CHECKPOINT, WEIGHTS

COMPLETE = TrialState.COMPLETE
PRUNED = TrialState.PRUNED
FAIL = TrialState.FAIL
WAITING = TrialState.WAITING
RUNNING = TrialState.RUNNING
EPOCH = "0001.safetensors"
EVERYTHING = {*RESULTS, WEIGHTS, CHECKPOINT, EPOCH}
Make = Callable[..., SweepSpec]

# --- what goes


@pytest.mark.parametrize(
    ("state", "wanted", "parts"),
    [
        (WAITING, (), NOTHING),
        (RUNNING, (), NOTHING),
        (COMPLETE, (0,), Parts({Part.EPOCHS, Part.CHECKPOINT})),
        (COMPLETE, (), ALL),
        (PRUNED, (0,), ALL),
        (FAIL, (), Parts({Part.CHECKPOINT})),
    ],
)
def test_what_goes_follows_from_how_a_trial_ended(
    state: TrialState, wanted: tuple[int, ...], parts: Parts
) -> None:
    assert superfluous([trial(0, state)], wanted=wanted) == {0: parts}


def test_a_failed_trial_keeps_what_its_retry_takes_over_until_there_is_one() -> None:
    first = trial(0, FAIL)
    second = trial(2, FAIL, retry_of=0)
    third = trial(3, WAITING, retry_of=0)
    keeps = Parts({Part.CHECKPOINT})
    assert superfluous([first, trial(1)], wanted=[1])[0] == keeps
    assert superfluous([first, second], wanted=[]) == {0: ALL, 2: keeps}
    assert superfluous([first, second, third], wanted=[]) == {0: ALL, 2: ALL, 3: NOTHING}


def test_failed_trials_may_be_given_up() -> None:
    assert superfluous(
        [trial(0, FAIL), trial(1, WAITING, retry_of=9)], wanted=[], include_failed=True
    ) == {
        0: ALL,
        1: NOTHING,
    }


def test_the_best_are_counted_where_they_were_trained_and_once() -> None:
    trials = [
        trial(0, score=0.9),
        trial(1, score=0.9, of=Origin("toy", 0)),
        trial(2, score=0.8, of=Origin("older", 7)),
        trial(3, score=0.7),
        trial(4, PRUNED),
    ]
    best = [best_origins(trials, sweep="toy", goal=Goal.MAXIMIZE, keep=keep) for keep in (1, 2, 9)]
    assert best == [
        {Origin("toy", 0)},
        {Origin("toy", 0), Origin("older", 7)},
        {Origin("toy", 0), Origin("older", 7), Origin("toy", 3)},
    ]
    assert best_origins(trials, sweep="toy", goal=Goal.MINIMIZE, keep=1) == {Origin("toy", 3)}


def test_parts_are_found_on_disk_as_the_trainer_leaves_them(tmp_path: Path) -> None:
    fold = tmp_path / "fold-0"
    kept = KeptEpochs(fold)
    probs_NK = np.zeros((2, 3), dtype=np.float32)
    kept.keep(1, nn.Linear(1, 1), rows_N=np.arange(2), probs_NK=probs_NK, folds_hash="a hash")
    (fold / ".epochs.gone").mkdir()  # a removal that was cut short
    for name in (*RESULTS, WEIGHTS, CHECKPOINT):
        (fold / name).touch()
    assert list(files_of(TrialFiles(tmp_path), NOTHING)) == []
    assert list(files_of(TrialFiles(tmp_path), Parts({Part.WEIGHTS}))) == [fold / WEIGHTS]
    assert list(files_of(TrialFiles(tmp_path), Parts({Part.CHECKPOINT}))) == [fold / CHECKPOINT]
    for path in list(files_of(TrialFiles(tmp_path), ALL)):
        remove(path)
        remove(path)  # as if another process had been faster
    assert not kept
    assert {path.name for path in fold.iterdir()} == RESULTS
    assert list(files_of(TrialFiles(tmp_path / "nowhere"), ALL)) == []


# --- what other sweeps need


@pytest.fixture
def make(sqlite_storage: RDBStorage, make_spec: Make, tmp_path: Path) -> Callable[..., Fabricated]:
    """A sweep without trials that keeps the weights of its best two."""

    def new(name: str = "toy", keep: int | None = 2) -> Fabricated:
        return Fabricated(sqlite_storage, make_spec(name=name, keep=keep), tmp_path / "runs")

    return new


def test_keep_is_what_the_search_space_says(make: Callable[..., Fabricated]) -> None:
    assert [keep_of(make("a", 3).files), keep_of(make("b", None).files)] == [3, 20]
    with pytest.raises(InputError, match=r"c/spec\.yaml: no such file"):
        keep_of(SweepFiles.of(Path("nowhere"), "c"))


def test_a_sweep_claims_its_best_trials_wherever_they_were_trained(
    make: Callable[..., Fabricated],
) -> None:
    older = make("older")
    newer = make("newer")
    gone = make("gone")
    for score in (0.1, 0.2, 0.9):
        older.add(score=score)
    for sweep in (newer, gone):
        for number, score in enumerate((0.1, 0.2)):
            sweep.add(score=score, of=Origin("older", number))
    newer.add(score=0.15)
    (gone.files.directory / "spec.yaml").unlink()
    claimed = claims(older.sweep.storage, runs=older.runs)
    assert claimed == {
        "newer": {Origin("older", 1), Origin("newer", 2)}
    }  # those that took nothing over need no claim
    assert needed_elsewhere(claimed, sweep="older") == {1}
    assert needed_elsewhere(claimed, sweep="newer") == frozenset()


# --- while a sweep goes on


def ended(number: int, state: str, score: float | None = None) -> list[Event]:
    return [TrialStarted(number, {}, False), TrialEnded(number, state, score, "", False, 1.0)]  # type: ignore[arg-type]


def listen(sweep: Fabricated, *events: Event, keep: int = 2) -> None:
    with Retention(sweep.files, sweep.sweep, keep=keep) as retention:
        for event in events:
            retention.notify(event)


def with_weights(sweep: Fabricated) -> set[int]:
    trials = range(len(sweep.sweep.trials()))
    return {number for number in trials if WEIGHTS in sweep.found(number)}


def test_weights_go_when_a_trial_falls_out_of_the_best(make: Callable[..., Fabricated]) -> None:
    sweep = make()
    for score in (0.5, 0.7):
        sweep.add_with_files(score=score)
    for _ in range(3):
        sweep.add_with_files(RUNNING)
    listen(sweep, *ended(2, "completed", 0.6), *ended(3, "completed", 0.1))
    assert [sweep.found(number) for number in range(5)] == [
        RESULTS,
        RESULTS | {WEIGHTS},
        RESULTS | {WEIGHTS},
        RESULTS,
        EVERYTHING,
    ]


def test_what_an_earlier_driver_left_goes_at_the_start(make: Callable[..., Fabricated]) -> None:
    sweep = make()
    for state in (COMPLETE, COMPLETE, COMPLETE, PRUNED, FAIL, WAITING):
        sweep.add_with_files(state)
    listen(sweep)
    assert [sweep.found(number) for number in range(6)] == [
        RESULTS | {WEIGHTS},
        RESULTS | {WEIGHTS},
        RESULTS,
        RESULTS,
        EVERYTHING - {CHECKPOINT},
        EVERYTHING,
    ]


@pytest.mark.parametrize(
    ("state", "left"),
    [("pruned", RESULTS), ("failed", EVERYTHING - {CHECKPOINT}), ("interrupted", EVERYTHING)],
)
def test_a_trial_that_ends_without_a_score_leaves_what_is_still_of_use(
    make: Callable[..., Fabricated], state: str, left: set[str]
) -> None:
    sweep = make()
    number = sweep.add_with_files(RUNNING)
    listen(sweep, *ended(number, state))
    assert sweep.found(number) == left


@pytest.mark.parametrize(("metric", "goal"), [("f1", Goal.MAXIMIZE), ("log_loss", Goal.MINIMIZE)])
def test_trial_by_trial_leaves_what_looking_at_all_of_them_would(
    sqlite_storage: RDBStorage, make_spec: Make, tmp_path: Path, metric: str, goal: str
) -> None:
    spec = make_spec(metric={"name": f"valid/{metric}", "goal": goal}, keep=3)
    sweep = Fabricated(sqlite_storage, spec, tmp_path / "runs")
    scores = [round(float(score), 1) for score in np.random.default_rng(0).random(12)]  # with ties
    for _ in scores:
        sweep.add_with_files(RUNNING)
    listen(
        sweep,
        *(
            event
            for number, score in enumerate(scores)
            for event in ended(number, "completed", score)
        ),
        keep=3,
    )
    trials = [trial(number, score=score) for number, score in enumerate(scores)]
    best = best_origins(trials, sweep="toy", goal=goal, keep=3)
    assert with_weights(sweep) == {of.number for of in best}


def test_a_result_that_is_taken_over_takes_no_place_among_the_best(
    make: Callable[..., Fabricated],
) -> None:
    sweep = make()
    for score in (0.9, 0.5):
        sweep.add_with_files(score=score)
    repeat = sweep.add(score=0.9, of=Origin("toy", 0))
    listen(
        sweep, TrialEnded(repeat, "completed", 0.9, "as trial 0", False, 0.0)
    )  # it never started
    assert with_weights(sweep) == {0, 1}


def test_what_another_sweep_ranks_high_keeps_its_weights(make: Callable[..., Fabricated]) -> None:
    older = make("older")
    newer = make("newer")
    for score in (0.1, 0.2, 0.8):
        older.add_with_files(score=score)
    for number, score in enumerate((0.1, 0.2)):
        newer.add(score=score, of=Origin("older", number))
    for _ in range(2):
        older.add_with_files(RUNNING)
    listen(older, *ended(3, "completed", 0.85), *ended(4, "completed", 0.9))
    assert with_weights(older) == {0, 1, 3, 4}  # 0 had fallen out before, 1 and 2 did it now


def test_what_another_sweep_takes_over_meanwhile_keeps_its_weights(
    make: Callable[..., Fabricated],
) -> None:
    older = make("older")
    newer = make("newer")
    for score in (0.5, 0.4):
        older.add_with_files(score=score)
    older.add_with_files(RUNNING)
    with Retention(older.files, older.sweep, keep=1) as retention:
        while with_weights(older) != {0, 2}:  # until it has looked around: 1 is beyond the best
            threading.Event().wait(0.01)
        newer.add(score=0.5, of=Origin("older", 0))
        for event in ended(2, "completed", 0.9):
            retention.notify(event)
    assert with_weights(older) == {0, 2}


def test_history_is_ranked_like_any_trial(make: Callable[..., Fabricated]) -> None:
    older = make("older")
    newer = make("newer")
    older.add_with_files(score=0.6)
    newer.add(score=0.6, of=Origin("older", 0))
    for score in (0.9, 0.5):
        newer.add_with_files(score=score)
    listen(newer)
    assert with_weights(newer) == {1}
    listen(older)
    assert with_weights(older) == {0}


def test_files_that_cannot_be_removed_are_logged_and_the_others_go(
    make: Callable[..., Fabricated],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    sweep = make()
    for _ in range(2):
        sweep.add_with_files(PRUNED)

    def refuse(path: Path) -> None:
        if "trial-0000" in str(path):
            raise PermissionError(13, "Permission denied", str(path))
        remove(path)

    monkeypatch.setattr("sweeps.upkeep.retention.remove", refuse)
    with caplog.at_level(logging.WARNING):
        listen(sweep)
    assert (
        "trial 0: superfluous files cannot be removed ([Errno 13] Permission denied" in caplog.text
    )
    assert [WEIGHTS in sweep.found(number) for number in range(2)] == [True, False]


def fenced(
    sweep: Fabricated, *events: Event, fence: Callable[[], None], **options: Any
) -> list[str]:
    """Retention with a fence that listens; what it says if it ends by a bug."""
    told: list[str] = []
    with Retention(
        sweep.files,
        sweep.sweep,
        keep=2,
        fence=fence,
        on_end=lambda error: told.append(str(error)),
        **options,
    ) as retention:
        for event in events:
            retention.notify(event)
    return told


def test_each_removal_is_confirmed_and_a_driver_that_lost_the_sweep_removes_nothing(
    make: Callable[..., Fabricated],
) -> None:
    """It was stopped, say, and woke when its successor had completed the trial."""
    sweep = make()
    number = sweep.add_with_files(RUNNING)
    asked: list[bool] = []

    def fence() -> None:
        asked.append(WEIGHTS in sweep.found(number))
        if len(asked) == 2:
            raise LeaseLostError("another driver took over sweep 'toy'; this one stops")

    assert fenced(sweep, *ended(number, "pruned"), fence=fence) == []  # the lease tells it
    assert asked == [True, True]
    gone = EVERYTHING - sweep.found(number)
    assert len(gone) <= 1  # of both folds, each with weights, only the first file
    listen(sweep, *ended(number, "pruned"))
    assert sweep.found(number) == RESULTS


def test_what_a_silent_storage_kept_from_being_removed_is_removed_when_it_answers(
    make: Callable[..., Fabricated],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Each event for itself: those after an outage are obeyed as well, and the best stay known."""
    sweep = make()
    for score in (0.5, 0.7):
        sweep.add_with_files(score=score)
    numbers = [sweep.add_with_files(RUNNING) for _ in range(2)]
    answers: list[Exception | None] = [
        None,  # when it begins
        *(sa.exc.OperationalError("SELECT", {}, Exception("server gone")) for _ in range(3)),
    ]

    def claimed(*args: Any, **options: Any) -> Any:
        error = answers.pop(0) if answers else None
        if error is not None:
            raise error
        return claims(*args, **options)

    monkeypatch.setattr("sweeps.upkeep.retention.claims", claimed)
    with (
        caplog.at_level(logging.WARNING),
        Retention(sweep.files, sweep.sweep, keep=2, retry_every_s=0.01) as retention,
    ):
        for event in (*ended(numbers[0], "completed", 0.6), *ended(numbers[1], "pruned")):
            retention.notify(event)
        while WEIGHTS in sweep.found(numbers[1]):
            threading.Event().wait(0.01)
    assert with_weights(sweep) == {1, numbers[0]}
    assert [line for line in caplog.messages if "superfluous" in line] == [
        "superfluous files stay until the next try (server gone)"
    ]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_bug_that_ends_the_removal_is_told(make: Callable[..., Fabricated]) -> None:
    sweep = make()

    def bug() -> None:
        raise KeyError("a bug")

    assert fenced(sweep, *ended(sweep.add_with_files(RUNNING), "pruned"), fence=bug) == [
        "the removal of superfluous files stopped by a bug; its traceback is above. Finished folds "
        "are on disk; run the same command again to continue"
    ]


def test_a_storage_that_is_gone_costs_the_sweep_nothing(
    make: Callable[..., Fabricated],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    from optuna.exceptions import StorageInternalError

    sweep = make()
    number = sweep.add_with_files(RUNNING)

    def gone(self: object) -> None:
        raise StorageInternalError("the server is away")

    monkeypatch.setattr("sweeps.study.stored_sweep.StoredSweep.trials", gone)
    with caplog.at_level(logging.WARNING):
        listen(sweep, *ended(number, "pruned"))
    assert "superfluous files stay until `sweeps gc toy` (the server is away)" in caplog.text
    assert WEIGHTS in sweep.found(number)
