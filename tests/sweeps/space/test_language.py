"""W&B's parameter language: what is read, what is refused, and that it means what it means at W&B's."""

import math
import warnings
from typing import Any

import numpy as np
import pytest
import scipy.stats
from optuna.distributions import BaseDistribution, CategoricalDistribution

from sweeps.errors import Problem
from sweeps.search.distributions import distribution
from sweeps.space.domains import Categorical, Constant, Domain, Numeric
from sweeps.space.kinds import DEPRECATED, DISTRIBUTIONS
from sweeps.space.language import notices, read_space
from sweeps.space.laws import Beta, LogNormal, LogUniform, Normal
from sweeps.space.parameters import Space


def read(raw: dict[str, Any]) -> Space:
    space, problems = read_space(raw)
    assert problems == []
    return space


def one(entry: dict[str, Any]) -> Domain:
    return read({"lr": entry})["lr"].domain


def problems_of(raw: Any) -> list[Problem]:
    return read_space(raw)[1]


NEEDS = "needs one of: value, values, or min and max"
KNOWN = f"Known: {', '.join(DISTRIBUTIONS)}"
WEIGHTED = "categorical_w_probabilities"
TOO_LARGE = "its values are too large or too small for a number, got "

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
        ({"distribution": "int_uniform", "min": 1.0, "max": 5.0}, Numeric(1, 5, integer=True)),
        ({"distribution": "uniform", "min": 1, "max": 5}, Numeric(1, 5)),
        (
            {"distribution": "q_uniform", "min": 1, "max": 5, "q": 2},
            Numeric(1, 5, q=2, integer=True),
        ),
        ({"distribution": "q_uniform", "min": 1, "max": 5}, Numeric(1, 5, q=1, integer=True)),
        ({"distribution": "q_uniform", "min": 0, "max": 1, "q": 0.25}, Numeric(0, 1, q=0.25)),
        ({"distribution": "log_uniform_values", "min": 1e-5, "max": 1}, Numeric(1e-5, 1, log=True)),
        # log(1/X) is uniform: the same law
        (
            {"distribution": "inv_log_uniform_values", "min": 1e-5, "max": 1},
            Numeric(1e-5, 1, log=True),
        ),
        (
            {"distribution": "q_log_uniform_values", "min": 1, "max": 100},
            Numeric(1, 100, log=True, q=1, integer=True, law=LogUniform(1, 100)),
        ),
        (
            {"distribution": "q_log_uniform_values", "min": 0.04, "max": 1.0, "q": 0.1},
            Numeric(
                0.0, 1.0, q=0.1, law=LogUniform(0.04, 1.0)
            ),  # 0.04 rounds to 0, which has no logarithm
        ),
        ({"distribution": "normal"}, Numeric.following(Normal(0.0, 1.0))),
        ({"distribution": "normal", "mu": 3, "sigma": 0.5}, Numeric.following(Normal(3, 0.5))),
        (
            {"distribution": "q_normal", "sigma": 2, "q": 0.5},
            Numeric(-14.0, 14.0, q=0.5, law=Normal(0.0, 2)),
        ),
        (
            {"distribution": "q_normal", "mu": 0.5},
            Numeric(-7, 8, q=1, integer=True, law=Normal(0.5)),
        ),
        ({"distribution": "log_normal", "mu": -6}, Numeric.following(LogNormal(-6), log=True)),
        (
            {"distribution": "q_log_normal", "mu": 1, "q": 10},
            Numeric(0, 3090, q=10, integer=True, law=LogNormal(1)),
        ),
        ({"distribution": "beta", "a": 2, "b": 5}, Numeric(0.0, 1.0, law=Beta(2, 5))),
        ({"distribution": "beta"}, Numeric(0.0, 1.0, law=Beta(1.0, 1.0))),
        ({"distribution": "q_beta", "a": 2, "q": 0.4}, Numeric(0.0, 0.8, q=0.4, law=Beta(2, 1.0))),
        (
            {"distribution": "log_uniform", "min": -2, "max": 0},
            Numeric(math.exp(-2), 1.0, log=True),
        ),
        (
            {"distribution": "inv_log_uniform", "min": 0, "max": 2},
            Numeric(math.exp(-2), 1.0, log=True),
        ),
        (
            {"distribution": "q_log_uniform", "min": 0, "max": 2, "q": 2},
            Numeric(0, 8, q=2, integer=True, law=LogUniform(1.0, math.exp(2))),
        ),
        (
            {"values": ["a", "b"], "probabilities": [0.25, 0.75]},
            Categorical(("a", "b"), (0.25, 0.75)),
        ),
        (
            {
                "distribution": "categorical_w_probabilities",
                "values": ["a", "b", "c"],
                "probabilities": [1, 0, 0],
            },
            Categorical(("a", "b", "c"), (1.0, 0.0, 0.0)),
        ),
        (
            {"values": ["a", "b", "c"], "probabilities": [0.333333] * 3},
            Categorical(("a", "b", "c"), (0.333333,) * 3),
        ),
        ({"values": [[1, 2], {"a": 1}]}, Categorical(([1, 2], {"a": 1}))),
    ],
)
def test_a_parameter_is_read_by_wandbs_rules(entry: dict[str, Any], domain: Domain) -> None:
    assert repr(one(entry)) == repr(domain)  # 1 is not 1.0


