"""Counts that are kept trial by trial, and what counts."""

import pytest
from optuna.trial import FrozenTrial, TrialState

from sweeps.search.tally import Tally
from sweeps.study.records import (
    TAKEN_FROM,
    Origin,
    counts,
    finish_of,
    finishing,
    is_finish,
    is_history,
    is_repeat,
    retrying,
    root_of,
)
from tests.sweeps.fabricated import trial
from trainer.metrics import Goal

OTHER = Origin("other", 7)


def repeat(number: int, *, of: Origin, repeats: int, score: float = 0.5) -> FrozenTrial:
    """A trial that was asked for and took a result over."""
    made = trial(number, score=score, of=of)
    made.user_attrs[TAKEN_FROM]["repeats"] = repeats
    return made


def finish(number: int, *, of: FrozenTrial, state: TrialState = TrialState.COMPLETE) -> FrozenTrial:
    """A trial that finishes a pruned one."""
    made = trial(number, state)
    made.user_attrs |= finishing(of)
    return made


@pytest.mark.parametrize(
    ("of", "history", "repeated", "counted"),
    [
        (trial(3), False, False, True),
        (trial(3, TrialState.FAIL), False, False, True),
        (trial(3, TrialState.WAITING, retry_of=1), False, False, False),
        (finish(3, of=trial(1, TrialState.PRUNED)), False, False, False),
        (trial(3, of=OTHER), True, False, False),
        (repeat(3, of=Origin("mine", 1), repeats=1), False, True, False),
        (repeat(3, of=OTHER, repeats=0), False, True, False),
    ],
    ids=["trained", "failed", "retry", "finish", "history", "repeat", "repeat of history"],
)
def test_what_a_trial_counts_as(
    of: FrozenTrial, history: bool, repeated: bool, counted: bool
) -> None:
    assert (is_history(of, "mine"), is_repeat(of), counts(of, "mine")) == (
        history,
        repeated,
        counted,
    )


def test_a_trial_that_finishes_another_has_its_seed_and_so_has_its_own_retry() -> None:
    pruned = trial(5, TrialState.PRUNED, retry_of=2)
    finished = finish(8, of=pruned, state=TrialState.FAIL)
    again = trial(9)
    again.user_attrs |= retrying(finished)
    for one in (finished, again):
        assert (is_finish(one), finish_of(one), root_of(one)) == (True, 5, 2)
        assert not counts(one, "mine")
    assert (is_finish(pruned), finish_of(pruned), root_of(pruned)) == (False, None, 2)
    assert retrying(trial(3, TrialState.FAIL)) == {"retry_of": 3}


def test_each_trial_is_counted_where_it_belongs() -> None:
    tally = Tally("mine", Goal.MAXIMIZE)
    for one in (
        trial(0, of=OTHER, score=0.9),
        trial(1, score=0.6),
        repeat(2, of=Origin("mine", 1), repeats=1, score=0.6),
        repeat(3, of=OTHER, repeats=0, score=0.9),
        trial(4, TrialState.FAIL),
        trial(5, TrialState.WAITING, retry_of=4),
        trial(6, TrialState.PRUNED),
        finish(7, of=trial(6, TrialState.PRUNED)),
    ):
        tally.add(one)
    assert (tally.asked, tally.history, tally.taken_over, tally.finishes) == (3, 1, 2, 1)
    assert {state: count for state, count in tally.states.items() if count} == {
        TrialState.COMPLETE: 4,
        TrialState.FAIL: 1,
        TrialState.PRUNED: 1,
        TrialState.WAITING: 1,
    }


def test_another_sweeps_trial_is_never_the_best() -> None:
    tally = Tally("mine", Goal.MAXIMIZE)
    tally.add(trial(0, of=OTHER, score=0.9))
    assert tally.best is None
    tally.add(trial(1, score=0.1))
    assert tally.best is not None
    assert tally.best.number == 1


@pytest.mark.parametrize(("goal", "best"), [(Goal.MAXIMIZE, 1), (Goal.MINIMIZE, 2)])
def test_the_best_is_found_by_the_goal_and_ties_go_to_the_lower_number(
    goal: str, best: int
) -> None:
    trials = [
        trial(0, TrialState.FAIL),
        trial(1, score=0.9),
        trial(2, score=0.1),
        trial(3, score=0.9),
        trial(4, score=0.1),
    ]
    for order in (trials, trials[::-1]):  # workers end in any order
        tally = Tally("mine", goal)
        for one in order:
            tally.add(one)
        assert tally.best is not None
        assert tally.best.number == best


def test_a_change_of_state_moves_a_trial_and_asks_for_no_new_one() -> None:
    tally = Tally("mine", Goal.MAXIMIZE)
    tally.add(trial(0, TrialState.RUNNING))
    tally.change(trial(0, score=0.7), before=TrialState.RUNNING)
    assert tally.asked == 1
    assert (tally.states[TrialState.RUNNING], tally.states[TrialState.COMPLETE]) == (0, 1)
    assert tally.best is not None
    assert tally.best.value == 0.7


def test_three_leaders_are_known_and_a_result_that_was_taken_over_is_one() -> None:
    tally = Tally("mine", Goal.MAXIMIZE)
    for number, score in enumerate((0.5, 0.7, 0.6, 0.4)):
        tally.add(trial(number, score=score))
    tally.add(repeat(4, of=Origin("mine", 1), repeats=1, score=0.7))
    assert [leader.number for leader in tally.leaders] == [1, 2, 0]
