"""Every epoch once and in order, whatever is missing of the live reports and of the records."""

import dataclasses
import itertools
from typing import Any

import pytest

from sweeps.running.events import EndState
from sweeps.tracking.recorded import Recorded
from sweeps.tracking.teller import Teller, follows
from sweeps.tracking.tracker import End, Epoch, NullTracker, Trial
from tests.sweeps.tracking.told import EPOCHS, TRIAL, end

COMPLETED = end(EndState.COMPLETED, {})
INTERRUPTED = end(EndState.INTERRUPTED, {})


class Heard(NullTracker):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.calls: list[Any] = []

    def begin(self, trial: Trial) -> None:
        self.calls.append("begin")

    def epoch(self, trial: Trial, epoch: Epoch) -> None:
        self.calls.append(epoch.step)

    def end(self, trial: Trial, end: End) -> None:
        self.calls.append(end.state)


STEPS = [epoch.step for epoch in EPOCHS]
COMPLETE = ["begin", *STEPS, EndState.COMPLETED]


def in_folds(count: int, ended: End | None = None) -> Recorded:
    """The records after this number of finished folds with two epochs each."""
    return Recorded(TRIAL, EPOCHS[: 2 * count], (2,) * count, ended)


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
def teller(heard: Heard) -> Teller:
    return Teller(heard)


def test_live_epochs_are_told_at_once(teller: Teller, heard: Heard):
    teller.records(in_folds(0))
    teller.live(7, EPOCHS[0])
    teller.live(7, EPOCHS[1])
    assert heard.calls == ["begin", *STEPS[:2]]
    teller.live(7, EPOCHS[2])  # only the result says that a fold has ended
    teller.records(in_folds(1))
    teller.live(7, EPOCHS[3])
    teller.records(in_folds(2, COMPLETED))
    assert heard.calls == COMPLETE


@pytest.mark.parametrize(
    ("last", "fold", "epoch", "finished", "expected"),
    [
        (None, 0, 1, (), True),
        (None, 0, 2, (), False),
        (None, 1, 1, (), False),
        ((0, 1), 0, 2, (), True),
        ((0, 1), 0, 3, (), False),
        ((0, 1), 0, 1, (), False),
        ((0, 3), 1, 1, (3,), True),
        ((0, 3), 1, 2, (3,), False),
        ((0, 3), 1, 1, (5,), False),  # two epochs of the first fold are missing
        ((0, 3), 1, 1, (), False),  # it is not known to have finished
        ((0, 3), 2, 1, (3, 3), False),
        ((1, 2), 2, 1, (3, 2), True),
    ],
)
def test_an_epoch_follows_if_none_is_missing_before_it(
    last: tuple[int, int] | None,
    fold: int,
    epoch: int,
    finished: tuple[int, ...],
    expected: bool,
):
    later = dataclasses.replace(EPOCHS[0], fold=fold, epoch=epoch)
    assert follows(last, later, finished) is expected


def test_a_trial_begins_only_with_its_record(teller: Teller, heard: Heard):
    teller.live(7, EPOCHS[0])
    assert heard.calls == []
    teller.records(in_folds(0))
    assert heard.calls == ["begin", STEPS[0]]


def test_after_a_gap_later_epochs_wait_for_the_records(teller: Teller, heard: Heard):
    teller.records(in_folds(0))
    teller.live(7, EPOCHS[1])
    teller.records(in_folds(0))
    assert heard.calls == ["begin"]
    teller.records(in_folds(1))
    assert heard.calls == ["begin", *STEPS[:2]]


def test_a_live_epoch_keeps_the_time_of_its_report(teller: Teller, heard: Heard):
    times = []
    heard.epoch = lambda trial, epoch: times.append(epoch.time)  # type: ignore[method-assign]
    teller.live(7, dataclasses.replace(EPOCHS[1], time=5.0))
    teller.records(in_folds(1))
    assert times == [EPOCHS[0].time, 5.0]


def test_what_comes_again_is_not_told_again(teller: Teller, heard: Heard):
    for _ in range(2):
        teller.records(in_folds(2, COMPLETED))
        for epoch in EPOCHS:
            teller.live(7, epoch)
    assert heard.calls == COMPLETE


def test_an_interrupted_trial_begins_once_more_when_it_goes_on(teller: Teller, heard: Heard):
    teller.records(in_folds(1, INTERRUPTED))
    teller.records(in_folds(1, INTERRUPTED))
    assert not teller.begun(7)
    assert not teller.over(7)
    teller.live(7, EPOCHS[2])  # goes on; the records do not say so yet
    teller.records(in_folds(1))
    assert teller.begun(7)
    teller.records(in_folds(2, COMPLETED))
    assert heard.calls == [
        "begin",
        *STEPS[:2],
        EndState.INTERRUPTED,
        "begin",
        *STEPS[2:],
        EndState.COMPLETED,
    ]


def test_an_interrupted_trial_may_be_over_when_the_process_looks_next(teller: Teller, heard: Heard):
    teller.records(in_folds(1, INTERRUPTED))
    teller.records(in_folds(2, INTERRUPTED))
    teller.records(in_folds(2, COMPLETED))
    again = ["begin", *STEPS[2:], EndState.INTERRUPTED, "begin", EndState.COMPLETED]
    assert heard.calls == ["begin", *STEPS[:2], EndState.INTERRUPTED, *again]


def test_epochs_of_an_unfinished_fold_come_again_after_an_interruption(
    teller: Teller, heard: Heard
):
    """They were told live; the continued trial reports later ones only."""
    teller.records(in_folds(0))
    teller.live(7, EPOCHS[0])
    teller.records(in_folds(0, INTERRUPTED))
    teller.live(7, EPOCHS[1])
    teller.records(in_folds(0))
    assert heard.calls == ["begin", STEPS[0], EndState.INTERRUPTED, "begin", STEPS[1]]


def test_a_trial_has_begun_for_the_tracker_when_its_records_came(teller: Teller):
    teller.live(7, EPOCHS[0])
    assert (teller.begun(7), teller.trials) == (False, 0)
    teller.records(in_folds(0))
    assert (teller.begun(7), teller.trials) == (True, 1)
    teller.records(in_folds(2, COMPLETED))
    assert (teller.begun(7), teller.over(7), teller.over(99)) == (True, True, False)


def test_a_trial_in_progress_lacks_what_is_missing_before_an_epoch_that_came(teller: Teller):
    other = dataclasses.replace(TRIAL, number=3)
    teller.live(3, EPOCHS[1])
    teller.records(in_folds(0))
    assert teller.lacking() == set()  # the other one has not begun
    teller.records(Recorded(other, (), (), None))
    teller.live(7, EPOCHS[0])
    assert teller.lacking() == {3}
    teller.records(Recorded(other, EPOCHS[:2], (2,), None))
    assert teller.lacking() == set()


def test_every_step_is_told_once_in_order_whatever_is_lost():
    """Every subset of the live reports, and a look at the records before any of them."""
    for kept in itertools.product([True, False], repeat=len(EPOCHS)):
        for look in range(len(EPOCHS)):
            heard = Heard()
            teller = Teller(heard)
            for index, epoch in enumerate(EPOCHS):
                if index == look:
                    teller.records(in_folds(index // 2))
                if kept[index]:
                    teller.live(7, epoch)
                steps = [call for call in heard.calls if isinstance(call, int)]
                assert steps == STEPS[: len(steps)]
            teller.records(in_folds(2, COMPLETED))
            assert heard.calls == COMPLETE
