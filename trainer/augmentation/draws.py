"""All chance of a batch, on the host: the CPU and a GPU draw the same.

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
    """One number per image and purpose; each purpose has a stream of its own.

    What is drawn for one purpose depends neither on the other purposes that are asked for, nor on their order,
    nor on how many images follow in the batch.
    """

    seed: int
    count: int

    def uniform(
        self, purpose: str, *, low: float | Reals = 0.0, high: float | Reals = 1.0
    ) -> Reals:
        """B numbers from low up to high, high excluded (rounding apart); the bounds may differ from image to image."""
        share_B = np.random.default_rng(derive(self.seed, purpose)).random(self.count)
        return low + (high - low) * share_B

    def around(self, middle: float, purpose: str, *, largest: float) -> Reals:
        """B numbers at most `largest` away from the middle."""
        return self.uniform(purpose, low=middle - largest, high=middle + largest)

    def chosen(self, purpose: str, *, probability: float) -> Booleans:
        """Which of the B images; never any for 0 and all of them for 1."""
        if not probability:
            return np.zeros(self.count, dtype=np.bool_)
        return np.asarray(self.uniform(purpose) < probability)

    def below(self, purpose: str, bound: int | Integers) -> Integers:
        """B integers from 0 to bound - 1, equally likely; the bound may differ from image to image."""
        return np.floor(self.uniform(purpose) * bound).astype(np.int64)


def sides(
    draws: Draws, purpose: str, *, area: tuple[float, float], ratio: float, size_HW: tuple[int, int]
) -> tuple[Reals, Reals]:
    """Height and width (B) in pixels, not rounded, of random rectangles that fit into the image; at least a pixel.

    Args:
        area: smallest and largest share of the image's area, drawn evenly between them.
        ratio: largest height / width; its logarithm is drawn evenly from 1 / ratio to ratio.

    Where torchvision draws again until the rectangle fits (at most ten times, then a rule of its own), we draw the
    ratio from the part of the range that fits this area: the areas stay evenly distributed.
    """
    height, width = size_HW
    area_B = height * width * draws.uniform(f"{purpose} area", low=area[0], high=area[1])
    fits_2B = np.log([area_B / width**2, height**2 / area_B])
    low_B, high_B = np.clip(np.log([[1 / ratio], [ratio]]), fits_2B[0], fits_2B[1])
    ratio_B = np.exp(draws.uniform(f"{purpose} ratio", low=low_B, high=high_B))
    return np.sqrt(area_B * ratio_B).clip(1, height), np.sqrt(area_B / ratio_B).clip(1, width)
