"""Hyperparameters: bounds, sizes, what fits together, views, dotted names, and the fingerprint."""

import subprocess
import sys
from pathlib import Path

import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.config import AUGMENTERS, MIXERS, SECTIONS, TrainConfig, nested
from trainer.fields.declare import is_user_function
from trainer.fields.images import MAX_SIDE, parse_size
from trainer.images.preprocessing import Preprocessing
from trainer.metrics import Goal

sides = st.integers(min_value=8, max_value=MAX_SIDE)
# for every field another valid value than its default
CHANGES = {
    "backbone": "resnet50",
    "weights": "none",
    "pooling": "max",
    "head_norm": True,
    "dropout": 0.5,
    "drop_path": 0.1,
    "heads": "separate",
    "head_weights": {"age": 2.0},
    "freeze": "backbone",
    "unfreeze_epoch": 2,
    "resize": 64,
    "resize_mode": "fit",
    "resampling": "bicubic",
    "crop": "box",
    "head_crops": {"age": "face"},
    "background": "remove",
    "normalise": "imagenet",
    "flip": 0.5,
    "flip_vertical": 0.5,
    "affine": 0.5,
    "shift": 0.5,
    "scale": 0.5,
    "rotate": 90.0,
    "resized_crop": 0.5,
    "crop_area": 0.5,
    "jitter": 0.5,
    "brightness": 0.5,
    "contrast": 0.5,
    "saturation": 0.5,
    "hue": 0.5,
    "grey": 0.5,
    "blur": 0.5,
    "blur_sigma": 0.05,
    "erasing": 0.5,
    "erasing_area": 0.5,
    "trivial": 0.5,
    "cutmix": 0.5,
    "one_class_cutmix": 0.5,
    "half_cutmix": 0.5,
    "mixup": 0.5,
    "cutmix_alpha": 0.5,
    "mixup_alpha": 0.5,
    "loss": "focal",
    "loss_mix": {"focal": 0.6},
    "focal_gamma": 1.0,
    "smoothing": 0.2,
    "class_weights": "balanced",
    "effective_beta": 0.5,
    "sampling": "balanced",
    "optimizer": "sgd",
    "lr": 0.5,
    "weight_decay": 0.5,
    "momentum": 0.5,
    "nesterov": False,
    "layer_decay": 0.5,
    "head_lr_factor": 2.0,
    "clip_norm": 0.5,
    "accumulation": 2,
    "ema": 0.5,
    "scheduler": "none",
    "warmup_epochs": 0.5,
    "min_lr": 1e-5,
    "step_epochs": 3,
    "step_gamma": 0.5,
    "milestones": [1.0, 2.5],
    "epoch_gamma": 0.5,
    "restart_epochs": 2.0,
    "restart_factor": 2.0,
    "rise": 0.5,
    "base_lr": 1e-4,
    "cycle_epochs": 3.0,
    "plateau_patience": 3,
    "second_lr": 1e-4,
    "second_gap": 0.5,
    "second_patience": 3,
    "second_epoch": 3,
    "epochs": 3,
    "batch_size": 16,
    "progressive": 0.5,
    "progressive_epochs": 2,
    "patience": 1,
    "monitor": "f1",
    "min_delta": 0.5,
    "checkpoint": "best",
    "tta": "flip",
    "metric": "my_task.py:kappa",
    "metric_goal": "minimize",
    "seed": 1,
}
NEEDED = {"head_weights": {"heads": "separate"}, "head_crops": {"heads": "separate"}}  # to be valid


@given(sides)
def test_one_number_is_a_square(side):
    assert parse_size(side) == parse_size(str(side)) == (side, side)


@given(sides, sides)
def test_a_size_round_trips_with_the_height_first(height, width):
    assert parse_size(f"{height}x{width}") == (height, width)
    assert TrainConfig(resize=f"{height}x{width}").size_HW == (height, width)


@pytest.mark.parametrize(
    "value",
    [
        *(7, MAX_SIDE + 1, 0, -32, "7x32", "32x7", f"32x{MAX_SIDE + 1}"),
        *("", "x", "32x", "x32", "32X32", "32x32x3", " 32", "32\n", "big", True, 32.5),
    ],
)
def test_what_is_no_size_is_refused_with_the_form_and_the_bounds(value):
    with pytest.raises(
        ValueError, match=r"a size is a number or 'HxW' with sides from 8 to 4096 pixels, got "
    ):
        parse_size(value)
    with pytest.raises(pydantic.ValidationError, match="resize"):
        TrainConfig(resize=value)


