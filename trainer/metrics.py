"""Metrics of a fold, computed over all images of the fold at once.

The module imports numpy and not torch, so that a process can read results without torch.

Shapes: N images, K classes, M non-empty cells of the confusion matrix.
"""

import enum
import math
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

Probs = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]


class Goal(enum.StrEnum):
    """The direction in which a metric gets better. Each goal equals its word in a search space.

    NaN is worse than every number.

    Example:
        >>> Goal.MINIMIZE.best([0.4, 0.2, math.nan])
        0.2
        >>> Goal.MAXIMIZE.better(0.4, 0.2)
        True
        >>> Goal("maximize") == "maximize"
        True
    """

    MAXIMIZE = "maximize"
    MINIMIZE = "minimize"

    @property
    def sign(self) -> int:
        """1 or -1. A score times the sign is greater for a better score."""
        return 1 if self is Goal.MAXIMIZE else -1

    @property
    def worst_possible(self) -> float:
        """The infinity that is worse than every finite score."""
        return -self.sign * math.inf

    def better(self, score: float, other: float) -> bool:
        """Whether a score is strictly better than another one."""
        return self._rank(score) > self._rank(other)

    def reached(self, score: float, target: float) -> bool:
        """Whether a score is as good as a target, or better."""
        return not math.isnan(score) and not self.better(target, score)

    def best(self, scores: Iterable[float]) -> float:
        """The best of the scores. Of equal scores, the first one is returned.

        Raises:
            ValueError: there are no scores.
        """
        return max(scores, key=self._rank)

    def worst(self, scores: Iterable[float]) -> float:
        """The worst of the scores. Of equal scores, the first one is returned.

        Raises:
            ValueError: there are no scores.
        """
        return min(scores, key=self._rank)

    def _rank(self, score: float) -> tuple[bool, float]:
        return not math.isnan(score), self.sign * score


# name in a search space -> the direction in which it gets better
METRICS = {
    "f1": Goal.MAXIMIZE,
    "accuracy": Goal.MAXIMIZE,
    "balanced_accuracy": Goal.MAXIMIZE,
    "loss": Goal.MINIMIZE,
    "log_loss": Goal.MINIMIZE,
    "ece": Goal.MINIMIZE,
}
CALIBRATION_BINS = 15


def score_fold(probs_NK: Probs, labels_N: Labels) -> dict[str, float]:
    """All metrics of METRICS except `loss`; the functions below define them.

    `loss` is missing because the training loss cannot be computed from probabilities alone.
    """
    return {
        "f1": macro_f1(probs_NK, labels_N),
        "accuracy": float((probs_NK.argmax(axis=1) == labels_N).mean()),
        "balanced_accuracy": balanced_accuracy(probs_NK, labels_N),
        "log_loss": log_loss(probs_NK, labels_N),
        "ece": expected_calibration_error(probs_NK, labels_N),
    }


def macro_f1(probs_NK: Probs, labels_N: Labels) -> float:
    """The mean of `f1_per_class` over all K classes, from 0 to 1.

    Example:
        >>> probs_NK = np.array([[0.9, 0.1], [0.2, 0.8], [0.3, 0.7]], dtype=np.float32)
        >>> round(macro_f1(probs_NK, np.array([0, 1, 0])), 3)
        0.667
    """
    return float(f1_per_class(probs_NK, labels_N).mean())


def f1_per_class(probs_NK: Probs, labels_N: Labels) -> npt.NDArray[np.float64]:
    """The F1 of each of the K classes, if each image is predicted as its most probable class.

    Of equally probable classes, the class with the lower index is the prediction. The set of
    classes is fixed: a class without images and without predictions has the F1 0, as in
    scikit-learn's `f1_score(labels=range(K), average=None, zero_division=0)`.
    """
    k = probs_NK.shape[1]
    predicted_N = probs_NK.argmax(axis=1)
    right_K = np.bincount(labels_N[predicted_N == labels_N], minlength=k)
    both_K = np.bincount(labels_N, minlength=k) + np.bincount(predicted_N, minlength=k)
    f1_K: npt.NDArray[np.float64] = 2 * right_K / np.maximum(both_K, 1)
    return f1_K


def balanced_accuracy(probs_NK: Probs, labels_N: Labels) -> float:
    """The share of right predictions in each class, averaged over the classes that have images.

    The definition is scikit-learn's.
    """
    k = probs_NK.shape[1]
    right_K = np.bincount(labels_N[probs_NK.argmax(axis=1) == labels_N], minlength=k)
    count_K = np.bincount(labels_N, minlength=k)
    return float((right_K[count_K > 0] / count_K[count_K > 0]).mean())


def log_loss(probs_NK: Probs, labels_N: Labels) -> float:
    """The mean of -log(probability of the true class), with the natural logarithm.

    Probabilities below 1e-12 count as 1e-12.
    """
    true_N = probs_NK[np.arange(len(labels_N)), labels_N].astype(np.float64)
    # "0.0 -" instead of "-", so that a perfect prediction has the loss 0.0 and not -0.0
    return float(0.0 - np.log(np.maximum(true_N, 1e-12)).mean())


def expected_calibration_error(probs_NK: Probs, labels_N: Labels) -> float:
    """The mean distance between confidence (the highest probability) and accuracy, from 0 to 1.

    The images are put into 15 equally wide bins of confidence. Each bin counts with its number of
    images. A bin contains its upper edge and not its lower edge. The result is NaN
    if a probability is NaN.

    Source: Guo et al. 2017, "On Calibration of Modern Neural Networks", equation 3.
    """
    top_N = probs_NK.max(axis=1).astype(np.float64)
    if np.isnan(top_N).any():
        return float("nan")
    bin_N = np.clip(np.ceil(top_N * CALIBRATION_BINS).astype(np.int64) - 1, 0, CALIBRATION_BINS - 1)
    gap_N = (probs_NK.argmax(axis=1) == labels_N) - top_N
    return float(np.abs(np.bincount(bin_N, weights=gap_N)).sum() / len(labels_N))


def confusion(probs_NK: Probs, labels_N: Labels) -> npt.NDArray[np.int64]:
    """The M cells of the confusion matrix that are not 0, as M rows of three numbers.

    The numbers are the actual class, the predicted class and the number of images. The rows are
    sorted by actual class, then by predicted class. Cells with 0 are left out because 10,000
    classes would make 100 million cells.
    """
    pairs_N2 = np.stack([labels_N, probs_NK.argmax(axis=1)], axis=1)
    cells_M2, count_M = np.unique(pairs_N2, axis=0, return_counts=True)
    return np.column_stack([cells_M2, count_M]).astype(np.int64)
