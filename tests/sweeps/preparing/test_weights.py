"""Which pretrained weights a search space needs, and what its networks have to do with it."""

from collections.abc import Callable
from typing import Any

import pytest

from sweeps.errors import SpecError
from sweeps.preparing.feasible import check_networks
from sweeps.preparing.weights import pretrained_backbones, without_weights
from sweeps.space.spec import SweepSpec

MakeSpec = Callable[..., SweepSpec]
TWO = {"values": ["resnet18", "test_vit"]}
CHOICE = {"values": ["pretrained", "none"]}


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({"backbone": TWO}, ("resnet18", "test_vit")),
        ({"lr": {"value": 0.1}}, ("resnet18",)),  # the default
        ({"backbone": TWO, "weights": {"value": "none"}}, ()),
        ({"backbone": TWO, "weights": CHOICE}, ("resnet18", "test_vit")),
        ({"backbone": TWO, "weights": {**CHOICE, "when": {"backbone": "test_vit"}}}, TWO["values"]),
        (
            {
                "backbone": TWO,
                "weights": {"value": "none"},
                "epochs": {"values": [1, 2]},
            },
            (),
        ),
        ({"backbone": {"values": ["my_task.py:mine", "test_vit"]}}, ("test_vit",)),
        ({"backbone": TWO, "weights": {"value": "mine.safetensors"}}, ()),
    ],
)
def test_the_weights_are_those_that_a_trial_can_begin_with(
    parameters: dict[str, Any], expected: tuple[str, ...], make_spec: MakeSpec
):
    assert pretrained_backbones(make_spec(parameters=parameters)) == tuple(expected)


@pytest.mark.parametrize(
    ("weights", "setting"),
    [
        ({}, "parameters.weights.value=none"),
        ({"weights": {"value": "pretrained"}}, "parameters.weights.value=none"),
        ({"weights": CHOICE}, "'parameters.weights={value: none}'"),
    ],
)
def test_the_way_without_weights_fits_the_file(
    weights: dict[str, Any], setting: str, make_spec: MakeSpec
):
    spec = make_spec(parameters={"backbone": TWO, **weights})
    assert without_weights(spec) == f"train from random weights with --set {setting}"


def test_where_the_weights_are_lost_anyway_no_more_networks_are_built(make_spec: MakeSpec):
    parameters = {
        "backbone": {"value": "test_vit"},
        "weights": {"value": "none"},
        "resize": {"values": [33, 34]},
    }
    spec = make_spec(parameters=parameters)
    check_networks(spec, lost=lambda: True)
    answers = iter([False, True])
    with pytest.raises(SpecError, match="take resize 33: ") as raised:
        check_networks(spec, lost=lambda: next(answers))
    assert "34" not in str(raised.value)