@pytest.mark.parametrize(
    ("entry", "name"),
    [
        ({"value": 1}, "constant"),
        ({"values": [1]}, "categorical"),
        ({"min": 1, "max": 2}, "int_uniform"),
        ({"min": 1, "max": 2.0}, "uniform"),
        ({"distribution": "inv_log_uniform_values", "min": 1, "max": 2}, "inv_log_uniform_values"),
    ],
)
def test_a_parameter_knows_wandbs_name_of_its_distribution(
    entry: dict[str, Any], name: str
) -> None:
    assert read({"lr": entry})["lr"].distribution == name


@pytest.mark.parametrize(
    ("entry", "path", "text"),
    [
        ({}, (), NEEDS),
        ({"min": 1}, (), NEEDS),
        ({"when": {"lr": 1}}, (), NEEDS),
        ({"distribution": "uniform", "min": 1}, (), "uniform needs max"),
        (
            {"mu": 1, "sigma": 2},
            (),
            f"{NEEDS}. A distribution with mu and sigma must be named: normal or log_normal",
        ),
        ({"b": 2}, (), f"{NEEDS}. A distribution with b must be named: beta"),
        (
            {"distribution": "log_uniform_value", "min": 1, "max": 2},
            ("distribution",),
            f"unknown distribution 'log_uniform_value'. Did you mean 'log_uniform_values'? {KNOWN}",
        ),
        (
            {"distribution": ["uniform"]},
            ("distribution",),
            f"unknown distribution ['uniform']. Did you mean 'uniform'? {KNOWN}",
        ),
        ({"distribution": {}, "a": 1}, (), f"{NEEDS}. A distribution with a must be named: beta"),
        (
            {"distribution": "categorical_w_probabilities", "values": [1]},
            (),
            f"{WEIGHTED} needs probabilities",
        ),
        (
            {"distribution": "categorical_w_probabilities", "probabilities": [1]},
            (),
            f"{WEIGHTED} needs values",
        ),
        (
            {"distribution": "normal", "min": 0},
            ("min",),
            "normal takes no 'min'. Allowed: distribution, mu, sigma, when",
        ),
        (
            {"distribution": "beta", "alpha": 1},
            ("alpha",),
            "beta takes no 'alpha'. Allowed: a, b, distribution, when",
        ),
        (
            {"distribution": "inv_log_uniform_values", "min": 0.1, "max": 1, "q": 1},
            ("q",),
            "inv_log_uniform_values takes no 'q'. Allowed: distribution, max, min, when",
        ),
        *[
            (
                {"distribution": kind, **dict.fromkeys(keys.needs, 1), "nonsense": 1},
                ("nonsense",),
                f"{kind} takes no 'nonsense'. "
                f"Allowed: {', '.join(sorted({*keys.needs, *keys.takes, 'distribution', 'when'}))}",
            )
            for kind, keys in DISTRIBUTIONS.items()
        ],
        *[
            ({"distribution": kind}, (), f"{kind} needs {' and '.join(sorted(keys.needs))}")
            for kind, keys in DISTRIBUTIONS.items()
            if keys.needs
        ],
        *[
            ({"distribution": kind, **dict.fromkeys(keys.needs, 1.0), key: bad}, (key,), text)
            for kind, keys in DISTRIBUTIONS.items()
            for key in ("q", "sigma", "a", "b")
            if key in keys.takes
            for bad, text in (
                (0, f"{key} must be above 0, got 0"),
                ("1", "expected a number, got '1'"),
            )
        ],
        (
            {"min": 0.1, "max": 0.2, "q": 0.1},
            ("q",),
            "uniform takes no 'q'. Allowed: distribution, max, min, when",
        ),
        (
            {"values": [1], "valeus": [2]},
            ("valeus",),
            "categorical takes no 'valeus'. Did you mean 'values'? Allowed: distribution, probabilities, values, when",
        ),
        ({"values": []}, ("values",), "expected a list with at least one value, got []"),
        ({"values": "adam"}, ("values",), "expected a list with at least one value, got 'adam'"),
        ({"values": [1, 2, 1]}, ("values",), "1 is listed twice"),
        (
            {"values": [{"a": 1, "b": 2}, {"b": 2, "a": 1}]},
            ("values",),
            '{"a": 1, "b": 2} is listed twice',
        ),
        ({"min": 2, "max": 1}, (), "min must not be above max, got min=2, max=1"),
        ({"min": "1", "max": 2.0}, ("min",), "expected a number, got '1'"),
        ({"min": 1.0, "max": math.inf}, ("max",), "expected a number, got inf"),
        ({"min": math.nan, "max": 1.0}, ("min",), "expected a number, got nan"),
        ({"min": False, "max": True}, ("min",), "expected a number, got False"),
        ({"min": None, "max": 1}, ("min",), "expected a number, got null"),
        ({"values": None}, ("values",), "expected a list with at least one value, got null"),
        (
            {"distribution": "int_uniform", "min": 1.5, "max": 5.0},
            (),
            "int_uniform needs whole numbers, got min=1.5, max=5",
        ),
        *[
            (
                {"distribution": f"{before}log_uniform_values", "min": low, "max": high},
                (),
                f"a log scale needs 0 < min < max, got min={low}, max={high}",
            )
            for before in ("", "q_", "inv_")
            for low, high in ((0, 0.1), (-1, 1), (0.1, 0.1), (0.2, 0.1))
        ],
        *[
            (
                {"distribution": kind, "min": 1, "max": 1},
                (),
                "a log scale needs min < max, got min=1, max=1",
            )
            for kind in DEPRECATED
        ],
        ({"distribution": "log_uniform", "min": 1, "max": 800}, (), f"{TOO_LARGE}min=1, max=800"),
        ({"distribution": "log_uniform", "min": -800, "max": 1}, (), f"{TOO_LARGE}min=-800, max=1"),
        (
            {"distribution": "q_log_uniform", "min": -800, "max": 1},
            (),
            f"{TOO_LARGE}min=-800, max=1, q=1",
        ),
        ({"distribution": "log_normal", "mu": 700, "sigma": 9}, (), f"{TOO_LARGE}mu=700, sigma=9"),
        ({"min": -1e308, "max": 1e308}, (), f"{TOO_LARGE}min=-1e+308, max=1e+308"),
        (
            {"distribution": "q_uniform", "min": 0, "max": 1, "q": 1e-19},
            (),
            "q is too small for this range, got min=0, max=1, q=1e-19",
        ),
        ({"values": [math.nan]}, ("values",), "a value cannot be NaN, which equals nothing"),
        (
            {"values": [1, 2], "probabilities": [0.5, 0.4]},
            ("probabilities",),
            "probabilities must sum to 1, got 0.9",
        ),
        (
            {"values": [1, 2], "probabilities": [0.7, 0.7]},
            ("probabilities",),
            "probabilities must sum to 1, got 1.4",
        ),
        (
            {"values": [1, 2], "probabilities": [1.5, -0.5]},
            ("probabilities",),
            "a probability lies between 0 and 1, got 1.5",
        ),
        (
            {"values": [1], "probabilities": [True]},
            ("probabilities",),
            "a probability lies between 0 and 1, got True",
        ),
        *[
            (
                {"values": [1, 2], "probabilities": bad},
                ("probabilities",),
                f"expected a list of 2 probabilities, one for each value, got {bad!r}",
            )
            for bad in ([1.0], 0.5, {"a": 1})
        ],
        (
            {"value": 1, "when": []},
            ("when",),
            "expected a mapping such as {optimizer: [sgd, madgrad]}, got []",
        ),
        (
            {"value": 1, "when": {}},
            ("when",),
            "expected a mapping such as {optimizer: [sgd, madgrad]}, got {}",
        ),
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
        Problem(
            ("parameters",),
            "expected a mapping of parameter names, e.g. lr: {min: 0.001, max: 0.1}",
        )
    ]


@pytest.mark.parametrize(("value", "text"), [(0.1, "0.1"), (None, "null")])
def test_a_bare_value_is_told_how_a_constant_is_written(value: Any, text: str) -> None:
    assert problems_of({"lr": value}) == [
        Problem(
            ("parameters", "lr"),
            f"expected a mapping, got {text}. A constant is written {{value: {text}}}",
        )
    ]


def test_problems_of_several_parameters_come_together_and_the_others_are_read() -> None:
    space, problems = read_space(
        {"lr": {"min": 2, "max": 1}, "loss": {"value": "focal"}, "epochs": {"values": []}}
    )
    assert [problem.path[1] for problem in problems] == ["lr", "epochs"]
    assert [parameter.name for parameter in space.parameters] == ["loss"]


def test_nested_parameters_have_dotted_names() -> None:
    space = read(
        {"a": {"parameters": {"b": {"parameters": {"c": {"value": 1}}}, "d": {"value": 2}}}}
    )
    assert [parameter.name for parameter in space.parameters] == ["a.b.c", "a.d"]


def test_a_name_cannot_be_given_nested_and_dotted() -> None:
    problems = problems_of({"a": {"parameters": {"b": {"value": 1}}}, "a.b": {"value": 2}})
    assert problems == [Problem(("parameters", "a.b"), "a.b is given twice, nested and dotted")]


def test_an_empty_nested_mapping_is_a_problem() -> None:
    assert [problem.path for problem in problems_of({"a": {"parameters": {}}})] == [
        ("parameters", "a", "parameters")
    ]


@pytest.mark.parametrize("key", ["value", "distribution", "min"])
def test_a_nested_mapping_takes_no_other_key(key: str) -> None:
    assert problems_of({"a": {"parameters": {"b": {"value": 1}}, key: 1}}) == [
        Problem(
            ("parameters", "a", key), f"a mapping with parameters takes no {key!r}. Allowed: when"
        )
    ]


@pytest.mark.parametrize(
    ("entry", "text"),
    [
        (
            {"distribution": "log_uniform", "min": -11.512925, "max": -2.302585},
            "lr: log_uniform is deprecated, its min and max are exponents of e: write "
            "distribution: log_uniform_values, min: 1e-05, max: 0.1",
        ),
        (
            {"distribution": "q_log_uniform", "min": 0, "max": 4.60517, "q": 5},
            "lr: q_log_uniform is deprecated, its min and max are exponents of e: write "
            "distribution: q_log_uniform_values, min: 1, max: 100",
        ),
        (
            {"distribution": "inv_log_uniform", "min": 2.302585, "max": 11.512925},
            "lr: inv_log_uniform is deprecated, its min and max are exponents of e: write "
            "distribution: inv_log_uniform_values, min: 1e-05, max: 0.1",
        ),
    ],
)
def test_a_deprecated_distribution_is_read_with_a_notice_that_says_what_to_write(
    entry: dict[str, Any], text: str
) -> None:
    assert notices(read({"lr": entry})) == [text]


def test_other_distributions_are_read_without_a_notice() -> None:
    assert (
        notices(
            read({"a": {"distribution": "normal"}, "b": {"value": 1}, "c": {"min": 1, "max": 2}})
        )
        == []
    )


# --- conditions


def test_a_condition_of_a_nested_mapping_is_that_of_all_parameters_in_it() -> None:
    space = read(
        {
            "a": {"values": [1, 2]},
            "b": {
                "when": {"a": 1},
                "parameters": {"c": {"values": [3, 4]}, "d": {"value": 5, "when": {"b.c": 3}}},
            },
        }
    )
    assert space["b.c"].when == (("a", (1,)),)
    assert space["b.d"].when == (("a", (1,)), ("b.c", (3,)))


def test_a_mistake_in_a_nested_mappings_condition_is_told_once() -> None:
    inside = {"parameters": {"c": {"value": 1}, "d": {"value": 1}}}
    assert problems_of({"a": {"value": 1}, "b": {"when": {"a": 2}, **inside}}) == [
        Problem(
            ("parameters", "b", "when", "a"), "a never has the value 2, so this is never sampled"
        )
    ]


@pytest.mark.parametrize(
    ("raw", "name", "text"),
    [
        (
            {
                "b": {"values": [1, 2]},
                "a": {"values": ["x", "y"], "when": {"b": 1}},
                "c": {"value": 0, "when": {"a": "x", "b": 2}},
                "d": {"value": 0, "when": {"c": 0}},  # a consequence, not another problem
            },
            "c",
            "it needs b to be 2, a needs b to be 1",
        ),
        (
            {
                "b": {"values": [1, 2, 3]},
                "a": {"values": ["x", "y"], "when": {"b": [1, 2]}},
                "e": {"values": ["x", "y"], "when": {"a": "x"}},
                "c": {"value": 0, "when": {"e": "y", "b": [3]}},
            },
            "c",
            "it needs b to be 3, e needs b to be 1 or 2",
        ),
        (
            {
                "b": {"min": 1, "max": 5},
                "left": {"value": 0, "when": {"b": 1}},
                "right": {"value": 0, "when": {"b": 5}},
                "c": {"value": 0, "when": {"left": 0, "right": 0}},
            },
            "c",
            "left needs b to be 1, right needs b to be 5",
        ),
    ],
)
def test_a_chain_of_conditions_that_never_holds_is_a_problem(
    raw: dict[str, Any], name: str, text: str
) -> None:
    expected = f"never sampled, its conditions exclude each other: {text}"
    assert problems_of(raw) == [Problem(("parameters", name, "when"), expected)]


def test_a_chain_of_conditions_that_can_hold_is_none() -> None:
    raw = {
        "b": {"values": [1, 2, 3]},
        "a": {"values": ["x", "y"], "when": {"b": [1, 2]}},
        "c": {"value": 0, "when": {"a": "x", "b": [2, 3]}},
    }
    assert problems_of(raw) == []


def test_a_condition_takes_one_value_or_several() -> None:
    space = read(
        {
            "a": {"values": [1, 2]},
            "b": {"value": 0, "when": {"a": 1}},
            "c": {"value": 0, "when": {"a": [1]}},
        }
    )
    assert space["b"].when == space["c"].when == (("a", (1,)),)


def test_a_condition_on_an_unknown_parameter_names_the_nearest() -> None:
    problems = problems_of(
        {"optimizer": {"value": "sgd"}, "lr": {"value": 1, "when": {"optimzer": "sgd"}}}
    )
    assert problems == [
        Problem(
            ("parameters", "lr", "when", "optimzer"),
            "unknown parameter 'optimzer'. Did you mean 'optimizer'?",
        )
    ]


def test_a_condition_on_a_parameter_that_is_like_no_other_names_all() -> None:
    (problem,) = problems_of(
        {"o": {"value": "sgd"}, "lr": {"value": 1, "when": {"optimiser": "sgd"}}}
    )
    assert problem.text == "unknown parameter 'optimiser'. Known: o, lr"


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
        ({"distribution": "q_uniform", "min": 0, "max": 9, "q": 3}, 4),
        ({"distribution": "beta"}, 1.5),
    ],
)
def test_a_condition_that_never_holds_is_a_problem(entry: dict[str, Any], value: Any) -> None:
    assert problems_of({"a": entry, "b": {"value": 1, "when": {"a": value}}}) == [
        Problem(
            ("parameters", "b", "when", "a"),
            f"a never has the value {value!r}, so this is never sampled",
        )
    ]