def test_two_spellings_of_one_size_are_one_configuration():
    spellings = [64, "64", "64x64", 64.0, "064"]
    assert {TrainConfig(resize=value).resize for value in spellings} == {64}
    assert len({TrainConfig(resize=value).fingerprint() for value in spellings}) == 1


def test_a_configuration_is_frozen():
    with pytest.raises(pydantic.ValidationError, match="frozen"):
        TrainConfig().lr = 0.1


def test_an_unknown_field_is_refused_by_name():
    with pytest.raises(
        pydantic.ValidationError, match="learning_rate\n  Extra inputs are not permitted"
    ):
        TrainConfig(learning_rate=0.1)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("backbone", ""),
        ("weights", "imagenet"),
        ("weights", "model.onnx"),
        ("pooling", "sum"),
        ("head_norm", "batch"),
        ("dropout", -0.1),
        ("dropout", 1.0),
        ("heads", "many"),
        ("head_weights", 2.0),
        ("freeze", "layer3"),
        ("freeze", "up_to:"),
        ("freeze", {"until": "layer3"}),
        ("freeze", True),
        ("unfreeze_epoch", -1),
        ("resize_mode", "pad"),
        ("resampling", "lanczos"),
        ("crop", "faces"),
        ("crop", None),
        ("head_crops", "face"),
        ("background", True),
        ("normalise", "zscore"),
        ("flip", 1.1),
        ("affine", -0.1),
        ("shift", 1.1),
        ("scale", 1.0),
        ("rotate", 181.0),
        ("crop_area", 0.0),
        ("hue", 0.6),
        ("blur_sigma", 2.0),
        ("erasing_area", 0.01),
        ("trivial", 2.0),
        ("cutmix", 1.1),
        ("mixup_alpha", 0.0),
        ("loss", "hinge"),
        ("focal_gamma", -1.0),
        ("smoothing", 1.0),
        ("class_weights", "linear"),
        ("effective_beta", 1.0),
        ("sampling", "random"),
        ("optimizer", ""),
        ("lr", 0.0),
        ("lr", 10.1),
        ("weight_decay", -1e-9),
        ("weight_decay", 1.1),
        ("momentum", 1.0),
        ("layer_decay", 0.0),
        ("layer_decay", 1.1),
        ("head_lr_factor", 0.0),
        ("clip_norm", -1.0),
        ("accumulation", 0),
        ("ema", 1.0),
        ("scheduler", "linear"),
        ("warmup_epochs", -0.5),
        ("min_lr", -1e-9),
        ("step_epochs", 0),
        ("step_gamma", 0.0),
        ("step_gamma", 1.1),
        ("milestones", 3),
        ("epoch_gamma", 0.0),
        ("restart_factor", 0.9),
        ("rise", 1.0),
        ("base_lr", 0.0),
        ("cycle_epochs", 0.0),
        ("plateau_patience", 0),
        ("second_lr", 0.0),
        ("second_gap", -0.1),
        ("epochs", 0),
        ("epochs", 2.5),
        ("batch_size", 0),
        ("progressive", 0.0),
        ("patience", -1),
        ("monitor", "auc"),
        ("min_delta", -0.1),
        ("checkpoint", "first"),
        ("tta", "mirror"),
        ("metric", "kappa"),
        ("metric", "my_task:kappa"),
        ("metric", "my_task.py:"),
        ("metric", "my_task.py:two words"),
        ("metric_goal", "max"),
        ("seed", -1),
    ],
)
def test_a_value_out_of_bounds_is_refused_by_name(field, value):
    with pytest.raises(
        pydantic.ValidationError, match=rf"validation errors? for TrainConfig\n{field}[\n.]"
    ):
        TrainConfig(**{field: value})


