"""Find the image file of each row of a table, and open the folders that stand for their images."""

import dataclasses
import os
from collections.abc import Callable

from trainer.data.folders import image_files
from trainer.data.image_files import MAX_NAMED, find_files, named
from trainer.data.options import DataOptions
from trainer.data.table import Table
from trainer.errors import DataError


def with_images(
    table: Table, data: DataOptions, *, homes: list[str], advice: Callable[[list[int]], str]
) -> Table:
    """The table with the paths as they are on the disk, and with the rows without an image file.

    A row whose path is a folder becomes a row for each image in it.

    Args:
        homes: the resolved folders of the sources. `data.allow_outside` allows files elsewhere.
        advice: says for missing rows of the source what to write instead.

    Raises:
        DataError: image files are outside the folders of the sources, or more of them do not exist
            than `data.max_rejected` allows.
    """
    found = find_files(table.paths, root=table.root, homes=homes)
    of_source = list(range(len(table)))  # the row of the source for each row of the table
    if found.folders:
        table, of_source = _opened(table, found.folders)
        found = find_files(table.paths, root=table.root, homes=homes)
    missing = [table.where(row) for row in found.missing]
    many = f"{len(missing):,} of {len(table):,} images"
    if len(missing) > data.max_rejected * len(table):
        bound = f", more than data.max_rejected ({data.max_rejected:.0%}) allows"
        raise DataError(
            f"{table.name}: {many} do not exist (paths are relative to {table.root})"
            f"{bound if len(missing) < len(table) else ''}"
            f"{named(missing)}{advice([of_source[row] for row in found.missing])}"
        )
    if found.outside and not data.allow_outside:
        raise DataError(
            f"{table.name}: {len(found.outside)} of {len(table)} images lie "
            f"outside {' and '.join(homes)}. "
            f"Set data.allow_outside: true if that is meant"
            f"{named([table.where(row) for row in found.outside])}"
        )
    table.notes.extend(found.notes)
    if missing:
        more = f", and {len(missing) - MAX_NAMED:,} more" if len(missing) > MAX_NAMED else ""
        names = ", ".join(missing[:MAX_NAMED])
        table.notes.append(f"{many} do not exist, and their rows are rejected: {names}{more}")
    return dataclasses.replace(table, missing=frozenset(found.missing))


def _opened(table: Table, folders: list[int]) -> tuple[Table, list[int]]:
    """The table with a row for each image of a folder that is the path of a row.

    Returns:
        The table, and for each of its rows the row that it was before.
    """
    inside = {row: image_files(table.root / table.paths[row]) for row in folders}
    rows: list[int] = []
    paths: list[str] = []
    for row, path in enumerate(table.paths):
        files = inside.get(row)
        rows += [row] * (1 if not files else len(files))
        paths += [os.path.join(path, file) for file in files] if files else [path]
    opened = table.only(rows)
    images = sum(map(len, inside.values()))
    opened.notes.append(
        f"{len(folders):,} of {len(table):,} paths are folders: each of their {images:,} images "
        "becomes a row. If the images of a folder belong together, name a group (data.group)"
    )
    return dataclasses.replace(opened, paths=paths), rows
