"""What Optuna stores: the bounds of each law, labels for lists and mappings."""

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution

from sweeps.search.distributions import distribution, fields_of, labels, values_of
from sweeps.search.sampling import propose
from sweeps.space.domains import Categorical
from sweeps.space.language import read_space
from sweeps.space.parameters import Parameter, Space, Values, grid
from sweeps.space.spec import Folds
from tests.sweeps.search.proposals import GRID, PARAMETERS, Make, contains, new_study

# --- distributions


@pytest.mark.parametrize(
    ("entry", "wanted"),
    [
        ({"min": 1, "max": 9}, IntDistribution(1, 9)),
        ({"distribution": "q_uniform", "min": 1, "max": 10, "q": 4}, IntDistribution(1, 9, step=4)),
        (
            {"distribution": "q_uniform", "min": 0.0, "max": 0.75, "q": 0.1},
            FloatDistribution(0.0, 0.7, step=0.1),
        ),
        (
            {"distribution": "q_uniform", "min": 0.1, "max": 0.7, "q": 0.3},
            FloatDistribution(0.1, 0.7, step=0.3),
        ),
        (
            {"distribution": "log_uniform_values", "min": 0.1, "max": 1.0},
            FloatDistribution(0.1, 1.0, log=True),
        ),
        (PARAMETERS["width"], IntDistribution(8, 256, log=True)),
        ({**PARAMETERS["width"], "q": 1.5}, FloatDistribution(7.5, 256.5, log=True)),
        ({**PARAMETERS["width"], "q": 20}, IntDistribution(0, 260, step=20)),
        ({"distribution": "q_normal", "mu": 0, "sigma": 1, "q": 2}, IntDistribution(-8, 8, step=2)),
        ({"distribution": "beta", "a": 2, "b": 5}, FloatDistribution(0.0, 1.0)),
    ],
)
def test_a_distribution_has_the_bounds_of_its_law(
    entry: dict[str, Any], wanted: BaseDistribution
) -> None:
    space, problems = read_space({"a": entry})
    assert problems == []
    assert distribution(space["a"]) == wanted


@pytest.mark.parametrize(
    "entry",
    [
        *(entry for entry in PARAMETERS.values() if "value" not in entry),
        {"distribution": "q_uniform", "min": 0.1, "max": 0.7, "q": 0.3},
        {"distribution": "q_log_uniform_values", "min": 0.01, "max": 3.0, "q": 0.1},
        {"distribution": "inv_log_uniform_values", "min": 0.01, "max": 3.0},
        {"distribution": "q_normal", "mu": 0.3, "sigma": 2.0, "q": 0.7},
        {"distribution": "log_normal", "mu": -2.0, "sigma": 1.0},
        {"distribution": "q_log_normal", "mu": 3, "sigma": 1, "q": 4},
        {"distribution": "q_beta", "a": 2, "b": 5, "q": 0.3},
    ],
    ids=lambda entry: entry.get("distribution", "-"),
)
def test_a_distribution_holds_every_value_of_its_law(entry: dict[str, Any]) -> None:
    space, problems = read_space(
        {"a": {key: value for key, value in entry.items() if key != "when"}}
    )
    assert problems == []
    wanted = distribution(space["a"])
    for share in (0.0, 0.01, 0.3, 0.5, 0.77, 0.999, 1 - 2**-53):
        value = space["a"].domain.draw(share)
        assert contains(wanted, value)
        assert wanted.to_external_repr(wanted.to_internal_repr(value)) == value


# --- labels


def test_lists_and_mappings_come_back_from_their_labels(make: Make) -> None:
    choices = [[1, 2], {"a": [1], "b": None}, "plain", 3, None]
    spec = make("random", parameters={"layers": {"values": choices}, "kernel": {"value": [3, 3]}})
    study = new_study()
    seen = []
    for number in range(30):
        params = propose(study, spec, number=number).params
        assert not isinstance(params["layers"], list | dict)
        values = values_of(spec.space, params)
        assert values["kernel"] == [3, 3]
        seen.append(values["layers"])
    assert all(choice in seen for choice in choices)


def test_conditions_hold_for_the_values_behind_the_labels(make: Make) -> None:
    parameters = {
        "layers": {"values": [[1], [2]]},
        "width": {"min": 1, "max": 3, "when": {"layers": [[1]]}},
    }
    spec = make("random", parameters=parameters)
    study = new_study()
    for number in range(10):
        params = propose(study, spec, number=number).params
        assert ("width" in params) == (params["layers"] == "[1]")


def test_labels_tell_true_from_one() -> None:
    space = Space((Parameter("a", Categorical((1, True, 1.0))),))
    assert [repr(labels(space, values)["a"]) for values in grid(space)] == ["1", "True", "1.0"]


@given(
    st.lists(
        st.sampled_from(["adamw", "sgd", 1, 2.5, None, [1], {"a": 2}]),
        min_size=1,
        max_size=4,
        unique_by=repr,
    )
)
def test_labels_and_values_are_each_others_inverse(choices: list[Any]) -> None:
    space, _ = read_space(
        {"a": {"values": choices}, "b": {"min": 1, "max": 2}, "c": {"value": "x"}}
    )
    for values in grid(space):
        assert values_of(space, labels(space, values)) == values


def test_a_stored_number_comes_back_in_its_kind() -> None:
    space, _ = read_space({"a": {"min": 1, "max": 2}, "b": {"min": 0.0, "max": 2.0}})
    values: Values = values_of(space, {"a": 1.0, "b": 1})
    assert [(value, type(value)) for value in values.values()] == [(1, int), (1.0, float)]


def test_the_points_of_a_grid_lie_in_the_distributions() -> None:
    space, _ = read_space(GRID)
    for values, parameter in itertools.product(grid(space), space.varying()):
        if parameter.name in values:
            assert contains(distribution(parameter), values[parameter.name])


# --- fields of a training


@pytest.mark.parametrize(("paired", "alike"), [(True, True), (False, False)])
def test_trials_share_their_seed_unless_the_space_says_no(make: Make, paired: bool, alike: bool):
    spec = make(folds=Folds(k=3, paired_seeds=paired))
    study = new_study()
    seeds = [fields_of(spec, propose(study, spec, number=number))["seed"] for number in range(2)]
    assert (seeds[0] == seeds[1]) is alike