def test_a_goal_is_given_and_stored_as_its_word():
    config = TrainConfig(metric_goal="minimize")
    assert config.metric_goal is Goal.MINIMIZE
    assert config.model_dump(mode="json")["metric_goal"] == "minimize"
    with pytest.raises(pydantic.ValidationError, match="Input should be 'maximize' or 'minimize'"):
        TrainConfig(metric_goal="max")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize(
    "field",
    [
        name
        for name, info in TrainConfig.model_fields.items()
        if info.annotation in (float, float | None)
    ],
)
def test_nan_and_infinity_are_refused_in_every_field(field, value):
    with pytest.raises(pydantic.ValidationError, match=field):
        TrainConfig(**{field: value})


def test_the_preprocessing_is_what_four_fields_say():
    assert TrainConfig().preprocessing == Preprocessing((224, 224), "stretch", "none", "keep")
    config = TrainConfig(resize="16x8", resize_mode="crop", crop="face", background="remove")
    assert config.preprocessing == Preprocessing((16, 8), "crop", "face", "remove")


def test_two_spellings_of_one_size_are_one_preprocessing():
    assert {TrainConfig(resize=value).preprocessing for value in (64, "64", "64x64")} == {
        Preprocessing((64, 64))
    }


@pytest.mark.parametrize(
    "change", [{"lr": 0.5}, {"normalise": "none"}, {"backbone": "resnet50"}, {"seed": 3}]
)
def test_what_happens_after_the_cache_is_no_preprocessing(change):
    assert TrainConfig(**change).preprocessing == TrainConfig().preprocessing


# what does not fit together


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        (
            {"scheduler": "cyclic", "base_lr": 0.1, "lr": 0.01},
            "cyclic needs base_lr <= lr, got base_lr=0.1 and lr=0.01",
        ),
        (
            {"warmup_epochs": 5, "epochs": 5},
            "warmup_epochs must be below epochs, got warmup_epochs=5.0 and epochs=5",
        ),
        (
            {"scheduler": "none", "warmup_epochs": 5.5, "epochs": 5},
            "warmup_epochs must be below epochs, got warmup_epochs=5.5 and epochs=5",
        ),
        ({"min_lr": 0.1, "lr": 0.01}, "cosine needs min_lr <= lr, got min_lr=0.1 and lr=0.01"),
        (
            {"scheduler": "plateau", "min_lr": 0.1, "lr": 0.01},
            "plateau needs min_lr <= lr, got min_lr=0.1 and lr=0.01",
        ),
        (
            {"scheduler": "multistep"},
            "multistep needs milestones in rising order, e.g. [10, 15], got []",
        ),
        (
            {"scheduler": "multistep", "milestones": [3, 1]},
            "multistep needs milestones in rising order, e.g. [10, 15], got [3.0, 1.0]",
        ),
        (
            {"scheduler": "multistep", "milestones": [2, 2]},
            "multistep needs milestones in rising order, e.g. [10, 15], got [2.0, 2.0]",
        ),
        (
            {"scheduler": "two_stage", "second_gap": 0},
            "two_stage needs second_gap or second_epoch above 0, or its second stage never begins",
        ),
        (
            {"loss": "mixture"},
            "mixture needs loss_mix with weights above 0, e.g. {soft_f1: 0.4, focal: 0.6}",
        ),
        (
            {"loss": "mixture", "loss_mix": {"focal": 0.0}},
            "mixture needs loss_mix with weights above 0, e.g. {soft_f1: 0.4, focal: 0.6}",
        ),
        (
            {"cutmix": 0.6, "mixup": 0.5},
            "an image is mixed in one way only: the probabilities must sum to at most 1, "
            "got cutmix=0.6, mixup=0.5",
        ),
        (
            {"accumulation": 3, "batch_size": 32},
            "accumulation must divide batch_size, got accumulation=3 and batch_size=32",
        ),
        ({"head_weights": {"age": 2.0}}, "head_weights and head_crops need heads: separate"),
        ({"head_crops": {"age": "face"}}, "head_weights and head_crops need heads: separate"),
        (
            {"monitor": "metric"},
            "monitor: metric needs a metric of your own, e.g. my_task.py:my_metric",
        ),
    ],
)
def test_what_does_not_fit_together_is_refused_in_one_line(changes, problem):
    with pytest.raises(pydantic.ValidationError) as caught:
        TrainConfig(**changes)
    (error,) = caught.value.errors()
    assert error["msg"] == f"Value error, {problem}"


