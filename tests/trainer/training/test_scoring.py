"""The score of a held-out fold: its metrics, the epoch that counts, and what is kept on disk."""

import math

import numpy as np
import pytest
import torch

from tests.trainer.conftest import CPU, files
from trainer.config import TrainConfig
from trainer.errors import NonFiniteLossError
from trainer.metrics import METRICS, score_fold
from trainer.training.fold_setup import FoldSetup
from trainer.training.inputs import TrainingRows
from trainer.training.oof import OOF, read_probs
from trainer.training.predict import Prediction
from trainer.training.scoring import Scoring

CURVE = [{"epoch": 1, "loss": 0.5}, {"epoch": 2, "loss": 0.2}, {"epoch": 3, "loss": 0.4}]


@pytest.fixture
def scoring(toy, tmp_path):
    """The scoring of fold 0 of the toy data with a loss that is the mean logit."""

    def made(code: str = "", **fields: object) -> tuple[Scoring, FoldSetup]:
        (tmp_path / "my_task.py").write_text(code)
        images, folds = toy
        setup = FoldSetup(
            config=TrainConfig(**fields),
            images=[images],
            folds=folds,
            fold=0,
            directory=tmp_path / "fold-0",
            device=CPU,
            threads=1,
            code=tmp_path,
        )
        rows = TrainingRows(setup.config, setup.train_rows, folds.manifest.labels_N, 3)
        return Scoring(setup, loss=lambda logits, targets_NK: logits[0].mean(), rows=rows), setup

    return made


def prediction(setup: FoldSetup, *, logit: float = 0.5, prob: float = 0.8) -> Prediction:
    """The right class gets `prob`, the others share the rest."""
    count = len(setup.valid_rows)
    probs_NK = np.full((count, 3), (1 - prob) / 2, dtype=np.float32)
    probs_NK[np.arange(count), setup.valid_labels] = prob
    return Prediction(probs_NK, (torch.full((count, 3), logit),))


def network() -> torch.nn.Module:
    return torch.nn.Linear(2, 3)


def test_a_fold_is_scored_by_all_metrics_and_the_loss_that_was_minimised(scoring):
    made, setup = scoring()
    scores = made.score(prediction(setup), at="fold 0, epoch 1", lr=0.1)
    assert list(scores) == list(METRICS)
    assert scores == {**score_fold(prediction(setup).probs_NK, setup.valid_labels), "loss": 0.5}


def test_the_users_metric_gets_probabilities_labels_and_classes(scoring):
    code = (
        "def mine(probs, labels, classes):\n    return len(classes) + float(probs[0, labels[0]])\n"
    )
    made, setup = scoring(code, metric="my_task.py:mine")
    scores = made.score(prediction(setup, prob=0.75), at="", lr=0.1)
    assert list(scores) == [*METRICS, "metric"]
    assert scores["metric"] == 3.75


@pytest.mark.parametrize(
    ("values", "what"), [({"logit": math.nan}, "loss"), ({"prob": math.nan}, "log_loss")]
)
def test_a_loss_that_is_not_finite_is_refused_before_the_users_metric_sees_it(
    scoring, values, what
):
    code = "def mine(probs, labels, classes):\n    raise RuntimeError\n"
    made, setup = scoring(code, metric="my_task.py:mine")
    message = (
        rf"^fold 0, epoch 2: the validation {what} is nan \(lr=0\.1, optimizer=adamw, "
        r"backbone=resnet18\)\."
    )
    with pytest.raises(NonFiniteLossError, match=message):
        made.score(prediction(setup, **values), at=setup.at(2), lr=0.1)


@pytest.mark.parametrize(
    ("checkpoint", "epoch", "biased"),
    [("last", 3, False), ("best", 3, False), ("fold_best", 2, True)],
)
def test_only_the_best_epoch_of_the_fold_is_biased(scoring, checkpoint, epoch, biased):
    made, _ = scoring(checkpoint=checkpoint)
    assert (made.epoch_of(CURVE), made.biased) == (epoch, biased)


@pytest.mark.parametrize(
    ("checkpoint", "kept"), [("last", []), ("best", [1, 2, 3]), ("fold_best", [1, 2])]
)
def test_epochs_are_kept_as_long_as_they_may_score_the_fold(scoring, tmp_path, checkpoint, kept):
    made, setup = scoring(checkpoint=checkpoint)
    for epoch in (1, 2, 3):
        made.score(prediction(setup), at="", lr=0.1)
        made.keep(CURVE[:epoch], network())
    found = [name for name in files(tmp_path / "fold-0" / "epochs") if name.endswith(".npz")]
    assert found == [f"{epoch:04d}.npz" for epoch in kept]
    made.forget_others(CURVE)
    after = [name for name in files(tmp_path / "fold-0" / "epochs") if name.endswith(".npz")]
    assert after == (["0002.npz"] if checkpoint == "fold_best" else found)


def test_what_is_written_is_of_the_epoch_that_scores_the_fold(scoring, tmp_path):
    made, setup = scoring(checkpoint="fold_best")
    for epoch, prob in enumerate((0.5, 0.7, 0.9), start=1):
        made.score(prediction(setup, prob=prob), at="", lr=0.1)
        made.keep(CURVE[:epoch], network())
    probs_NK = made.write(made.epoch_of(CURVE), network())
    assert probs_NK.max() == np.float32(0.7)
    np.testing.assert_array_equal(read_probs(tmp_path / "fold-0" / OOF), probs_NK)
    made.discard()
    assert files(tmp_path / "fold-0") == ["model.safetensors", "oof.npz"]
