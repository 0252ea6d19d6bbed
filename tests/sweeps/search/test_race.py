import itertools
import math
import random
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import t as student

from sweeps.search.race import Standing, incumbent, race_reason
from sweeps.space.stopping import Race
from trainer.metrics import Goal

K = 5
RNG = np.random.default_rng(11)
SKILLS = np.array([0.6, 0.7, 0.8, 0.75, 0.65, 0.5])
TABLE = SKILLS[:, None] + RNG.normal(0, 0.05, K) + RNG.normal(0, 0.01, (len(SKILLS), K))


def standings(table: Sequence[Sequence[float]] | np.ndarray) -> list[Standing]:
    return [Standing(number, tuple(map(float, scores))) for number, scores in enumerate(table)]


def reason(
    own: Sequence[float],
    finished: Sequence[Standing] = tuple(standings(TABLE)),
    *,
    goal: Goal = Goal.MAXIMIZE,
    k: int = K,
    **rule: float,
) -> str | None:
    return race_reason(finished, own, rule=Race(**rule), k=k, goal=goal)  # type: ignore[arg-type]


def chance(own: Sequence[float], table: np.ndarray = TABLE) -> float:
    """The rule's formula once more, from a least-squares fit of the two-way layout."""
    n = len(table)
    k = table.shape[1]
    f = len(own)
    design = np.array(
        [
            [float(t == i) for i in range(n)] + [float(j == i) for i in range(k)]
            for t in range(n)
            for j in range(k)
        ]
    )
    fit, _, rank, _ = np.linalg.lstsq(design, table.ravel(), rcond=None)
    freedom = table.size - int(rank)
    variance = ((table.ravel() - design @ fit) ** 2).sum() / freedom
    ease = fit[n:]
    expected = np.mean(own) - ease[:f].mean() + ease.mean()
    error = math.sqrt(variance * (1 / f - 1 / k) * (1 + 1 / n))
    return float(student.cdf((expected - table.mean(axis=1).max()) / error, freedom))


def test_a_trial_far_below_the_incumbent_is_stopped_after_one_fold_with_the_chance_that_it_had():
    assert (
        reason(TABLE[2, :1] - 0.2)
        == f"fold race: less than 0.1 % chance to beat trial 2 ({TABLE[2].mean():.4g}) "
        "after 1 of 5 folds"
    )


@pytest.mark.parametrize("folds", [1, 2, 4])
@pytest.mark.parametrize("below", [0.005, 0.01, 0.02, 0.05])
def test_the_chance_is_that_of_a_least_squares_fit_of_trials_and_folds(
    folds: int, below: float
) -> None:
    own = TABLE[2, :folds] - below
    expected = chance(own)
    assert reason(own, error_rate=expected * 0.999) is None
    stopped = reason(own, error_rate=expected * 1.001)
    shown = "less than 0.1 %" if expected < 0.0005 else f"{100 * expected:.1f} %"
    assert (
        stopped == f"fold race: {shown} chance to beat trial 2 ({TABLE[2].mean():.4g}) "
        f"after {folds} of 5 folds"
    )


def test_hard_folds_are_no_fault_of_the_trial() -> None:
    """It is worth more than the incumbent, and its first folds are the hard ones."""
    easy = np.array([-0.3, -0.2, 0.1, 0.2, 0.2])
    table = SKILLS[:, None] + easy + RNG.normal(0, 0.01, (len(SKILLS), K))
    own = 0.81 + easy
    assert own[:2].mean() < table[2].mean() - 0.2
    assert [reason(own[:folds], standings(table)) for folds in (1, 2, 3, 4)] == [None] * 4


@pytest.mark.parametrize("goal", Goal)
def test_the_goal_turns_the_direction_and_nothing_else(goal: Goal) -> None:
    sign = goal.sign
    field = standings(sign * TABLE)
    for folds, below in itertools.product((1, 2, 3, 4), (-0.05, 0.0, 0.01, 0.02, 0.03, 0.1)):
        one = reason(list(sign * (TABLE[2, :folds] - below)), field, goal=goal)
        other = reason(list(TABLE[2, :folds] - below))
        assert (one or "").replace("(-", "(") == (other or "")