def test_a_value_of_null_in_a_condition_is_called_null() -> None:
    (problem,) = problems_of({"a": {"value": 1}, "b": {"value": 1, "when": {"a": None}}})
    assert problem.text == "a never has the value null, so this is never sampled"


@pytest.mark.parametrize(
    "entry",
    [
        {"min": 0.1, "max": 0.9},
        {"distribution": "log_uniform_values", "min": 0.1, "max": 1},
        {"distribution": "beta"},
    ],
)
def test_a_condition_on_a_continuous_range_is_a_problem(entry: dict[str, Any]) -> None:
    assert problems_of({"x": entry, "y": {"value": 1, "when": {"x": [0.5]}}}) == [
        Problem(
            ("parameters", "y", "when", "x"),
            "x is a continuous range, which never has exactly 0.5: give it values or a step (q_uniform with q)",
        )
    ]


@pytest.mark.parametrize(
    ("entry", "value"),
    [
        ({"value": "sgd"}, "sgd"),
        ({"min": 1, "max": 3}, 3),
        ({"min": 2.0, "max": 2.0}, 2),
        ({"values": [1, 2]}, 2.0),
        ({"distribution": "q_uniform", "min": 0.0, "max": 1.0, "q": 0.25}, 0.5),
    ],
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
        name: {"values": [1, 2], "when": {other: 1}}
        for name, other in zip(names, [*names[1:], names[0]], strict=True)
    }
    space, problems = read_space({"free": {"value": 0}, **raw})
    assert problems == [
        Problem(("parameters", "a", "when"), f"conditions in a circle: {', '.join(names)}")
    ]
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
        {"distribution": "log_uniform_values", "min": 1e-5, "max": 1},
        {"distribution": "q_log_uniform_values", "min": 1, "max": 1000},
        {"distribution": "q_log_uniform_values", "min": 16, "max": 512, "q": 1},
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
@pytest.mark.filterwarnings(
    "ignore:The distribution is specified by:UserWarning"
)  # W&B's side, not ours
def test_where_the_step_does_not_divide_the_range_we_agree_with_wandb_and_do_not_warn(
    entry: dict[str, Any],
) -> None:
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


