"""The rows of a source, with the values as the source has them."""

import dataclasses
from pathlib import Path

import numpy as np
import numpy.typing as npt


@dataclasses.dataclass(frozen=True)
class Table:
    """The N rows of a source. A missing value is an empty text.

    Attributes:
        name: the name of the source, for messages.
        root: the absolute folder to which `paths` are relative.
        paths: the path of each row's image.
        lines: the line of each row in its file (a CSV's header is line 1), or 0 for a folder.
        label_columns: the names of the columns that make the class.
        labels: N tuples with one value for each label column.
        orders: for a label column, its values in the order of the classes. Values that are not in
            this list come later, in sorted order.
        groups: the name of each row's group, or None.
        boxes_N4: left, top, right and bottom as the source has them, or None. A value that is not
            a number is NaN.
        fixed_N: the fold of each row in the fold column, or None without such a column. A row
            without a fold has ALWAYS_TRAINED (see trainer.data.fold_column).
        ignored: (path, reason) of each file that is not a row.
        missing: the rows whose image file does not exist.
        notes: sentences about what was read otherwise than it is written.
    """

    name: str
    root: Path
    paths: list[str]
    lines: list[int]
    label_columns: tuple[str, ...]
    labels: list[tuple[str, ...]]
    orders: dict[str, tuple[str, ...]]
    groups: list[str] | None
    boxes_N4: npt.NDArray[np.float64] | None
    fixed_N: npt.NDArray[np.int64] | None
    ignored: list[tuple[str, str]] = dataclasses.field(default_factory=list)
    missing: frozenset[int] = frozenset()
    notes: list[str] = dataclasses.field(default_factory=list)

    def __len__(self) -> int:
        """The number of rows."""
        return len(self.paths)

    def only(self, rows: list[int]) -> "Table":
        """A table of the given rows, in this order; a row may be given several times."""
        return dataclasses.replace(
            self,
            paths=[self.paths[row] for row in rows],
            lines=[self.lines[row] for row in rows],
            labels=[self.labels[row] for row in rows],
            groups=None if self.groups is None else [self.groups[row] for row in rows],
            boxes_N4=None if self.boxes_N4 is None else self.boxes_N4[rows],
            fixed_N=None if self.fixed_N is None else self.fixed_N[rows],
            missing=frozenset(at for at, row in enumerate(rows) if row in self.missing),
        )

    def where(self, row: int) -> str:
        """The name of `row` for a message: its line, if the source has lines, and its path."""
        return f"line {self.lines[row]}: {self.paths[row]}" if self.lines[row] else self.paths[row]
