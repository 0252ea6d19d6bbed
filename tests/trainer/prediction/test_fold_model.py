"""A fold model predicts images that it has not seen as its fold run predicted the held-out ones."""

import dataclasses
import json
import shutil
import socket
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch

from tests.trainer.prediction.fold_runs import (
    K,
    Trained,
    data_options,
    predicted,
    predictor_of,
    settings,
    train_trial,
    write_photos,
)
from trainer.errors import CheckpointError, ConfigError
from trainer.metrics import Probs
from trainer.model import backbone
from trainer.prediction.unseen import read_unseen
from trainer.training.oof import read_oof

OWN = """\
import timm

def narrow(size_HW, pretrained):
    assert not pretrained
    return timm.create_model("test_resnet", num_classes=0)
"""


def of_training_images(trial: Trained, fold: int, **rest: object) -> Probs:
    """The probabilities of all training images, read again as unseen images."""
    boxes = any(how.crop == "box" for how in trial.model(fold).header.views)
    unseen = read_unseen(trial.data, boxes=boxes)
    assert list(unseen.paths) == list(trial.folds.manifest.paths)
    return predicted(predictor_of(only=[trial.model(fold)]), unseen, **rest).probs_NK


CHOICES = {
    "joint": {},
    "separate": {"heads": "separate"},
    "boxes": {"crop": "box"},
    "crops per head": {"heads": "separate", "head_crops": {"tone": "box"}, "tta": "flip"},
    "fit": {"resize_mode": "fit", "resize": "16x24", "normalise": "dataset"},
    "crop": {"resize_mode": "crop", "resampling": "bicubic"},
    "tta": {"tta": "flip_crops"},
    "average": {"ema": 0.9, "head_norm": True, "dropout": 0.3},
    "common epoch": {"checkpoint": "fold_best", "epochs": 2},
    "frozen": {"freeze": "backbone", "tta": "flip"},
}


@pytest.mark.parametrize("choice", CHOICES)
def test_held_out_images_get_their_out_of_fold_probabilities(choice, tmp_path):
    source = write_photos(tmp_path / "photos")
    trial = train_trial(tmp_path / "trial", settings(**CHOICES[choice]), data_options(source))
    for fold in range(K):
        rows = trial.folds.valid_rows(fold)
        probs_NK = of_training_images(trial, fold)[rows]
        np.testing.assert_allclose(probs_NK, trial.oof(fold), atol=1e-5)
        assert (np.ptp(trial.oof(fold), axis=0) > 1e-4).any()  # the images are told apart


def test_files_of_16_bits_are_read_with_the_levels_of_the_training_data(tmp_path):
    source = write_photos(tmp_path / "photos", deep=True)
    trial = train_trial(tmp_path / "trial", settings(), data_options(source))
    assert trial.model(0).header.reading.levels == (0, 4095)
    probs_NK = of_training_images(trial, 0)[trial.folds.valid_rows(0)]
    np.testing.assert_allclose(probs_NK, trial.oof(0), atol=1e-5)


def test_a_backbone_of_the_users_own_is_built_from_its_file_without_pretrained_weights(tmp_path):
    source = write_photos(tmp_path / "photos")
    code = tmp_path / "code"
    code.mkdir()
    (code / "own.py").write_text(OWN)
    config = settings(backbone="own.py:narrow")
    trial = train_trial(tmp_path / "trial", config, data_options(source), code=code)
    probs_NK = of_training_images(trial, 1)[trial.folds.valid_rows(1)]
    np.testing.assert_allclose(probs_NK, trial.oof(1), atol=1e-5)
    (code / "own.py").unlink()
    with pytest.raises(ConfigError, match=r"own.py:narrow: there is no file"):
        _ = trial.model(1).network


@pytest.fixture
def trial(tmp_path: Path) -> Trained:
    source = write_photos(tmp_path / "photos")
    return train_trial(tmp_path / "trial", settings(), data_options(source))


def test_no_network_connection_is_needed(trial, monkeypatch):
    """The weights of the configuration are replaced by those of the fold run."""

    def connect(*_: object) -> None:
        raise AssertionError("a connection")

    for weights in ("pretrained", "/nowhere/own.safetensors"):
        model = trial.model(0)
        config = model.header.config.model_copy(update={"weights": weights})
        other = dataclasses.replace(model, header=dataclasses.replace(model.header, config=config))
        with monkeypatch.context() as patch:
            patch.setattr(socket.socket, "connect", connect)
            patch.setattr(backbone, "load_backbone_weights", connect)
            assert not other.network.training


