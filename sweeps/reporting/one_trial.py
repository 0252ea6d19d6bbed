"""What the files of one trial say: learning curves, confusions, and the surest wrong answers.

Shapes: N images with an out-of-fold prediction, K classes.
"""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from sweeps.results.metric import Ints, Predicted
from trainer.files import fold_directories
from trainer.training.result import read_curve

Curve = list[tuple[float, float]]


def fold_curves(directory: Path, field: str) -> list[Curve]:
    """The epochs of each finished fold run of a trial, each with its value of a metric.

    A fold run whose file is missing or damaged, or has no such metric, is left out.
    """
    curves: list[Curve] = []
    for fold in fold_directories(directory):
        try:
            rows = read_curve(fold)
        except (OSError, ValueError):
            continue
        curve = [(row["epoch"], row[field]) for row in rows if field in row]
        curves += [curve] if curve else []
    return curves


def confusion_counts(
    predicted: Predicted, labels_N: Ints, *, n_classes: int
) -> npt.NDArray[np.int64]:
    """The number of images of each actual class (rows) and each predicted class (columns)."""
    counts_KK = np.zeros((n_classes, n_classes), dtype=np.int64)
    np.add.at(counts_KK, (labels_N, predicted.class_N), 1)
    return counts_KK


def confident_errors(predicted: Predicted, labels_N: Ints, *, most: int) -> list[int]:
    """The images that are predicted wrongly, those with the surest wrong class first."""
    wrong_N = np.flatnonzero(predicted.class_N != labels_N)
    sure_N = predicted.probs_NK[wrong_N, predicted.class_N[wrong_N]]
    return [int(index) for index in wrong_N[np.argsort(-sure_N, kind="stable")][:most]]
