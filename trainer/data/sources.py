"""Read a folder, a CSV file or a Parquet file into a table of rows.

The table has the values as the source has them. trainer.data.cleaning decides which rows can be
used.
"""

import dataclasses
import os
import re
import stat
from collections.abc import Set
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from trainer.data.folders import (
    GENDERS,
    MASKS,
    PATH,
    Columns,
    Part,
    age_bands,
    class_folders,
    profiles,
    within,
)
from trainer.data.options import NEAR_DUPLICATES, DataOptions
from trainer.errors import DataError

if TYPE_CHECKING:
    pass
from trainer.data.frames import TABLE_SUFFIXES, columns_text, read_frame

MAX_NAMED = 10  # rows that one message names; the message only counts the other rows


FOLD = "fold"  # the column that `data.valid` adds: empty for the first source, 0 for the second


ALWAYS_TRAINED = -1  # the "fold" of images that are never held out


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
            without a fold has ALWAYS_TRAINED.
        ignored: (path, reason) of each file that is not a row.
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

    def __len__(self) -> int:
        """The number of rows."""
        return len(self.paths)

    def only(self, rows: list[int]) -> "Table":
        """A table with only the given rows."""
        return dataclasses.replace(
            self,
            paths=[self.paths[row] for row in rows],
            lines=[self.lines[row] for row in rows],
            labels=[self.labels[row] for row in rows],
            groups=None if self.groups is None else [self.groups[row] for row in rows],
            boxes_N4=None if self.boxes_N4 is None else self.boxes_N4[rows],
            fixed_N=None if self.fixed_N is None else self.fixed_N[rows],
        )

    def where(self, row: int) -> str:
        """The name of `row` for a message: its line, if the source has lines, and its path."""
        return f"line {self.lines[row]}: {self.paths[row]}" if self.lines[row] else self.paths[row]


def read_table(data: DataOptions, *, fold_column: str | None = None) -> Table:
    """Read `data.source` and `data.valid` into one table.

    Args:
        fold_column: the column with fixed folds, or None.

    Raises:
        DataError: a source is missing, unreadable or empty; a column is missing; an image file does
            not exist; or an image file is outside the folder of its source.
    """
    sources = [Path(data.source), *([Path(data.valid)] if data.valid is not None else [])]
    parts = [_read(source, data) for source in sources]
    roots = [source if source.is_dir() else source.parent for source in sources]
    root = Path(os.path.commonpath([root.resolve() for root in roots]))
    if data.valid is not None:
        _refuse_one_fold_column(parts, sources, fold_column)
        for part, fold in zip(parts, ("", "0"), strict=True):
            part.columns.setdefault(FOLD, [fold] * len(part.lines))
    shared = set.intersection(*(set(part.columns) for part in parts))
    columns: Columns = {name: [] for name in parts[0].columns if name in shared}
    for part, part_root in zip(parts, roots, strict=True):
        prefix = os.path.relpath(part_root.resolve(), root)
        if prefix != ".":
            part.columns[PATH] = [
                path and os.path.join(prefix, path) for path in part.columns[PATH]
            ]
            part.ignored = [(os.path.join(prefix, path), why) for path, why in part.ignored]
        for name in columns:
            columns[name] += part.columns[name]
    table = _table(
        data,
        columns,
        root=root,
        lines=[line for part in parts for line in part.lines],
        ignored=[entry for part in parts for entry in part.ignored],
        fold_column=fold_column,
        only_first=parts[0].columns.keys() - shared,
    )
    _refuse_other_codes(table)
    _refuse_outside(table, data, homes=sorted({str(root.resolve()) for root in roots}))
    return table


def _refuse_one_fold_column(
    parts: "list[Part]", sources: list[Path], fold_column: str | None
) -> None:
    """Refuse two sources of which only one has a column `fold`, if this column fixes the folds.

    Raises:
        DataError: this is the case.
    """
    has = [FOLD in part.columns for part in parts]
    if fold_column == FOLD and has[0] != has[1]:
        raise DataError(
            f"{sources[has.index(True)]} has a column {FOLD!r} of its own "
            "and the other source has none, so it is not "
            "clear what is held out: rename the column, or give it to both"
        )


def _read(source: Path, data: DataOptions) -> Part:
    if source.is_dir():
        part = (
            profiles(source, data.age_borders)
            if data.layout == "profile_folders"
            else class_folders(source)
        )
    elif not source.is_file():
        raise DataError(
            f"{source}: no such file or folder. "
            "Set data.source to one (`sweeps demo digits` writes one)"
        )
    elif data.layout is not None:
        raise DataError(f"{source}: data.layout {data.layout} needs a folder, and this is a file")
    elif source.suffix.lower() not in TABLE_SUFFIXES:
        raise DataError(
            f"{source}: not a table of images. "
            f"Known: {', '.join(sorted(TABLE_SUFFIXES))}, or a folder"
        )
    else:
        part = _file(source, data)
    if not part.lines:
        raise DataError(
            f"{source}: no images found. "
            "A CSV needs at least one row, a folder one sub-folder per class"
        )
    return part


def _file(source: Path, data: DataOptions) -> Part:
    frame = read_frame(source)
    if data.image not in frame.columns:
        present = columns_text(frame.columns)
        raise DataError(f"{source}: no column {data.image!r} (data.image). {present}")
    columns = {str(name): frame[name].tolist() for name in frame.columns}
    columns[PATH] = columns[data.image]
    return Part(columns, [int(row) + 2 for row in frame.index])


