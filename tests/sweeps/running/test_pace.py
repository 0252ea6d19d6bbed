"""The time that is left, without what workers need to start."""

import pytest

from sweeps.running.pace import Pace


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def trained(pace: Pace, clock: Clock, number: int, *, start_s: float, epochs: int) -> None:
    """A trial whose worker starts for `start_s`, and whose epochs take 2 seconds each."""
    pace.started(number)
    clock.now += start_s
    for done in range(1, epochs + 1):
        clock.now += 2
        pace.reported(number, done=done)


def test_a_running_trial_needs_its_remaining_epochs_at_its_own_pace(clock: Clock) -> None:
    pace = Pace(clock)
    trained(pace, clock, 7, start_s=30, epochs=1)
    assert pace.left_s(7, total=10) is None
    clock.now += 2
    pace.reported(7, done=2)
    assert pace.left_s(7, total=10) == 16
    clock.now += 1
    assert pace.left_s(7, total=10) == 15
    clock.now += 100
    assert pace.left_s(7, total=10) == 0


def test_the_start_of_a_worker_is_not_counted_for_the_trials_to_come(clock: Clock) -> None:
    pace = Pace(clock)
    trained(pace, clock, 0, start_s=60, epochs=10)
    pace.ended(0, counts=True)
    pace.started(1)
    assert pace.eta_s(5) == 5 * 20


def test_two_trials_at_once_halve_the_time(clock: Clock) -> None:
    pace = Pace(clock)
    trained(pace, clock, 0, start_s=0, epochs=10)
    pace.ended(0, counts=True)
    pace.started(1)
    pace.started(2)
    assert pace.eta_s(6) == 6 * 20 / 2


def test_a_trial_with_one_report_counts_as_a_whole_and_a_failed_one_not_at_all(
    clock: Clock,
) -> None:
    pace = Pace(clock)
    trained(pace, clock, 0, start_s=3, epochs=1)
    pace.ended(0, counts=False)
    assert pace.eta_s(1) is None
    trained(pace, clock, 1, start_s=3, epochs=1)
    pace.ended(1, counts=True)
    assert pace.eta_s(1) == 5


def test_until_a_trial_has_ended_the_expected_time_counts(clock: Clock) -> None:
    pace = Pace(clock, expected_s=30)
    assert pace.eta_s(4) == 4 * 30
    pace.started(0)
    clock.now += 60  # the worker starts
    assert pace.eta_s(4) == 4 * 30
    for done in (1, 2):
        clock.now += 5
        pace.reported(0, done=done)
    assert pace.eta_s(4) == 4 * 30 - 10
    clock.now += 5
    assert pace.eta_s(4) == 4 * 30 - 15
    clock.now += 500  # never less than the trials that have not begun
    assert pace.eta_s(4) == 3 * 30
    pace.ended(0, counts=True)
    assert pace.eta_s(3) == 3 * 515


def test_expected_trials_run_side_by_side(clock: Clock) -> None:
    pace = Pace(clock, expected_s=30)
    pace.started(0)
    pace.started(1)
    assert pace.eta_s(4) == 60
