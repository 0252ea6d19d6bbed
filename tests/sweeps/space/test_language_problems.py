"""W&B's parameter language: what cannot be sampled, said at its place."""

import math
from typing import Any

import pytest

from sweeps.errors import Problem
from sweeps.space.kinds import DEPRECATED, DISTRIBUTIONS
from sweeps.space.language import read_space
from tests.sweeps.space.raw_parameters import problems_of

NEEDS = "needs one of: value, values, or min and max"
KNOWN = f"Known: {', '.join(DISTRIBUTIONS)}"
WEIGHTED = "categorical_w_probabilities"
TOO_LARGE = "its values are too large or too small for a number, got "


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
            "categorical takes no 'valeus'. Did you mean 'values'? Allowed: distribution, "
            "probabilities, values, when",
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
