"""When a trial has been silent for too long."""

import pytest

from sweeps.running.patience import (
    LEAST_SILENCE_S,
    LEAST_START_S,
    Silence,
    left_behind,
    longest_silence_s,
    shown,
    usual_epoch_s,
)


@pytest.mark.parametrize(
    ("own", "others", "expected", "usual"),
    [
        (3.0, [90.0], 30.0, 3.0),
        (None, [20.0, 90.0], 30.0, 90.0),  # backbones differ: the slowest
        (None, [], 30.0, 30.0),
        (None, [], None, None),
    ],
)
def test_a_usual_epoch_is_that_of_the_trial_else_of_others_else_the_estimate(
    own: float | None, others: list[float], expected: float | None, usual: float | None
):
    assert usual_epoch_s(own, others, expected=expected) == usual


@pytest.mark.parametrize(
    ("usual_s", "factor", "starting", "longest_s"),
    [
        (120, 10, False, 1200),
        (2, 10, False, LEAST_SILENCE_S),
        (120, 10, True, LEAST_START_S),
        (1000, 10, True, 10_000),
        (None, 10, False, None),
        (120, None, False, None),
    ],
)
def test_short_epochs_and_the_start_of_a_worker_have_a_time_of_their_own(
    usual_s: float | None, factor: float | None, starting: bool, longest_s: float | None
):
    assert longest_silence_s(usual_s, factor=factor, starting=starting) == longest_s


def test_a_silence_is_told_in_a_users_units():
    assert str(Silence(7, 1500.0, 149.0)) == (
        "trial 7 has not reported for 25 min (a usual epoch takes 2 min)"
    )
    times = [0.1234, 59, 60, 5399, 5400]
    assert [shown(time) for time in times] == ["0.12 s", "59 s", "1 min", "90 min", "1.5 h"]


@pytest.mark.parametrize(("numbers", "which"), [([4], "trial 4 has"), ([7, 4], "trials 4, 7 have")])
def test_trials_that_do_not_end_are_named(numbers: list[int], which: str):
    assert left_behind(numbers, grace_s=120, then="killed") == (
        f"{which} not ended within 2 min of the stop: killed"
    )
