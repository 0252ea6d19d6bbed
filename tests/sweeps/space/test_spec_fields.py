"""Entries of mappings, and the values that a single field takes."""

from collections.abc import Callable
from typing import Any

import pytest

from sweeps.space.fields import field_problem
from sweeps.space.spec import SweepSpec
from tests.sweeps.space.space_texts import BESIDE, NO_FUNCTION, RIGHT

# --- fields whose default follows from others


@pytest.mark.parametrize("name", ["weight_decay", "step_epochs", "epoch_gamma", "base_lr"])
def test_null_is_one_of_the_values_of_a_default_that_follows_from_others(
    read: Callable[..., SweepSpec], name: str
) -> None:
    spec = read(RIGHT + f"  {name}: {{values: [null, 1]}}\n")
    assert spec.space[name].domain.values == (None, 1)
    assert field_problem("lr", None) == "input should be a valid number, got null"


def test_a_range_of_such_a_field_is_of_its_other_values(
    read: Callable[..., SweepSpec], problems: Callable[..., list[str]]
) -> None:
    assert problems(RIGHT + "  step_epochs: {min: 1.5, max: 2.5}\n") == [
        "line 7  parameters.step_epochs: takes whole numbers only: "
        "give min and max as whole numbers, or values"
    ]
    spec = read(RIGHT + "  weight_decay: {min: 0, max: 1}\n")
    assert spec.notices == (
        "weight_decay: min and max are whole numbers, so only whole numbers are sampled (W&B's "
        "rule); write 0.0 and 1.0 for the range between them",
    )


# --- entries of mappings


def test_a_dotted_parameter_is_an_entry_of_a_mapping(read: Callable[..., SweepSpec]) -> None:
    spec = read(
        RIGHT + "  heads: {value: separate}\n  head_weights.age: {min: 0.5, max: 2.0}\n"
        "  head_crops.mask: {value: face}\n"
        "  freeze.up_to: {values: [layer1, layer2]}\n"
    )
    assert [(p.name, p.path) for p in spec.space.parameters][2:] == [
        (name, ("parameters", name))
        for name in ("head_weights.age", "head_crops.mask", "freeze.up_to")
    ]
    assert spec.notices == ()


def test_wandbs_nested_parameters_are_the_same(read: Callable[..., SweepSpec]) -> None:
    mixture = RIGHT + "  loss: {value: mixture}\n"
    nested = read(
        mixture + "  loss_mix: {parameters: {focal: {value: 0.6}, soft_f1: {value: 0.4}}}\n"
    )
    dotted = read(mixture + "  loss_mix.focal: {value: 0.6}\n  loss_mix.soft_f1: {value: 0.4}\n")
    assert nested.space == dotted.space


def test_an_entry_may_have_a_condition(
    read: Callable[..., SweepSpec], problems: Callable[..., list[str]]
) -> None:
    text = (
        RIGHT + "  loss: {values: [focal, mixture]}\n"
        "  loss_mix.focal: {value: 0.6, when: {loss: mixture}}\n"
    )
    assert read(text).space["loss_mix.focal"].when == (("loss", ("mixture",)),)
    assert read(text).notices == ()
    assert problems(text.replace("loss: mixture", "los: mixture")) == [
        "line 8  parameters.loss_mix.focal.when.los: unknown parameter 'los'. Did you mean 'loss'?"
    ]


def test_a_condition_may_name_an_entry(read: Callable[..., SweepSpec]) -> None:
    text = (
        RIGHT + "  loss: {value: mixture}\n  loss_mix.focal: {values: [0.0, 0.6]}\n"
        "  loss_mix.soft_f1: {value: 0.4}\n"
    )
    spec = read(text + "  focal_gamma: {min: 1.0, max: 3.0, when: {loss_mix.focal: 0.6}}\n")
    assert spec.space["focal_gamma"].when == (("loss_mix.focal", (0.6,)),)


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        (
            "loss_mix.focl: {value: 0.6}",
            "parameters.loss_mix.focl.value: unknown entry 'focl'. Did you mean 'focal'? "
            "Known: cross_entropy, label_smoothing, focal, soft_f1",
        ),
        (
            "loss_mixx.focal: {value: 0.6}",
            "parameters.loss_mixx.focal: unknown parameter. Did you mean 'loss_mix'?",
        ),
        (
            "freeze.upto: {value: layer2}",
            "parameters.freeze.upto: unknown parameter. Did you mean 'freeze'?",
        ),
        (
            "loss_mix.focal: {values: [0.5, -1]}",
            "parameters.loss_mix.focal.values.1: input should be greater than or equal to 0, "
            "got -1",
        ),
        (
            "head_crops.mask: {min: 0.0, max: 1.0}",
            "parameters.head_crops.mask.min: unknown value 0.0. Known: none, box, face",
        ),
        ("lr.first: {value: 0.1}", "parameters.lr.first: unknown parameter, and none of ours"),
    ],
)
def test_a_mistake_in_an_entry_is_named_with_its_line(
    problems: Callable[..., list[str]], entry: str, problem: str
) -> None:
    assert problems(f"{RIGHT}  {entry}\n")[0].startswith(f"line 7  {problem}")