def test_all_fold_models_together_differ_from_the_out_of_fold_prediction(trial):
    unseen = read_unseen(trial.data)
    probs_NK = predicted(predictor_of(only=trial.models()), unseen).probs_NK
    np.testing.assert_allclose(probs_NK.sum(axis=1), 1, atol=1e-5)
    assert abs(probs_NK - read_oof(trial.directory, trial.folds)).max() > 1e-3


def test_other_test_time_augmentation_than_in_training_can_be_chosen(trial, tmp_path):
    flipped = train_trial(tmp_path / "flipped", settings(tta="flip"), trial.data)
    np.testing.assert_array_equal(
        of_training_images(trial, 0, tta="flip"), of_training_images(flipped, 0)
    )
    plain_NK = of_training_images(trial, 0)
    np.testing.assert_array_equal(plain_NK, of_training_images(flipped, 0, tta="none"))
    assert abs(plain_NK - of_training_images(flipped, 0)).max() > 1e-5


def test_weights_of_an_earlier_version_are_described_by_the_files_beside_them(trial, tmp_path):
    expected = of_training_images(trial, 0)
    path = trial.model(0).weights
    safetensors.torch.save_file(safetensors.torch.load_file(path), path)
    model = trial.model(0)
    assert (model.header.fold, model.header.version) == (0, "an earlier version")
    np.testing.assert_array_equal(of_training_images(trial, 0), expected)
    (trial.directory / "config.json").unlink()
    with pytest.raises(
        CheckpointError,
        match=r"model.safetensors: the file has no header, because an earlier version wrote it, "
        r"and the files beside it cannot be used \(.*No such file.*\)$",
    ):
        trial.model(0)


def test_weights_that_are_gone_cut_off_or_of_other_classes_are_refused_before_they_load(trial):
    model = trial.model(0)
    manifest = trial.folds.manifest
    fewer = dataclasses.replace(manifest, classes=manifest.classes[:4])
    other = dataclasses.replace(trial, folds=dataclasses.replace(trial.folds, manifest=fewer))
    with pytest.raises(
        CheckpointError,
        match=r"model.safetensors: the weights are of other classes \(6: dark / day, dark / night, "
        r"dark / noon, ...\) than the folds \(4: ",
    ):
        other.model(0)
    model.weights.write_bytes(model.weights.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match=r"model.safetensors: the weights do not load"):
        trial.model(0)
    model.weights.unlink()
    with pytest.raises(CheckpointError, match=r"model.safetensors: the weights do not load"):
        trial.model(0)


def test_weights_of_another_fold_are_refused(trial):
    first, second = trial.model(0).weights, trial.model(1).weights
    kept = first.read_bytes()
    shutil.copy(second, first)
    with pytest.raises(
        CheckpointError, match=r"fold-0/model.safetensors: the weights are those of fold 1, so the"
    ):
        trial.model(0)
    first.write_bytes(kept)
    assert trial.model(0).header.fold == 0


def test_weights_of_another_network_are_refused_when_they_load(trial, tmp_path):
    other = train_trial(tmp_path / "other", settings(backbone="test_efficientnet"), trial.data)
    model = dataclasses.replace(trial.model(0), weights=other.model(0).weights)
    with pytest.raises(CheckpointError, match=r"model.safetensors: the weights do not load"):
        _ = model.network


def test_a_model_is_known_by_the_content_of_its_file_and_of_its_code(trial, tmp_path):
    model = trial.model(0)
    copy = shutil.copy(model.weights, tmp_path / "copy.safetensors")
    assert dataclasses.replace(model, weights=Path(copy)).digest == model.digest
    assert trial.model(1).digest != model.digest
    (tmp_path / "own.py").write_text(OWN)
    texts = model.header.as_texts() | {
        "config": json.dumps({"backbone": "own.py:narrow", "loss": "gone.py:loss"})
    }
    header = type(model.header).from_texts(texts, where="")
    own = dataclasses.replace(model, header=header, code=tmp_path)
    before = own.code_digest  # the file of the loss is not needed
    (tmp_path / "own.py").write_text(OWN + "\n")
    assert (model.code_digest, own.code_digest == before) == ("", False)
    assert own.batch_size == 64


def test_a_model_is_sent_to_other_processes_without_its_network(trial):
    model = trial.model(0)
    assert model.network is model.network
    sent = model.unloaded()
    assert sent == model
    assert set(vars(sent)) == {"weights", "header", "code"}
    assert "heads" not in vars(sent.header)