@pytest.mark.parametrize(
    "changes",
    [
        {"scheduler": "cyclic", "base_lr": 0.1, "lr": 0.1},
        {"scheduler": "cosine", "base_lr": 0.1, "lr": 0.01},
        {"warmup_epochs": 4.9, "epochs": 5},
        {"scheduler": "cyclic", "warmup_epochs": 5, "epochs": 5},
        {"scheduler": "one_cycle", "warmup_epochs": 5, "epochs": 5},
        {"warmup_epochs": 0, "epochs": 1},
        {"min_lr": 0.01, "lr": 0.01},
        {"scheduler": "step", "min_lr": 0.1, "lr": 0.01},
        {"scheduler": "multistep", "milestones": [0.5]},
        {"scheduler": "two_stage", "second_gap": 0, "second_epoch": 3},
        {"loss": "mixture", "loss_mix": {"focal": 6, "soft_f1": 0}},
        {"cutmix": 0.1, "one_class_cutmix": 0.2, "half_cutmix": 0.3, "mixup": 0.4},
        {"accumulation": 32, "batch_size": 32},
        {"heads": "separate", "head_weights": {"age": 0.0}},
        {"monitor": "metric", "metric": "my_task.py:kappa"},
    ],
)
def test_what_fits_at_its_border_or_is_not_used_is_taken(changes):
    TrainConfig(**changes)


def test_an_entry_of_a_mapping_is_refused_by_its_name():
    for changes, where in (
        ({"loss_mix": {"hinge": 1.0}}, "loss_mix.hinge"),
        ({"loss_mix": {"focal": -1.0}}, "loss_mix.focal"),
        ({"head_crops": {"age": "eyes"}, "heads": "separate"}, "head_crops.age"),
        ({"head_weights": {"age": -1.0}, "heads": "separate"}, "head_weights.age"),
    ):
        with pytest.raises(pydantic.ValidationError, match=rf"TrainConfig\n{where}"):
            TrainConfig(**changes)


# freezing, own functions, views


def test_a_stage_may_be_written_as_a_mapping():
    assert TrainConfig(freeze={"up_to": "layer3"}) == TrainConfig(freeze="up_to:layer3")
    assert TrainConfig(freeze={"up_to": "layer3"}).freeze == "up_to:layer3"


@pytest.mark.parametrize(
    "value",
    ["layer3", "up_to:", "up_to", "all", {"up_to": ""}, {"up_to": "a", "b": 1}, {}, 3, None],
)
def test_what_cannot_be_frozen_is_refused_with_what_can(value):
    with pytest.raises(
        pydantic.ValidationError,
        match="freeze is none, backbone, all_but_last_block or up_to:STAGE, got ",
    ):
        TrainConfig(freeze=value)


@pytest.mark.parametrize(
    "value", ["pretrained", "none", "a.safetensors", "b/c.pt", "c.pth", "d.bin", "e.ckpt", "f.tar"]
)
def test_weights_are_one_of_two_words_or_a_file(value):
    assert TrainConfig(weights=value).weights == value


@pytest.mark.parametrize("field", ["backbone", "loss", "metric"])
def test_a_function_of_the_users_own_is_known_by_its_form(field):
    config = TrainConfig(**{field: "folder/my_task.py:mine"})
    assert is_user_function(getattr(config, field))
    assert not is_user_function(getattr(TrainConfig(), field))


def test_one_view_without_crops_of_heads():
    config = TrainConfig(crop="box", resize=32)
    assert (
        config.views
        == (config.preprocessing,)
        == (Preprocessing((32, 32), "stretch", "box", "keep"),)
    )
    assert config.view_of("class") == 0


def test_each_crop_is_one_view_the_common_one_first():
    crops = {"mask": "face", "age": "box", "gender": "none", "hair": "face"}
    config = TrainConfig(
        heads="separate", crop="box", head_crops=crops, background="remove", resize="16x8"
    )
    assert [view.crop for view in config.views] == ["box", "none", "face"]  # by the columns' names
    assert {(view.size_HW, view.background, view.resize_mode) for view in config.views} == {
        ((16, 8), "remove", "stretch")
    }
    assert [config.view_of(name) for name in (*crops, "other")] == [2, 0, 1, 2, 0]


