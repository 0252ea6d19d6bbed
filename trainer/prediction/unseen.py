"""Unseen images: a folder, or a table with their paths, boxes and groups.

Shapes: N images.
"""

import dataclasses
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from trainer.data.folders import image_files
from trainer.data.frames import TABLE_SUFFIXES, columns_text, read_frame
from trainer.data.image_column import (
    image_paths,
    images_folders,
    in_folders,
    without_folder,
)
from trainer.data.image_files import existing, find_files, named, refuse_other_codes
from trainer.data.lost_images import place_of
from trainer.data.options import FOLDER, DataOptions
from trainer.data.sources import raw_boxes
from trainer.errors import DataError

# the options of `data` that also say how a table of new images is read
TAKEN = ("image", "suffix", "encoding", "box", "box_format", "bad_boxes")


@dataclasses.dataclass(frozen=True)
class Unseen:
    """N images that are predicted.

    Attributes:
        source: the folder or the table, for messages.
        root: the absolute folder to which `paths` are relative.
        paths: the path of each image, with Unix separators.
        lines: the line of each image in the table (the header is line 1); 0 for a folder.
        groups: the group of each image, or None.
        boxes_N4: left, top, right and bottom as the table has them; NaN where it has no number.
        clip_boxes: whether a box is cut at the edge of the image, or is an error.
        missing: the rows whose file does not exist.
        columns: the other columns of the table, as texts; ids may be in one of them.
    """

    source: str
    root: Path
    paths: tuple[str, ...]
    lines: tuple[int, ...]
    groups: tuple[str, ...] | None = None
    boxes_N4: npt.NDArray[np.float64] | None = None
    clip_boxes: bool = False
    missing: frozenset[int] = frozenset()
    columns: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.paths)

    def file(self, row: int) -> Path:
        """Return the absolute path of an image."""
        return self.root / self.paths[row]

    def where(self, row: int) -> str:
        """Return the name of an image for a message: its line, if it has one, and its path."""
        return f"line {self.lines[row]}: {self.paths[row]}" if self.lines[row] else self.paths[row]


def table_options(
    trained: Mapping[str, Any],
    source: str,
    *,
    image: str | None,
    folder: Sequence[str] | None,
    group: str | None = None,
) -> DataOptions:
    """How a table of new images is read: as that of the training images, where nothing is said.

    Where the training images lie is not taken over, neither `folder` nor the folders at the
    beginning of a pattern: new images with the same names would be mistaken for them.

    Args:
        trained: the options of TAKEN as the training data had them.
        source: the table, or a folder of images.
        image: `data.image` of the new table, or None.
        folder: the folders of `data.folder` of the new table, or None.
        group: the column of the groups, or FOLDER, or None.
    """
    taken = {name: value for name, value in trained.items() if name in TAKEN}
    if image is not None:
        taken["image"] = image
    elif "image" in taken:
        taken["image"] = without_folder(taken["image"])
    folders = list(folder) if folder else None
    return DataOptions(**{**taken, "source": source, "folder": folders, "group": group})


def read_unseen(data: DataOptions, *, boxes: bool = False) -> Unseen:
    """Return the images of a folder, at any depth, or of a CSV or Parquet file.

    Args:
        data: `source` is the folder or the file. Of a file, `image` names the column with the
            paths or a pattern of them, which are relative to the file's folder or to `folder`,
            `suffix` is added to them, `box` names the columns of the box, and `group` the column of
            the group. `group` may be FOLDER.
        boxes: whether boxes are needed.

    Raises:
        DataError: there is no such folder, file or column; there are no images, or none of the
            files exists; two rows are the same; or boxes are needed and the source has none.
    """
    source = existing(data.source)
    if source.is_dir():
        unseen = _of_folder(source, data, boxes=boxes)
    elif source.is_file():
        unseen = _of_table(source, data, boxes=boxes)
    else:
        raise DataError(
            f"{source}: no such file or folder. Name a folder of images, or a CSV with their paths"
        )
    refuse_other_codes(data.source, unseen.paths)
    if data.group == FOLDER:
        folders = tuple(os.path.dirname(path) or "." for path in unseen.paths)
        unseen = dataclasses.replace(unseen, groups=folders)
    return unseen


