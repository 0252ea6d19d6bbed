"""The OOF score: the metric over all out-of-fold predictions of a trial together."""

from collections.abc import Callable
from pathlib import Path

from trainer.data.folds import Folds
from trainer.metrics import Labels, Probs
from trainer.training.oof import read_oof

Score = Callable[[Probs, Labels], float]


def oof_score(trial_directory: Path, folds: Folds, *, score: Score) -> float:
    """The metric over all OOF predictions of a trial together.

    The result equals the mean over the folds only if the metric is a mean over images.
    """
    rows = folds.scored_rows()
    return score(read_oof(trial_directory, folds)[rows], folds.manifest.labels_N[rows])
