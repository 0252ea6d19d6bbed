"""A table that a user gives to be filled in or compared: its header, its cells and its lines."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path

from sweeps.errors import InputError
from trainer.data.frames import read_frame
from trainer.data.image_files import existing


@dataclasses.dataclass(frozen=True)
class Sheet:
    """A table of N rows as texts. A missing value is an empty text.

    Attributes:
        name: the path of the file, for messages.
        columns: the cells of each column, by the column's name in the Unicode form NFC.
        header: the names of the columns as the file has them.
        lines: the line of each row in the file; the header is line 1.
        separator: what separates the cells of a line.
    """

    name: str
    columns: Mapping[str, tuple[str, ...]]
    header: tuple[str, ...]
    lines: tuple[int, ...]
    separator: str = ","

    def __len__(self) -> int:
        return len(self.lines)


def read_sheet(path: Path) -> Sheet:
    """Read a CSV or Parquet file, see `trainer.data.frames.read_frame`.

    Raises:
        InputError: there is no such file, or it has no rows.
        DataError: the file is not readable.
    """
    path = existing(str(path))
    if not path.is_file():
        raise InputError(f"{path}: no such file. Give a CSV or Parquet file")
    frame = read_frame(path)
    if not len(frame.table):
        raise InputError(f"{path}: no rows below the header")
    names = list(map(str, frame.table.columns))
    return Sheet(
        str(path),
        {name: tuple(frame.table[name].tolist()) for name in names},
        # a name with a line break takes two lines of the file
        frame.header if len(frame.header) == len(names) else tuple(names),
        tuple(int(row) + 2 for row in frame.table.index),
        frame.separator,
    )
