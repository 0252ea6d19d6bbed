"""Mean and std: those the backbone expects, imagenet's, none,
or measured over what the fold run may see.
"""

import json

import numpy as np
import pytest
import timm
import torch

from tests.trainer.conftest import paper_manifest, squares
from trainer.config import TrainConfig
from trainer.data.folds import Folds, make_folds
from trainer.images.batches import Batches
from trainer.images.images import Decoded
from trainer.model.backbone import IMAGENET, normalisation
from trainer.training import from_setup
from trainer.training.fit import Ended, run_fold
from trainer.training.fold_setup import FoldSetup
from trainer.training.reporter import SilentReporter


class Recorder(Batches):
    """Batches that remember what they were normalised with."""

    def __init__(self, *args: object, **options: object) -> None:
        super().__init__(*args, **options)
        seen.append(options["mean_std"])


seen: list[tuple[tuple[float, ...], tuple[float, ...]]] = []


@pytest.fixture
def folds() -> Folds:
    """3 folds of 36 images on paper."""
    return make_folds(paper_manifest(squares(36, side=16)[1]), k=3, seed=0)


@pytest.fixture
def train(folds, tiny, tmp_path, monkeypatch):
    """Train fold 0 on these images: the weights, the probabilities,
    and the mean and std in effect.
    """
    monkeypatch.setattr(from_setup, "Batches", Recorder)

    def run(images_NHWC: np.ndarray, *, fold: int = 0, name: str = "run", **changes: object):
        seen.clear()
        directory = tmp_path / name
        setup = FoldSetup(
            config=tiny(**{"normalise": "dataset", "epochs": 1, **changes}),
            images=[Decoded(images_NHWC)],
            folds=folds,
            fold=fold,
            directory=directory,
            device=torch.device("cpu"),
            threads=1,
        )
        ended = run_fold(setup, SilentReporter())
        assert not isinstance(ended, Ended)
        (used,) = seen
        return (
            (directory / "model.safetensors").read_bytes(),
            np.load(directory / "oof.npz")["probs"],
            used,
        )

    return run


@pytest.fixture
def train_two(tiny, people, tmp_path, monkeypatch):
    """Train fold 0 of two label columns on two crops: the mean and std in effect for each."""
    monkeypatch.setattr(from_setup, "Batches", Recorder)

    def run(views: list[np.ndarray]):
        seen.clear()
        config = tiny(normalise="dataset", epochs=1, heads="separate", head_crops={"tone": "box"})
        setup = FoldSetup(
            config=config,
            images=[Decoded(view) for view in views],
            folds=people[1],
            fold=0,
            directory=tmp_path / "two",
            device=torch.device("cpu"),
            threads=1,
        )
        run_fold(setup, SilentReporter())
        return list(seen)

    return run


def test_dataset_is_the_mean_and_std_of_the_training_rows(train, folds):
    images_NHWC = squares(36, side=16)[0]
    for fold in range(3):
        _, _, used = train(images_NHWC, fold=fold, name=f"fold-{fold}")
        values = images_NHWC[folds.train_rows(fold)] / 255
        np.testing.assert_allclose(
            used, (values.mean(axis=(0, 1, 2)), values.std(axis=(0, 1, 2))), rtol=1e-12
        )


def test_dataset_makes_training_images_of_mean_zero_and_deviation_one(folds):
    rows = folds.train_rows(1)
    source = Decoded(squares(36, side=16)[0])
    batches = Batches(
        source, device=torch.device("cpu"), mean_std=source.channel_sums(rows).mean_std()
    )
    images_BCHW = batches.normalised(next(batches.pixels([rows])))
    np.testing.assert_allclose(images_BCHW.mean(dim=(0, 2, 3)), 0, atol=1e-5)
    np.testing.assert_allclose(images_BCHW.std(dim=(0, 2, 3), correction=0), 1, atol=1e-5)