@pytest.mark.parametrize(
    ("rule", "stopped"), [({}, True), ({"min_folds": 2}, False), ({"min_folds": 1}, True)]
)
def test_nothing_is_stopped_before_min_folds(rule: dict[str, float], stopped: bool) -> None:
    assert (reason(TABLE[2, :1] - 0.2, **rule) is not None) == stopped
    assert reason(TABLE[2, :2] - 0.2, **rule) is not None


@pytest.mark.parametrize(
    ("trials", "min_evidence", "stopped"),
    [(2, 4, True), (2, 5, False), (3, 8, True), (3, 9, False)],
)
def test_nothing_is_stopped_before_there_is_evidence(
    trials: int, min_evidence: int, stopped: bool
) -> None:
    """Evidence: (complete trials - 1) x (folds - 1)."""
    field = standings(TABLE[:trials])
    assert (reason([0.1, 0.1], field, min_evidence=min_evidence) is not None) == stopped


@pytest.mark.parametrize("finished", [[], standings(TABLE[:1])])
def test_without_an_incumbent_and_a_second_trial_nothing_is_stopped(
    finished: list[Standing],
) -> None:
    assert reason([0.0], finished, min_evidence=1) is None


def test_a_complete_trial_and_one_without_a_fold_are_not_judged() -> None:
    assert reason(TABLE[2] - 0.5) is None
    assert reason([]) is None


def test_pruned_trials_with_some_folds_are_no_evidence_and_no_incumbent() -> None:
    pruned = [Standing(90 + number, (9.0,) * (1 + number % 4)) for number in range(9)]
    for own in (TABLE[2, :1] - 0.03, TABLE[2, :2] - 0.01, TABLE[2, :1] - 0.2):
        assert reason(own, [*pruned, *standings(TABLE)]) == reason(own)


@pytest.mark.parametrize("score", [math.nan, math.inf, -math.inf])
def test_a_score_that_is_not_a_finite_number_stops_the_trial_at_once(score: float) -> None:
    assert reason([0.8, score], []) == "fold race: the score of fold 2 is not a finite number"


@pytest.mark.parametrize("score", [math.nan, math.inf, -math.inf])
def test_a_complete_trial_with_such_a_score_does_not_count(score: float) -> None:
    odd = Standing(77, (9.0, score, 9.0, 9.0, 9.0))
    own = TABLE[2, :2] - 0.1
    assert reason(own, [odd, *standings(TABLE)]) == reason(own) is not None
    assert incumbent([odd, *standings(TABLE)], k=K, goal=Goal.MAXIMIZE) == standings(TABLE)[2]


@pytest.mark.parametrize("below", [0.0, -0.001, -1.0])
@pytest.mark.parametrize("folds", [1, 2, 3, 4])
def test_a_trial_as_good_as_the_incumbent_on_the_same_folds_is_never_stopped(
    folds: int, below: float
) -> None:
    """Even where the incumbent made up for bad folds later,
    as one that must lose by the others' folds.
    """
    table = np.concatenate([TABLE, [[0.5, 0.5, 1.2, 1.2, 1.2]]])
    assert incumbent(standings(table), k=K, goal=Goal.MAXIMIZE) == standings(table)[6]
    assert reason(table[6, :folds] - below, standings(table), error_rate=0.49) is None


@pytest.mark.parametrize("near_tie", [0.02, 0.1])
def test_a_near_tie_is_never_stopped_and_one_further_below_is(near_tie: float) -> None:
    for folds in (1, 2, 3, 4):
        assert reason(TABLE[2, :folds] - near_tie, near_tie=near_tie, error_rate=0.49) is None
        assert reason(TABLE[2, :folds] - near_tie - 0.1, near_tie=near_tie) == (
            f"fold race: less than 0.1 % chance to come within {near_tie} of trial 2 "
            f"({TABLE[2].mean():.4g}) after {folds} of 5 folds"
        )
    assert reason(TABLE[2, :3] - 0.99 * near_tie, error_rate=0.49) is not None


def test_with_near_ties_the_chance_is_to_end_as_near() -> None:
    own = TABLE[2, :2] - 0.03
    expected = chance(own + 0.01)
    assert reason(own, near_tie=0.01, error_rate=expected * 0.999) is None
    assert reason(own, near_tie=0.01, error_rate=expected * 1.001) is not None


