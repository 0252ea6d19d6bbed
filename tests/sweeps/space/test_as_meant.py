"""Other spellings of what we call the same are read, with a note of each."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sweeps.space.as_meant import ARCHITECTURES, WORDS, as_meant, value_as_meant
from sweeps.space.fields import field_problem
from sweeps.space.spec import SweepSpec
from tests.sweeps.space.space_texts import RIGHT
from trainer.model.timm_names import known_backbones, known_optimizers


@pytest.mark.parametrize(
    ("name", "written", "read"),
    [
        ("optimizer", "AdamW", "adamw"),
        ("optimizer", "torch.optim.SGD", "sgd"),
        ("backbone", "ResNet50", "resnet50"),
        ("backbone", "timm/ResNet50.a1_in1k", "resnet50.a1_in1k"),
        ("backbone", "hf-hub:timm/vit_tiny_patch16_224", "vit_tiny_patch16_224"),
        ("backbone", "efficientnet-b3", "efficientnet_b3"),
        ("backbone", "EfficientNetB0", "efficientnet_b0"),
        ("backbone", "mobilenet_v2", "mobilenetv2_100"),
        ("backbone", "My_task.py:Net", "My_task.py:Net"),
        ("resize", [128, 96], "128x96"),
        ("resize", [224], 224),
        ("resize", [96, 96], 96),
        ("resize", [224.0, 112.0], "224x112"),
        ("resize", "224X112", "224x112"),
        ("resize", "224 x 112", "224x112"),
        ("resize", "(224, 112)", "224x112"),
        ("resize", 224.0, 224),
        ("resize", "280x210", "280x210"),
        ("scheduler", "CosineAnnealingLR", "cosine"),
        ("scheduler", "One-Cycle", "one_cycle"),
        ("scheduler", None, "none"),
        ("scheduler", "None", "none"),
        ("loss", "CrossEntropyLoss", "cross_entropy"),
        ("loss", "cross-entropy", "cross_entropy"),
        ("loss", "my_task.py:my_loss", "my_task.py:my_loss"),
        ("weights", True, "pretrained"),
        ("weights", False, "none"),
        ("weights", "IMAGENET1K_V2", "pretrained"),
        ("weights", None, "none"),
        ("freeze", None, "none"),
        ("freeze", True, "backbone"),
        ("class_weights", True, "balanced"),
        ("tta", "Flip", "flip"),
    ],
)
def test_another_spelling_is_read_in_our_words(name: str, written: Any, read: Any):
    found = value_as_meant(name, written)
    assert (found, type(found)) == (read, type(read))
    assert field_problem(name, read) is None


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("resize", [3, 224, 224]),
        ("resize", [224.5, 224]),
        ("resize", [2, 2]),
        ("resize", "large"),
        ("loss", "bce"),
        ("scheduler", "linear"),
        ("lr", "0.1"),
        ("weight_decay", None),
        ("head_norm", "yes"),
        ("zzz", "Any"),
    ],
)
def test_what_has_no_meaning_here_stays_as_it_is_written(name: str, written: Any):
    assert value_as_meant(name, written) == written


def test_every_word_of_the_tables_is_read_as_a_value_of_its_field():
    for name, words in WORDS.items():
        for written, read in words.items():
            assert value_as_meant(name, written.upper()) == read, written
            assert field_problem(name, read) is None


def test_the_names_of_other_libraries_are_those_of_timms_models():
    assert set(ARCHITECTURES.values()) <= known_backbones()
    assert not set(ARCHITECTURES) & known_backbones()
    # so no name of timm is lost by lower case
    assert all(name == name.lower() for name in known_backbones() | known_optimizers())


def test_a_path_of_weights_may_begin_at_home(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", "/home/user")
    monkeypatch.setenv("MODELS", "/models")
    assert value_as_meant("weights", "~/w.safetensors") == "/home/user/w.safetensors"
    assert value_as_meant("weights", "$MODELS/w.pt") == "/models/w.pt"
    assert value_as_meant("weights", "${MODELS}/w.pt") == "/models/w.pt"


def test_conditions_points_and_nested_names_are_read_likewise(read: Callable[..., SweepSpec]):
    spec = read(
        RIGHT
        + """\
  optimizer: {values: [AdamW, SGD]}
  resize: {values: [[128, 96], 64]}
  momentum: {min: 0.5, max: 0.9, when: {optimizer: SGD}}
  nesterov: {values: [true, false], when: {optimizer: [SGD], resize: [[128, 96]]}}
  heads: {value: Separate}
  head_crops: {parameters: {mask: {values: [Face, None]}}}
