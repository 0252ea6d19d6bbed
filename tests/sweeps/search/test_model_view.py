"""What models see of trials that were stopped before their last fold."""

import copy
import math
import statistics
from typing import Any

import numpy as np
import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from sweeps.search.mirror import Mirror
from sweeps.search.model_view import model_view, seen_by_models
from sweeps.search.models import ask
from sweeps.space.language import read_space
from sweeps.space.spec import SweepSpec
from sweeps.study.records import finishing
from tests.sweeps.search.proposals import Make, asked_of, random_point, score
from trainer.metrics import Goal

K = 3  # folds of `make`'s spec
COMPLETE = TrialState.COMPLETE
PRUNED = TrialState.PRUNED
ALL_FOLDS = ((0.6, 0.9, 0.6), (0.5, 0.8, 0.5), (0.7, 0.7, 0.7))  # the second is 0.2 easier


def trials(*each: tuple[TrialState, tuple[float, ...]]) -> list[FrozenTrial]:
    """Trials as a storage gives them, by state and scores of their finished folds."""
    made = [
        create_trial(
            state=state,
            value=statistics.fmean(scores) if state == COMPLETE else None,
            params={"lr": 0.1 * number},
            distributions={"lr": FloatDistribution(0, 10)},
            user_attrs={"fold_scores": list(scores)} if scores else {},
            system_attrs={"of a model": number},
            intermediate_values={1: 0.3},
        )
        for number, (state, scores) in enumerate(each)
    ]
    for number, trial in enumerate(made):
        trial.number = number
    return made


def complete(*rows: tuple[float, ...]) -> list[tuple[TrialState, tuple[float, ...]]]:
    return [(COMPLETE, row) for row in rows]


@pytest.mark.parametrize("goal", [Goal.MAXIMIZE, Goal.MINIMIZE])
@pytest.mark.parametrize(
    ("own", "expected"),
    [((0.4,), 0.5), ((0.4, 0.6), 0.45), ((0.4, 0.6, 0.5), 0.5)],
    ids=["a hard fold", "a hard and an easy fold", "every fold"],
)
def test_a_stopped_trial_is_complete_with_the_mean_that_the_ease_of_its_folds_lets_expect(
    make: Make, goal: Goal, own: tuple[float, ...], expected: float
) -> None:
    spec = make("gp")
    spec = spec.model_copy(update={"metric": spec.metric.model_copy(update={"goal": goal})})
    given = trials(*complete(*ALL_FOLDS), (PRUNED, own))
    as_given = copy.deepcopy(given)
    seen = seen_by_models(given, spec)
    assert given == as_given
    assert seen[:3] == given[:3]
    wanted = copy.deepcopy(given[3])
    wanted.state = COMPLETE
    wanted.values = [pytest.approx(expected)]
    # the ease: medians of (-0.1, -0.1, 0), (0.2, 0.2, 0) and (-0.1, -0.1, 0)
    assert seen[3].values == wanted.values
    seen[3].values = wanted.values = [0.0]
    assert seen[3] == wanted


def test_a_value_of_a_stopped_trial_that_is_stored_decides_nothing(make: Make) -> None:
    with_value = trials(*complete(*ALL_FOLDS), (PRUNED, (0.4,)))
    with_value[3].values = [0.99]
    assert seen_by_models(with_value, make("gp"))[3].values == [pytest.approx(0.5)]


@pytest.mark.parametrize(
    "of",
    [
        (PRUNED, ()),
        (PRUNED, (0.4, math.nan)),
        (PRUNED, (math.inf,)),
        (TrialState.FAIL, (0.4,)),
        (TrialState.RUNNING, ()),
    ],
    ids=["stopped in its first fold", "not a number", "not finite", "failed", "running"],
)
def test_a_trial_without_an_expected_score_is_seen_as_it_is(
    make: Make, of: tuple[TrialState, tuple[float, ...]]
) -> None:
    given = trials(*complete(*ALL_FOLDS), of)
    assert all(
        one is other for one, other in zip(seen_by_models(given, make()), given, strict=True)
    )


def finishing_the_fourth(state: TrialState, scores: tuple[float, ...]) -> list[FrozenTrial]:
    """Three complete trials, one that was stopped, and one that finishes it."""
    given = trials(*complete(*ALL_FOLDS), (PRUNED, (0.4,)), (state, scores))
    given[4].params = given[3].params
    given[4].user_attrs |= finishing(given[3])
    return given


