"""Grid and brute force: every point once."""

from typing import Any

import pytest
from optuna.trial import TrialState, create_trial

from sweeps.search.distributions import distribution, values_of
from sweeps.search.sampling import propose
from sweeps.space.domains import finite_values
from tests.sweeps.search.proposals import GRID_POINTS, Make, evaluate, new_study


def test_a_grid_is_proposed_in_order(make: Make) -> None:
    spec = make("grid")
    study = new_study()
    assert [propose(study, spec, number=number).params for number in range(6)] == GRID_POINTS
    assert all(trial.state == TrialState.RUNNING for trial in study.trials)


def test_brute_force_tries_every_point_once_in_an_order_of_chance(make: Make) -> None:
    orders = []
    for seed in (1, 2):
        spec = make("brute_force", seed=seed)
        study = new_study()
        orders.append([propose(study, spec, number=number).params for number in range(6)])
        assert sorted(orders[-1], key=GRID_POINTS.index) == GRID_POINTS
    assert orders[0] != orders[1] != GRID_POINTS


def test_brute_force_finds_the_points_that_chance_does_not_meet(make: Make) -> None:
    parameters = {"a": {"values": [1, 2, 3], "probabilities": [1.0, 0.0, 0.0]}}
    spec = make("brute_force", parameters=parameters)
    study = new_study()
    tried = [propose(study, spec, number=number).params["a"] for number in range(3)]
    assert tried[0] == 1
    assert sorted(tried) == [1, 2, 3]


@pytest.mark.parametrize("sampler", ["grid", "brute_force"])
def test_past_the_last_point_there_is_no_proposal(make: Make, sampler: str) -> None:
    spec = make(sampler)
    study = new_study()
    evaluate(study, spec, trials=6)
    with pytest.raises(IndexError, match="the grid has no point left"):
        propose(study, spec, number=6)
    assert len(study.trials) == 6


def test_a_grid_skips_what_has_been_tried_whoever_has_the_numbers(make: Make) -> None:
    spec = make("grid")
    study = new_study()
    tried = [
        (3, TrialState.FAIL),
        (0, TrialState.COMPLETE),
        (3, TrialState.RUNNING),
        (5, TrialState.WAITING),
    ]
    for point, state in tried:
        params = dict(
            reversed(GRID_POINTS[point].items())
        )  # a storage may list them in another order
        wanted = {name: distribution(spec.space[name]) for name in params}
        value = 0.5 if state == TrialState.COMPLETE else None
        study.add_trial(create_trial(state=state, value=value, params=params, distributions=wanted))
    proposed = [propose(study, spec, number=number).params for number in range(4, 7)]
    assert proposed == [GRID_POINTS[1], GRID_POINTS[2], GRID_POINTS[4]]
    with pytest.raises(IndexError, match="the grid has no point left"):
        propose(study, spec, number=7)


@pytest.mark.parametrize("sampler", ["grid", "brute_force"])
def test_a_grid_tells_equal_values_of_two_kinds_and_lists_apart(make: Make, sampler: str) -> None:
    choices = [1, True, 1.0, None, [1], "[1]", {"a": 1}]
    spec = make(sampler, parameters={"a": {"values": choices}})
    study = new_study()
    proposed = [
        values_of(spec.space, propose(study, spec, number=number).params)["a"]
        for number in range(7)
    ]
    assert sorted(map(repr, proposed)) == sorted(map(repr, choices))
    with pytest.raises(IndexError, match="the grid has no point left"):
        propose(study, spec, number=7)


@pytest.mark.parametrize(
    "entry",
    [
        {"distribution": "q_uniform", "min": 0.0, "max": 0.3, "q": 0.1},
        {"distribution": "q_uniform", "min": 0.0, "max": 0.75, "q": 0.1},
        {"distribution": "q_uniform", "min": 0.1, "max": 0.7, "q": 0.3},
        {"distribution": "q_log_uniform_values", "min": 1, "max": 30, "q": 8},
    ],
)
def test_every_point_of_a_stepped_grid_can_be_stored(make: Make, entry: dict[str, Any]) -> None:
    spec = make("grid", parameters={"dropout": entry})
    study = new_study()
    points = list(finite_values(spec.space["dropout"].domain))
    assert [
        propose(study, spec, number=number).params["dropout"] for number in range(len(points))
    ] == points