# --- against the formulas of W&B's random search (HyperParameter.ppf of its package `sweeps`)

U = np.linspace(0.0005, 0.9995, 400)


def rounded(values: Any, q: float) -> Any:
    return np.round(values / q) * q


NORMAL, LOGNORMAL = scipy.stats.norm(1, 2), scipy.stats.lognorm(s=0.5, scale=math.exp(2))
BETA, LOG = scipy.stats.beta(2, 5), scipy.stats.loguniform(3, 1000)


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ({"distribution": "int_uniform", "min": -3, "max": 3}, scipy.stats.randint(-3, 4).ppf(U)),
        ({"distribution": "uniform", "min": -3, "max": 3}, scipy.stats.uniform(-3, 6).ppf(U)),
        (
            {"distribution": "q_uniform", "min": 0, "max": 10, "q": 2},
            rounded(scipy.stats.uniform(0, 10).ppf(U), 2),
        ),
        (
            {"distribution": "q_uniform", "min": -0.5, "max": 2.0, "q": 0.25},
            rounded(-0.5 + 2.5 * U, 0.25),
        ),
        ({"distribution": "log_uniform_values", "min": 3, "max": 1000}, LOG.ppf(U)),
        (
            {"distribution": "q_log_uniform_values", "min": 3, "max": 1000, "q": 7},
            rounded(LOG.ppf(U), 7),
        ),
        (
            {"distribution": "inv_log_uniform_values", "min": 3, "max": 1000},
            np.exp(-scipy.stats.uniform(-math.log(1000), math.log(1000 / 3)).ppf(1 - U)),
        ),
        ({"distribution": "log_uniform", "min": -4, "max": -1}, np.exp(-4 + 3 * U)),
        (
            {"distribution": "q_log_uniform", "min": 1, "max": 5, "q": 0.5},
            rounded(np.exp(1 + 4 * U), 0.5),
        ),
        ({"distribution": "inv_log_uniform", "min": 1, "max": 3}, np.exp(-(1 + 2 * (1 - U)))),
        ({"distribution": "normal", "mu": 1, "sigma": 2}, NORMAL.ppf(U)),
        ({"distribution": "q_normal", "mu": 1, "sigma": 2, "q": 0.3}, rounded(NORMAL.ppf(U), 0.3)),
        ({"distribution": "log_normal", "mu": 2, "sigma": 0.5}, LOGNORMAL.ppf(U)),
        ({"distribution": "q_log_normal", "mu": 2, "sigma": 0.5}, rounded(LOGNORMAL.ppf(U), 1)),
        ({"distribution": "beta", "a": 2, "b": 5}, BETA.ppf(U)),
        ({"distribution": "q_beta", "a": 2, "b": 5, "q": 0.1}, rounded(BETA.ppf(U), 0.1)),
    ],
    ids=lambda value: value["distribution"] if isinstance(value, dict) else "",
)
def test_a_draw_is_the_quantile_that_wandb_takes(entry: dict[str, Any], expected: Any) -> None:
    domain = one(entry)
    np.testing.assert_allclose([domain.draw(float(u)) for u in U], expected, rtol=1e-9, atol=1e-12)


def test_a_weighted_draw_follows_the_cumulated_probabilities() -> None:
    domain, weights = (
        one({"values": [0, 1, 2], "probabilities": [0.2, 0.5, 0.3]}),
        np.cumsum([0.2, 0.5, 0.3]),
    )
    assert [domain.draw(float(u)) for u in U] == [int(np.argmin(u >= weights)) for u in U]
