import itertools
import math
import warnings
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.distributions import BaseDistribution, CategoricalDistribution

from sweeps.errors import Problem
from sweeps.sampling import distribution
from sweeps.space import (
    Categorical,
    Constant,
    Domain,
    Numeric,
    Parameter,
    Space,
    Values,
    finite_values,
    grid,
    grid_size,
    read_space,
)


def read(raw: dict[str, Any]) -> Space:
    space, problems = read_space(raw)
    assert problems == []
    return space


def one(entry: dict[str, Any]) -> Domain:
    return read({"lr": entry})["lr"].domain


def problems_of(raw: Any) -> list[Problem]:
    return read_space(raw)[1]


# --- one parameter


@pytest.mark.parametrize(
    ("entry", "domain"),
    [
        ({"value": 3}, Constant(3)),
        ({"value": None}, Constant(None)),
        ({"value": [1, 2]}, Constant([1, 2])),
        ({"distribution": "constant", "value": 3}, Constant(3)),
        ({"values": [1, "a", None]}, Categorical((1, "a", None))),
        ({"values": [1, True, 1.0]}, Categorical((1, True, 1.0))),
        ({"distribution": "categorical", "values": ["a"]}, Categorical(("a",))),
        ({"min": 1, "max": 5}, Numeric(1, 5, integer=True)),
        ({"min": 0, "max": 0}, Numeric(0, 0, integer=True)),
        ({"min": -1.5, "max": 2}, Numeric(-1.5, 2)),
        ({"distribution": "int_uniform", "min": 1, "max": 5}, Numeric(1, 5, integer=True)),
        ({"distribution": "uniform", "min": 1, "max": 5}, Numeric(1, 5)),
        ({"distribution": "q_uniform", "min": 1, "max": 5, "q": 2}, Numeric(1, 5, q=2, integer=True)),
        ({"distribution": "q_uniform", "min": 1, "max": 5}, Numeric(1, 5, q=1, integer=True)),
        ({"distribution": "q_uniform", "min": 0, "max": 1, "q": 0.25}, Numeric(0, 1, q=0.25)),
        ({"distribution": "log_uniform_values", "min": 1e-5, "max": 1}, Numeric(1e-5, 1, log=True)),
    ],
)
def test_a_parameter_is_read_by_wandbs_rules(entry: dict[str, Any], domain: Domain) -> None:
    assert one(entry) == domain


