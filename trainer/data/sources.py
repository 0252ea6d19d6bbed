"""Read a folder, a CSV file or a Parquet file into a table of rows.

The table has the values as the source has them. trainer.data.cleaning decides which rows can be
used.
"""

import functools
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
from trainer.data.image_column import (
    advice_on_paths,
    image_paths,
    images_folders,
    in_folders,
)
from trainer.data.image_files import MAX_NAMED, existing, refuse_other_codes
from trainer.data.lost_images import place_of
from trainer.data.options import FILE_NAME, FOLDER, NEAR_DUPLICATES, DataOptions
from trainer.data.row_files import with_images
from trainer.data.table import Table
from trainer.data.targets import class_columns_in, classes_of_columns, refuse_other_tasks
from trainer.data.values import one_spelling
from trainer.errors import DataError
from trainer.images.manifest import PART_MARK, composed

EXCEL = (".xlsx", ".xls", ".xlsm", ".ods")
FOLD = "fold"  # the column that `data.valid` adds: empty for the first source, 0 for the second


def read_table(data: DataOptions, *, fold_column: str | None = None) -> Table:
    """Read `data.source` and `data.valid` into one table.

    Args:
        fold_column: the column with fixed folds, or None.

    Raises:
        DataError: a source is missing, unreadable or empty; a column is missing or holds no
            classes; more image files do not exist than `data.max_rejected` allows; or an image file
            is outside the folder of its source.
    """
    sources = [existing(name) for name in (data.source, data.valid) if name is not None]
    _refuse_unknown_folders(data, sources)
    parts = [_read(source, data) for source in sources]
    written = [part.columns[PATH] for part in parts]
    roots = []
    for source, part in zip(sources, parts, strict=True):
        folders = [source] if source.is_dir() else images_folders(source, data.folder)
        root, part.columns[PATH] = in_folders(part.columns[PATH], folders)
        roots.append(root)
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
    table.notes[:0] = [note for part in parts for note in part.notes]
    names = [*map(table.where, range(len(table))), *(path for path, _ in table.ignored)]
    refuse_other_codes(table.name, names)

    homes = sorted({str(root.resolve()) for root in roots})
    advice = functools.partial(_advice, data, sources, parts, written)
    return _without_excluded(with_images(table, data, homes=homes, advice=advice), data, sources)


def _advice(
    data: DataOptions,
    sources: list[Path],
    parts: list[Part],
    written: list[list[str]],
    missing: list[int],
) -> str:
    """What to write so that missing images are found, on a line of its own; "" if nothing helps.

    Args:
        written: the paths of each source, as `data.image` says.
        missing: the rows without an image; the rows of the second source follow the first's.
    """
    first = 0
    for source, part, paths in zip(sources, parts, written, strict=True):
        rows = [row - first for row in missing if first <= row < first + len(paths)]
        if rows and source.is_file():
            cells = {name: part.columns[name] for name in part.columns if name != PATH}
            place = place_of(source.parent, paths, rows, cells, image=data.image)
            return "" if place is None else f"\n{place.in_yaml}"
        first += len(paths)
    return ""


def _refuse_unknown_folders(data: DataOptions, sources: list[Path]) -> None:
    """Refuse `data.exclude` if no source has a sub-folder of this name.

    Raises:
        DataError: this is the case.
    """
    folders = [source for source in sources if source.is_dir()]
    if data.exclude is None or not folders:
        return
    there = sorted(
        {composed(path.name) for source in folders for path in source.iterdir() if path.is_dir()}
    )
    for name in data.exclude:
        if name not in there:
            raise DataError(
                f"{data.source}: no sub-folder {name!r} (data.exclude). "
                f"There: {', '.join(map(repr, there))}"
            )


