"""How well each class is recognised: F1 with intervals over groups. The functions are pure.

Shapes: N images, K classes, B resamples, G groups or blocks of groups.
"""

import dataclasses

import numpy as np
import numpy.typing as npt

from sweeps.results.metric import Floats, Ints, Metric, Predicted
from sweeps.results.resampling import Bootstrap
from trainer.metrics import Goal, Labels

F1 = Metric.named("f1", Goal.MAXIMIZE)


@dataclasses.dataclass(frozen=True)
class ClassScore:
    """The F1 of one class.

    Attributes:
        images: how many images of the class are scored.
        low, high: 95 % of the resamples of groups; equal to `f1` if there is nothing to resample.
    """

    images: int
    f1: float
    low: float
    high: float


def class_scores(
    predicted: Predicted, labels_N: Labels, groups_N: Ints | None, *, n_classes: int, seed: int
) -> list[ClassScore]:
    """Return the F1 of each class, with the percentile interval of a bootstrap of the groups.

    Args:
        groups_N: the group of each image as a number; None if each image is a group of its own.

    Source: the percentile method of Efron and Tibshirani 1993, "An introduction to the bootstrap".
    """
    bootstrap = Bootstrap(labels_N, groups_N, metric=F1, n_classes=n_classes, seed=seed)
    drawn_BG = bootstrap.drawn_BG
    sums_GC = F1.sums(predicted, labels_N, bootstrap.blocks_N, drawn_BG.shape[1])

    f1_K = _f1(sums_GC.sum(axis=0, dtype=np.float64))
    low_K, high_K = np.quantile(_f1(drawn_BG @ sums_GC), (0.025, 0.975), axis=0)
    images_K = np.bincount(labels_N, minlength=n_classes)
    return [
        ClassScore(int(images), float(score), float(low), float(high))
        for images, score, low, high in zip(images_K, f1_K, low_K, high_K, strict=True)
    ]


def _f1(sums: npt.NDArray[np.floating]) -> Floats:
    """The F1 of each class from sums (..., 3 K), as `Metric.sums` has them."""
    right, said, actual = np.split(sums.astype(np.float64), 3, axis=-1)
    f1: Floats = 2 * right / np.maximum(said + actual, 1)
    return f1