def test_trials_that_differ_by_the_same_on_every_fold_leave_no_doubt() -> None:
    exact = standings([[skill + fold / 8 for fold in range(K)] for skill in (0.25, 0.5, 0.75)])
    assert reason([0.75, 0.875], exact) is None
    assert reason([0.75 + 1e-15], exact) is None
    assert reason([0.75 - 1e-15], exact) is None  # a rounding error is no difference
    assert reason([0.75 - 1e-6], exact) == (
        "fold race: less than 0.1 % chance to beat trial 2 (1) after 1 of 5 folds"
    )


def test_trials_that_learned_nothing_and_score_the_same_are_one() -> None:
    """Or they would say that scores have no residual,
    and the first good trial would stop the next.
    """
    nothing = [Standing(number, (0.2, 0.21, 0.2, 0.19, 0.2)) for number in range(20)]
    assert reason([0.1], nothing, min_evidence=1) is None
    assert reason([0.1], [*nothing, Standing(20, tuple(TABLE[2]))], min_evidence=5) is None


def test_of_equal_incumbents_the_lowest_number_is_named() -> None:
    twins = [Standing(9, tuple(TABLE[2])), *standings(TABLE), Standing(7, tuple(TABLE[2]))]
    assert incumbent(twins, k=K, goal=Goal.MAXIMIZE) == Standing(2, tuple(TABLE[2]))
    assert incumbent([], k=K, goal=Goal.MAXIMIZE) is None


@pytest.mark.parametrize("k", [2, 3, 10])
def test_any_number_of_folds(k: int) -> None:
    table = np.linspace(0.5, 0.8, 12)[:, None] + RNG.normal(0, 0.01, (12, k))
    assert reason(table[-1, :1] - 0.2, standings(table), k=k) is not None
    assert reason(table[-1, :1], standings(table), k=k) is None


cells = st.integers(0, 16).map(lambda steps: steps / 16)
tables = st.lists(st.lists(cells, min_size=3, max_size=3), min_size=2, max_size=8)


@given(tables, st.lists(cells, min_size=1, max_size=2), st.integers(0, 9))
def test_the_order_in_which_trials_ended_does_not_matter(
    table: list[list[float]], own: list[float], shuffle: int
) -> None:
    finished = standings(table)
    mixed = random.Random(shuffle).sample(finished, len(finished))
    assert reason(own, finished, k=3, min_evidence=1) == reason(own, mixed, k=3, min_evidence=1)


@given(tables, st.lists(cells, min_size=1, max_size=2), st.floats(0.001, 0.24))
def test_a_higher_error_rate_never_keeps_what_a_lower_one_stops(
    table: list[list[float]], own: list[float], error_rate: float
) -> None:
    low = reason(own, standings(table), k=3, min_evidence=1, error_rate=error_rate)
    high = reason(own, standings(table), k=3, min_evidence=1, error_rate=2 * error_rate)
    assert low is None or high == low


@given(tables, st.lists(cells, min_size=1, max_size=2), cells)
def test_a_better_trial_is_never_stopped_where_a_worse_one_goes_on(
    table: list[list[float]], own: list[float], gain: float
) -> None:
    worse = reason(own, standings(table), k=3, min_evidence=1)
    better = reason([score + gain for score in own], standings(table), k=3, min_evidence=1)
    assert better is None or worse is not None


def test_in_simulated_sweeps_it_saves_half_and_seldom_loses_the_best() -> None:
    """The setting of benchmarks/fold_race.py with 5 folds, a spread of 2.0:
    there it is 1,000 sweeps.
    """
    rng = np.random.default_rng(5)
    saved = []
    lost = 0
    for _ in range(40):
        table = rng.normal(0, 2.0, (60, 1)) + rng.normal(0, 1.0, K) + rng.normal(0, 0.6, (60, K))
        finished: list[Standing] = []
        for number, scores in enumerate(table.tolist()):
            done = next((f for f in range(1, K) if reason(scores[:f], finished) is not None), K)
            finished.append(Standing(number, tuple(scores[:done])))
        saved.append(1 - sum(len(standing.fold_scores) for standing in finished) / table.size)
        lost += len(finished[int(table.mean(axis=1).argmax())].fold_scores) < K
    assert np.mean(saved) > 0.45
    assert lost <= 1
