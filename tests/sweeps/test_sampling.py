import itertools
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.samplers import RandomSampler, TPESampler
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState

from sweeps.sampling import build_sampler, distribution, labels, propose, values_of
from sweeps.space import Categorical, Parameter, Space, Values, finite_values, grid, read_space
from sweeps.spec import SweepSpec
from sweeps.study import StoredSweep

Make = Callable[..., SweepSpec]

PARAMETERS: dict[str, Any] = {
    "lr": {"distribution": "log_uniform_values", "min": 1e-4, "max": 1e-1},
    "epochs": {"distribution": "q_uniform", "min": 1, "max": 10, "q": 3},
    "dropout": {"distribution": "q_uniform", "min": 0.0, "max": 0.75, "q": 0.25},
    "batch_size": {"min": 4, "max": 8},
    "optimizer": {"values": ["adamw", "sgd", "madgrad"]},
    "momentum": {"min": 0.5, "max": 0.9, "when": {"optimizer": ["sgd", "madgrad"]}},
    "weight_decay": {"min": 0.0, "max": 0.5, "when": {"optimizer": "adamw"}},
    "backbone": {"value": "test_resnet"},
}


def new_study() -> optuna.Study:
    return optuna.create_study(direction="maximize", sampler=RandomSampler(seed=0))


def rebuilt(trials: list[FrozenTrial]) -> optuna.Study:
    """What a restarted driver decides from."""
    study = new_study()
    study.add_trials(trials)
    return study


def score(params: dict[str, Any]) -> float:
    """A function with a best point, in place of a training."""
    return -abs(np.log10(params["lr"]) + 2.5) - (params["optimizer"] == "adamw") - abs(params["dropout"] - 0.25)


def evaluate(study: optuna.Study, spec: SweepSpec, *, trials: int) -> list[FrozenTrial]:
    """A sweep of that many trials without an interruption."""
    for number in range(trials):
        trial = propose(study, spec, number=number)
        study.tell(number, score(trial.params))
    return study.trials


# --- a proposal depends on the seed, the number and the history


@pytest.mark.parametrize("method", ["bayes", "random"])
def test_a_restarted_sweep_proposes_what_the_undisturbed_one_does(make_spec: Make, method: str) -> None:
    spec = make_spec(method=method, parameters=PARAMETERS)
    undisturbed = evaluate(new_study(), spec, trials=20)
    for number in range(20):
        study = rebuilt(undisturbed[:number])
        random.seed(number)
        np.random.seed(number)  # no global generator may matter
        assert propose(study, spec, number=number).params == undisturbed[number].params


@pytest.mark.parametrize("method", ["bayes", "random"])
def test_the_storage_keeps_all_that_a_proposal_depends_on(
    make_spec: Make, sqlite_storage: RDBStorage, method: str
) -> None:
    spec = make_spec(method=method, parameters=PARAMETERS)
    undisturbed = evaluate(new_study(), spec, trials=17)
    sweep = StoredSweep.create(sqlite_storage, spec, identity="a")
    for trial in undisturbed[:16]:
        sqlite_storage.create_new_trial(sweep.study_id, template_trial=trial)
    assert propose(rebuilt(sweep.trials()), spec, number=16).params == undisturbed[16].params


def test_the_model_phase_of_tpe_is_reached_and_learns(make_spec: Make) -> None:
    spec = make_spec(parameters=PARAMETERS)
    history = evaluate(new_study(), spec, trials=20)
    worse = [optuna.trial.create_trial(**{**_parts(trial), "value": -trial.values[0]}) for trial in history]
    as_is, turned = (propose(rebuilt(trials), spec, number=20).params for trials in (history, worse))
    assert as_is != turned


def _parts(trial: FrozenTrial) -> dict[str, Any]:
    return {"params": trial.params, "distributions": trial.distributions, "value": trial.value}


@pytest.mark.parametrize("method", ["bayes", "random"])
def test_another_seed_and_another_number_propose_another_point(make_spec: Make, method: str) -> None:
    spec, other = (make_spec(method=method, parameters=PARAMETERS, seed=seed) for seed in (1, 2))
    lrs = [propose(new_study(), s, number=number).params["lr"] for s in (spec, other) for number in (0, 1)]
    assert len(set(lrs)) == 4


def test_tpe_models_conditional_parameters_in_groups() -> None:
    sampler = build_sampler("tpe", seed=3)
    assert isinstance(sampler, TPESampler)
    assert sampler._multivariate
    assert sampler._group


def test_random_is_optunas_random_sampler() -> None:
    assert isinstance(build_sampler("random", seed=3), RandomSampler)


# --- what is proposed


@pytest.mark.parametrize("method", ["bayes", "random"])
def test_every_proposal_lies_in_the_space_and_has_what_is_active(make_spec: Make, method: str) -> None:
    spec = make_spec(method=method, parameters=PARAMETERS)
    for trial in evaluate(new_study(), spec, trials=20):
        p = trial.params
        assert 1e-4 <= p["lr"] <= 1e-1
        assert p["epochs"] in (1, 4, 7, 10)
        assert p["dropout"] in (0.0, 0.25, 0.5, 0.75)
        assert p["batch_size"] in range(4, 9)
        assert p["optimizer"] in ("adamw", "sgd", "madgrad")
        assert ("momentum" in p) == (p["optimizer"] != "adamw")
        assert ("weight_decay" in p) == (p["optimizer"] == "adamw")
        assert {name: type(p[name]) for name in ("lr", "epochs", "dropout", "batch_size")} == {
            "lr": float,
            "epochs": int,
            "dropout": float,
            "batch_size": int,
        }
        assert "backbone" not in p