def _of_folder(source: Path, data: DataOptions, *, boxes: bool) -> Unseen:
    if boxes:
        raise DataError(
            f"{source}: crop: box needs the box of each image. Name a CSV with the columns "
            f"{', '.join((data.image, *(data.box or ('left', 'top', 'right', 'bottom'))))}"
        )
    if data.group not in (None, FOLDER):
        raise DataError(
            f"{source}: a folder has no column {data.group!r}. Group its images by {FOLDER}, or "
            "name a CSV"
        )
    paths = image_files(source)
    if not paths:
        raise DataError(f"{source}: no images found in the folder or below it")
    return Unseen(str(source), source.resolve(), tuple(paths), (0,) * len(paths))


def _of_table(source: Path, data: DataOptions, *, boxes: bool) -> Unseen:
    if source.suffix.lower() not in TABLE_SUFFIXES:
        raise DataError(
            f"{source}: not a table of images. "
            f"Known: {', '.join(sorted(TABLE_SUFFIXES))}, or a folder"
        )
    frame = read_frame(source, encoding=data.encoding).table
    columns = {str(name): tuple(frame[name].tolist()) for name in frame.columns}
    group = None if data.group in (None, FOLDER) else data.group
    box = data.box if boxes else None
    _refuse_missing_columns(source, list(columns), group=group, box=box)
    if boxes and box is None:
        raise DataError(f"{source}: crop: box needs boxes, and data.box names no columns")
    written = image_paths(
        columns,
        data.image,
        suffix=data.suffix,
        where=str(source),
        what="with the paths of the images",
        advice=". Name the right one with --image",
    )
    lines = tuple(int(row) + 2 for row in frame.index)
    if not written:
        raise DataError(f"{source}: no images found. A CSV needs at least one row")
    empty = [lines[row] for row, path in enumerate(written) if not path]
    if empty:
        raise DataError(
            f"{source}: {len(empty)} of {len(written)} rows have no {data.image}"
            f"{named([f'line {line}' for line in empty])}"
        )
    home, paths = in_folders(list(written), images_folders(source, data.folder))
    root = home.resolve()
    missing = find_files(paths, root=root, homes=[str(root)]).missing
    if len(missing) == len(paths):
        place = place_of(source.parent, written, missing, columns, image=data.image)
        raise DataError(
            f"{source}: none of its {len(paths)} images exists (paths are relative to {root})"
            f"{named(paths)}" + ("" if place is None else f"\n{place.as_options(data.image)}")
        )
    found = Unseen(
        str(source),
        root,
        tuple(paths),
        lines,
        groups=None if group is None else columns[group],
        boxes_N4=None
        if box is None
        else raw_boxes([list(columns[name]) for name in box], xywh=data.box_format == "xywh"),
        clip_boxes=data.bad_boxes == "clip",
        missing=frozenset(missing),
        # ids may stand in the column of the image, if its cells are no paths yet
        columns={
            name: cells
            for name, cells in columns.items()
            if name != data.image or list(cells) != written
        },
    )
    _refuse_repeated_rows(found)
    return found


def _refuse_missing_columns(
    source: Path, there: Sequence[str], *, group: str | None, box: Sequence[str] | None
) -> None:
    for name, what in (
        *([(group, "the groups")] if group is not None else []),
        *((name, "the boxes") for name in box or ()),
    ):
        if name not in there:
            raise DataError(f"{source}: no column {name!r} with {what}. {columns_text(there)}")


def _refuse_repeated_rows(unseen: Unseen) -> None:
    first: dict[tuple[object, ...], int] = {}
    repeated = []
    for row, path in enumerate(unseen.paths):
        box = () if unseen.boxes_N4 is None else tuple(unseen.boxes_N4[row].tolist())
        if first.setdefault((os.path.normpath(path), *box), row) != row:
            repeated.append(unseen.where(row))
    if repeated:
        raise DataError(
            f"{unseen.source}: {len(repeated)} rows repeat an earlier row, and an image is "
            f"predicted once{named(repeated)}"
        )
