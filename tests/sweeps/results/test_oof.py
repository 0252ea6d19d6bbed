"""The score of a trial over all its out-of-fold predictions."""

from pathlib import Path

import numpy as np
import pytest

from sweeps.results.metric import Metric
from sweeps.results.oof import oof_score
from tests.paper_predictions import N, paper_folds, random_probs, save, save_all
from trainer.data.fold_column import HOLDOUT
from trainer.data.folds import Folds
from trainer.metrics import METRICS, Probs, log_loss, macro_f1

F1 = Metric.named("f1", METRICS["f1"])
LOG_LOSS = Metric.named("loss", METRICS["loss"])
BOTH = [(F1, macro_f1), (LOG_LOSS, log_loss)]


@pytest.fixture
def folds() -> Folds:
    return paper_folds()


@pytest.fixture
def probs_NK() -> Probs:
    return random_probs()


@pytest.fixture
def trial(tmp_path: Path, folds: Folds, probs_NK: Probs) -> Path:
    """The directory of a trial with all its folds."""
    return save_all(tmp_path, folds, probs_NK)


def test_the_score_is_over_all_images_at_once(trial: Path, folds: Folds, probs_NK: Probs) -> None:
    for metric, score in BOTH:
        assert oof_score(trial, folds, metric=metric) == score(probs_NK, folds.manifest.labels_N)


@pytest.fixture
def fixed(folds: Folds) -> Folds:
    """A fixed cut: the first eight images are always trained on, the last four held out once."""
    return Folds(folds.manifest, np.array([-1] * 8 + [0] * 4), k=1, seed=0)


def test_what_is_always_trained_on_has_no_part_in_the_score(
    tmp_path: Path, fixed: Folds, probs_NK: Probs
) -> None:
    save(tmp_path, 0, fixed.valid_rows(0), probs_NK, folds=fixed)
    for metric, score in BOTH:
        assert oof_score(tmp_path, fixed, metric=metric) == score(
            probs_NK[8:], fixed.manifest.labels_N[8:]
        )


def test_the_holdout_has_no_part_in_the_score(
    tmp_path: Path, folds: Folds, probs_NK: Probs
) -> None:
    fold_N = np.where(np.arange(N) % 5 == 0, HOLDOUT, np.arange(N) % 3)
    cut = Folds(folds.manifest, fold_N, k=3, seed=0, holdout=0.25)
    for fold in range(3):
        save(tmp_path, fold, cut.valid_rows(fold), probs_NK, folds=cut)
    rows = cut.scored_rows()
    assert oof_score(tmp_path, cut, metric=LOG_LOSS) == log_loss(
        probs_NK[rows], cut.manifest.labels_N[rows]
    )
