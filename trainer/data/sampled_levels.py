"""Choose the levels of a data set (see trainer.images.levels) from a sample of its files."""

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np

from trainer.errors import UnreadableError
from trainer.images.levels import FULL, Range, levels_of
from trainer.images.parallel import map_in_order
from trainer.images.picture import read_depth, read_range
from trainer.images.preprocessing import Levels, Reading

HEADERS = 256  # files of which the first bytes are read
DECODED = 32  # files of each depth that are decoded
# files with these names have 8 bits, or Pillow reads no more than 8 bits of them
EIGHT_BITS = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".gif", ".bmp", ".dib", ".pbm", ".avif", ".heic"}
)
Item = TypeVar("Item")


def sampled_reading(
    root: Path, paths: Sequence[str], reading: Reading, *, wanted: Levels | None = None
) -> tuple[Reading, list[str]]:
    """The reading with the levels that suit a sample of the files, or with the user's levels.

    The sample depends only on the paths, and not on the order of the rows. Data without files of
    more than 8 bits need only some first bytes of some files.

    Args:
        paths: the paths of the rows, relative to `root`.
        wanted: the levels that the user wants, or None.

    Returns:
        The reading, which is unchanged if no file of the sample has more than 8 bits, or if the
        sample fills all of 16 bits. And notes about files that do not suit one choice of levels.
    """
    names = sorted(path for path in set(paths) if path and _suffix(path) not in EIGHT_BITS)
    files = [root / name for name in _spread(names, HEADERS)]
    depths = list(map_in_order(read_depth, files))

    def ranges(*kinds: str) -> list[Range]:
        some = [file for file, depth in zip(files, depths, strict=True) if depth in kinds]
        found = map_in_order(lambda file: _range(file, reading), _spread(some, DECODED))
        return [each for each in found if each is not None]

    if wanted is not None:
        # the levels of data without real numbers are those that a sample would give
        real = "real" in depths
        whole_too = not real or bool({"whole", "colour"} & set(depths))
        return dataclasses.replace(
            reading, levels=wanted if whole_too else None, real_levels=wanted if real else None
        ), []
    whole = ranges("whole", "colour")
    levels = levels_of(whole)
    notes = []
    if levels is not None:
        low, high = levels
        middle = float(np.median([each.most for each in whole]))
        if (middle - low) * 8 < high - low:
            notes.append(
                f"99 % of the pixels of half of the {len(whole)} sampled files of more than 8 bits "
                f"hold at most {middle:,.0f}, and {high:,.0f} is white: they are dark. "
                "data.levels sets other levels"
            )
    shallow = sum(
        depth == "colour" and file.suffix.lower() in (".tif", ".tiff")
        for file, depth in zip(files, depths, strict=True)
    )
    if shallow:
        notes.append(
            f"{shallow:,} of {len(files):,} sampled files are TIFF files with 16 bits per colour, "
            "of which only the upper 8 bits are read. If they hold fewer than 16 bits, convert "
            "them to PNG"
        )
    return (
        dataclasses.replace(
            reading,
            levels=None if levels == FULL else levels,
            real_levels=levels_of(ranges("real")),
        ),
        notes,
    )


def levels_text(levels: Levels) -> str:
    """The levels for a message.

    Example:
        >>> levels_text((0, 4095)), levels_text((-0.5, 1.25))
        ('0 to 4,095', '-0.5 to 1.25')
    """
    return " to ".join(
        f"{value:,.0f}" if float(value).is_integer() else f"{value:g}" for value in levels
    )


def _suffix(path: str) -> str:
    return os.path.splitext(path)[1].lower()


def _range(file: Path, reading: Reading) -> Range | None:
    try:
        return read_range(file.read_bytes(), reading=reading)
    except (OSError, UnreadableError):  # the scan of all files rejects it, with the reason
        return None


def _spread(items: list[Item], count: int) -> list[Item]:
    """At most `count` evenly spread items."""
    if len(items) <= count:
        return items
    return [items[at] for at in np.linspace(0, len(items) - 1, count).astype(np.int64)]
