"""Which field a parameter of others stands for, and which values it then has."""

from typing import Any

import pytest

from sweeps.space.fitting import (
    FAMILIES,
    SCHEDULES,
    argument_value,
    field_of,
    field_of_values,
    fitted_value,
    moved_to_top,
    value_problem,
)
from sweeps.space.synonyms import word


def test_each_family_is_no_model_of_timm_and_has_a_member_that_is_one():
    for family, member in FAMILIES.items():
        assert value_problem("backbone", family) == f"timm has no backbone {family!r}"
        assert value_problem("backbone", member) is None


def test_each_schedule_of_others_is_one_of_ours_and_none_itself():
    for other, ours in SCHEDULES.items():
        assert other == word(other)
        assert value_problem("scheduler", other) is not None
        assert value_problem("scheduler", ours) is None


@pytest.mark.parametrize(
    ("field", "value", "fitted"),
    [
        ("backbone", "ViT", "vit_base_patch16_224"),
        ("backbone", "vit_base_patch32_224", "vit_base_patch32_224"),
        ("backbone", "ResNet-50", "resnet50"),
        ("backbone", "unet", "unet"),
        ("optimizer", "NesterovSGD", "nesterov"),
        ("optimizer", "sgd-m", "momentum"),
        ("scheduler", "warmup_cosine", "cosine"),
        ("scheduler", "linear", "linear"),
        ("weights", 1, "pretrained"),
        ("weights", 0, "none"),
        ("normalise", False, "none"),
        ("epochs", 1, 1),
        ("flip", 1, 1),
        ("loss", "NLLLoss", "cross_entropy"),
    ],
)
def test_a_value_of_others_becomes_one_of_ours(field: str, value: Any, fitted: Any):
    assert fitted_value(field, value) == fitted
    assert type(fitted_value(field, value)) is type(fitted)


@pytest.mark.parametrize(
    ("name", "values", "field"),
    [
        ("dino_model", ["vit_base_patch16_dinov3"], "backbone"),
        ("version", ["mine", "timm/resnet18"], "backbone"),
        ("version", ["vit", "mine", 18, None], None),  # a family alone is no sure sign
        ("data_dir", ["resnet18"], None),  # the name says more
        ("seed", ["resnet18"], None),
        ("dropout", ["resnet18"], None),
    ],
)
def test_values_show_what_an_unknown_name_means(name: str, values: list[Any], field: str | None):
    assert field_of_values(name, values) == field


@pytest.mark.parametrize("name", ["weight_0", "class_weight_boost", "head_lr", "warmup_steps"])
def test_a_name_that_only_looks_alike_has_no_field(name: str):
    assert field_of(name) is None


@pytest.mark.parametrize(
    ("name", "value", "values", "line"),
    [
        ("data.seed", 7, None, "seed: 7\n"),
        ("k_folds", 5, None, "folds: {k: 5}\n"),
        ("fold", None, [0, 1, 2], "folds: {k: 3}\n"),
        ("seed", None, [1, 2], None),
        ("seed", True, None, None),
        ("n_folds", 1, None, None),
        ("fold", 0, None, None),
    ],
)
def test_the_seed_and_the_folds_move_to_the_top(
    name: str, value: Any, values: Any, line: str | None
):
    moved = moved_to_top(name, value, values)
    assert (moved and moved.line) == line


@pytest.mark.parametrize(
    ("text", "value"), [("1e-3", 0.001), ("true", True), ("adam", "adam"), ("a: [b", "a: [b")]
)
def test_an_argument_is_a_number_or_a_switch_if_it_reads_like_one(text: str, value: Any):
    assert argument_value(text) == value
