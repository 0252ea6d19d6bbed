"""All random numbers of a batch. They are drawn on the host, so a CPU and a GPU get the same ones.

Shapes: B images of the batch; H, W of an image.
"""

import dataclasses

import numpy as np
import numpy.typing as npt

from trainer.seeds import derive

Reals = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Booleans = npt.NDArray[np.bool_]


@dataclasses.dataclass(frozen=True)
class Draws:
    """The random numbers of a batch: one number per image and purpose.

    Each purpose has its own stream of random numbers. Therefore the number of an image for one
    purpose depends neither on other purposes, nor on the order of the purposes, nor on the images
    after this image in the batch.

    Attributes:
        seed: the seed of the batch.
        count: the number of images B.

    Example:
        >>> few = Draws(seed=7, count=2).uniform("flip")
        >>> many = Draws(seed=7, count=5).uniform("flip")
        >>> bool((few == many[:2]).all())
        True
    """

    seed: int
    count: int

    def uniform(
        self, purpose: str, *, low: float | Reals = 0.0, high: float | Reals = 1.0
    ) -> Reals:
        """B numbers from `low` up to but excluding `high`; rounding can give `high` itself.

        Each image may have its own bounds.
        """
        share_B = np.random.default_rng(derive(self.seed, purpose)).random(self.count)
        return low + (high - low) * share_B

    def around(self, middle: float, purpose: str, *, largest: float) -> Reals:
        """B numbers that differ from `middle` by at most `largest`."""
        return self.uniform(purpose, low=middle - largest, high=middle + largest)

    def chosen(self, purpose: str, *, probability: float) -> Booleans:
        """For each of the B images whether it is chosen: none for probability 0, all for 1."""
        if not probability:
            return np.zeros(self.count, dtype=np.bool_)
        return np.asarray(self.uniform(purpose) < probability)

    def below(self, purpose: str, bound: int | Integers) -> Integers:
        """B equally likely integers from 0 to bound - 1; each image may have its own bound."""
        return np.floor(self.uniform(purpose) * bound).astype(np.int64)


def sides(
    draws: Draws, purpose: str, *, area: tuple[float, float], ratio: float, size_HW: tuple[int, int]
) -> tuple[Reals, Reals]:
    """The heights and widths (B) of random rectangles that fit into the image.

    The sides are in pixels, not rounded, and at least one pixel long.

    Args:
        area: the smallest and the largest share of the image's area. The share is drawn uniformly
            between these two.
        ratio: the largest height / width. The logarithm of height / width is drawn uniformly from
            log(1 / ratio) to log(ratio).

    Deviation: torchvision draws again until the rectangle fits (at most ten times, and then uses
    another rule). This function draws height / width from the part of the range that fits the area,
    so the areas stay uniformly distributed.
    """
    height, width = size_HW
    area_B = height * width * draws.uniform(f"{purpose} area", low=area[0], high=area[1])
    fits_2B = np.log([area_B / width**2, height**2 / area_B])
    low_B, high_B = np.clip(np.log([[1 / ratio], [ratio]]), fits_2B[0], fits_2B[1])
    ratio_B = np.exp(draws.uniform(f"{purpose} ratio", low=low_B, high=high_B))
    return np.sqrt(area_B * ratio_B).clip(1, height), np.sqrt(area_B / ratio_B).clip(1, width)
