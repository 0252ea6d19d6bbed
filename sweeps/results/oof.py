"""The OOF score: the metric over all out-of-fold predictions of a trial together."""

from pathlib import Path

from sweeps.results.metric import Metric, Predicted
from trainer.data.folds import Folds
from trainer.training.oof import read_oof


def oof_score(trial_directory: Path, folds: Folds, *, metric: Metric) -> float:
    """The metric over all OOF predictions of a trial together.

    The result equals the mean over the folds only if the metric is a mean over images.
    """
    rows = folds.scored_rows()
    predicted = Predicted.by_argmax(read_oof(trial_directory, folds)[rows])
    return metric.score(predicted, folds.manifest.labels_N[rows])
