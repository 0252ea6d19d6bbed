"""The header of weights: everything that prediction needs, in texts, and back."""

import json

import pytest

from trainer.config import TrainConfig
from trainer.errors import CheckpointError
from trainer.images.preprocessing import Preprocessing, Reading
from trainer.model import weights_header
from trainer.model.weights_header import WeightsHeader

PEOPLE = WeightsHeader(
    config=TrainConfig(
        backbone="test_resnet",
        weights="none",
        resize="24x16",
        resize_mode="fit",
        crop="box",
        heads="separate",
        head_crops={"time": "none"},
        tta="flip",
    ).settled(),
    classes=("warm / day", "cold / day", "cold / night"),
    label_columns=("tone", "time"),
    class_parts=(("warm", "day"), ("cold", "day"), ("cold", "night")),
    mean_std=((0.1, 0.2, 0.1 + 0.2), (1e-3, 0.5, 1.0)),
    reading=Reading(fill_rgb=(0, 10, 20), levels=(0, 4095), face_weights="/data/yunet.onnx"),
    fold=3,
    version="0.1.0",
)


def test_it_comes_back_as_it_was():
    found = WeightsHeader.from_texts(PEOPLE.as_texts(), where="model.safetensors")
    assert found == PEOPLE
    assert (found.heads.names, found.heads.sizes) == (("tone", "time"), (2, 2))
    assert found.views == (
        Preprocessing((24, 16), "fit", "box"),
        Preprocessing((24, 16), "fit", "none"),
    )


def test_the_main_facts_are_there_for_other_programs():
    texts = PEOPLE.as_texts()
    assert all(isinstance(text, str) for text in texts.values())
    assert texts["backbone"] == "test_resnet"
    assert json.loads(texts["classes"]) == ["warm / day", "cold / day", "cold / night"]
    assert json.loads(texts["size"]) == {"height": 24, "width": 16}
    assert json.loads(texts["mean"]) == [0.1, 0.2, 0.1 + 0.2]
    assert json.loads(texts["heads"]) == {
        "tone": {"classes": 2, "crop": "box"},
        "time": {"classes": 2, "crop": "none"},
    }
    preprocessing = json.loads(texts["preprocessing"])
    assert [view["crop"] for view in preprocessing["views"]] == ["box", "none"]
    assert preprocessing["views"][0]["resize_mode"] == "fit"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"format": "2"}, "format 2, not 1"),
        ({"config": "{"}, "Expecting property name"),
        ({"config": '{"nonsense": 1}'}, "1 validation error for TrainConfig"),
        ({"mean": "3"}, "'int' object is not iterable"),
    ],
)
def test_a_header_that_cannot_be_used_is_refused_with_both_versions(change, reason, monkeypatch):
    monkeypatch.setattr(weights_header, "foldsweep_version", lambda: "0.1.0")
    with pytest.raises(
        CheckpointError,
        match=rf"^m.safetensors: its header cannot be used \({reason}.*\). It was written by "
        r"foldsweep 9, and this is 0.1.0$",
    ):
        WeightsHeader.from_texts(
            PEOPLE.as_texts() | {"foldsweep": "9"} | change, where="m.safetensors"
        )
