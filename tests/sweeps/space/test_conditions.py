"""`when`: conditions that hold, and those that never can."""

from typing import Any

import pytest

from sweeps.errors import Problem
from sweeps.space.language import read_space
from tests.sweeps.space.raw_parameters import problems_of, read


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
            "x is a continuous range, which never has exactly 0.5: give it values or a step "
            "(q_uniform with q)",
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