@pytest.mark.parametrize(
    ("entry", "path", "text"),
    [
        ({}, (), "needs one of: value, values, or min and max"),
        ({"min": 1}, (), "needs one of: value, values, or min and max"),
        ({"when": {"lr": 1}}, (), "needs one of: value, values, or min and max"),
        ({"distribution": "uniform", "min": 1}, (), "uniform needs max"),
        ({"distribution": "uniform"}, (), "uniform needs max and min"),
        ({"distribution": "constant"}, (), "constant needs value"),
        (
            {"distribution": "log_uniform", "min": 1, "max": 2},
            ("distribution",),
            "unknown distribution 'log_uniform'. Did you mean 'q_uniform'? "
            "Known: constant, categorical, int_uniform, uniform, q_uniform, log_uniform_values",
        ),
        (
            {"distribution": ["uniform"]},
            ("distribution",),
            "unknown distribution ['uniform']. Did you mean 'uniform'? "
            "Known: constant, categorical, int_uniform, uniform, q_uniform, log_uniform_values",
        ),
        ({"min": 0.1, "max": 0.2, "q": 0.1}, ("q",), "uniform takes no 'q'. Allowed: distribution, max, min, when"),
        (
            {"values": [1], "valeus": [2]},
            ("valeus",),
            "categorical takes no 'valeus'. Did you mean 'values'? Allowed: distribution, values, when",
        ),
        ({"values": []}, ("values",), "expected a list with at least one value, got []"),
        ({"values": "adam"}, ("values",), "expected a list with at least one value, got 'adam'"),
        ({"values": [1, 2, 1]}, ("values",), "1 is listed twice"),
        ({"values": [{"a": 1, "b": 2}, {"b": 2, "a": 1}]}, ("values",), '{"a": 1, "b": 2} is listed twice'),
        ({"min": 2, "max": 1}, (), "min must not be above max, got min=2, max=1"),
        ({"min": "1", "max": 2.0}, ("min",), "expected a number, got '1'"),
        ({"min": 1.0, "max": math.inf}, ("max",), "expected a number, got inf"),
        ({"min": math.nan, "max": 1.0}, ("min",), "expected a number, got nan"),
        ({"min": False, "max": True}, ("min",), "expected a number, got False"),
        (
            {"distribution": "int_uniform", "min": 1.0, "max": 5},
            (),
            "int_uniform needs whole numbers, got min=1.0, max=5",
        ),
        ({"distribution": "q_uniform", "min": 1, "max": 5, "q": 0}, ("q",), "q must be above 0, got 0"),
        ({"distribution": "q_uniform", "min": 1, "max": 5, "q": "1"}, ("q",), "expected a number, got '1'"),
        *[
            (
                {"distribution": "log_uniform_values", "min": low, "max": high},
                (),
                f"a log scale needs 0 < min < max, got min={low}, max={high}",
            )
            for low, high in ((0, 0.1), (-1, 1), (0.1, 0.1), (0.2, 0.1))
        ],
        ({"value": 1, "when": []}, ("when",), "expected a mapping such as {optimizer: [sgd, madgrad]}, got []"),
        ({"value": 1, "when": {}}, ("when",), "expected a mapping such as {optimizer: [sgd, madgrad]}, got {}"),
    ],
)
def test_a_parameter_that_cannot_be_sampled_is_one_problem(
    entry: dict[str, Any], path: tuple[str, ...], text: str
) -> None:
    space, problems = read_space({"lr": entry})
    assert problems == [Problem(("parameters", "lr", *path), text)]
    assert "lr" not in space


@pytest.mark.parametrize("raw", [None, {}, [], "lr"])
def test_parameters_must_be_a_mapping(raw: Any) -> None:
    assert problems_of(raw) == [
        Problem(("parameters",), "expected a mapping of parameter names, e.g. lr: {min: 0.001, max: 0.1}")
    ]


def test_a_bare_value_is_told_how_a_constant_is_written() -> None:
    assert problems_of({"lr": 0.1}) == [
        Problem(("parameters", "lr"), "expected a mapping, got 0.1. A constant is written {value: 0.1}")
    ]


def test_problems_of_several_parameters_come_together_and_the_others_are_read() -> None:
    space, problems = read_space({"lr": {"min": 2, "max": 1}, "loss": {"value": "focal"}, "epochs": {"values": []}})
    assert [problem.path[1] for problem in problems] == ["lr", "epochs"]
    assert [parameter.name for parameter in space.parameters] == ["loss"]


def test_nested_parameters_have_dotted_names() -> None:
    space = read({"a": {"parameters": {"b": {"parameters": {"c": {"value": 1}}}, "d": {"value": 2}}}})
    assert [parameter.name for parameter in space.parameters] == ["a.b.c", "a.d"]


def test_a_name_cannot_be_given_nested_and_dotted() -> None:
    problems = problems_of({"a": {"parameters": {"b": {"value": 1}}}, "a.b": {"value": 2}})
    assert problems == [Problem(("parameters", "a.b"), "a.b is given twice, nested and dotted")]


def test_an_empty_nested_mapping_is_a_problem() -> None:
    assert [problem.path for problem in problems_of({"a": {"parameters": {}}})] == [("parameters", "a", "parameters")]


# --- conditions


def test_a_condition_takes_one_value_or_several() -> None:
    space = read({"a": {"values": [1, 2]}, "b": {"value": 0, "when": {"a": 1}}, "c": {"value": 0, "when": {"a": [1]}}})
    assert space["b"].when == space["c"].when == (("a", (1,)),)


