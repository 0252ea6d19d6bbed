"""The path of each row's image: a column of a table, or a pattern such as `images/{id}.png`."""

import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from trainer.data.folders import IMAGE_SUFFIXES
from trainer.data.frames import columns_text
from trainer.errors import DataError

FIELD = re.compile(r"\{([^{}]+)\}")
SLICE = re.compile(r"(.+)\[(\d*)(:?)(\d*)\]")
PART = re.compile(r"(.+?)(?:\.(name|last[23]))?(\.stem)?")
MAX_LOOKED_AT = 100  # cells of a column that may hold paths
Columns = Mapping[str, Sequence[str]]


def is_pattern(image: str) -> bool:
    """Whether `data.image` is a pattern, and not the name of a column."""
    return FIELD.search(image) is not None


def without_folder(image: str) -> str:
    """A pattern without the folders before its first column; the name of a column stays as it is.

    Example:
        >>> without_folder("train/png/{site}/{id}.png"), without_folder("id")
        ('{site}/{id}.png', 'id')
    """
    first = FIELD.search(image)
    return image if first is None else image[image.rfind("/", 0, first.start()) + 1 :]


def image_paths(
    columns: Columns,
    image: str,
    *,
    suffix: str | None,
    where: str,
    what: str = "(data.image)",
    advice: str = "",
) -> list[str]:
    """The path of each row's image, or an empty text if a cell of it is empty.

    In a pattern, `{id}` is the cell of the column `id`, and `{id[0:2]}` its first two letters.
    `{id.name}` is a path's file name without the folders, `{id.last2}` and `{id.last3}` have one or
    two folders before it, and `{id.stem}` is the path without its suffix; `{id.name.stem}` is both.

    Args:
        columns: the cells of each column, by its name.
        image: the name of a column, or a pattern.
        suffix: what is added to each path that does not end with it, or None.
        where: the name of the table, for messages.
        what: what the column is, for the message about a missing column.
        advice: the end of this message.

    Raises:
        DataError: a column is missing.

    Example:
        >>> columns = {"id": ["7", ""], "kind": ["cat", "dog"]}
        >>> image_paths(columns, "pictures/{kind}/{id}", suffix=".png", where="train.csv")
        ['pictures/cat/7.png', '']
    """

    def column(name: str) -> Sequence[str]:
        if name not in columns:
            raise DataError(f"{where}: no column {name!r} {what}. {columns_text(columns)}{advice}")
        return columns[name]

    if not is_pattern(image):
        paths = list(column(image))
    else:
        texts = FIELD.split(image)  # in turn a literal text and what stands in braces
        fields = [_cells(field, columns, column) for field in texts[1::2]]
        paths = [
            texts[0] + "".join(map(str.__add__, cells, texts[2::2])) if all(cells) else ""
            for cells in zip(*fields, strict=True)
        ]
    if suffix is None:
        return paths
    return [path and path.removesuffix(suffix) + suffix for path in paths]


def advice_on_paths(columns: Columns) -> str:
    """Advice for a table without the column of the paths, as the end of a message.

    Example:
        >>> advice_on_paths({"file": ["1.jpg", "2.JPG"], "label": ["cat", "dog"]})
        ". The cells of 'file' look like paths: write `image: file` below data"
        >>> advice_on_paths({"1.jpg": ["2.jpg"], "cat": ["dog"]})
        '. The first line looks like a row: write a line above it, e.g. `path,label`'
    """
    if any(_is_image(name) for name in columns):
        return ". The first line looks like a row: write a line above it, e.g. `path,label`"
    for name, cells in columns.items():
        if cells and all(_is_image(cell) for cell in cells[:MAX_LOOKED_AT]):
            return f". The cells of {name!r} look like paths: write `image: {name}` below data"
    return ""


def _is_image(text: str) -> bool:
    return os.path.splitext(text)[1].lower() in IMAGE_SUFFIXES


def _cells(field: str, columns: Columns, column: Callable[[str], Sequence[str]]) -> list[str]:
    """What stands in each row for a field of a pattern; a column's whole name goes first."""
    if field in columns:
        return list(columns[field])
    if found := SLICE.fullmatch(field):
        name, first, colon, last = found.groups()
        start = int(first or 0)
        end = (int(last) if last else None) if colon else start + 1
        return [cell[start:end] for cell in column(name)]
    found = PART.fullmatch(field)
    assert found is not None, "a field of a pattern has at least one letter"
    name, last, stem = found.groups()
    count = 0 if last is None else 1 if last == "name" else int(last[-1])
    return [_part(cell, count, stem=stem is not None) for cell in column(name)]


def _part(cell: str, count: int, *, stem: bool) -> str:
    """The last parts of a path, or all of them if `count` is 0; without suffix if `stem`."""
    if not count and not stem:
        return cell
    parts = cell.replace("\\", "/").split("/")
    kept = "/".join(parts[-count:])
    return os.path.splitext(kept)[0] if stem else kept


def images_folders(source: Path, folders: Sequence[str] | None) -> list[Path]:
    """The folders to which the paths of a table may be relative.

    Args:
        source: the table.
        folders: `data.folder`: relative to the table's folder or, if they are not there, to the
            working folder; or None for the table's folder.

    Raises:
        DataError: there is no such folder.
    """
    return [source.parent] if folders is None else [_existing(source, name) for name in folders]


def _existing(source: Path, folder: str) -> Path:
    for place in (source.parent / folder, Path(folder)):
        if place.is_dir():
            return place
    beside = sorted(path.name for path in source.parent.iterdir() if path.is_dir())
    there = f"Folders there: {', '.join(beside[:10])}" if beside else "No folder is there"
    raise DataError(
        f"{source}: no folder {folder!r} (data.folder), neither in {source.parent} nor in the "
        f"working folder. {there}"
    )


def in_folders(paths: list[str], folders: Sequence[Path]) -> tuple[Path, list[str]]:
    """The folder to which all paths are relative, and each path in the first folder that holds it.

    Args:
        paths: the path of each row, relative to one of the folders.
        folders: one folder, in which the paths stay as they are, or several.
    """
    if len(folders) == 1:
        return folders[0], paths
    homes = [folder.resolve() for folder in folders]
    root = Path(os.path.commonpath(homes))
    found = []
    for path in paths:
        files = [os.path.join(home, path) for home in homes]
        file = next((file for file in files if os.path.lexists(file)), files[0])
        found.append(path and os.path.relpath(file, root))
    return root, found