@pytest.mark.parametrize("sampler", ["tpe", "gp"])
def test_a_point_that_was_finished_counts_once_with_its_final_score(
    make: Make, sampler: str
) -> None:
    given = finishing_the_fourth(COMPLETE, (0.4, 0.9, 0.8))
    as_given = copy.deepcopy(given)
    seen = seen_by_models(given, make(sampler))
    assert given == as_given
    assert seen[:3] == given[:3]
    assert (seen[3].state, seen[3].values) == (COMPLETE, [pytest.approx(0.7)])
    assert seen[3].system_attrs == given[3].system_attrs  # what its model wrote
    assert (seen[4].state, seen[4].values) == (TrialState.FAIL, None)


@pytest.mark.parametrize("state", [TrialState.RUNNING, TrialState.WAITING, TrialState.FAIL])
def test_a_point_that_is_being_finished_has_its_expected_score_until_then(
    make: Make, state: TrialState
) -> None:
    seen = seen_by_models(finishing_the_fourth(state, ()), make())
    assert (seen[3].state, seen[3].values) == (COMPLETE, [pytest.approx(0.5)])
    assert seen[4].state == TrialState.FAIL


@pytest.mark.parametrize(
    "first", [(PRUNED, (0.6,)), (COMPLETE, (0.6, math.inf, 0.6))], ids=["none", "none is finite"]
)
def test_without_a_complete_trial_a_fold_is_compared_with_nothing(
    make: Make, first: tuple[TrialState, tuple[float, ...]]
) -> None:
    given = trials(first, (PRUNED, (0.4,)))
    assert seen_by_models(given, make()) == given


def test_with_the_best_common_epoch_folds_of_stopped_trials_compare_with_nothing(
    make: Make,
) -> None:
    space, _ = read_space({"checkpoint": {"value": "best"}})
    given = trials(*complete(*ALL_FOLDS), (PRUNED, (0.4,)))
    assert seen_by_models(given, make("gp").model_copy(update={"space": space})) == given


def test_a_complete_trial_that_collapsed_on_a_fold_moves_no_expected_score(make: Make) -> None:
    rng = np.random.default_rng(3)
    rows = [tuple(row) for row in (0.8 + rng.normal(0, 0.001, (6, K))).tolist()]
    collapsed = (0.1, 0.8, 0.8)
    given = trials(*complete(*rows, collapsed), (PRUNED, (0.75,)))
    assert seen_by_models(given, make())[-1].values == [pytest.approx(0.75, abs=0.003)]


@pytest.mark.parametrize(
    ("sampler", "goal", "seen"),
    [
        ("gp", Goal.MAXIMIZE, [3, 4, 5, 7, 9]),  # of 5 9 4 8 3 7 6, best first
        ("gp", Goal.MINIMIZE, [3, 4, 6, 7, 9]),
        ("tpe", Goal.MAXIMIZE, [3, 4, 5, 6, 7, 8, 9]),
    ],
)
def test_gp_sees_a_limited_number_of_stopped_trials_from_good_to_bad(
    make: Make, monkeypatch: pytest.MonkeyPatch, sampler: str, goal: Goal, seen: list[int]
) -> None:
    monkeypatch.setattr("sweeps.search.model_view.MOST_FOR_GP", 8)
    spec = make(sampler)
    spec = spec.model_copy(update={"metric": spec.metric.model_copy(update={"goal": goal})})
    own = (0.3, 0.5, 0.7, 0.1, 0.2, 0.4, 0.6)  # of trials 3 to 9
    given = trials(*complete(*ALL_FOLDS), *((PRUNED, (one,)) for one in own))
    states = [trial.state for trial in seen_by_models(given, spec)]
    assert [number for number in range(3, 10) if states[number] == COMPLETE] == seen


