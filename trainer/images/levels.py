"""Turn pixels of more than 8 bits into 8 bits.

The *levels* of a data set are the values that become black and white. One choice of levels holds
for all files of a data set, so that equal values look equal in all images.
"""

import dataclasses
import functools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from trainer.images.preprocessing import Levels

Values = npt.NDArray[Any]
Grey = npt.NDArray[np.uint8]
FULL: Levels = (0, 65535)  # of 16 bits: the levels without a choice
# percent of the pixels of a file; the darkest and the brightest 0.1 % may be dead and hot pixels
INNER = (0.1, 99.9)
MIN_BITS = 8


@dataclasses.dataclass(frozen=True)
class Range:
    """The values that a file holds, without its few darkest and brightest pixels.

    Attributes:
        real: whether the file holds real numbers.
        most: the value that 99 % of the pixels do not exceed.
    """

    real: bool
    low: float
    high: float
    most: float


def range_of(values: Values) -> Range | None:
    """Return the range of a file's values, or None if it holds no number."""
    real = np.issubdtype(values.dtype, np.floating)
    finite = values[np.isfinite(values)] if real else values
    if not finite.size:
        return None
    low, most, high = np.percentile(finite, (INNER[0], 99, INNER[1]), method="nearest").tolist()
    if low == high:  # for example one bright spot on black
        low = finite.min().item()
        high = finite.max().item()
    return Range(real, low, high, most)


def levels_of(ranges: Sequence[Range]) -> Levels | None:
    """Return the levels for a data set in which a sample of the files holds these ranges.

    Whole numbers: 0 to 4095 for pictures of 12 bits, and likewise for every number of bits, as long
    as the values fill at least half of these levels. Otherwise only the levels that occur: pictures
    of heat often hold 29000 to 31500. Real numbers: 0 to 1, or 0 to 255, or what occurs. The levels
    that occur are rounded to the outside, so that a few more files seldom change them.

    Args:
        ranges: either all of whole numbers or all of real numbers.

    Example:
        >>> levels_of([Range(False, 12, 1830, 1790), Range(False, 7, 3312, 3150)])
        (0, 4095)
        >>> levels_of([Range(False, 29130, 31482, 31200)])
        (29100, 31500)
    """
    if not ranges:
        return None
    low = min(found.low for found in ranges)
    high = max(found.high for found in ranges)
    if ranges[0].real:
        tops = [top for top in (1.0, 255.0) if low >= 0 and high <= top]
        return (0.0, tops[0]) if tops else _rounded(low, high)
    top = 2 ** max(MIN_BITS, int(high).bit_length()) - 1
    if low >= 0 and (top < 256 or high == low or high - low + 1 >= (top + 1) / 2):
        return (0, top)
    return _rounded(low, high)


def _rounded(low: float, high: float) -> Levels:
    """The bounds, widened by at most 5 % of their distance to numbers with fewer digits."""
    if low == high:
        return (low, low + 1)
    digits = -math.floor(math.log10((high - low) / 20))
    if isinstance(low, int):
        step = 10 ** max(0, -digits)
        return (low // step * step, -(-high // step) * step)
    width = 10.0**-digits
    # the product of 3 and 0.1 is not 0.3
    return (
        round(math.floor(low / width) * width, digits),
        round(math.ceil(high / width) * width, digits),
    )


def to_grey(values: Values, levels: Levels | None) -> tuple[Grey, float]:
    """Return 8-bit values, and the share of values outside the levels.

    Values outside the levels become black or white. A value that is no number becomes black.

    Args:
        levels: the values that become black and white. None means: whole numbers of 16 bits lose
            their lower 8 bits, real numbers are read as 0 to 1 or as 0 to 255, and the values of
            any other range are stretched to 0 to 255.
    """
    real = np.issubdtype(values.dtype, np.floating)
    finite = np.isfinite(values) if real else np.ones((), dtype=bool)
    if levels is None:
        levels = _levels_of_one(values[finite] if real else values, real=real)
        if levels == FULL and not real:
            return (values >> 8).astype(np.uint8), 0.0
    low, high = levels
    outside = finite & ((values < low) | (values > high))
    beyond = float(np.count_nonzero(outside) / max(1, values.size))
    if values.dtype in (np.dtype("<u2"), np.dtype(">u2")):
        return _table(low, high)[values], beyond
    return _scaled(np.where(finite, values, low), low, high), beyond


def _scaled(values: Values, low: float, high: float) -> Grey:
    unit = (np.clip(values, low, high).astype(np.float64) - low) / ((high - low) or 1)
    return np.round(255 * unit).astype(np.uint8)


def _levels_of_one(values: Values, *, real: bool) -> Levels:
    """The levels of one file, if its data set has none."""
    low = values.min().item() if values.size else 0
    high = values.max().item() if values.size else 0
    if not real:
        return FULL if low >= 0 and high <= FULL[1] else (low, high)
    tops = [top for top in (1.0, 255.0) if low >= 0 and high <= top]
    return (0.0, tops[0]) if tops else (low, high)


@functools.lru_cache(maxsize=8)
def _table(low: float, high: float) -> Grey:
    """The 8-bit value of each value of 16 bits."""
    return _scaled(np.arange(65536), low, high)