def test_a_proposal_is_a_running_trial_of_the_study(make_spec: Make) -> None:
    study = new_study()
    for number in range(3):
        trial = propose(study, make_spec(), number=number)
        assert (trial.number, trial.state) == (number, TrialState.RUNNING)
    assert len(study.trials) == 3


def test_stepped_ranges_are_sampled_to_their_ends(make_spec: Make) -> None:
    parameters = {
        "dropout": {"distribution": "q_uniform", "min": 0.0, "max": 0.3, "q": 0.1},
        "epochs": {"distribution": "q_uniform", "min": 1, "max": 10, "q": 4},
    }
    spec, study = make_spec(method="random", parameters=parameters), new_study()
    proposed = [propose(study, spec, number=number).params for number in range(60)]
    assert {round(params["dropout"], 9) for params in proposed} == {0.0, 0.1, 0.2, 0.3}
    assert max(params["dropout"] for params in proposed) <= 0.3
    assert {params["epochs"] for params in proposed} == {1, 5, 9}


# --- grid


GRID: dict[str, Any] = {
    "optimizer": {"values": ["adamw", "sgd"]},
    "epochs": {"min": 1, "max": 2},
    "momentum": {"distribution": "q_uniform", "min": 0.5, "max": 0.75, "q": 0.25, "when": {"optimizer": "sgd"}},
    "backbone": {"value": "test_resnet"},
}


def test_a_grid_is_proposed_in_order_by_number(make_spec: Make) -> None:
    spec, study = make_spec(method="grid", parameters=GRID), new_study()
    assert [propose(study, spec, number=number).params for number in range(6)] == [
        {"optimizer": "adamw", "epochs": 1},
        {"optimizer": "adamw", "epochs": 2},
        {"optimizer": "sgd", "epochs": 1, "momentum": 0.5},
        {"optimizer": "sgd", "epochs": 1, "momentum": 0.75},
        {"optimizer": "sgd", "epochs": 2, "momentum": 0.5},
        {"optimizer": "sgd", "epochs": 2, "momentum": 0.75},
    ]
    assert all(trial.state == TrialState.RUNNING for trial in study.trials)


def test_past_the_end_of_a_grid_there_is_no_proposal(make_spec: Make) -> None:
    study = new_study()
    with pytest.raises(IndexError, match="the grid has no point number 6"):
        propose(study, make_spec(method="grid", parameters=GRID), number=6)
    assert study.trials == []


@pytest.mark.parametrize(
    "entry",
    [
        {"distribution": "q_uniform", "min": 0.0, "max": 0.3, "q": 0.1},
        {"distribution": "q_uniform", "min": 0.0, "max": 0.75, "q": 0.1},
        {"distribution": "q_uniform", "min": 0.1, "max": 0.7, "q": 0.3},
    ],
)
def test_every_point_of_a_stepped_grid_can_be_stored(make_spec: Make, entry: dict[str, Any]) -> None:
    spec, study = make_spec(method="grid", parameters={"dropout": entry}), new_study()
    values = [propose(study, spec, number=number).params["dropout"] for number in range(spec.trial_cap or 0)]
    assert values == list(finite_values(spec.space["dropout"].domain))


# --- labels


def test_lists_and_mappings_come_back_from_their_labels(make_spec: Make) -> None:
    choices = [[1, 2], {"a": [1], "b": None}, "plain", 3, None]
    space, problems = read_space({"layers": {"values": choices}, "kernel": {"value": [3, 3]}})
    assert problems == []
    spec, study = make_spec(method="random").model_copy(update={"space": space}), new_study()
    seen = []
    for number in range(30):
        params = propose(study, spec, number=number).params
        assert not isinstance(params["layers"], list | dict)
        values = values_of(space, params)
        assert values["kernel"] == [3, 3]
        seen.append(values["layers"])
    assert all(choice in seen for choice in choices)


def test_conditions_hold_for_the_values_behind_the_labels(make_spec: Make) -> None:
    space, _ = read_space({"layers": {"values": [[1], [2]]}, "width": {"min": 1, "max": 3, "when": {"layers": [[1]]}}})
    spec, study = make_spec(method="random").model_copy(update={"space": space}), new_study()
    for number in range(10):
        params = propose(study, spec, number=number).params
        assert ("width" in params) == (params["layers"] == "[1]")


def test_a_grid_tells_true_from_one(make_spec: Make) -> None:
    space = Space((Parameter("a", Categorical((1, True, 1.0))),))
    assert [repr(labels(space, values)["a"]) for values in grid(space)] == ["1", "True", "1.0"]


@given(st.lists(st.sampled_from(["adamw", "sgd", 1, 2.5, None, [1], {"a": 2}]), min_size=1, max_size=4, unique_by=repr))
def test_labels_and_values_are_each_others_inverse(choices: list[Any]) -> None:
    space, _ = read_space({"a": {"values": choices}, "b": {"min": 1, "max": 2}, "c": {"value": "x"}})
    for values in grid(space):
        assert values_of(space, labels(space, values)) == values


def test_a_stored_number_comes_back_in_its_kind() -> None:
    space, _ = read_space({"a": {"min": 1, "max": 2}, "b": {"min": 0.0, "max": 2.0}})
    values: Values = values_of(space, {"a": 1.0, "b": 1})
    assert [(value, type(value)) for value in values.values()] == [(1, int), (1.0, float)]


def test_the_points_of_a_grid_lie_in_the_distributions(make_spec: Make) -> None:
    spec = make_spec(method="grid", parameters=GRID)
    for values, parameter in itertools.product(grid(spec.space), spec.space.varying()):
        if parameter.name in values:
            wanted = distribution(parameter)
            assert wanted._contains(wanted.to_internal_repr(values[parameter.name]))