def test_the_order_in_which_heads_are_named_changes_no_view():
    one = {"b": "face", "a": "box"}
    other = {"a": "box", "b": "face"}
    assert (
        TrainConfig(heads="separate", head_crops=one).views
        == TrainConfig(heads="separate", head_crops=other).views
    )


@pytest.mark.parametrize("name", [*AUGMENTERS, *MIXERS])
def test_any_augmentation_makes_images_look_different(name):
    assert TrainConfig(**{name: 0.01}).augmented


def test_strengths_alone_change_no_image_but_progressive_resize_does():
    assert not TrainConfig(rotate=90, cutmix_alpha=3, tta="flip", progressive_epochs=3).augmented
    assert TrainConfig(progressive=0.5).augmented


# dotted names


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, {}),
        ({"lr": 0.1, "loss": "focal"}, {"lr": 0.1, "loss": "focal"}),
        (
            {"loss_mix.focal": 0.6, "loss_mix.soft_f1": 0.4},
            {"loss_mix": {"focal": 0.6, "soft_f1": 0.4}},
        ),
        (
            {"loss_mix": {"focal": 0.6}, "loss_mix.soft_f1": 0.4},
            {"loss_mix": {"focal": 0.6, "soft_f1": 0.4}},
        ),
        (
            {"loss_mix.soft_f1": 0.4, "loss_mix": {"focal": 0.6}},
            {"loss_mix": {"soft_f1": 0.4, "focal": 0.6}},
        ),
        ({"head_crops.a.b": "face"}, {"head_crops": {"a.b": "face"}}),
        ({"freeze.up_to": "layer3"}, {"freeze": {"up_to": "layer3"}}),
        ({"loss_mix": {}}, {"loss_mix": {}}),
    ],
)
def test_dotted_names_become_mappings(values, expected):
    before = {
        name: dict(value) if isinstance(value, dict) else value for name, value in values.items()
    }
    assert nested(values) == expected
    assert values == before


def test_every_dotted_mapping_is_a_configuration():
    assert TrainConfig(**nested({"freeze.up_to": "layer3"})).freeze == "up_to:layer3"
    mixture = TrainConfig(**nested({"loss": "mixture", "loss_mix.focal": 1}))
    assert mixture.loss_mix == {"focal": 1.0}


def test_the_order_of_a_mappings_entries_is_no_part_of_the_fingerprint():
    one = {"soft_f1": 0.4, "focal": 0.6}
    other = {"focal": 0.6, "soft_f1": 0.4}
    assert (
        len({TrainConfig(loss="mixture", loss_mix=mix).fingerprint() for mix in (one, other)}) == 1
    )


def test_local_weights_are_a_path():
    assert [TrainConfig(weights=name).local_weights for name in ("pretrained", "none")] == [
        None,
        None,
    ]
    assert TrainConfig(weights="a/b.pt").local_weights == Path("a/b.pt")


# every field


def test_every_field_is_of_one_section():
    names = [name for section in SECTIONS for name in section.__annotations__]
    assert sorted(names) == sorted(TrainConfig.model_fields)


def test_every_field_says_what_it_means():
    assert [name for name, info in TrainConfig.model_fields.items() if not info.description] == []


def test_the_changes_below_name_every_field():
    assert set(CHANGES) == set(TrainConfig.model_fields)


@pytest.mark.parametrize("field", CHANGES)
def test_any_other_value_gives_another_fingerprint(field):
    needed = NEEDED.get(field, {})
    changed = TrainConfig(**needed, **{field: CHANGES[field]})
    assert changed.fingerprint() != TrainConfig(**needed).fingerprint()
    assert (
        changed.fingerprint()
        == TrainConfig.model_validate_json(changed.model_dump_json()).fingerprint()
    )


def test_another_process_computes_the_same_fingerprint():
    command = (
        "from trainer.config import TrainConfig; print(TrainConfig(lr=0.1 + 0.2).fingerprint())"
    )
    done = subprocess.run(
        [sys.executable, "-c", command], capture_output=True, text=True, check=True
    )
    assert done.stdout == f"{TrainConfig(lr=0.1 + 0.2).fingerprint()}\n"
