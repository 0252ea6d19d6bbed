"""Read a folder, a CSV file or a Parquet file into a table of rows.

The table has the values as the source has them. trainer.data.cleaning decides which rows can be
used.
"""

import dataclasses
import os
from collections.abc import Set
from pathlib import Path

import numpy as np
import numpy.typing as npt

from trainer.data.fold_column import read_fold_column
from trainer.data.folder_parts import refuse_parts
from trainer.data.folders import (
    GENDERS,
    MASKS,
    PATH,
    Columns,
    Part,
    age_bands,
    class_folders,
    profiles,
)
from trainer.data.frames import TABLE_SUFFIXES, columns_text, read_frame
from trainer.data.image_files import existing, find_files, named, refuse_other_codes
from trainer.data.options import NEAR_DUPLICATES, DataOptions
from trainer.data.values import one_spelling
from trainer.errors import DataError
from trainer.images.manifest import composed

FOLD = "fold"  # the column that `data.valid` adds: empty for the first source, 0 for the second


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
    notes: list[str] = dataclasses.field(default_factory=list)

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
    sources = [existing(name) for name in (data.source, data.valid) if name is not None]
    _refuse_unknown_folders(data, sources)
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
    table.notes.extend(note for part in parts for note in part.notes)
    names = [*map(table.where, range(len(table))), *(path for path, _ in table.ignored)]
    refuse_other_codes(table.name, names)
    _find_images(table, data, homes=sorted({str(root.resolve()) for root in roots}))
    return table


def _refuse_unknown_folders(data: DataOptions, sources: list[Path]) -> None:
    """Refuse `data.exclude` if no source has a sub-folder of this name.

    Raises:
        DataError: this is the case.
    """
    if data.exclude is None:
        return
    folders = [source for source in sources if source.is_dir()]
    there = sorted(
        {composed(path.name) for source in folders for path in source.iterdir() if path.is_dir()}
    )
    for name in data.exclude:
        if name not in there:
            what = f"There: {', '.join(map(repr, there))}" if folders else "It is no folder"
            raise DataError(f"{data.source}: no sub-folder {name!r} (data.exclude). {what}")


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
        part = _folder(source, data)
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


def _folder(source: Path, data: DataOptions) -> Part:
    exclude = data.exclude or ()
    if data.layout == "profile_folders":
        return profiles(source, data.age_borders, exclude)
    part = class_folders(source, exclude)
    if data.layout is None:
        part.notes += refuse_parts(source, part.columns[PATH])
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

    notes: list[str] = []

    def compared(name: str, key: str, *, what: str) -> list[str]:
        values, found = one_spelling(column(name, key), what=f"{what} (column {name!r})")
        notes.extend(found)
        return values

    profile = data.layout == "profile_folders"
    label_columns = data.label_columns
    labels = [compared(name, "data.label", what="labels") for name in label_columns]
    orders = (
        {"mask": MASKS, "gender": GENDERS, "age": age_bands(data.age_borders)} if profile else {}
    )
    group = None if data.grouping == NEAR_DUPLICATES else data.grouping
    groups = None if group is None else compared(group, "data.group", what="groups")
    boxes = data.box and [column(name, "data.box") for name in data.box]
    fixed_N = None
    if fold_column is not None:
        values = column(fold_column, "folds.column")
        fixed_N, found = read_fold_column(data.source, fold_column, values)
        # the column that data.valid adds is not of the user's making
        notes += found if data.valid is None or fold_column != FOLD else []
    return Table(
        name=data.source if data.valid is None else f"{data.source} and {data.valid}",
        root=root,
        paths=columns[PATH],
        lines=lines,
        label_columns=label_columns,
        labels=list(zip(*labels, strict=True)),
        orders=orders,
        groups=groups,
        boxes_N4=None if boxes is None else raw_boxes(boxes, xywh=data.box_format == "xywh"),
        fixed_N=fixed_N,
        ignored=ignored,
        notes=notes,
    )


def raw_boxes(columns: list[list[str]], *, xywh: bool) -> npt.NDArray[np.float64]:
    """Left, top, right and bottom (N, 4) from four columns; NaN for a value that is not a number.

    Args:
        xywh: whether the last two columns are width and height.
    """
    import pandas as pd

    boxes_N4 = np.stack(
        [pd.to_numeric(pd.Series(column), errors="coerce").to_numpy(float) for column in columns], 1
    )
    if xywh:
        boxes_N4[:, 2:] += boxes_N4[:, :2]
    return boxes_N4


def _find_images(table: Table, data: DataOptions, *, homes: list[str]) -> None:
    """Refuse image files that do not exist or are outside the folders of the sources.

    `data.allow_outside` allows files outside these folders. A path that has another Unicode form on
    the disk is replaced in the table.

    Args:
        homes: the resolved folders of the sources.

    Raises:
        DataError: there are such files.
    """
    missing, outside, replaced = find_files(table.paths, root=table.root, homes=homes)
    if missing:
        many = f"{len(missing)} of {len(table)} images"
        raise DataError(
            f"{table.name}: {many} do not exist (paths are relative to {table.root})"
            f"{named([table.where(row) for row in missing])}"
        )
    if outside and not data.allow_outside:
        raise DataError(
            f"{table.name}: {len(outside)} of {len(table)} images lie "
            f"outside {' and '.join(homes)}. "
            f"Set data.allow_outside: true if that is meant"
            f"{named([table.where(row) for row in outside])}"
        )
    if replaced:
        table.notes.append(
            f"{replaced:,} of {len(table):,} image paths have another Unicode form on the disk "
            "(composed and decomposed, as on a Mac); their files were found"
        )