def _table(
    data: DataOptions,
    columns: Columns,
    *,
    root: Path,
    lines: list[int],
    ignored: list[tuple[str, str]],
    fold_column: str | None,
    only_first: Set[str],
) -> Table:
    """The table with the columns that the options name.

    Args:
        columns: the columns that all sources have.
        only_first: the names of the columns that only the first of two sources has.
    """

    def column(name: str, key: str) -> list[str]:
        if name in only_first:
            raise DataError(f"{data.valid}: no column {name!r}, which {data.source} has")
        if name not in columns:
            present = [other for other in columns if other != PATH]
            raise DataError(f"{data.source}: no column {name!r} ({key}). {columns_text(present)}")
        return columns[name]

    profile = data.layout == "profile_folders"
    label_columns = data.label_columns
    labels = list(zip(*(column(name, "data.label") for name in label_columns), strict=True))
    orders = (
        {"mask": MASKS, "gender": GENDERS, "age": age_bands(data.age_borders)} if profile else {}
    )
    group = data.grouping
    boxes = data.box and [column(name, "data.box") for name in data.box]
    return Table(
        name=data.source if data.valid is None else f"{data.source} and {data.valid}",
        root=root,
        paths=columns[PATH],
        lines=lines,
        label_columns=label_columns,
        labels=labels,
        orders=orders,
        groups=None if group in (None, NEAR_DUPLICATES) else column(str(group), "data.group"),
        boxes_N4=None if boxes is None else _boxes(boxes, xywh=data.box_format == "xywh"),
        fixed_N=None
        if fold_column is None
        else _fixed(data.source, fold_column, column(fold_column, "folds.column")),
        ignored=ignored,
    )


def _boxes(columns: list[list[str]], *, xywh: bool) -> npt.NDArray[np.float64]:
    import pandas as pd

    boxes_N4 = np.stack(
        [pd.to_numeric(pd.Series(column), errors="coerce").to_numpy(float) for column in columns], 1
    )
    if xywh:
        boxes_N4[:, 2:] += boxes_N4[:, :2]
    return boxes_N4


def _fixed(source: str, name: str, values: list[str]) -> npt.NDArray[np.int64]:
    """The fold numbers in a column. `1.0` is accepted because spreadsheets turn 1 into 1.0.

    Raises:
        DataError: a value is not a fold number.
    """
    numbers: dict[str, int] = {"": ALWAYS_TRAINED}
    for value in set(values) - {""}:
        if not re.fullmatch(r"(-1|\d{1,3})(\.0+)?", value):
            raise DataError(
                f"{source}: {value!r} in column {name!r} (folds.column) is not a fold. "
                "Folds are whole numbers from 0; empty or -1 is always trained on"
            )
        numbers[value] = int(float(value))
    return np.array([numbers[value] for value in values], dtype=np.int64)


def _refuse_other_codes(table: Table) -> None:
    """Refuse file names that are not UTF-8, because neither CSV nor JSON can contain them.

    For example, an archive from a Korean Windows has such names.

    Raises:
        DataError: there are such names.
    """
    names = [*map(table.where, range(len(table))), *(path for path, _ in table.ignored)]
    odd = [
        os.fsencode(name).decode(errors="backslashreplace") for name in names if not _is_utf8(name)
    ]
    if odd:
        raise DataError(
            f"{table.name}: {len(odd)} file names are not UTF-8. Rename them "
            f"(`convmv -r -f cp949 -t utf8 --notest FOLDER` does it for Korean ones){named(odd)}"
        )


def _is_utf8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _refuse_outside(table: Table, data: DataOptions, *, homes: list[str]) -> None:
    """Refuse image files that do not exist or are outside the folders of the sources.

    `data.allow_outside` allows files outside these folders. Each folder is resolved only once, so
    that the check of 200,000 rows takes about a second.

    Args:
        homes: the resolved folders of the sources.

    Raises:
        DataError: there are such files.
    """
    root = str(table.root)
    missing: list[str] = []
    outside: list[str] = []
    inside: dict[str, bool] = {}
    for row, path in enumerate(table.paths):
        if not path:
            continue  # trainer.data.cleaning rejects rows without a path
        file = os.path.join(root, path)
        try:
            mode = os.lstat(file).st_mode
            if stat.S_ISLNK(mode):
                mode = os.stat(file).st_mode
                within = _within_any(os.path.realpath(file), homes)
            else:
                folder = os.path.dirname(file)
                within = inside.get(folder)  # type: ignore[assignment]
                if within is None:
                    within = inside[folder] = _within_any(os.path.realpath(folder), homes)
        except (OSError, ValueError):  # ValueError: a NUL in the path
            mode = 0
            within = True
        if not stat.S_ISREG(mode):
            missing.append(table.where(row))
        elif not within:
            outside.append(table.where(row))
    if missing:
        many = f"{len(missing)} of {len(table)} images"
        raise DataError(
            f"{table.name}: {many} do not exist (paths are relative to {root}){named(missing)}"
        )
    if outside and not data.allow_outside:
        raise DataError(
            f"{table.name}: {len(outside)} of {len(table)} images lie "
            f"outside {' and '.join(homes)}. "
            f"Set data.allow_outside: true if that is meant{named(outside)}"
        )


def _within_any(path: str, folders: list[str]) -> bool:
    return any(within(path, folder) for folder in folders)


def named(entries: list[str]) -> str:
    """The first MAX_NAMED entries, each on a separate line, and the number of the other entries.

    Example:
        >>> named(["line 2: a.jpg", "line 3: b.jpg"])
        '\\n  line 2: a.jpg\\n  line 3: b.jpg'
    """
    shown = "".join(f"\n  {entry}" for entry in entries[:MAX_NAMED])
    return shown + (f"\n  and {len(entries) - MAX_NAMED} more" if len(entries) > MAX_NAMED else "")