def _without_excluded(table: Table, data: DataOptions, sources: list[Path]) -> Table:
    """The table without the rows of excluded classes. The classes of a folder are not read at all.

    Raises:
        DataError: no row of a file has an excluded class.
    """
    if data.exclude is None or any(source.is_dir() for source in sources):
        return table
    names = [PART_MARK.join(label) for label in table.labels]
    for name in data.exclude:
        if name not in names:
            there = sorted(set(names))
            more = f", and {len(there) - MAX_NAMED:,} more" if len(there) > MAX_NAMED else ""
            raise DataError(
                f"{table.name}: no class {name!r} (data.exclude). "
                f"There: {', '.join(map(repr, there[:MAX_NAMED]))}{more}"
            )
    kept = [row for row, name in enumerate(names) if name not in data.exclude]
    excluded = ", ".join(map(repr, data.exclude))
    table.notes.append(f"{len(names) - len(kept):,} rows of {excluded} are left out (data.exclude)")
    return table.only(kept)


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
            + (". Save it as CSV UTF-8" if source.suffix.lower() in EXCEL else "")
        )
    else:
        part = _file(source, data)
    if not part.lines and part.ignored and source.is_dir() and data.layout != "profile_folders":
        raise DataError(_flat(source, images=len(part.ignored)))
    if not part.lines:
        raise DataError(
            f"{source}: no images found. "
            "A CSV needs at least one row, a folder one sub-folder per class"
        )
    return part


def _flat(source: Path, *, images: int) -> str:
    """The message about a folder whose images are in no sub-folders."""
    tables = sorted(path.name for path in source.iterdir() if path.suffix.lower() in TABLE_SUFFIXES)
    advice = (
        f"If their classes stand in {tables[0]}, write `source: {source / tables[0]}`"
        if tables
        else "Move them into one sub-folder per class, or name a CSV with their paths and classes"
    )
    return (
        f"{source}: its {images:,} images lie in no sub-folder of a class, so their classes are "
        f"unknown. {advice}"
    )


def _folder(source: Path, data: DataOptions) -> Part:
    for key in ("folder", "suffix", "class_columns"):
        if getattr(data, key) is not None:
            raise DataError(
                f"{source}: data.{key} is for a CSV or Parquet file, and this is a folder, whose "
                f"sub-folders are the classes. Leave {key} out, or set data.source to the file"
            )
    exclude = data.exclude or ()
    if data.layout == "profile_folders":
        return profiles(source, data.age_borders, exclude)
    part = class_folders(source, exclude)
    if data.layout is None:
        part.notes += refuse_parts(source, part.columns[PATH])
    return part


def _file(source: Path, data: DataOptions) -> Part:
    frame = read_frame(source, encoding=data.encoding)
    columns = {str(name): frame.table[name].tolist() for name in frame.table.columns}
    paths = image_paths(
        columns,
        data.image,
        suffix=data.suffix,
        where=str(source),
        advice=advice_on_paths(columns),
    )
    lines = [int(row) + 2 for row in frame.table.index]
    return Part({**columns, PATH: paths}, lines, notes=list(frame.notes))


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
            present = {other: cells for other, cells in columns.items() if other != PATH}
            advice = class_columns_in(present) if key == "data.label" else ""
            raise DataError(
                f"{data.source}: no column {name!r} ({key}). {columns_text(present)}{advice}"
            )
        return columns[name]

    notes: list[str] = []

    def compared(name: str, key: str, *, what: str) -> list[str]:
        values, found = one_spelling(column(name, key), what=f"{what} (column {name!r})")
        notes.extend(found)
        return values

    name = data.source if data.valid is None else f"{data.source} and {data.valid}"
    label_columns = data.label_columns
    orders: dict[str, tuple[str, ...]] = {}
    if data.class_columns is not None:
        cells = [column(each, "data.class_columns") for each in data.class_columns]
        rows = [f"line {line}" for line in lines]
        labels = [classes_of_columns(cells, data.class_columns, where=name, rows=rows)]
        orders = {label_columns[0]: data.class_columns}
    else:
        labels = [compared(each, "data.label", what="labels") for each in label_columns]
    if data.layout == "profile_folders":
        orders = {"mask": MASKS, "gender": GENDERS, "age": age_bands(data.age_borders)}
    elif len(labels) == 1 and any(lines):
        refuse_other_tasks(labels[0], name=label_columns[0], where=name)
    group = None if data.grouping == NEAR_DUPLICATES else data.grouping
    if group in (FOLDER, FILE_NAME) and group not in columns:
        group = None  # not of the table: trainer.data.data_set makes these groups of the paths
    groups = None if group is None else compared(group, "data.group", what="groups")
    boxes = data.box and [column(name, "data.box") for name in data.box]
    fixed_N = None
    if fold_column is not None:
        values = column(fold_column, "folds.column")
        fixed_N, found = read_fold_column(data.source, fold_column, values)
        # the column that data.valid adds is not of the user's making
        notes += found if data.valid is None or fold_column != FOLD else []
    return Table(
        name=name,
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