start_with: [{optimizer: SGD, resize: [128, 96]}]
"""
    )
    assert spec.space.values_of("optimizer") == ("adamw", "sgd")
    assert spec.space.values_of("resize") == ("128x96", 64)
    assert spec.space["momentum"].when == (("optimizer", ("sgd",)),)
    assert spec.space["nesterov"].when == (("optimizer", ("sgd",)), ("resize", ("128x96",)))
    assert spec.start_with == ({"optimizer": "sgd", "resize": "128x96"},)
    assert spec.notices[:2] == (
        "optimizer: AdamW, SGD are read as adamw, sgd",
        "resize: [128, 96] is read as 128x96 (height x width)",
    )
    # what is stored has our words, so that a continuation may be written in either
    assert spec.raw["parameters"]["optimizer"] == {"values": ["adamw", "sgd"]}


def test_words_of_the_language_may_be_in_upper_case(read: Callable[..., SweepSpec]):
    text = RIGHT.replace("goal: maximize", "goal: Maximize")
    spec = read(f"{text}method: Bayes\nsampler: TPE\nearly_terminate: {{type: Median}}\n")
    assert (spec.method, spec.sampler, spec.metric.goal) == ("bayes", "tpe", "maximize")
    assert spec.notices[:4] == (
        "method: Bayes is read as bayes",
        "sampler: TPE is read as tpe",
        "metric.goal: Maximize is read as maximize",
        "early_terminate.type: Median is read as median",
    )


def test_values_that_are_one_in_our_words_are_one(read: Callable[..., SweepSpec]):
    spec = read(
        RIGHT + "  optimizer: {values: [AdamW, adamw, sgd], probabilities: [0.25, 0.25, 0.5]}\n"
    )
    assert spec.raw["parameters"]["optimizer"] == {
        "values": ["adamw", "sgd"],
        "probabilities": [0.5, 0.5],
    }
    assert spec.notices == (
        "optimizer: AdamW is read as adamw",
        "optimizer: 'adamw' is listed twice, and is read once",
    )


def test_values_of_several_types_are_not_one(read: Callable[..., SweepSpec]):
    spec = read(RIGHT.replace("{value: 0.1}", "{values: [1, 1.0, 0.5]}"))
    assert spec.space.values_of("lr") == (1, 1.0, 0.5)
    assert spec.notices == ()


def test_a_caption_names_the_sweep_and_stays_as_its_description(read: Callable[..., SweepSpec]):
    text = RIGHT.replace("name: toy", "name: Chest X-ray (first try)")
    spec = read(text + "warm_start: [Chest X-ray, toy]\n")
    assert spec.name == "chest-x-ray-first-try"
    assert spec.description == "Chest X-ray (first try)"
    assert spec.warm_start == ("chest-x-ray", "toy")
    assert spec.notices == (
        "name: 'Chest X-ray (first try)' is a caption; the sweep and its folder are called "
        "chest-x-ray-first-try",
    )
    spec = read(text + "description: which network?\n")
    assert spec.description == "Chest X-ray (first try): which network?"


def test_a_file_without_a_name_is_called_after_itself_likewise():
    raw, notes = as_meant({"parameters": {}}, Path("spaces/My sweep (2).yaml"))
    assert raw["name"] == "my-sweep-2"
    assert "description" not in raw
    assert len(notes) == 1


@pytest.mark.parametrize("raw", [{}, {"parameters": 3}, {"parameters": {"lr": 3, "a": None}}])
def test_what_is_no_search_space_stays_as_it_is(raw: dict[str, Any]):
    assert as_meant({**raw, "name": "toy"}, Path("toy.yaml")) == ({**raw, "name": "toy"}, [])