def test_a_condition_on_several_parameters_needs_all_of_them() -> None:
    parameter = Parameter("c", Constant(0), when=(("a", (1, 2)), ("b", ("x",))))
    assert parameter.active({"a": 2, "b": "x"})
    assert not parameter.active({"a": 2, "b": "y"})
    assert not parameter.active({"b": "x"})


def test_true_is_not_one_in_a_condition() -> None:
    assert not Parameter("b", Constant(0), when=(("a", (1,)),)).active({"a": True})
    assert Parameter("b", Constant(0), when=(("a", (1,)),)).active({"a": 1.0})


def test_a_condition_on_an_unknown_parameter_names_the_nearest() -> None:
    problems = problems_of({"optimizer": {"value": "sgd"}, "lr": {"value": 1, "when": {"optimzer": "sgd"}}})
    assert problems == [
        Problem(("parameters", "lr", "when", "optimzer"), "unknown parameter 'optimzer'. Did you mean 'optimizer'?")
    ]


@pytest.mark.parametrize(
    ("entry", "value"),
    [
        ({"value": "sgd"}, "adam"),
        ({"values": ["sgd", "adam"]}, "madgrad"),
        ({"values": [0, 1]}, True),
        ({"min": 1, "max": 3}, 4),
        ({"min": 1, "max": 3}, 2.5),
        ({"min": 1.0, "max": 3.0}, True),
        ({"min": 1.0, "max": 3.0}, "2"),
    ],
)
def test_a_condition_that_never_holds_is_a_problem(entry: dict[str, Any], value: Any) -> None:
    assert problems_of({"a": entry, "b": {"value": 1, "when": {"a": value}}}) == [
        Problem(("parameters", "b", "when", "a"), f"a never has the value {value!r}, so this is never sampled")
    ]


@pytest.mark.parametrize(
    ("entry", "value"),
    [({"value": "sgd"}, "sgd"), ({"min": 1, "max": 3}, 3), ({"min": 1.0, "max": 3.0}, 2), ({"values": [1, 2]}, 2.0)],
)
def test_a_condition_that_can_hold_is_none(entry: dict[str, Any], value: Any) -> None:
    assert problems_of({"a": entry, "b": {"value": 1, "when": {"a": value}}}) == []


def test_a_condition_without_values_is_a_problem() -> None:
    (problem,) = problems_of({"a": {"value": 1}, "b": {"value": 1, "when": {"a": []}}})
    assert problem.path == ("parameters", "b", "when", "a")


def test_a_condition_on_a_parameter_that_has_a_problem_is_not_a_second_one() -> None:
    problems = problems_of({"a": {"values": []}, "b": {"value": 1, "when": {"a": 1}}})
    assert [problem.path[1] for problem in problems] == ["a"]


@pytest.mark.parametrize("names", [["a"], ["a", "b"], ["a", "b", "c"]])
def test_conditions_in_a_circle_are_one_problem(names: list[str]) -> None:
    raw = {
        name: {"values": [1, 2], "when": {other: 1}} for name, other in zip(names, [*names[1:], names[0]], strict=True)
    }
    space, problems = read_space({"free": {"value": 0}, **raw})
    assert problems == [Problem(("parameters", "a", "when"), f"conditions in a circle: {', '.join(names)}")]
    assert [parameter.name for parameter in space.parameters] == ["free"]


def test_a_parameter_comes_after_those_it_depends_on_and_otherwise_where_it_is_written() -> None:
    space = read(
        {
            "z": {"value": 1},
            "c": {"value": 1, "when": {"b": 1}},
            "b": {"values": [1, 2], "when": {"a": 1}},
            "a": {"values": [1, 2]},
            "y": {"value": 1},
        }
    )
    assert [parameter.name for parameter in space.parameters] == ["z", "a", "b", "c", "y"]


# --- laws over random conditional spaces


