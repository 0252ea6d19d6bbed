from pathlib import Path

import pytest
from optuna.trial import TrialState

from sweeps.results.ranking import rank, trial_directory
from sweeps.study.records import Origin, origin
from tests.sweeps.fabricated import trial
from trainer.metrics import Goal


def numbers(trials, *, goal: Goal = Goal.MAXIMIZE) -> list[int]:
    return [ranked.number for ranked in rank(trials, goal=goal, sweep="toy")]


@pytest.mark.parametrize(
    ("goal", "order"), [(Goal.MAXIMIZE, [2, 1, 3, 0]), (Goal.MINIMIZE, [0, 1, 3, 2])]
)
def test_the_best_comes_first_and_ties_go_to_the_lower_number(goal: str, order: list[int]) -> None:
    trials = [
        trial(number, score=score) for number, score in ((3, 0.5), (0, 0.2), (2, 0.9), (1, 0.5))
    ]
    assert numbers(trials, goal=goal) == order


def test_only_complete_trials_are_ranked() -> None:
    others = [
        trial(number, state)
        for number, state in enumerate(TrialState)
        if state != TrialState.COMPLETE
    ]
    assert numbers([*others, trial(7)]) == [7]
    assert numbers(others) == []


def test_a_trial_that_took_over_a_result_does_not_stand_beside_the_one_it_has_it_from() -> None:
    trials = [trial(0, score=0.9), trial(1, score=0.7), trial(2, score=0.9, of=Origin("toy", 0))]
    assert numbers(trials) == [0, 1]


def test_another_sweeps_trial_is_ranked_once() -> None:
    theirs = Origin("older", 1)
    trials = [
        trial(0, score=0.5, of=theirs),
        trial(1, score=0.9),
        trial(2, score=0.5, of=theirs),
        trial(3, score=0.4),
    ]
    assert numbers(trials) == [1, 0, 3]


def test_the_files_of_a_trial_lie_where_it_was_trained() -> None:
    own = trial(3)
    repeat = trial(4, of=Origin("toy", 3))
    history = trial(5, of=Origin("older", 12345))
    assert [origin(one, sweep="toy") for one in (own, repeat)] == [Origin("toy", 3)] * 2
    assert [
        str(trial_directory(Path("runs"), one, sweep="toy")) for one in (own, repeat, history)
    ] == [
        "runs/toy/trial-0003",
        "runs/toy/trial-0003",
        "runs/older/trial-12345",
    ]
