"""The metric of a sweep, as the choice of an ensemble and the estimates need it.

Shapes: N images, K classes, G groups, C columns of a table of sums.
"""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from trainer.metrics import Goal, Labels, Probs, score_fold
from trainer.user_code import call_metric, load_user_function

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Sums = npt.NDArray[np.float32]
SMALLEST = 1e-12  # as in trainer.metrics.log_loss


@dataclasses.dataclass(frozen=True)
class Predicted:
    """What was predicted for N images: probabilities, and the classes that a rule decided for."""

    probs_NK: Probs
    class_N: Ints

    @classmethod
    def by_argmax(cls, probs_NK: Probs) -> "Predicted":
        """Predict the most probable class of each image."""
        return cls(probs_NK, probs_NK.argmax(axis=1))

    def take(self, rows: Ints) -> "Predicted":
        """Return the predictions for these rows."""
        return Predicted(self.probs_NK[rows], self.class_N[rows])


@dataclasses.dataclass(frozen=True)
class Metric:
    """A metric that is computed from predictions and labels.

    A metric is *additive* if it follows from sums over the images. Then thousands of resamples cost
    one product of matrices. f1, accuracy and balanced_accuracy follow from counts of images per
    class, and log_loss from the sum of the images' losses.

    Attributes:
        name: the name in `trainer.metrics.METRICS`, or the reference of a user's function.
        function: the metric of probabilities and labels; the classes of a rule are not used.
    """

    name: str
    goal: Goal
    function: Callable[[Probs, Labels], float]

    @classmethod
    def named(cls, name: str, goal: Goal) -> "Metric":
        """Return one of the trainer's metrics.

        `loss` is the log loss, because each trial has a loss function of its own.
        """
        name = "log_loss" if name == "loss" else name
        return cls(name, goal, lambda probs_NK, labels_N: score_fold(probs_NK, labels_N)[name])

    @classmethod
    def of_user(cls, reference: str, goal: Goal, *, code: Path, classes: Sequence[str]) -> "Metric":
        """Return the metric that a user function computes.

        Args:
            reference: the function, as `FILE.py:FUNCTION`.
            code: the folder of the file.
            classes: the K class names, for the user function.
        """
        function = load_user_function(reference, code)
        return cls(
            reference,
            goal,
            lambda probs_NK, labels_N: call_metric(
                function, probs_NK, labels_N, classes, reference=reference
            ),
        )

    @property
    def additive(self) -> bool:
        """Whether the metric follows from sums over the images, see `sums`."""
        return self.name in OF_COUNTS or self.name == "log_loss"

    @property
    def decides(self) -> bool:
        """Whether the metric looks at the predicted classes, and not at the probabilities."""
        return self.name in OF_COUNTS

    def score(self, predicted: Predicted, labels_N: Labels) -> float:
        """Return the metric over all these images."""
        if not self.decides:
            return self.function(predicted.probs_NK, labels_N)
        everyone = np.zeros(len(labels_N), dtype=np.int64)
        return float(self.of(self.sums(predicted, labels_N, everyone, 1)[0].astype(np.float64)))

    def sums(self, predicted: Predicted, labels_N: Labels, groups_N: Ints, n_groups: int) -> Sums:
        """Return a table (G, C) of sums over the images of each group.

        The columns are, for each class, the images rightly predicted, predicted and actual; for
        log_loss the sum of the losses and the number of images.
        """
        if self.name == "log_loss":
            own_N = predicted.probs_NK[np.arange(len(labels_N)), labels_N].astype(np.float64)
            losses_N = -np.log(np.maximum(own_N, SMALLEST))
            columns = [
                np.bincount(groups_N, weights=losses_N, minlength=n_groups),
                np.bincount(groups_N, minlength=n_groups),
            ]
            return np.stack(columns, axis=1).astype(np.float32)
        k = predicted.probs_NK.shape[1]
        cells_N = groups_N * k
        right_N = predicted.class_N == labels_N
        parts = [
            np.bincount(cells, minlength=n_groups * k).reshape(n_groups, k)
            for cells in (
                (cells_N + labels_N)[right_N],
                cells_N + predicted.class_N,
                cells_N + labels_N,
            )
        ]
        return np.concatenate(parts, axis=1).astype(np.float32)

    def of(self, sums: npt.NDArray[np.floating]) -> Floats:
        """Return the metric of sums (..., C) over any images, as `sums` has them."""
        if self.name == "log_loss":
            loss: Floats = sums[..., 0] / np.maximum(sums[..., 1], 1)
            return loss
        return OF_COUNTS[self.name](*np.split(sums, 3, axis=-1))


Counts = npt.NDArray[np.floating]


def _f1(right: Counts, said: Counts, actual: Counts) -> Floats:
    f1: Floats = (2 * right / np.maximum(said + actual, 1)).mean(axis=-1)
    return f1


def _accuracy(right: Counts, said: Counts, actual: Counts) -> Floats:
    share: Floats = right.sum(axis=-1) / np.maximum(actual.sum(axis=-1), 1)
    return share


def _balanced_accuracy(right: Counts, said: Counts, actual: Counts) -> Floats:
    shares = right / np.maximum(actual, 1)
    mean: Floats = shares.sum(axis=-1) / np.maximum((actual > 0).sum(axis=-1), 1)
    return mean


OF_COUNTS: dict[str, Callable[[Counts, Counts, Counts], Floats]] = {
    "f1": _f1,
    "accuracy": _accuracy,
    "balanced_accuracy": _balanced_accuracy,
}
