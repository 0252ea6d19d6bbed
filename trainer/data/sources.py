"""From a folder, a CSV or a Parquet file to a table of rows, as they were written: nothing is judged yet."""

import csv
import dataclasses
import os
import re
import stat
import warnings
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
    import pandas as pd

TABLE_SUFFIXES = frozenset({".csv", ".tsv", ".txt", ".parquet", ".pq"})
MAX_NAMED = 10  # rows named in one message; the rest is counted
FOLD = "fold"  # the column that `data.valid` adds: empty for the first source, 0 for the second
ALWAYS_TRAINED = -1


@dataclasses.dataclass(frozen=True)
class Table:
    """N rows of a source; empty text is what was missing.

    Attributes:
        name: the source, for messages.
        root: absolute folder that `paths` are relative to.
        lines: where each row was written (a CSV's header is line 1); 0 for folders.
        labels: N tuples, one value per label column.
        orders: for a label column, its values in the order of the classes; other values follow, sorted.
        groups: N group names, or None.
        boxes_N4: left, top, right, bottom as written (NaN where unreadable), or None.
        fixed_N: the fold that the source gives each row, or None; ALWAYS_TRAINED for none.
        ignored: (path, reason) of files that are no row.
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
        return len(self.paths)

    def only(self, rows: list[int]) -> "Table":
        """These rows."""
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
        """Name `row` for a message: its line, if it has one, and its path."""
        return f"line {self.lines[row]}: {self.paths[row]}" if self.lines[row] else self.paths[row]


def read_table(data: DataOptions, *, fold_column: str | None = None) -> Table:
    """Read the source, and `data.valid` beside it.

    Raises:
        DataError: a source is missing, unreadable or empty, lacks a column, names files that do not exist,
            or leaves its folder.
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
    for part, own_root in zip(parts, roots, strict=True):
        prefix = os.path.relpath(own_root.resolve(), root)
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
    has = [FOLD in part.columns for part in parts]
    if fold_column == FOLD and has[0] != has[1]:
        raise DataError(
            f"{sources[has.index(True)]} has a column {FOLD!r} of its own and the other source has none, so it is not "
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
            f"{source}: no such file or folder. Set data.source to one (`sweeps demo digits` writes one)"
        )
    elif data.layout is not None:
        raise DataError(f"{source}: data.layout {data.layout} needs a folder, and this is a file")
    elif source.suffix.lower() not in TABLE_SUFFIXES:
        raise DataError(
            f"{source}: not a table of images. Known: {', '.join(sorted(TABLE_SUFFIXES))}, or a folder"
        )
    else:
        part = _file(source, data)
    if not part.lines:
        raise DataError(
            f"{source}: no images found. A CSV needs at least one row, a folder one sub-folder per class"
        )
    return part


def _file(source: Path, data: DataOptions) -> Part:
    frame = read_frame(source)
    if data.image not in frame.columns:
        raise DataError(f"{source}: no column {data.image!r} (data.image). {_there(frame.columns)}")
    columns = {str(name): frame[name].tolist() for name in frame.columns}
    columns[PATH] = columns[data.image]
    return Part(columns, [int(row) + 2 for row in frame.index])


def read_frame(source: Path) -> "pd.DataFrame":
    """A CSV (comma, semicolon or tab, UTF-8 with or without a BOM) or Parquet file, every cell as text.

    Missing values, and the text `nan` that pandas writes for them, become empty. A CSV's blank lines are left out;
    the index counts them, so that a message names the line an editor shows.

    Raises:
        DataError: it is empty or not readable, or two of its columns have one name.
    """
    import pandas as pd  # 0.4 s, which `sweeps best` need not spend

    try:
        if source.suffix.lower() in (".parquet", ".pq"):
            frame = pd.read_parquet(source).astype(object)  # a category takes no new value
            names = [str(name) for name in frame.columns]
            frame = frame.apply(
                lambda column: column.map(_text, na_action="ignore").fillna("")
            ).reset_index(drop=True)
        else:
            separator, names = _header(source)
            with warnings.catch_warnings():  # a row longer than the header only warns
                warnings.simplefilter("error", pd.errors.ParserWarning)
                frame = pd.read_csv(
                    source,
                    sep=separator,
                    dtype=str,
                    keep_default_na=False,
                    skip_blank_lines=False,
                    index_col=False,
                    encoding="utf-8-sig",
                )
            frame = frame[(frame != "").any(axis=1)]
    except pd.errors.EmptyDataError:
        raise DataError(
            f"{source}: the file is empty. It needs a header line and one row per image"
        ) from None
    except UnicodeDecodeError as error:
        raise DataError(f"{source}: not a readable CSV file ({error}). Save it as UTF-8") from None
    except (
        pd.errors.ParserError,
        pd.errors.ParserWarning,
        csv.Error,
        OSError,
        ValueError,
    ) as error:
        kind = "Parquet" if source.suffix.lower() in (".parquet", ".pq") else "CSV"
        raise DataError(f"{source}: not a readable {kind} file ({str(error).strip()})") from None
    if len(set(names)) < len(names):
        raise DataError(f"{source}: two columns have one name. {_there(names)}")
    return frame.where(~frame.isin(["nan", "NaN"]), "").astype(str)


def _text(value: object) -> str:
    """A cell of a Parquet file: 3.0 is the 3 that it was before a missing value made the column real."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _header(source: Path) -> tuple[str, list[str]]:
    """What a header is separated by (the comma if there is one, else a semicolon or a tab), and the names in it."""
    with source.open(encoding="utf-8-sig", newline="") as file:
        header = file.readline()
    mark = next((mark for mark in (",", ";", "\t") if mark in header), ",")
    return mark, [name for name in next(csv.reader([header], delimiter=mark), []) if name]


def _there(columns: object) -> str:
    names = list(columns)  # type: ignore[call-overload]
    return f"Columns there: {', '.join(repr(str(name)) for name in names)}"


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
    def column(name: str, key: str) -> list[str]:
        if name in only_first:
            raise DataError(f"{data.valid}: no column {name!r}, which {data.source} has")
        if name not in columns:
            there = [other for other in columns if other != PATH]
            raise DataError(f"{data.source}: no column {name!r} ({key}). {_there(there)}")
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
    """Fold numbers of a column; `1.0` is what a spreadsheet makes of 1."""
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
    """Names that are not UTF-8, as an archive from Korean Windows has them, fit into no CSV and no JSON."""
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
    """Files must exist, and lie below the folder of a source unless the user says otherwise.

    Folders are resolved once each: 200,000 rows are judged in about a second.
    """
    root, missing, outside = str(table.root), [], []
    inside: dict[str, bool] = {}
    for row, path in enumerate(table.paths):
        if not path:
            continue  # counted by the cleaning
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
            mode, within = 0, True
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
            f"{table.name}: {len(outside)} of {len(table)} images lie outside {' and '.join(homes)}. "
            f"Set data.allow_outside: true if that is meant{named(outside)}"
        )


def _within_any(path: str, folders: list[str]) -> bool:
    return any(within(path, folder) for folder in folders)


def named(entries: list[str]) -> str:
    """The first entries, each on a line of its own, and how many more there are."""
    shown = "".join(f"\n  {entry}" for entry in entries[:MAX_NAMED])
    return shown + (f"\n  and {len(entries) - MAX_NAMED} more" if len(entries) > MAX_NAMED else "")
