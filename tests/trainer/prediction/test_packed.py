"""A folder with everything that predicts."""

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch

from tests.trainer.prediction.fold_runs import Trained, settings, train_trial
from tests.trainer.prediction.packs import packed_of, probs_of, trained, written
from trainer.errors import CheckpointError, DataError
from trainer.model.checkpoint import read_header, save_weights
from trainer.prediction.fold_model import FoldModel
from trainer.prediction.packed import read_packed

OWN = """\
import timm

def narrow(size_HW, pretrained):
    return timm.create_model("test_resnet", num_classes=0)
"""


@pytest.fixture(scope="module")
def trial(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return trained(tmp_path_factory.mktemp("trained"), heads="separate", tta="flip", crop="box")


def test_it_says_the_same_to_the_bit_wherever_it_lies(trial, tmp_path):
    packed = packed_of(trial)
    written(packed, tmp_path / "here")
    shutil.move(tmp_path / "here", tmp_path / "there")
    read = read_packed(tmp_path / "there")
    np.testing.assert_array_equal(probs_of(read, trial), probs_of(packed, trial))
    assert read.predictor.mixture == packed.predictor.mixture
    assert read.predictor.prior_K == packed.predictor.prior_K
    assert (read.classes, read.source) == (packed.classes, packed.source)


def test_the_folder_has_these_files(trial, tmp_path):
    folder = written(packed_of(trial), tmp_path / "model")
    assert sorted(
        str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()
    ) == [
        "members/mask/trial-0003/config.json",
        "members/mask/trial-0003/fold-0.safetensors",
        "members/mask/trial-0003/fold-1.safetensors",
        "mixture.json",
    ]
    assert str(tmp_path) not in (folder / "mixture.json").read_text()
    for fold in range(2):
        weights = f"fold-{fold}.safetensors"
        assert (folder / "members/mask/trial-0003" / weights).read_bytes() == (
            trial.directory / f"fold-{fold}/model.safetensors"
        ).read_bytes()


def test_the_users_file_with_the_backbone_is_in_it(trial, tmp_path):
    code = tmp_path / "code"
    (code / "__pycache__").mkdir(parents=True)
    (code / "my_task.py").write_text(OWN)
    config = settings(backbone="my_task.py:narrow", crop="box")
    own = train_trial(tmp_path / "own", config, trial.data, code=code)
    packed = packed_of(own, a=own.models(), b=trial.models())
    expected = probs_of(packed, trial)
    folder = written(packed, tmp_path / "model")
    shutil.rmtree(code)
    read = read_packed(folder)
    np.testing.assert_array_equal(probs_of(read, trial), expected)
    assert [model.code for model in read.models] == [folder / "members/a/code"] * 2 + [None] * 2
    assert [path.name for path in (folder / "members/a/code").iterdir()] == ["my_task.py"]


def test_models_that_cut_faces_and_backgrounds_are_in_it(trial, tmp_path):
    """Each of them once, also when the members of several sweeps use different ones."""

    def using(content: str) -> FoldModel:
        path = tmp_path / f"{content}.onnx"
        path.write_text(content)
        model = trial.model(0)
        reading = dataclasses.replace(model.header.reading, face_weights=str(path))
        return dataclasses.replace(model, header=dataclasses.replace(model.header, reading=reading))

    packed = packed_of(trial, a=[using("one"), using("one")], b=[using("two")])
    folder = written(packed, tmp_path / "model")
    for path in tmp_path.glob("*.onnx"):
        path.unlink()
    faces = [Path(model.header.reading.face_weights) for model in read_packed(folder).models]
    assert [path.read_text() for path in faces] == ["one", "one", "two"]
    assert sorted(set(faces)) == sorted((folder / "pixels").iterdir())


def test_weights_of_an_earlier_version_get_the_header_that_they_lack(trial, tmp_path):
    model = trial.model(0)
    old = tmp_path / "fold-0/model.safetensors"
    save_weights(old, model.network)
    packed = packed_of(trial, old=[dataclasses.replace(model, weights=old)])
    folder = written(packed, tmp_path / "model")
    weights = folder / "members/old/fold-0.safetensors"
    count = str(sum(each.numel() for each in model.network.parameters()))
    assert read_header(weights) == {**model.header.as_texts(), "parameters": count}
    np.testing.assert_array_equal(probs_of(read_packed(folder), trial), probs_of(packed, trial))


# what is refused


def test_another_folder(tmp_path):
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(DataError) as caught:
            read_packed(folder)
        assert str(caught.value) == (
            f"{folder}: not a packed model (no mixture.json). `sweeps pack --out {folder}` writes "
            "one"
        )


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"format": 2}, "format 2, not 1"),
        ({"mixture": {}}, "'members'"),
        ({"models": {"mask/trial-0003": []}}, "tuple index out of range"),
        ({"models": {}}, "'mask/trial-0003'"),
        ({"prior": None}, "'NoneType' object is not iterable"),
    ],
)
def test_a_damaged_description(trial, tmp_path, change, reason):
    folder = written(packed_of(trial), tmp_path / "model")
    path = folder / "mixture.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(DataError) as caught:
        read_packed(folder)
    assert str(caught.value) == f"{path}: not readable ({reason}). Pack the model again"


def test_damaged_or_missing_weights(trial, tmp_path):
    folder = written(packed_of(trial), tmp_path / "model")
    weights = folder / "members/mask/trial-0003/fold-1.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(CheckpointError, match=r"fold-1\.safetensors: the weights do not load"):
        read_packed(folder)
    safetensors.torch.save_file({}, weights)
    with pytest.raises(CheckpointError, match=r"fold-1\.safetensors: its header cannot be used"):
        read_packed(folder)
    weights.unlink()
    with pytest.raises(CheckpointError, match=r"fold-1\.safetensors: the weights do not load"):
        read_packed(folder)
