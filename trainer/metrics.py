"""Metrics of a fold, over all its images at once; numpy only, so that reading results needs no torch.

Shapes: N images, K classes.
"""

import numpy as np
import numpy.typing as npt

Probs = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]

# name in a search space -> the direction in which it gets better
METRICS = {"f1": "maximize", "accuracy": "maximize", "loss": "minimize"}


def score_fold(probs_NK: Probs, labels_N: Labels) -> dict[str, float]:
    """`f1`, `accuracy` and `loss` (see the functions below) of one set of predictions."""
    return {
        "f1": macro_f1(probs_NK, labels_N),
        "accuracy": float((probs_NK.argmax(axis=1) == labels_N).mean()),
        "loss": log_loss(probs_NK, labels_N),
    }


def macro_f1(probs_NK: Probs, labels_N: Labels) -> float:
    """Mean over all K classes of the F1 of the most probable class.

    The label set is fixed: a class that neither occurs nor is predicted counts as 0, as in scikit-learn's
    `f1_score(labels=range(K), average="macro", zero_division=0)`.
    """
    k, predicted_N = probs_NK.shape[1], probs_NK.argmax(axis=1)
    right_K = np.bincount(labels_N[predicted_N == labels_N], minlength=k)
    both_K = np.bincount(labels_N, minlength=k) + np.bincount(predicted_N, minlength=k)
    f1_K = 2 * right_K / np.maximum(both_K, 1)
    return float(f1_K.mean())


def log_loss(probs_NK: Probs, labels_N: Labels) -> float:
    """Mean of -log of the true class's probability (natural logarithm), probabilities clipped at 1e-12."""
    true_N = probs_NK[np.arange(len(labels_N)), labels_N].astype(np.float64)
    return float(0.0 - np.log(np.maximum(true_N, 1e-12)).mean())  # 0.0 -: a perfect prediction has no loss of -0.0
