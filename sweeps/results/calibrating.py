"""Fit the calibration of predicted probabilities: one temperature, and one bias per class.

The networks of a sweep are over-confident by different amounts, and networks with class weights
predict rare classes too often. Members of an ensemble must be calibrated before their probabilities
can be averaged and compared by log loss. The functions are pure.

Shapes: N images, K classes, P label columns, B free biases.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize

from trainer.metrics import Labels, Probs
from trainer.prediction.calibration import Calibration, logs

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

BIAS_SD = 0.5  # a bias is expected to be of this size: the standard deviation of its prior
LOG_TEMPERATURE_SD = 1.0
MOST_ROWS = 5_000  # more images change the few fitted numbers by less than they differ by chance
MOST_NUMBERS = (
    2_500_000  # rows times classes: with 1,000 classes half of the rows take 0.1 s a step
)


def calibrate(
    probs_NK: Probs,
    labels_N: Labels,
    *,
    groups_N: Ints | None = None,
    columns: Sequence[Ints] = (),
) -> Calibration:
    """Fit a temperature and shrunk biases that make the log loss of the images least.

    The loss of an image counts as one divided by the mean size of a group: seven photos of one
    person are the evidence of one person, and few persons cannot move the calibration far from no
    calibration. At most MOST_ROWS images of whole groups are used.

    Args:
        groups_N: the group of each image, as a number; None if each image is a group of its own.
        columns: for each of the P label columns, the index of its value in each of the K joint
            classes. With several columns there is one bias per value of a column (8 in place of 18
            in the mask competition), because rare combinations have too few images for a bias.

    Source: Guo et al. 2017, "On Calibration of Modern Neural Networks" (temperature and bias).
        The normal priors are ours.
    """
    rows = rows_of_whole_groups(groups_N, len(labels_N), most=_most_rows(probs_NK.shape[1]))
    # class-major, because sums over the few classes of an image are then vectorised over the images
    logs_KN = np.ascontiguousarray(logs(probs_NK[rows]).T, dtype=np.float64)
    n_classes = len(logs_KN)
    labels = labels_N[rows]
    vote = 1.0 if groups_N is None else len(np.unique(groups_N[rows])) / len(rows)
    design_KB = _design(columns, n_classes)
    actual_K = np.bincount(labels, minlength=n_classes).astype(np.float64)
    own_logs = float(logs_KN[labels, np.arange(len(rows))].sum())
    precision_B = np.full(1 + design_KB.shape[1], BIAS_SD**-2)
    precision_B[0] = LOG_TEMPERATURE_SD**-2

    def loss(point_B: Floats) -> tuple[float, Floats]:
        slope = np.exp(-point_B[0])  # 1 / temperature
        bias_K = design_KB @ point_B[1:]
        scaled_KN = slope * logs_KN + bias_K[:, None]
        top_N = scaled_KN.max(axis=0)
        scaled_KN -= top_N
        probs_KN = np.exp(scaled_KN, out=scaled_KN)
        sum_N = probs_KN.sum(axis=0)
        probs_KN /= sum_N
        value = float((np.log(sum_N) + top_N).sum()) - slope * own_logs - actual_K @ bias_K
        # einsum, because threads of BLAS cost more than they help with so few numbers
        by_slope = float(np.einsum("kn,kn->", probs_KN, logs_KN)) - own_logs
        by_bias_K = probs_KN.sum(axis=1) - actual_K  # predicted minus actual images
        gradient_B = np.concatenate([[-slope * by_slope], design_KB.T @ by_bias_K])
        return (
            vote * float(value) + float(precision_B @ point_B**2) / 2,
            vote * gradient_B + precision_B * point_B,
        )

    found = minimize(loss, np.zeros(len(precision_B)), jac=True, method="L-BFGS-B")
    bias_K = design_KB @ found.x[1:]
    return Calibration(float(np.exp(found.x[0])), tuple(map(float, bias_K - bias_K.mean())))


def rows_of_whole_groups(groups_N: Ints | None, count: int, *, most: int) -> Ints:
    """Return the rows of evenly spaced whole groups with about `most` images in all.

    Every group is taken if `count`, the number of images, is not above `most`.
    """
    if count <= most:
        return np.arange(count)
    if groups_N is None:
        return np.linspace(0, count - 1, most).astype(np.int64)
    # groups in the order of their first image: data are often sorted by class
    names, first = np.unique(groups_N, return_index=True)
    ordered = names[np.argsort(first)]
    share = max(1, round(len(ordered) * most / count))
    chosen = ordered[np.linspace(0, len(ordered) - 1, share).astype(np.int64)]
    rows: Ints = np.flatnonzero(np.isin(groups_N, chosen))
    return rows


def _most_rows(n_classes: int) -> int:
    return min(MOST_ROWS, max(1, MOST_NUMBERS // n_classes))


def _design(columns: Sequence[Ints], n_classes: int) -> Floats:
    """Return the (K, B) matrix that turns free biases into the biases of the joint classes."""
    if len(columns) < 2:
        return np.eye(n_classes)
    return np.concatenate(
        [np.eye(int(class_of_K.max()) + 1)[class_of_K] for class_of_K in columns], axis=1
    )
