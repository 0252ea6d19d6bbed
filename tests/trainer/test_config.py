"""Hyperparameters: bounds, sizes, what fits together, and the fingerprint."""

import subprocess
import sys

import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.config import MAX_SIDE, TrainConfig, parse_size
from trainer.data.preprocessing import Preprocessing

sides = st.integers(min_value=8, max_value=MAX_SIDE)
# for every field another valid value than its default
CHANGES = {
    "backbone": "resnet50",
    "weights": "none",
    "dropout": 0.5,
    "resize": 64,
    "resize_mode": "fit",
    "crop": "box",
    "background": "remove",
    "normalise": "imagenet",
    "optimizer": "sgd",
    "lr": 0.5,
    "weight_decay": 0.5,
    "momentum": 0.5,
    "scheduler": "none",
    "warmup_epochs": 0.5,
    "step_epochs": 3,
    "step_gamma": 0.5,
    "base_lr": 1e-4,
    "cycle_epochs": 3.0,
    "loss": "focal",
    "focal_gamma": 1.0,
    "smoothing": 0.2,
    "epochs": 3,
    "batch_size": 16,
    "patience": 1,
    "monitor": "f1",
    "min_delta": 0.5,
    "seed": 1,
}


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
    with pytest.raises(ValueError, match=r"a size is a number or 'HxW' with sides from 8 to 4096 pixels, got "):
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
    with pytest.raises(pydantic.ValidationError, match="learning_rate\n  Extra inputs are not permitted"):
        TrainConfig(learning_rate=0.1)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("backbone", ""),
        ("weights", "imagenet"),
        ("dropout", -0.1),
        ("dropout", 1.0),
        ("resize_mode", "pad"),
        ("crop", "faces"),
        ("crop", None),
        ("background", True),
        ("normalise", "zscore"),
        ("optimizer", "lion"),
        ("lr", 0.0),
        ("lr", 10.1),
        ("weight_decay", -1e-9),
        ("weight_decay", 1.1),
        ("momentum", 1.0),
        ("scheduler", "linear"),
        ("warmup_epochs", -0.5),
        ("step_epochs", 0),
        ("step_gamma", 0.0),
        ("step_gamma", 1.1),
        ("base_lr", 0.0),
        ("cycle_epochs", 0.0),
        ("loss", "hinge"),
        ("focal_gamma", -1.0),
        ("smoothing", 1.0),
        ("epochs", 0),
        ("epochs", 2.5),
        ("batch_size", 1),
        ("patience", -1),
        ("monitor", "auc"),
        ("min_delta", -0.1),
        ("seed", -1),
    ],
)
def test_a_value_out_of_bounds_is_refused_by_name(field, value):
    with pytest.raises(pydantic.ValidationError, match=rf"1 validation error for TrainConfig\n{field}\n"):
        TrainConfig(**{field: value})


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("field", [name for name, info in TrainConfig.model_fields.items() if info.annotation is float])
def test_nan_and_infinity_are_refused_in_every_field(field, value):
    with pytest.raises(pydantic.ValidationError, match=field):
        TrainConfig(**{field: value})


def test_the_preprocessing_is_what_four_fields_say():
    assert TrainConfig().preprocessing == Preprocessing((224, 224), "stretch", "none", "keep")
    config = TrainConfig(resize="16x8", resize_mode="crop", crop="face", background="remove")
    assert config.preprocessing == Preprocessing((16, 8), "crop", "face", "remove")


def test_two_spellings_of_one_size_are_one_preprocessing():
    assert {TrainConfig(resize=value).preprocessing for value in (64, "64", "64x64")} == {Preprocessing((64, 64))}


@pytest.mark.parametrize("change", [{"lr": 0.5}, {"normalise": "none"}, {"backbone": "resnet50"}, {"seed": 3}])
def test_what_happens_after_the_cache_is_no_preprocessing(change):
    assert TrainConfig(**change).preprocessing == TrainConfig().preprocessing


def test_cyclic_refuses_a_base_lr_above_lr():
    with pytest.raises(pydantic.ValidationError, match=r"cyclic needs base_lr <= lr, got base_lr=0.1 and lr=0.01"):
        TrainConfig(scheduler="cyclic", base_lr=0.1, lr=0.01)
    assert TrainConfig(scheduler="cyclic", base_lr=0.1, lr=0.1).base_lr == 0.1
    assert TrainConfig(scheduler="cosine", base_lr=0.1, lr=0.01).base_lr == 0.1


def test_cosine_refuses_a_warm_up_as_long_as_the_training():
    with pytest.raises(
        pydantic.ValidationError, match=r"cosine needs warmup_epochs < epochs, got warmup_epochs=5.0 and epochs=5"
    ):
        TrainConfig(scheduler="cosine", warmup_epochs=5, epochs=5)
    assert TrainConfig(scheduler="none", warmup_epochs=5, epochs=5).warmup_epochs == 5


def test_every_field_says_what_it_means():
    assert [name for name, info in TrainConfig.model_fields.items() if not info.description] == []


def test_the_changes_below_name_every_field():
    assert set(CHANGES) == set(TrainConfig.model_fields)


@pytest.mark.parametrize("field", CHANGES)
def test_any_other_value_gives_another_fingerprint(field):
    changed = TrainConfig(**{field: CHANGES[field]})
    assert changed.fingerprint() != TrainConfig().fingerprint()
    assert changed.fingerprint() == TrainConfig.model_validate_json(changed.model_dump_json()).fingerprint()


def test_another_process_computes_the_same_fingerprint():
    command = "from trainer.config import TrainConfig; print(TrainConfig(lr=0.1 + 0.2).fingerprint())"
    done = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=True)
    assert done.stdout == f"{TrainConfig(lr=0.1 + 0.2).fingerprint()}\n"