def test_a_held_out_image_changes_neither_the_normalisation_nor_the_weights(train, folds):
    images_NHWC = squares(36, side=16)[0]
    weights, probs_NK, used = train(images_NHWC, name="before")
    other_NHWC = images_NHWC.copy()
    other_NHWC[folds.valid_rows(0)[3]] = 255
    weights_after, probs_after_NK, used_after = train(other_NHWC, name="after")
    assert used_after == used
    assert weights_after == weights
    np.testing.assert_array_equal(np.flatnonzero((probs_after_NK != probs_NK).any(axis=1)), [3])


def test_of_several_crops_the_first_is_measured_and_all_are_normalised_alike(train_two, folds):
    whole_NHWC = squares(36, side=16)[0]
    cropped_NHWC = squares(36, side=16, seed=1)[0]
    expected = Decoded(whole_NHWC).channel_sums(folds.train_rows(0)).mean_std()
    assert train_two([whole_NHWC, cropped_NHWC]) == [expected, expected]


def test_a_training_image_changes_the_normalisation(train, folds):
    images_NHWC = squares(36, side=16)[0]
    _, _, used = train(images_NHWC, name="before")
    images_NHWC[folds.train_rows(0)[3]] = 255
    assert train(images_NHWC, name="after")[2] != used


@pytest.mark.parametrize("normalise", ["backbone", "imagenet", "none"])
def test_other_choices_never_look_at_the_images(train, monkeypatch, normalise):
    monkeypatch.setattr(Decoded, "channel_sums", lambda *_: pytest.fail("measured"))
    config = TrainConfig(backbone="test_resnet", normalise=normalise)
    assert train(squares(36, side=16)[0], normalise=normalise)[2] == normalisation(config)


def test_none_leaves_values_between_zero_and_one():
    source = Decoded(np.array([0, 51, 255], dtype=np.uint8).reshape(1, 1, 1, 3))
    batches = Batches(
        source, device=torch.device("cpu"), mean_std=normalisation(TrainConfig(normalise="none"))
    )
    images_BCHW = batches.normalised(next(batches.pixels([np.zeros(1, dtype=np.int64)])))
    np.testing.assert_allclose(images_BCHW.flatten(), [0, 0.2, 1], atol=1e-7)


def test_imagenet_is_imagenet_whatever_the_backbone():
    for backbone in ("resnet18", "vit_base_patch16_224", "test_resnet"):
        assert normalisation(TrainConfig(backbone=backbone, normalise="imagenet")) == IMAGENET
    assert IMAGENET == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@pytest.mark.parametrize("backbone", ["resnet18", "vit_base_patch16_224", "tf_efficientnet_b0"])
def test_backbone_is_what_its_weights_were_trained_with(backbone):
    settings = timm.get_pretrained_cfg(backbone)
    assert normalisation(TrainConfig(backbone=backbone, normalise="backbone")) == (
        settings.mean,
        settings.std,
    )
    assert normalisation(TrainConfig(backbone=backbone)) == (settings.mean, settings.std)


def test_backbones_differ_in_what_they_expect():
    assert normalisation(TrainConfig(backbone="vit_base_patch16_224")) == (
        (0.5, 0.5, 0.5),
        (0.5, 0.5, 0.5),
    )
    assert normalisation(TrainConfig(backbone="resnet18")) == IMAGENET


def test_another_normalisation_is_another_configuration():
    prints = {
        TrainConfig(normalise=name).fingerprint()
        for name in ("backbone", "imagenet", "dataset", "none")
    }
    assert len(prints) == 4


def test_a_finished_fold_of_another_normalisation_is_trained_anew(train):
    images_NHWC = squares(36, side=16)[0]
    first = train(images_NHWC, normalise="none")[0]
    assert train(images_NHWC, normalise="dataset")[0] != first


def test_a_normalisation_nobody_knows_is_refused():
    with pytest.raises(
        ValueError, match="Input should be 'backbone', 'imagenet', 'dataset' or 'none'"
    ):
        TrainConfig(normalise=json.loads('"zscore"'))
