"""Points to start with, in front of any sampler."""

import copy
import json

import pytest
from optuna.trial import TrialState

from sweeps.search import draws
from sweeps.search.distributions import distributions, values_of
from sweeps.search.sampling import propose
from sweeps.study.records import START_POINT
from tests.sweeps.search.proposals import GRID_POINTS, TRIALS, Make, evaluate, new_study, rebuilt

pytestmark = pytest.mark.usefixtures("small_population")


STARTS = (
    {"lr": 0.01, "optimizer": "adamw", "batch_size": 5},
    {"optimizer": "sgd", "momentum": 0.75},
)


@pytest.mark.parametrize("sampler", ["tpe", "gp", "cmaes", "qmc", "nsgaii", "random"])
def test_start_points_come_first_and_the_rest_of_them_is_sampled(make: Make, sampler: str) -> None:
    spec = make(sampler, start_with=STARTS)
    study = new_study()
    first, second, third = evaluate(study, spec, trials=3)
    for trial, start in ((first, STARTS[0]), (second, STARTS[1])):
        assert start.items() <= trial.params.items()
        assert trial.user_attrs == {START_POINT: json.dumps(start, sort_keys=True)}
        assert set(trial.params) == set(
            distributions(spec.space, values_of(spec.space, trial.params))
        )
    assert first.params["shift"] != second.params["shift"]
    assert third.user_attrs == {}


@pytest.mark.parametrize("state", list(TrialState))
def test_a_start_point_is_asked_once_in_the_sweeps_life(make: Make, state: TrialState) -> None:
    spec = make("random", start_with=STARTS)
    study = new_study()
    first = copy.deepcopy(propose(study, spec, number=0))
    first.state, first.values = state, [0.5] if state == TrialState.COMPLETE else None
    first.datetime_complete = first.datetime_start if state.is_finished() else None
    restarted = rebuilt([first])
    assert propose(restarted, spec, number=1).user_attrs == {
        START_POINT: json.dumps(STARTS[1], sort_keys=True)
    }
    assert propose(restarted, spec, number=2).user_attrs == {}


@pytest.mark.parametrize("sampler", ["tpe", "gp", "cmaes", "nsgaii"])
def test_a_start_point_may_come_when_the_model_acts(make: Make, sampler: str) -> None:
    """As after `start_with` was added to a sweep that goes on;
    CMA-ES and a mutation leave the rest to its law.
    """
    study = new_study()
    n = TRIALS.get(sampler, 14)
    evaluate(study, make(sampler), trials=n)
    trials = [propose(study, make(sampler, start_with=STARTS), number=n + at) for at in (0, 1)]
    for start, trial in zip(STARTS, trials, strict=True):
        assert start.items() <= trial.params.items()
    by_law = draws.drawn(make("random"), make("random").space, number=n)["shift"]
    assert (trials[0].params["shift"] != by_law) == (sampler in ("tpe", "gp"))


def test_what_a_start_points_own_conditions_switch_off_is_left_out(make: Make) -> None:
    spec = make(
        "random", start_with=({"optimizer": "adamw", "momentum": 0.75, "backbone": "test_resnet"},)
    )
    params = propose(new_study(), spec, number=0).params
    assert params["optimizer"] == "adamw"
    assert "momentum" not in params
    assert "backbone" not in params


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_a_start_points_value_becomes_the_domains_own(make: Make, sampler: str) -> None:
    parameters = {"lr": {"min": 0.5, "max": 2.5}, "layers": {"values": [[1, 2], {"a": 1}]}}
    spec = make(sampler, parameters=parameters, start_with=({"lr": 1, "layers": {"a": 1}},))
    params = propose(new_study(), spec, number=0).params
    assert repr(params) == repr({"lr": 1.0, "layers": '{"a": 1}'})


@pytest.mark.parametrize("sampler", ["grid", "brute_force"])
def test_a_start_point_of_a_grid_counts_as_tried(make: Make, sampler: str) -> None:
    starts = ({"optimizer": "sgd", "epochs": 2, "momentum": 0.75}, {"optimizer": "sgd"})
    spec = make(sampler, start_with=starts)
    study = new_study()
    proposed = [propose(study, spec, number=number) for number in range(6)]
    assert proposed[0].params == GRID_POINTS[5]
    assert proposed[1].params["optimizer"] == "sgd"
    assert sorted((t.params for t in proposed), key=GRID_POINTS.index) == GRID_POINTS
    assert [START_POINT in t.user_attrs for t in proposed] == [
        True,
        True,
        False,
        False,
        False,
        False,
    ]


def test_a_start_point_whose_points_have_all_been_tried_is_passed_over(make: Make) -> None:
    spec = make(
        "grid",
        start_with=({"optimizer": "adamw", "epochs": 1}, {"epochs": 1, "optimizer": "adamw"}),
    )
    study = new_study()
    assert [propose(study, spec, number=number).params for number in range(2)] == GRID_POINTS[:2]
    again = make("grid", start_with=({"optimizer": "adamw"},))
    assert propose(study, again, number=2).params == GRID_POINTS[2]
