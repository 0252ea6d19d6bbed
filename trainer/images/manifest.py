"""The manifest: the cleaned table of images (path, class, group, box) that the folds are cut from.

The manifest is frozen together with the folds.

Shapes: N images, K classes, P label columns.
"""

import dataclasses
import decimal
import hashlib
import re
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from trainer.files import write_csv, write_json
from trainer.images.preprocessing import Reading

DIGEST = np.dtype("V16")  # the first half of a file's SHA-256
DEFAULT_READING = Reading()
PART_MARK = " / "  # between the parts of a joint class's name
# Not more than four digits of an exponent: `1e99999999` is a name, and no number that is sorted.
NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d{1,4})?")


def content_digest(data: bytes) -> bytes:
    """Return the digest that identifies a file's content: the first 16 bytes of its SHA-256."""
    return hashlib.sha256(data).digest()[: DIGEST.itemsize]


@dataclasses.dataclass(frozen=True)
class Manifest:
    """N images with their classes, groups, boxes and digests.

    Attributes:
        root: folder that `paths` are relative to.
        paths: N paths, relative to `root`.
        labels_N: N class indices into `classes`.
        classes: K class names. With several label columns a name has the value of each column,
            joined by " / ".
        lines: the CSV line that names each image, for messages (the header is line 1); 0 if the
            data source is not a CSV file.
        label_columns: the P columns that together make the class.
        class_parts: the P values of each class; empty with a single label column.
        groups: N group names; None if every image is a group of its own.
        boxes_N4: left, top, right, bottom in pixels of the image as displayed, or None.
        digests_N: the content digest of each file; None if the files have not been read.
        reading: how the files become pixels.
    """

    root: Path
    paths: tuple[str, ...]
    labels_N: npt.NDArray[np.int64]
    classes: tuple[str, ...]
    lines: tuple[int, ...]
    label_columns: tuple[str, ...] = ("label",)
    class_parts: tuple[tuple[str, ...], ...] = ()
    groups: tuple[str, ...] | None = None
    boxes_N4: npt.NDArray[np.int32] | None = None
    digests_N: npt.NDArray[np.void] | None = None
    reading: Reading = DEFAULT_READING

    def __len__(self) -> int:
        return len(self.paths)

    def file(self, row: int) -> Path:
        """Return the absolute path of the image in `row`."""
        return self.root / self.paths[row]

    def where(self, row: int) -> str:
        """Return the name of `row` for a message: its CSV line, if it has one, and its path."""
        return f"line {self.lines[row]}: {self.paths[row]}" if self.lines[row] else self.paths[row]

    def box(self, row: int) -> tuple[int, int, int, int] | None:
        """Return the box of `row`, or None if the data have no boxes."""
        if self.boxes_N4 is None:
            return None
        left, top, right, bottom = self.boxes_N4[row].tolist()
        return left, top, right, bottom

    def identities(self) -> list[tuple[str, ...]]:
        """Return what identifies each image: its path, and its box if it has one.

        An identity stays the same when other rows are added or removed, and when a copy between a
        Mac and another system changes the Unicode form of file names.
        """
        paths = map(composed, self.paths)
        if self.boxes_N4 is None:
            return [(path,) for path in paths]
        return [(path, str(box)) for path, box in zip(paths, self.boxes_N4.tolist(), strict=True)]


def order_classes(
    labels: Sequence[tuple[str, ...]],
    *,
    label_columns: Sequence[str],
    orders: Mapping[str, Sequence[str]],
) -> tuple[list[tuple[str, ...]], npt.NDArray[np.int64]]:
    """Return the K distinct labels in order, and each image's index into these labels.

    Args:
        labels: one label per image; a label has one value per label column.
        orders: the order of a column's values, by column. Values without a given order follow: in
            numeric order if all of them are numbers, else in alphabetical order.
    """
    ranks = []
    for column, values in zip(label_columns, map(set, zip(*labels, strict=True)), strict=True):
        known = [value for value in orders.get(column, ()) if value in values]
        ranks.append(
            {value: rank for rank, value in enumerate([*known, *_sorted(values - set(known))])}
        )
    classes = sorted(
        set(labels), key=lambda parts: [rank[part] for rank, part in zip(ranks, parts, strict=True)]
    )
    index = {parts: number for number, parts in enumerate(classes)}
    return classes, np.array([index[label] for label in labels], dtype=np.int64)


def composed(text: str) -> str:
    """Return a text in the Unicode form NFC.

    A Mac writes file names in the form NFD, in which a Korean syllable is several characters.
    """
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def number_of(text: str) -> decimal.Decimal | None:
    """Return the number that a text stands for, or None. Spaces around the number are allowed.

    Example:
        >>> number_of("-2.50"), number_of("1e3"), number_of("1_000"), number_of("nan")
        (Decimal('-2.50'), Decimal('1E+3'), None, None)
    """
    return decimal.Decimal(text.strip()) if NUMBER.fullmatch(text.strip()) else None


def write_label_map(manifest: Manifest, path: Path) -> None:
    """Write the class of each index as JSON: the class name, and the parts of a joint class."""
    columns = manifest.label_columns
    value: dict[str, object] = {
        "classes": {str(number): name for number, name in enumerate(manifest.classes)}
    }
    if manifest.class_parts:
        value["parts"] = {
            str(number): dict(zip(columns, parts, strict=True))
            for number, parts in enumerate(manifest.class_parts)
        }
    write_json(path, value)


def write_manifest(manifest: Manifest, fold_N: npt.NDArray[np.int64], path: Path) -> None:
    """Write the images as CSV: path, class, index, fold, and any group and box."""
    header = ["path", "class", "index", "fold"]
    columns: list[Sequence[object]] = [
        manifest.paths,
        [manifest.classes[label] for label in manifest.labels_N],
        manifest.labels_N.tolist(),
        fold_N.tolist(),
    ]
    if manifest.groups is not None:
        header.append("group")
        columns.append(manifest.groups)
    if manifest.boxes_N4 is not None:
        header += ["left", "top", "right", "bottom"]
        columns += manifest.boxes_N4.T.tolist()
    write_csv(path, header, zip(*columns, strict=True))


def _sorted(names: set[str]) -> list[str]:
    numbers = {name: number for name in names if (number := number_of(name)) is not None}
    if len(numbers) == len(names):
        return sorted(names, key=lambda name: (numbers[name], name))
    return sorted(names)