def test_freeze_is_given_as_a_whole_or_as_up_to(problems: Callable[..., list[str]]) -> None:
    text = (
        RIGHT + "  freeze: {values: [none, backbone]}\n"
        "  freeze.up_to: {value: layer2, when: {freeze: none}}\n"
    )
    assert problems(text) == [
        "line 8  parameters.freeze.up_to: freeze is given as a whole, too: "
        "list up_to:STAGE among its values"
    ]


# --- single fields


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("lr", 0.1, None),
        ("lr", 1, None),
        ("optimizer", "sgd", None),
        ("resize", "280x210", None),
        ("epochs", 3.0, "input should be a valid integer, got 3.0"),
        ("epochs", True, "input should be a valid integer, got True"),
        ("optimizer", "sdg", None),  # timm is asked later
        ("optimizer", 3, "input should be a valid string, got 3"),
        (
            "tta",
            "flop",
            "unknown value 'flop'. Did you mean 'flip'? Known: none, flip, crops, flip_crops",
        ),
        ("tta", 3, "unknown value 3. Known: none, flip, crops, flip_crops"),
        ("cutmix", 1.2, "input should be less than or equal to 1, got 1.2"),
        ("head_norm", 1, "expected true or false, got 1"),
        ("loss", "my_task.py:my_loss", None),
        ("loss", "/my_task.py:my_loss", f"'/my_task.py:my_loss' {BESIDE}"),
        ("backbone", "../my_task.py:net", f"'../my_task.py:net' {BESIDE}"),
        ("backbone", "my_task.py:", f"'my_task.py:' {NO_FUNCTION}"),
        ("loss_mix.focal", 0.6, None),
        ("loss_mix.focal", -1, "input should be greater than or equal to 0, got -1"),
        (
            "loss_mix.focl",
            0.6,
            "unknown entry 'focl'. Did you mean 'focal'? Known: cross_entropy, label_smoothing, "
            "focal, soft_f1",
        ),
        ("loss_mix", {"focal": 0.6}, None),
        ("head_weights.age", 2, None),  # which columns there are is asked later
        (
            "head_crops.mask",
            "fac",
            "unknown value 'fac'. Did you mean 'face'? Known: none, box, face",
        ),
        ("freeze.up_to", "layer3", None),
        ("freeze", {"up_to": "layer3"}, None),
        (
            "freeze",
            "upto:layer3",
            "freeze is none, backbone, all_but_last_block or up_to:STAGE, got 'upto:layer3'",
        ),
        (
            "weights",
            "pretraind",
            "weights are pretrained, none, or a file that ends with .safetensors, .pt, .pth, .bin, "
            ".ckpt, .tar, got 'pretraind'",
        ),
        ("momentum", 1, "input should be less than 1, got 1"),
        ("backbone", "", "string should have at least 1 character, got ''"),
    ],
)
def test_a_field_says_why_it_does_not_take_a_value(
    name: str, value: Any, problem: str | None
) -> None:
    assert field_problem(name, value) == problem


def test_what_two_fields_forbid_together_is_no_problem_of_one_value() -> None:
    assert field_problem("warmup_epochs", 100.0) is None


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        (
            "{distribution: normal, mu: -1, sigma: 0.1}",
            "greater than or equal to 0, got -1.0 (its values go from -1.7",
        ),
        ("{distribution: q_beta, q: 0.4, a: 2}", None),
        ("{distribution: q_beta, q: 0.6}", "less than 1, got 1.2 (its values go from 0 to 1.2)"),
        ("{distribution: log_uniform, min: -1, max: 1}", "less than 1, got 2.7182"),
    ],
)
def test_bounds_that_do_not_stand_in_the_file_are_told_with_the_values_they_make(
    read: Callable[..., SweepSpec],
    problems: Callable[..., list[str]],
    entry: str,
    problem: str | None,
) -> None:
    text = f"{RIGHT}  dropout: {entry}\n"
    if problem is None:
        assert read(text).notices == ()
    else:
        (found,) = problems(text)
        assert found.startswith(f"line 7  parameters.dropout: input should be {problem}")


def test_a_law_that_only_touches_a_bound_is_no_problem(read: Callable[..., SweepSpec]) -> None:
    assert (
        read(RIGHT.replace("{value: 0.1}", "{distribution: beta, a: 2, b: 8}")).notices == ()
    )  # lr > 0
