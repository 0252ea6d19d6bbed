"""When equal failures end a sweep."""

import pytest

from sweeps.running.breaker import FIRST, LATER, Breaker
from sweeps.running.events import EndState
from sweeps.study.reasons import SameFailure
from sweeps.study.records import ENDED_ELSEWHERE
from trainer.errors import LOWER_RATE, SMALLER_BATCH

COMPLETED, PRUNED, FAILED, INTERRUPTED = (
    EndState.COMPLETED,
    EndState.PRUNED,
    EndState.FAILED,
    EndState.INTERRUPTED,
)


def fed(*ends: str | EndState, worked: bool = False) -> Breaker:
    """A breaker after trials that failed with a text, or ended otherwise."""
    breaker = Breaker(worked=worked)
    for number, end in enumerate(ends):
        if isinstance(end, EndState):
            breaker.ended(number, end, "", {})
        else:
            breaker.ended(number, FAILED, end, {})
    return breaker


def test_the_first_three_equal_failures_end_a_sweep():
    assert fed(*["no hub 1"] * (FIRST - 1)).tripped is None
    breaker = fed("no hub 1", "no hub 2", "no hub 3")
    assert breaker.tripped == SameFailure("no hub 1", (0, 1, 2))
    assert breaker.notice == "the first 3 trials failed for the same reason: the sweep stops"


def test_the_values_of_the_trials_do_not_count():
    breaker = Breaker(worked=False)
    for number, name in enumerate(("resnet18", "vit_tiny", "densenet")):
        breaker.ended(number, FAILED, f"no weights of {name}", {"backbone": name})
    assert breaker.tripped is not None


@pytest.mark.parametrize("worked", [COMPLETED, PRUNED])
def test_once_a_trial_has_worked_ten_in_a_row_are_needed(worked: EndState):
    assert fed(worked, *["lost"] * (LATER - 1)).tripped is None
    breaker = fed(worked, *["lost"] * LATER)
    assert breaker.tripped == SameFailure("lost", tuple(range(1, LATER + 1)))
    assert breaker.notice == "the last 10 trials failed for the same reason: the sweep stops"


def test_a_sweep_that_worked_before_it_was_continued_needs_ten_too():
    assert fed(*["lost"] * (LATER - 1), worked=True).tripped is None
    assert fed(*["lost"] * LATER, worked=True).tripped is not None


@pytest.mark.parametrize("between", ["something else", COMPLETED, PRUNED])
def test_only_failures_in_a_row_count(between: str | EndState):
    assert fed("lost", "lost", between, "lost", "lost").tripped is None


def test_an_interrupted_trial_and_one_that_a_user_ended_say_nothing():
    assert fed("lost", INTERRUPTED, "lost", ENDED_ELSEWHERE, "lost").tripped is not None
    assert fed(*[ENDED_ELSEWHERE] * LATER).tripped is None


@pytest.mark.parametrize("advice", [LOWER_RATE, SMALLER_BATCH])
def test_values_that_were_drawn_badly_get_more_patience(advice: str):
    text = f"the training loss is nan. {advice}"
    assert fed(*[text] * (LATER - 1)).tripped is None
    assert fed(*[text] * LATER).tripped is not None


def test_trials_that_fail_alike_while_the_sweep_stops_are_repeated_too():
    breaker = fed("lost", "lost", "lost")
    assert breaker.ended(3, COMPLETED, "", {}) is None
    assert breaker.ended(4, FAILED, "else", {}) is None
    assert breaker.ended(5, FAILED, "lost", {}) == SameFailure("lost", (0, 1, 2, 5))
    assert breaker.tripped == SameFailure("lost", (0, 1, 2, 5))
