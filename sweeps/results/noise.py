"""How much the score of a test set, and the difference of two scores, is chance.

The functions are pure; draws depend on a seed alone.

Shapes: N images, G groups.
"""

import dataclasses
import math

import numpy as np

from sweeps.results.metric import Floats, Ints, Metric, Predicted
from trainer.metrics import Labels
from trainer.seeds import derive

DRAWS = 300
WIDTH = 1.96  # standard deviations to each side that hold 95 %


@dataclasses.dataclass(frozen=True)
class Noise:
    """What chance does to the scores of a test set.

    Attributes:
        images: how many images are scored.
        score: 95 % of the scores lie within this distance of the score on very many images.
        difference: the same for the difference of two predictions; None if they are equal.
        changed: the share of the images that both predict differently.
    """

    images: int
    score: float
    difference: float | None
    changed: float

    def difference_for(self, changed: float) -> float | None:
        """The distance for two predictions that differ in another share of the images.

        The difference is a sum over the images that are predicted differently, so it grows with the
        root of their number.
        """
        if self.difference is None:
            return None
        return self.difference * math.sqrt(changed / self.changed)


@dataclasses.dataclass(frozen=True)
class PublicPart:
    """A test set of which a part is scored in public.

    Attributes:
        images: the number of its images.
        public: the share of the images that are scored, above 0 and at most 1.
    """

    images: int
    public: float = 1.0


def score_noise(
    first: Predicted,
    second: Predicted,
    labels_N: Labels,
    groups_N: Ints | None,
    *,
    metric: Metric,
    part: PublicPart,
    seed: int,
) -> Noise:
    """Draw test sets like the N images, and score two predictions on the public part of each.

    Whole groups are drawn, with as many images in all as the test set has; then images are drawn
    for the public part.

    Args:
        first, second: out-of-fold predictions of the N images.
        groups_N: the group of each image as a number from 0; None without groups.
    """
    numbers_N = np.arange(len(labels_N)) if groups_N is None else groups_N
    count = int(numbers_N.max()) + 1
    wanted = max(1, round(part.images * count / len(labels_N)))
    scores = np.array(
        [
            [metric.score(predicted.take(rows), labels_N[rows]) for predicted in (first, second)]
            for rows in (
                _drawn(numbers_N, count, wanted, public=part.public, seed=derive(seed, draw))
                for draw in range(DRAWS)
            )
            if len(rows)
        ]
    )
    changed = float((first.class_N != second.class_N).mean())
    reach: Floats = WIDTH * scores.std(axis=0, ddof=1)
    difference = float(WIDTH * (scores[:, 1] - scores[:, 0]).std(ddof=1))
    return Noise(
        max(1, round(part.images * part.public)),
        float(reach[0]),
        difference if changed else None,
        changed,
    )


def _drawn(numbers_N: Ints, count: int, wanted: int, *, public: float, seed: int) -> Ints:
    """The rows of the public part of a test set of `wanted` groups."""
    rng = np.random.default_rng(derive(seed, "test set"))
    times_G = rng.multinomial(wanted, np.full(count, 1 / count))
    times_N = rng.binomial(times_G[numbers_N], public)
    rows: Ints = np.repeat(np.arange(len(numbers_N)), times_N)
    return rows
