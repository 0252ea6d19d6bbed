"""The time that is left, without what workers need to start."""

import pytest

from sweeps.running.pace import Pace
from sweeps.running.patience import LEAST_SILENCE_S, LEAST_START_S, Silence


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


def silent_for(pace: Pace, clock: Clock, seconds: float) -> list[Silence]:
    """The silences that a driver finds which looks every 30 seconds, the last time at the end."""
    found = pace.silent(10)
    while seconds > 0:
        clock.now += min(30, seconds)
        seconds -= 30
        found += pace.silent(10)
    return found


class TestSilence:
    def test_a_trial_that_stops_to_report_is_named_once_and_then_begins_anew(
        self, clock: Clock
    ) -> None:
        pace = Pace(clock)
        trained(pace, clock, 7, start_s=30, epochs=3)
        assert silent_for(pace, clock, LEAST_SILENCE_S - 1) == []
        clock.now += 1
        assert pace.silent(None) == []
        assert pace.silent(10) == [Silence(7, LEAST_SILENCE_S, 2.0)]
        assert silent_for(pace, clock, LEAST_START_S - 1) == []
        clock.now += 1
        assert pace.silent(10) == [Silence(7, LEAST_START_S, 2.0)]

    def test_each_report_counts_a_repeated_one_too(self, clock: Clock) -> None:
        pace = Pace(clock)
        trained(pace, clock, 7, start_s=30, epochs=3)
        for _ in range(3):
            assert silent_for(pace, clock, LEAST_SILENCE_S - 1) == []
            pace.reported(7, done=3)

    def test_a_worker_that_begins_anew_has_the_time_of_a_start(self, clock: Clock) -> None:
        pace = Pace(clock)
        trained_elsewhere(pace, clock)
        trained(pace, clock, 7, start_s=30, epochs=3)
        assert silent_for(pace, clock, LEAST_SILENCE_S - 1) == []
        pace.restarted(7)
        assert silent_for(pace, clock, LEAST_START_S - 1) == []
        clock.now += 1
        assert [silence.number for silence in pace.silent(10)] == [7]

    def test_nothing_is_too_long_while_nothing_is_known(self, clock: Clock) -> None:
        pace = Pace(clock)
        pace.started(7)
        assert silent_for(pace, clock, 100_000) == []

    def test_the_estimate_of_a_trial_counts_until_a_trial_has_reported(self, clock: Clock) -> None:
        pace = Pace(clock, expected_s=6000, epochs=10)
        pace.started(7)
        assert silent_for(pace, clock, 5999) == []
        clock.now += 1
        assert pace.silent(10) == [Silence(7, 6000.0, 600.0)]

    def test_what_a_restart_took_does_not_count_as_an_epoch(self, clock: Clock) -> None:
        pace = Pace(clock)
        trained(pace, clock, 7, start_s=0, epochs=2)
        clock.now += 3600
        pace.restarted(7)
        trained_on(pace, clock, 7, epochs=(3, 4))
        assert pace.left_s(7, total=10) == 6 * 2

    def test_a_driver_that_was_stopped_itself_blames_no_trial(self, clock: Clock) -> None:
        pace = Pace(clock)
        trained(pace, clock, 7, start_s=0, epochs=2)
        assert pace.silent(10) == []
        clock.now += 7200
        assert pace.silent(10) == []
        assert silent_for(pace, clock, LEAST_SILENCE_S - 1) == []
        clock.now += 1
        assert [silence.number for silence in pace.silent(10)] == [7]


def trained_on(pace: Pace, clock: Clock, number: int, *, epochs: tuple[int, ...]) -> None:
    for done in epochs:
        clock.now += 2
        pace.reported(number, done=done)


def trained_elsewhere(pace: Pace, clock: Clock) -> None:
    """Another trial, whose epochs take 20 seconds, begins and ends."""
    pace.started(1)
    for done in (1, 2):
        pace.reported(1, done=done)
        clock.now += 20 * (2 - done)
    pace.ended(1, counts=True)
