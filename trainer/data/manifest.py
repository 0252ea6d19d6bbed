"""The table of images (path, label) that the folds are cut from."""

import dataclasses
import os
import warnings
from pathlib import Path

import numpy as np
import numpy.typing as npt

from trainer.errors import DataError

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff"})
MAX_NAMED = 10  # rows named in one message; the rest is counted


@dataclasses.dataclass(frozen=True)
class Manifest:
    """N images and their classes.

    Attributes:
        root: folder that `paths` are relative to.
        paths: N paths, relative to `root`.
        labels_N: N class indices into `classes`.
        classes: class names, sorted (as numbers when all are whole numbers).
        lines: where each image was named, for messages: the CSV line (the header is line 1), or 0.
    """

    root: Path
    paths: tuple[str, ...]
    labels_N: npt.NDArray[np.int64]
    classes: tuple[str, ...]
    lines: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.paths)

    def file(self, row: int) -> Path:
        """Absolute path of the image in `row`."""
        return self.root / self.paths[row]

    def where(self, row: int) -> str:
        """Name `row` for a message: its CSV line, if it has one, and its path."""
        return f"line {self.lines[row]}: {self.paths[row]}" if self.lines[row] else self.paths[row]


def read_manifest(source: Path, *, image: str = "path", label: str = "label") -> Manifest:
    """Read a CSV (paths relative to its folder), or a folder with one sub-folder per class.

    Args:
        source: a CSV file or a folder.
        image: CSV column with the image path.
        label: CSV column with the class.

    Raises:
        DataError: the source is missing or empty, lacks a column, names images that do not exist, has
            empty labels, or has fewer than two classes.
    """
    if source.is_dir():
        root, rows = source, _folder_rows(source)
    elif source.is_file():
        root, rows = source.parent, _csv_rows(source, image=image, label=label)
    else:
        raise DataError(
            f"{source}: no such CSV file or folder. Set data.source to one (`sweeps demo digits` writes one)"
        )
    if not rows:
        raise DataError(f"{source}: no images found. A CSV needs at least one row, a folder one sub-folder per class")
    _refuse_missing(source, root, rows)
    _refuse_twice(source, root, rows)
    names = [name for _, name, _ in rows]
    classes = _sorted_classes(set(names))
    if len(classes) < 2:
        raise DataError(f"{source}: only one class ({classes[0]!r}); classification needs at least two")
    index = {name: number for number, name in enumerate(classes)}
    return Manifest(
        root=root.resolve(),
        paths=tuple(path for path, _, _ in rows),
        labels_N=np.array([index[name] for name in names], dtype=np.int64),
        classes=classes,
        lines=tuple(line for _, _, line in rows),
    )


def _csv_rows(source: Path, *, image: str, label: str) -> list[tuple[str, str, int]]:
    import pandas as pd  # 0.4 s, which `sweeps best` need not spend

    try:
        with warnings.catch_warnings():  # a row longer than the header only warns
            warnings.simplefilter("error", pd.errors.ParserWarning)
            table = pd.read_csv(source, dtype=str, keep_default_na=False, skip_blank_lines=False, index_col=False)
    except pd.errors.EmptyDataError:
        raise DataError(f"{source}: the file is empty. It needs a header line and one row per image") from None
    except (pd.errors.ParserError, pd.errors.ParserWarning, UnicodeDecodeError) as error:
        raise DataError(f"{source}: not a readable CSV file ({str(error).strip()})") from None
    for column, key in ((image, "data.image"), (label, "data.label")):
        if column not in table.columns:
            raise DataError(
                f"{source}: no column {column!r} ({key}). Columns there: {', '.join(map(repr, table.columns))}"
            )
    rows = [
        (path, name, line)
        for line, (path, name) in enumerate(zip(table[image], table[label], strict=True), start=2)
        if path or name
    ]
    empty = [line for path, name, line in rows if not (path and name)]
    if empty:
        raise DataError(f"{source}: {image!r} or {label!r} is empty in {_some('line', empty)}")
    return rows


def _folder_rows(source: Path) -> list[tuple[str, str, int]]:
    return [
        (str(file.relative_to(source)), folder.name, 0)
        for folder in sorted(source.iterdir())
        if folder.is_dir() and not folder.name.startswith(".")
        for file in sorted(folder.rglob("*"))
        if file.suffix.lower() in IMAGE_SUFFIXES and not file.name.startswith(".")
    ]


def _refuse_missing(source: Path, root: Path, rows: list[tuple[str, str, int]]) -> None:
    missing = [f"line {line}: {path}" if line else path for path, _, line in rows if not (root / path).is_file()]
    if missing:
        many = f"{len(missing)} of {len(rows)} images"
        raise DataError(f"{source}: {many} do not exist (paths are relative to {root}){named(missing)}")


def _refuse_twice(source: Path, root: Path, rows: list[tuple[str, str, int]]) -> None:
    """One image on both sides of a split would be seen in training and scored."""
    first: dict[str, int] = {}
    twice = []
    for path, _, line in rows:
        key = os.path.normpath(root / path)
        if first.setdefault(key, line) != line:
            twice.append(f"line {line}: {path} (first in line {first[key]})")
    if twice:
        raise DataError(f"{source}: {len(twice)} images are named twice{named(twice)}")


def named(entries: list[str]) -> str:
    """The first entries, each on a line of its own, and how many more there are."""
    shown = "".join(f"\n  {entry}" for entry in entries[:MAX_NAMED])
    return shown + (f"\n  and {len(entries) - MAX_NAMED} more" if len(entries) > MAX_NAMED else "")


def _sorted_classes(names: set[str]) -> tuple[str, ...]:
    if all(name.isdecimal() for name in names):
        return tuple(sorted(names, key=lambda name: (int(name), name)))
    return tuple(sorted(names))


def _some(noun: str, numbers: list[int]) -> str:
    shown = ", ".join(map(str, numbers[:MAX_NAMED]))
    return f"{noun}{'s' if len(numbers) > 1 else ''} {shown}" + (", ..." if len(numbers) > MAX_NAMED else "")
