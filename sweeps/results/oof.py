"""The score of a trial over all its out-of-fold predictions at once."""

from collections.abc import Callable
from pathlib import Path

from trainer.data.folds import Folds
from trainer.metrics import Labels, Probs
from trainer.training.oof import read_oof

Score = Callable[[Probs, Labels], float]


def oof_score(trial_directory: Path, folds: Folds, *, score: Score) -> float:
    """The metric over all predicted images at once; differs from the mean over folds if the metric is no mean."""
    rows = folds.scored_rows()
    return score(read_oof(trial_directory, folds)[rows], folds.manifest.labels_N[rows])
