"""Fit the rule that turns calibrated probabilities into predicted classes, for a metric.

The rules follow from the metric and the probabilities alone, without labels: thresholds that are
tuned on labelled images follow their noise. The functions are pure.

Shapes: N images, K classes.
"""

import numpy as np
import numpy.typing as npt

from trainer.metrics import Probs
from trainer.prediction.decision import Decision

ITERATIONS = 40
# images of one group where the data have no groups: they stand for what is not known of a class
NO_GROUPS_KAPPA = 5.0
Floats = npt.NDArray[np.float64]


def decision_for(metric: str, probs_NK: Probs, *, kappa: float) -> Decision:
    """Return the rule for a metric of `trainer.metrics.METRICS`, or argmax for any other metric.

    Args:
        probs_NK: calibrated probabilities of images that have the proportions of the classes.
        kappa: see `f1_decision`.
    """
    if metric == "f1":
        return f1_decision(probs_NK, kappa=kappa)
    if metric == "balanced_accuracy":
        return balanced_decision(probs_NK)
    return Decision()


def f1_decision(probs_NK: Probs, *, kappa: float) -> Decision:
    """Return the rule that makes the expected macro-F1 of these images greatest.

    With n_c actual, m_c predicted and TP_c rightly predicted images, F_c = 2 TP_c / (n_c + m_c).
    One more image predicted as c changes F_c by 2 / (n_c + m_c) * (p_c - F_c / 2). So the class
    with the greatest (p_c - F_c / 2) / (n_c + m_c) is predicted. n_c and TP_c are sums of
    probabilities; m_c and TP_c change with the rule, which is found in at most ITERATIONS rounds.
    The best round counts; the first round is argmax.

    Args:
        kappa: images added to each n_c + m_c, usually the number of images of one group. Without it
            a class of which two images are expected would be predicted for whole groups.

    Source: the half-F threshold of Lipton et al. 2014, "Thresholding Classifiers to Maximize F1
        Score" (arXiv 1402.1892), for each class of a macro-F1. kappa is ours.
    """
    n_images, k = probs_NK.shape
    expected_K = probs_NK.sum(axis=0, dtype=np.float64)
    images = np.arange(n_images)
    scale_K: Floats = np.ones(k)
    offset_K: Floats = np.zeros(k)
    best = -1.0
    decision = Decision("f1")
    seen: set[bytes] = set()
    for _ in range(ITERATIONS):
        candidate = Decision("f1", tuple(scale_K.tolist()), tuple(offset_K.tolist()))
        class_N = candidate.of(probs_NK)
        said_K = np.bincount(class_N, minlength=k)
        right_K = np.bincount(class_N, weights=probs_NK[images, class_N], minlength=k)
        both_K = expected_K + said_K + kappa
        f1_K = 2 * right_K / both_K
        if f1_K.mean() > best + 1e-12:
            best = float(f1_K.mean())
            decision = candidate
        if (key := class_N.tobytes()) in seen:  # the rounds repeat themselves from here on
            break
        seen.add(key)
        # only ratios matter: the mean scale of the classes becomes 1
        scale_K = 1 / both_K / (1 / both_K).mean()
        offset_K = scale_K * f1_K / 2
    return decision


def balanced_decision(probs_NK: Probs) -> Decision:
    """Return the rule for balanced accuracy: the probability divided by the class's proportion.

    A class that no image is expected to have counts with a thousandth of an image.
    """
    expected_K = np.maximum(probs_NK.sum(axis=0, dtype=np.float64), 1e-3)
    scale_K = 1 / expected_K / (1 / expected_K).mean()
    return Decision("balanced_accuracy", tuple(scale_K.tolist()), (0.0,) * len(scale_K))