def small_domains() -> st.SearchStrategy[Domain]:
    return st.one_of(
        st.integers(0, 2).map(Constant),
        st.lists(st.sampled_from([0, 1, 2, "x", True]), min_size=1, max_size=3, unique_by=lambda v: (type(v), v)).map(
            lambda values: Categorical(tuple(values))
        ),
        st.tuples(st.integers(0, 1), st.integers(0, 2), st.integers(1, 2)).map(
            lambda n: Numeric(n[0], n[0] + n[1], q=n[2], integer=True)
        ),
    )


@st.composite
def small_spaces(draw: Callable[[st.SearchStrategy[Any]], Any]) -> Space:
    parameters: list[Parameter] = []
    for name in "abcd"[: draw(st.integers(1, 4))]:
        when = []
        for other in parameters:
            if draw(st.booleans()):
                values = list(finite_values(other.domain))
                when.append((other.name, tuple(draw(st.lists(st.sampled_from(values), min_size=1, max_size=2)))))
        parameters.append(Parameter(name, draw(small_domains()), tuple(when)))
    return Space(tuple(parameters))


def same(one: Any, other: Any) -> bool:
    return one == other and type(one) is type(other)


def holds(parameter: Parameter, values: Values) -> bool:
    return all(name in values and any(same(values[name], v) for v in allowed) for name, allowed in parameter.when)


def brute_force(space: Space) -> list[Values]:
    """Every combination of all domains, without what is inactive in it, each once."""
    points: list[Values] = []
    names = [parameter.name for parameter in space.parameters]
    for combination in itertools.product(*(finite_values(parameter.domain) for parameter in space.parameters)):
        values = dict(zip(names, combination, strict=True))
        while inactive := [p.name for p in space.parameters if p.name in values and not holds(p, values)]:
            for name in inactive:
                del values[name]
        if not any(key(values) == key(point) for point in points):
            points.append(values)
    return points


def key(values: Values) -> list[tuple[str, str, str]]:
    return sorted((name, type(value).__name__, str(value)) for name, value in values.items())


@given(small_spaces(), st.randoms(use_true_random=False))
def test_resolve_gives_a_value_to_every_active_parameter_and_to_no_other(space: Space, rng: Any) -> None:
    asked: list[str] = []

    def choose(parameter: Parameter) -> Any:
        asked.append(parameter.name)
        return rng.choice(list(finite_values(parameter.domain)))

    values = space.resolve(choose)
    assert set(values) == {parameter.name for parameter in space.parameters if holds(parameter, values)}
    assert asked == [parameter.name for parameter in space.varying() if parameter.name in values]


@given(small_spaces())
def test_the_grid_visits_every_point_once_and_no_other(space: Space) -> None:
    points = list(grid(space))
    assert sorted(map(key, points)) == sorted(map(key, brute_force(space)))
    assert grid_size(space, at_most=1000) == len(points)


@given(small_spaces(), st.integers(1, 10))
def test_the_grid_is_counted_up_to_a_bound(space: Space, at_most: int) -> None:
    assert grid_size(space, at_most=at_most) == min(at_most, len(list(grid(space))))


@given(
    low=st.decimals(-2, 2, places=2),
    width=st.decimals(0, 3, places=2),
    q=st.decimals("0.01", 1, places=2),
)
def test_a_stepped_range_stays_within_its_bounds_and_loses_no_step(low: Any, width: Any, q: Any) -> None:
    domain = Numeric(float(low), float(low + width), q=float(q))
    values = list(finite_values(domain))
    assert len(values) == width // q + 1
    assert domain.low <= min(values)
    assert max(values) <= domain.high
    assert values == pytest.approx([float(low + index * q) for index in range(len(values))])