def test_gp_sees_no_stopped_trial_if_enough_are_complete(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sweeps.search.model_view.MOST_FOR_GP", 2)
    given = trials(*complete(*ALL_FOLDS), (PRUNED, (0.4,)))
    assert seen_by_models(given, make("gp")) == given


def test_a_trial_that_waits_to_be_continued_is_seen_as_one_that_runs(make: Make) -> None:
    waiting = trials(*complete(*ALL_FOLDS), (TrialState.WAITING, ()))
    running = trials(*complete(*ALL_FOLDS), (TrialState.RUNNING, ()))
    spec = make("tpe")
    assert [trial.state for trial in seen_by_models(waiting, spec)][3] == TrialState.RUNNING
    assert waiting[3].state == TrialState.WAITING
    # Optuna itself would take the trial that waits
    proposed, expected = (ask(each, spec, number=4, start=None) for each in (waiting, running))
    assert (proposed.state, proposed.params) == (TrialState.RUNNING, expected.params)


def test_a_model_is_shown_all_trials_and_the_one_that_is_asked_for(make: Make) -> None:
    given = trials(*complete(*ALL_FOLDS), (PRUNED, (0.4,)), (PRUNED, ()))
    study = model_view(given, make("gp"))
    study.ask().suggest_float("lr", 0, 10)
    states = [trial.state for trial in study.get_trials(deepcopy=False)]
    assert states == [COMPLETE] * 4 + [PRUNED, TrialState.RUNNING]
    assert [trial.params for trial in study.get_trials(states=(PRUNED,))] == [given[4].params]
    study.trials[0].params["lr"] = 5.0  # a copy
    assert given[0].params == {"lr": 0.0}


def raced(spec: SweepSpec, *, sweep_of: int, restarted: bool = False) -> list[FrozenTrial]:
    """A sweep in which the fold race stops most trials; a restarted one begins anew at every trial.

    The ease of the folds differs, and a fold's score has a residual.
    """
    mirror = Mirror(spec, [])
    for number in range(sweep_of):
        if restarted:
            mirror = Mirror(spec, copy.deepcopy(mirror.trials()))
        trial = mirror.propose()
        if trial.state != TrialState.RUNNING:  # nsgaii may propose a parent once more
            continue
        rng = np.random.default_rng(number)
        scores = (
            score(trial.params) + np.array([0.3, 0.0, -0.1]) + rng.normal(0, 0.02, K)
        ).tolist()
        folds = 1
        while folds < K and mirror.fold_finished(number, tuple(scores[:folds])) is None:
            folds += 1
        state = COMPLETE if folds == K else PRUNED
        mirror.change(
            number,
            state,
            score=statistics.fmean(scores) if state == COMPLETE else None,
            attributes={"fold_scores": scores[:folds]},
        )
    return mirror.trials()


# a parameter far more important than the noise: most trials are stopped after their first fold
RACED: dict[str, Any] = {
    "lr": {"distribution": "log_uniform_values", "min": 1e-9, "max": 1e-1},
    "dropout": {"min": 0.0, "max": 0.7},
}


@pytest.mark.usefixtures("small_population")
@pytest.mark.parametrize(
    ("sampler", "trials", "attribute", "generation"),
    [
        ("tpe", 25, "", None),
        ("gp", 12, "", None),
        ("cmaes", 19, "cma:generation", 2),
        ("nsgaii", 25, "_Genetic:generation", 4),
    ],
)
def test_under_the_race_a_model_goes_on_to_propose_and_a_restarted_one_proposes_the_same(
    make: Make, sampler: str, trials: int, attribute: str, generation: int | None
) -> None:
    spec = make(sampler, parameters=RACED)
    undisturbed = raced(spec, sweep_of=trials)
    assert [trial.state for trial in undisturbed].count(COMPLETE) < min(trials, 18) * 0.8
    drawn = [trial.params == random_point(spec, trial.number) for trial in undisturbed]
    # gp and tpe have a model of 10 trials; of two parameters nsgaii often draws both
    assert sum(drawn[10:]) < (trials - 10) / 2
    # generations of 6, after one trial (cmaes) or from the first on
    assert undisturbed[-1].system_attrs.get(attribute) == generation
    restarted = raced(spec, sweep_of=trials, restarted=True)
    assert [asked_of(trial) for trial in restarted] == [asked_of(trial) for trial in undisturbed]


@pytest.mark.usefixtures("small_population")
@pytest.mark.parametrize(
    ("sampler", "trials"), [("tpe", 17), ("gp", 11), ("cmaes", 19), ("nsgaii", 17)]
)
def test_a_model_learns_from_the_fold_scores_of_stopped_trials(
    make: Make, sampler: str, trials: int
) -> None:
    spec = make(sampler, parameters=RACED)
    known = raced(spec, sweep_of=trials)  # cmaes: three generations are to be told
    other = copy.deepcopy(known)
    for trial in other:
        if trial.state == PRUNED:
            trial.user_attrs["fold_scores"] = [-one for one in trial.user_attrs["fold_scores"]]
    one, another = (Mirror(spec, trials_).propose().params for trials_ in (known, other))
    assert one != another
