"""After few steps, a network is scored as if its batch norms' statistics were measured on
all training images.
"""

import numpy as np
import pytest
from sklearn.datasets import load_digits

from tests.trainer.conftest import oof, paper_manifest, setup_of
from trainer.config import TrainConfig
from trainer.data.folds import make_folds
from trainer.images.images import Decoded
from trainer.learning.batch_norm import measure_again
from trainer.learning.learner import Learner
from trainer.metrics import score_fold
from trainer.model.checkpoint import load_weights
from trainer.model.network import build_network
from trainer.training.fit import run_fold
from trainer.training.from_setup import batches_of, heads_of, mean_std_of
from trainer.training.inputs import ImageInputs, TrainingRows
from trainer.training.predict import predict
from trainer.training.reporter import SilentReporter

TRAINED_ON = 898  # digits; as many are held out


@pytest.fixture(scope="module")
def digits():
    every = load_digits()
    small_NHW = np.repeat(np.repeat(every.images[: 2 * TRAINED_ON] * 15, 4, axis=1), 4, axis=2)
    pixels_NHWC = np.repeat(small_NHW[..., None], 3, axis=3).astype(np.uint8)
    labels_N = every.target[: 2 * TRAINED_ON].astype(np.int64)
    folds = make_folds(paper_manifest(labels_N, tuple("0123456789")), k=2, seed=0)
    return Decoded(pixels_NHWC), folds


@pytest.mark.parametrize(
    ("steps", "ema"),
    [
        (10, 0.0),
        (25, 0.99),
        pytest.param(10, 0.99, marks=pytest.mark.slow),
        pytest.param(25, 0.0, marks=pytest.mark.slow),
    ],
)
def test_scores_with_and_without_statistics_of_all_images_are_alike(digits, tmp_path, steps, ema):
    images, folds = digits
    differences, scores = [], []
    for seed in range(3):
        config = TrainConfig(
            backbone="test_resnet",
            weights="none",
            resize=32,
            batch_size=TRAINED_ON // steps,
            epochs=1,
            lr=3e-3,
            ema=ema,
            seed=seed,
        )
        folder = tmp_path / f"{seed}"
        setup = setup_of(config, images, folds, folder)
        run_fold(setup, SilentReporter())
        network = build_network(config, heads_of(config, folds), code=None)
        load_weights(folder / "model.safetensors", network)
        rows = TrainingRows(config, setup.train_rows, folds.manifest.labels_N, 10)
        source = ImageInputs(config, batches_of(setup, mean_std_of(setup)), rows)
        whole = source.plain(setup.train_rows, batch_size=config.batch_size)
        measure_again(network, network, whole, network)
        probs_NK = predict(
            network,
            source,
            setup.valid_rows,
            heads=heads_of(config, folds),
            batch_size=64,
            tta="none",
        ).probs_NK
        measured = score_fold(probs_NK, setup.valid_labels)["accuracy"]
        scored = score_fold(oof(folder), setup.valid_labels)["accuracy"]
        differences.append(scored - measured)
        scores.append(scored)
    assert abs(np.mean(differences)) < 0.005
    assert np.mean(scores) > 0.3  # learned something: chance is 0.1


def test_without_the_measurement_the_test_above_would_fail(digits, tmp_path, monkeypatch):
    images, folds = digits
    config = TrainConfig(
        backbone="test_resnet",
        weights="none",
        resize=32,
        batch_size=TRAINED_ON // 10,
        epochs=1,
        lr=3e-3,
    )
    monkeypatch.setattr(Learner, "measure_statistics", lambda learner, batches: None)
    setup = setup_of(config, images, folds, tmp_path)
    assert run_fold(setup, SilentReporter()).metrics["accuracy"] < 0.25