def test_the_last_parameter_of_a_grid_moves_fastest() -> None:
    space = read({"a": {"values": ["x", "y"]}, "b": {"min": 1, "max": 2}, "c": {"value": 0, "when": {"a": "x"}}})
    assert list(grid(space)) == [
        {"a": "x", "b": 1, "c": 0},
        {"a": "x", "b": 2, "c": 0},
        {"a": "y", "b": 1},
        {"a": "y", "b": 2},
    ]


def test_a_continuous_range_has_no_grid() -> None:
    with pytest.raises(ValueError, match="a continuous range has no finite grid"):
        list(grid(read({"a": {"min": 0.0, "max": 1.0}})))


# --- stored labels

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from([0.5, 1.0, -0.0]) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=2),
    max_leaves=4,
)


@given(st.lists(json_values, min_size=1, max_size=4))
def test_every_value_comes_back_from_its_label(values: list[Any]) -> None:
    space, problems = read_space({"a": {"values": values}})
    if problems:
        return
    domain = space["a"].domain
    assert isinstance(domain, Categorical)
    for value, label in zip(domain.values, domain.labels, strict=True):
        assert repr(domain.value_of(label)) == repr(value)


def test_one_and_true_and_1_0_come_back_as_they_were() -> None:
    domain = Categorical((1, True, 1.0))
    assert [repr(domain.value_of(label)) for label in domain.labels] == ["1", "True", "1.0"]


def test_a_text_that_looks_like_a_lists_label_is_another_value() -> None:
    domain = one({"values": [[1], "[1]"]})
    assert isinstance(domain, Categorical)
    assert [domain.value_of(label) for label in domain.labels] == [[1], "[1]"]


# --- against W&B's own map


@pytest.mark.parametrize(
    "entry",
    [
        {"values": ["adam", "sgd"]},
        {"values": [1, 2.5, None, True]},
        {"distribution": "categorical", "values": ["adam"]},
        {"min": 1, "max": 9},
        {"min": 0.25, "max": 0.75},
        {"min": 0, "max": 0.75},
        {"distribution": "int_uniform", "min": -3, "max": 3},
        {"distribution": "uniform", "min": 1, "max": 9},
        {"distribution": "log_uniform_values", "min": 1e-5, "max": 1e-1},
        {"distribution": "log_uniform_values", "min": 1, "max": 1000},
        {"distribution": "q_uniform", "min": 0, "max": 9, "q": 3},
        {"distribution": "q_uniform", "min": 1, "max": 9},
        {"distribution": "q_uniform", "min": 0, "max": 1, "q": 0.25},
        {"distribution": "q_uniform", "min": 0.0, "max": 0.3, "q": 0.1},
        {"distribution": "q_uniform", "min": 0.0, "max": 0.7, "q": 0.1},
        {"distribution": "q_uniform", "min": 0.1, "max": 0.9, "q": 0.2},
    ],
)
def test_our_distributions_are_those_of_wandbs_own_map(entry: dict[str, Any]) -> None:
    assert distribution(read({"a": entry})["a"]) == wandbs(entry)


@pytest.mark.parametrize(
    "entry",
    [
        {"distribution": "q_uniform", "min": 1, "max": 10, "q": 4},
        {"distribution": "q_uniform", "min": 0.0, "max": 1.0, "q": 0.3},
    ],
)
@pytest.mark.filterwarnings("ignore:The distribution is specified by:UserWarning")  # W&B's side, not ours
def test_where_the_step_does_not_divide_the_range_we_agree_with_wandb_and_do_not_warn(entry: dict[str, Any]) -> None:
    expected = wandbs(entry)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert distribution(read({"a": entry})["a"]) == expected


def test_a_constant_is_wandbs_only_choice() -> None:
    assert wandbs({"value": "sgd"}) == CategoricalDistribution(["sgd"])
    assert one({"value": "sgd"}) == Constant("sgd")


def wandbs(entry: dict[str, Any]) -> BaseDistribution:
    from wandb.sdk.sweeps.scheduler.optuna import sweep_parameter_to_distribution  # 1.3 s

    return sweep_parameter_to_distribution(entry)
