"""The group bootstrap: how much a score would differ with other groups of images.

All images of a group (a person, a video) are drawn together, because their errors go together. The
functions are pure; draws depend on a seed alone.

Shapes: N images, G groups or blocks of groups, B resamples, C columns of a table of sums.
"""

import dataclasses

import numpy as np
from scipy.special import stdtrit

from sweeps.results.metric import Floats, Ints, Metric, Predicted, Sums
from trainer.metrics import Labels
from trainer.seeds import derive

RESAMPLES = 1_000
BLACK_BOX_RESAMPLES = 100  # each of them calls a user's function
# Independent groups are put together at random into this many blocks. The bootstrap of blocks has
# the same expected variance, and a table of 4,000 blocks and 18 classes takes 1 MB.
MOST_BLOCKS = 4_000
MOST_NUMBERS = 2_000_000  # blocks times classes
BLACK_BOX_BLOCKS = 100


@dataclasses.dataclass(frozen=True)
class Interval:
    """A score on new groups, with its interval of 95 %.

    Attributes:
        error: the standard error, from the resamples.
        evidence: how many groups of equal influence the score rests on: the degrees of freedom of
            the interval.
    """

    value: float
    low: float
    high: float
    error: float
    evidence: float

    def shifted(self, by: float) -> "Interval":
        """Return the interval around another value."""
        return dataclasses.replace(
            self, value=self.value + by, low=self.low + by, high=self.high + by
        )


@dataclasses.dataclass(frozen=True)
class Scored:
    """The score of predictions, and their scores in B resamples.

    Attributes:
        inside_B: scores of the groups that were drawn, as often as they were drawn.
    """

    score: float
    inside_B: Floats

    @property
    def lift(self) -> float:
        """How much the mean of the resamples differs from the score: the bias of a small sample.

        A macro-F1 of few groups is too low, and that of a resample of them is lower again by about
        as much. Subtracting the lift corrects it.
        """
        return float(self.inside_B.mean()) - self.score


class Bootstrap:
    """Resamples of the groups of N images; the same resamples for all predictions.

    Attributes:
        blocks_N: the block of each image, see `blocks`.
        drawn_BG: how often each resample has each block.
    """

    def __init__(
        self,
        labels_N: Labels,
        groups_N: Ints | None,
        *,
        metric: Metric,
        n_classes: int,
        seed: int,
        resamples: int | None = None,
    ) -> None:
        """Draw the resamples.

        Args:
            groups_N: the group of each image as a number; None if each image is a group of its own.
        """
        self.metric = metric
        self._labels_N = labels_N
        most = min(MOST_BLOCKS, max(200, MOST_NUMBERS // n_classes))
        if not metric.additive:
            most = BLACK_BOX_BLOCKS
        self.blocks_N, self._count = blocks(groups_N, len(labels_N), most=most, seed=seed)
        usual = RESAMPLES if metric.additive else BLACK_BOX_RESAMPLES
        rng = np.random.default_rng(derive(seed, "bootstrap"))
        shares = np.full(self._count, 1 / self._count)
        self.drawn_BG = rng.multinomial(self._count, shares, size=resamples or usual).astype(
            np.float32
        )

    def scored(self, predicted: Predicted) -> Scored:
        """Return the score and the resampled scores of predictions for the N images."""
        if not self.metric.additive:
            return self._scored_by_calls(predicted)
        sums_GC = self._sums(predicted)
        return Scored(
            float(self.metric.of(sums_GC.sum(axis=0, dtype=np.float64))),
            self.metric.of(self.drawn_BG @ sums_GC),
        )

    def evidence(self, *predictions: Predicted) -> float:
        """Return how many groups of equal influence the mean score of predictions rests on.

        Each group is left out once (the jackknife). The result is at least 2.

        Source: the degrees of freedom of Satterthwaite 1946, of the jackknife's squared deviations.
        """
        without_G = np.mean([self._without(predicted) for predicted in predictions], axis=0)
        squares_G = (without_G - without_G.mean()) ** 2
        fourth = float((squares_G**2).sum())
        if fourth == 0.0:
            return float(max(2, self._count - 1))
        return max(2.0, float(squares_G.sum()) ** 2 / fourth)

    def interval(self, value: float, *, inside_B: Floats, evidence: float) -> Interval:
        """Return the interval of 95 % around an estimate: Student's t times the bootstrap's error.

        Args:
            inside_B: the resampled scores whose standard deviation is the error.
        """
        error = float(inside_B.std(ddof=1))
        reach = float(stdtrit(evidence, 0.975)) * error
        low, high = value - reach, value + reach
        if self.metric.decides or self.metric.name == "ece":  # shares between 0 and 1
            value, low, high = (min(1.0, max(0.0, number)) for number in (value, low, high))
        return Interval(value, low, high, error, evidence)

    def _sums(self, predicted: Predicted) -> Sums:
        return self.metric.sums(predicted, self._labels_N, self.blocks_N, self._count)

    def _without(self, predicted: Predicted) -> Floats:
        """Return the score without each group."""
        if self.metric.additive:
            sums_GC = self._sums(predicted).astype(np.float64)
            return self.metric.of(sums_GC.sum(axis=0) - sums_GC)
        return np.array(
            [
                self._call(predicted, np.flatnonzero(self.blocks_N != block))
                for block in range(self._count)
            ]
        )

    def _scored_by_calls(self, predicted: Predicted) -> Scored:
        every = np.arange(len(self._labels_N))
        inside = [
            self._call(predicted, np.repeat(every, drawn_G.astype(np.int64)[self.blocks_N]))
            for drawn_G in self.drawn_BG
        ]
        return Scored(self._call(predicted, every), np.array(inside))

    def _call(self, predicted: Predicted, rows: Ints) -> float:
        return self.metric.score(predicted.take(rows), self._labels_N[rows])


def blocks(groups_N: Ints | None, count: int, *, most: int, seed: int) -> tuple[Ints, int]:
    """Return the block of each image, and the number of blocks.

    A block is a group, or several groups put together at random if there are more than `most`.
    """
    if groups_N is None:
        numbers_N, found = np.arange(count), count
    else:
        names, numbers_N = np.unique(groups_N, return_inverse=True)
        found = len(names)
    if found <= most:
        return numbers_N, found
    rng = np.random.default_rng(derive(seed, "blocks"))
    block_of = np.arange(found) % most
    rng.shuffle(block_of)
    return block_of[numbers_N], most
