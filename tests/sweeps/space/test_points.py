"""Points to start with."""

from typing import Any

import pytest

from sweeps.errors import Problem
from sweeps.space.language import read_space
from sweeps.space.parameters import Space
from sweeps.space.points import read_points


@pytest.fixture(scope="module")
def space() -> Space:
    space, problems = read_space(
        {
            "lr": {"distribution": "log_uniform_values", "min": 1e-4, "max": 1.0},
            "optimizer": {"values": ["sgd", "adam"]},
            "momentum": {
                "min": 0.5,
                "max": 0.9,
                "q": 0.1,
                "distribution": "q_uniform",
                "when": {"optimizer": "sgd"},
            },
            "nesterov": {"values": [True, False], "when": {"momentum": 0.9}},
            "backbone": {"value": "resnet18"},
            "width": {"min": 1, "max": 4, "when": {"backbone": "resnet18"}},
            "model": {"parameters": {"head": {"parameters": {"size": {"values": [8, 16]}}}}},
            "kernel": {"values": [{"h": 3}, {"h": 5}]},
        }
    )
    assert problems == []
    return space


@pytest.mark.parametrize(
    ("raw", "point"),
    [
        ({"lr": 0.01}, {"lr": 0.01}),
        ({"lr": 1}, {"lr": 1.0}),
        ({"width": 2.0}, {"width": 2}),
        ({"model.head.size": 8}, {"model.head.size": 8}),
        ({"model": {"head.size": 8}}, {"model.head.size": 8}),
        ({"model": {"head": {"size": 8}}}, {"model.head.size": 8}),
        ({"kernel": {"h": 5}}, {"kernel": {"h": 5}}),
        ({"backbone": "resnet18", "width": 1}, {"width": 1}),
        (
            {"nesterov": True, "momentum": 0.9, "optimizer": "sgd"},
            {"optimizer": "sgd", "momentum": 0.9, "nesterov": True},
        ),
    ],
)
def test_a_point_is_read_as_the_values_of_varying_parameters(
    space: Space, raw: dict[str, Any], point: dict[str, Any]
) -> None:
    assert repr(read_points([raw], space)) == repr(((point,), []))


def test_points_keep_their_order(space: Space) -> None:
    raw = [{"lr": 0.1}, {"lr": 0.01}, {"optimizer": "adam"}]
    assert read_points(raw, space) == (tuple(raw), [])


KNOWN = "Known: lr, optimizer, momentum, nesterov, backbone, width, model.head.size, kernel"


@pytest.mark.parametrize(
    ("raw", "path", "text"),
    [
        (
            {"lr": 1},
            (),
            "expected a list of points such as [{lr: 0.001, optimizer: sgd}], got {'lr': 1}",
        ),
        (None, (), "expected a list of points such as [{lr: 0.001, optimizer: sgd}], got None"),
        ([3], (0,), "expected values of parameters such as {lr: 0.001}, got 3"),
        ([{}], (0,), "expected values of parameters such as {lr: 0.001}, got {}"),
        (
            [{"lr": 0.1}, {"optimzer": "sgd"}],
            (1, "optimzer"),
            "unknown parameter 'optimzer'. Did you mean 'optimizer'?",
        ),
        ([{"qqq": 1}], (0, "qqq"), f"unknown parameter 'qqq'. {KNOWN}"),
        (
            [{"model": {"haed": {"size": 8}}}],
            (0, "model", "haed", "size"),
            "unknown parameter 'model.haed.size'. Did you mean 'model.head.size'?",
        ),
        ([{"lr": 2}], (0, "lr"), "2 is not a value of lr: log scale 0.0001 to 1"),
        ([{"lr": "0.1"}], (0, "lr"), "'0.1' is not a value of lr: log scale 0.0001 to 1"),
        (
            [{"optimizer": "lion"}],
            (0, "optimizer"),
            "'lion' is not a value of optimizer: sgd, adam",
        ),
        ([{"backbone": "vgg13"}], (0, "backbone"), "'vgg13' is not a value of backbone: resnet18"),
        ([{"width": 2.5}], (0, "width"), "2.5 is not a value of width: whole numbers 1 to 4"),
        (
            [{"model": {"head": {"size": 8}}, "model.head.size": 8}],
            (0, "model.head.size"),
            "model.head.size is given twice, nested and dotted",
        ),
        (
            [{"optimizer": "adam", "momentum": 0.9}],
            (0,),
            "momentum is sampled only if optimizer is sgd, not adam",
        ),
        (
            [{"momentum": 0.9}],
            (0,),
            "momentum is sampled only if optimizer is sgd, which this point leaves open: "
            "give optimizer, too",
        ),
        (
            [{"optimizer": "sgd", "momentum": 0.8, "nesterov": True}],
            (0,),
            "nesterov is sampled only if momentum is 0.9, not 0.8",
        ),
        ([{"backbone": "resnet18"}], (0,), "names no parameter that varies"),
        (
            [{"lr": 0.1}, {"lr": 0.1, "backbone": "resnet18"}],
            (1,),
            "the same point as number 1 of the list",
        ),
    ],
)
def test_a_point_that_cannot_be_tried_is_a_problem(
    space: Space, raw: Any, path: tuple[Any, ...], text: str
) -> None:
    assert read_points(raw, space)[1] == [Problem(("start_with", *path), text)]


def test_every_wrong_value_of_every_point_is_told(space: Space) -> None:
    _, problems = read_points([{"lr": 3, "optimizer": 3}, {"lr": 0.1}, {"width": 9}], space)
    assert [problem.path[1:] for problem in problems] == [(0, "lr"), (0, "optimizer"), (2, "width")]
