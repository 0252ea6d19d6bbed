"""Decide which rows of a table can be used.

Each rejected row has a reason, and each repair is counted. The functions read no image file.
"""

import collections
import dataclasses
import os
from pathlib import Path

import numpy as np
import numpy.typing as npt

from trainer.data.frames import read_frame
from trainer.data.image_files import existing, named
from trainer.data.options import DataOptions
from trainer.data.table import Table
from trainer.data.values import value_key
from trainer.errors import DataError
from trainer.files import write_csv
from trainer.images.manifest import PART_MARK, composed

DROP = "drop"
Flags = npt.NDArray[np.bool_]
# trait of a file (see trainer.images.picture) -> the repair that the user sees
REPAIRS = {
    "alpha": "transparent pixels filled",
    "palette": "palettes turned to RGB",
    "cmyk": "CMYK turned to RGB",
    "16-bit": "16 bits turned to 8",
    "grey": "greyscale turned to RGB",
    "rotated": "EXIF orientation applied",
    "animated": "animations, first frame used",
    # these two are known only after the pixels are decoded
    "beyond": "values outside the levels cut",
    "no end": "JPEG end markers added",
}


@dataclasses.dataclass(frozen=True)
class Rejected:
    """A row that is not used.

    Attributes:
        line: the line of the row in its file, or 0 for a folder.
        path: the path of the image, as the source has it.
        reason: the kind of problem, e.g. "no label".
        detail: the problem of this row.
    """

    line: int
    path: str
    reason: str
    detail: str


@dataclasses.dataclass(frozen=True)
class FileFacts:
    """Facts about the files of a table's N rows. Rows with the same file have the same facts.

    Attributes:
        errors: for each row whose file cannot be read, the reason.
        sizes_N2: the height and width of the image as displayed; 0 if the file cannot be read.
        traits_N: one bit for each entry of `REPAIRS`, the lowest bit for the first entry.
        digests_N: the hash of each file's content.
        fingerprints_N4: the 256-bit perceptual hashes, or None if they were not requested.
    """

    errors: dict[int, str]
    sizes_N2: npt.NDArray[np.int32]
    traits_N: npt.NDArray[np.uint16]
    digests_N: npt.NDArray[np.void]
    fingerprints_N4: npt.NDArray[np.uint64] | None = None


@dataclasses.dataclass(frozen=True)
class Cleaned:
    """The M rows that can be used.

    Attributes:
        rows_M: the numbers of these rows in the table, ascending.
        labels: the label of each of these rows, after corrections.
        boxes_M4: the boxes of these rows in whole pixels inside the image, or None.
        rejected: all other rows.
        repaired: for each kind of repair, the repaired rows among `rows_M`.
    """

    rows_M: npt.NDArray[np.int64]
    labels: list[tuple[str, ...]]
    boxes_M4: npt.NDArray[np.int32] | None
    rejected: list[Rejected]
    repaired: dict[str, npt.NDArray[np.int64]]


def clean(table: Table, facts: FileFacts, data: DataOptions) -> Cleaned:
    """Reject the rows with an unusable file, box or label, and correct labels.

    A correction replaces the label of the table, or it drops the row.

    Raises:
        DataError: the corrections cannot be used.
    """
    reasons = dict(_unusable(table, facts))
    boxes_N4: npt.NDArray[np.int32] | None = None
    clipped_N = np.zeros(len(table), dtype=bool)
    if table.boxes_N4 is not None:
        boxes_N4, clipped_N, bad = clean_boxes(
            table.boxes_N4, facts.sizes_N2, clip=data.bad_boxes == "clip"
        )
        reasons = {**{row: ("bad box", detail) for row, detail in bad.items()}, **reasons}
    labels, dropped, corrected = _corrected(table, data)
    for row, label in enumerate(labels):
        if not all(label):
            empty = ", ".join(
                name for name, part in zip(table.label_columns, label, strict=True) if not part
            )
            reasons.setdefault(row, ("no label", f"{empty} is empty"))
    for row in dropped:
        reasons.setdefault(row, ("correction", DROP))
    reasons |= _repeated_rows(table, labels, boxes_N4, set(reasons))
    kept = [row for row in range(len(table)) if row not in reasons]
    rows_M = np.array(kept, dtype=np.int64)
    repaired = {
        "labels corrected": np.intersect1d(rows_M, np.array(corrected, dtype=np.int64)),
        "boxes cut at the image's edge": rows_M[clipped_N[rows_M]],
        **{
            repair: rows_M[(facts.traits_N[rows_M] >> bit & 1) == 1]
            for bit, repair in enumerate(REPAIRS.values())
        },
    }
    rejected = [Rejected(0, path, "not a row", why) for path, why in table.ignored]
    rejected += [
        Rejected(table.lines[row], table.paths[row], *reasons[row]) for row in sorted(reasons)
    ]
    return Cleaned(
        rows_M=rows_M,
        labels=[labels[row] for row in kept],
        boxes_M4=None if boxes_N4 is None else boxes_N4[kept],
        rejected=rejected,
        repaired={name: rows for name, rows in repaired.items() if len(rows)},
    )


def clean_boxes(
    boxes_N4: npt.NDArray[np.float64], sizes_N2: npt.NDArray[np.int32], *, clip: bool
) -> tuple[npt.NDArray[np.int32], Flags, dict[int, str]]:
    """Round boxes to whole pixels, and find the boxes that cannot be used.

    Args:
        boxes_N4: left, top, right and bottom of each box in pixels.
        sizes_N2: the height and width of each image in pixels.
        clip: True to cut a box at the edge of the image. False to reject a box that is partly
            outside the image.

    Returns:
        The boxes inside the image; whether each usable box was cut; and a problem for each row
        whose box cannot be used.

    Example:
        >>> boxes_N4 = np.array([[-2.0, 0.0, 5.2, 8.0], [3.0, 3.0, 3.0, 9.0]])
        >>> sizes_N2 = np.array([[10, 10], [10, 10]], dtype=np.int32)
        >>> boxes_N4, clipped_N, bad = clean_boxes(boxes_N4, sizes_N2, clip=True)
        >>> boxes_N4[0].tolist(), clipped_N.tolist(), bad
        ([0, 0, 5, 8], [True, False], {1: '[3, 3, 3, 9] is empty'})
    """
    unreadable_N: Flags = ~np.asarray(np.isfinite(boxes_N4).all(axis=1))
    with np.errstate(invalid="ignore"):
        rounded_N4 = np.clip(
            np.round(np.where(unreadable_N[:, None], 0, boxes_N4)), -(2**31), 2**31 - 1
        ).astype(np.int64)
    limits_N4 = sizes_N2[:, [1, 0, 1, 0]].astype(np.int64)
    inside_N4 = np.clip(rounded_N4, 0, limits_N4)
    empty_N: Flags = np.asarray((rounded_N4[:, 2:] <= rounded_N4[:, :2]).any(axis=1))
    leaves_N: Flags = np.asarray((inside_N4 != rounded_N4).any(axis=1))
    gone_N: Flags = np.asarray((inside_N4[:, 2:] <= inside_N4[:, :2]).any(axis=1))
    bad = {}
    for row in np.flatnonzero(unreadable_N | empty_N | gone_N | (leaves_N & (not clip))).tolist():
        height, width = sizes_N2[row].tolist()
        box = boxes_N4[row].tolist() if unreadable_N[row] else rounded_N4[row].tolist()
        what = (
            "is not four numbers"
            if unreadable_N[row]
            else "is empty"
            if empty_N[row]
            else "leaves the image"
        )
        bad[row] = f"{box} {what}" + (
            "" if unreadable_N[row] or empty_N[row] else f" of {width} x {height}"
        )
    return inside_N4.astype(np.int32), leaves_N & ~gone_N & ~empty_N & ~unreadable_N, bad


def write_rejected(rejected: list[Rejected], path: Path) -> None:
    """Write the file `rejected.csv`. Without rejected rows, the file has only a header."""
    write_csv(
        path,
        ("line", "path", "reason", "detail"),
        (dataclasses.astuple(entry) for entry in rejected),
    )


def unusable(rejected: list[Rejected]) -> list[Rejected]:
    """The rejected rows with a problem: not near-duplicates, and not rows that the user dropped."""
    return [entry for entry in rejected if entry.reason not in ("near duplicate", "correction")]


def too_many(rejected: list[Rejected], *, rows: int, data: DataOptions) -> bool:
    """Whether the number of unusable rows is above the share `data.max_rejected` of all rows."""
    # 1e-9, because 0.29 * 100 is a little less than 29
    return len(unusable(rejected)) > data.max_rejected * rows + 1e-9


def refuse_too_many(rejected: list[Rejected], *, rows: int, data: DataOptions) -> None:
    """Refuse a data set with too many unusable rows.

    The reason is more often a mistake in the options than bad images.

    Args:
        rows: the number of all rows of the source.

    Raises:
        DataError: there are more unusable rows than `data.max_rejected` allows.
    """
    if not too_many(rejected, rows=rows, data=data):
        return
    bad = unusable(rejected)
    counts = collections.Counter(entry.reason for entry in bad)
    most = ", ".join(f"{count:,} {reason}" for reason, count in counts.most_common())
    examples = [
        f"{f'line {e.line}: ' if e.line else ''}{e.path} ({e.reason}: {e.detail})" for e in bad
    ]
    raise DataError(
        f"{data.source}: {len(bad):,} of {rows:,} rows cannot be used ({most}), "
        f"more than data.max_rejected ({data.max_rejected:.0%}) allows. Repair them, or raise it; "
        f"the rejected.csv of `sweeps check` lists them{named(examples)}"
    )


def _unusable(table: Table, facts: FileFacts) -> list[tuple[int, tuple[str, str]]]:
    """The rows whose file cannot be used, each with (reason, detail)."""
    no_path = [
        (row, ("no path", "the path is empty")) for row, path in enumerate(table.paths) if not path
    ]
    missing = [(row, ("missing", "there is no such file")) for row in sorted(table.missing)]
    bad = [(row, ("unreadable", why)) for row, why in facts.errors.items()]
    return [*bad, *no_path, *missing]


def _corrected(
    table: Table, data: DataOptions
) -> tuple[list[tuple[str, ...]], list[int], list[int]]:
    """The labels after the corrections, the rows to drop, and the rows whose label changed."""
    if data.corrections is None:
        return table.labels, [], []
    corrections = _read_corrections(Path(data.corrections), table, data)
    labels = list(table.labels)
    dropped: list[int] = []
    corrected: list[int] = []
    for row, path in enumerate(table.paths):
        correction = corrections.get(composed(_normal(path, table)))
        if correction is None:
            continue
        if correction == (DROP,):
            dropped.append(row)
            continue
        new = tuple(part or old for part, old in zip(correction, labels[row], strict=True))
        if new != labels[row]:
            labels[row] = new
            corrected.append(row)
    return labels, dropped, corrected


def _read_corrections(path: Path, table: Table, data: DataOptions) -> dict[str, tuple[str, ...]]:
    """The correction of each path in a file of corrections.

    A correction is (DROP,), or one value for each label column. An empty value means that the
    column is not corrected. If the table has several label columns, the file may have the same
    columns, or one column `label` with the joined name of the class. Paths are compared in one
    Unicode form, and values as in the columns of the table (see trainer.data.values).

    Raises:
        DataError: the file is missing or has other columns, or a correction cannot be used.
    """
    path = existing(str(path))
    if not path.is_file():
        raise DataError(f"{path}: no such file (data.corrections)")
    frame = read_frame(path, encoding=data.encoding).table
    several = len(table.label_columns) > 1 and set(table.label_columns) & set(frame.columns)
    wanted = (
        [name for name in table.label_columns if name in frame.columns] if several else ["label"]
    )
    if "path" not in frame.columns or not set(wanted) <= set(frame.columns):
        present = ", ".join(repr(str(name)) for name in frame.columns)
        raise DataError(f"{path}: corrections need the columns path and label; there: {present}")
    known_paths = {composed(_normal(image, table)) for image in table.paths}
    known_labels = set(table.labels)
    known_parts = [
        {value_key(part): part for part in parts} for parts in zip(*table.labels, strict=True)
    ]
    known = ", ".join(sorted(PART_MARK.join(label) for label in known_labels if all(label))[:20])
    corrections: dict[str, tuple[str, ...]] = {}
    problems = []
    for row, *cells in frame[["path", *wanted]].itertuples(name=None):
        line = row + 2
        image = composed(_normal(cells[0], table))
        if data.suffix is not None and image not in known_paths:
            image += data.suffix
        values = tuple(map(str, cells[1:]))
        if not any(cells):
            continue
        new = _parse_correction(values, wanted, table)
        if new is not None and new != (DROP,):
            new = tuple(
                spelled.get(value_key(part), part)
                for spelled, part in zip(known_parts, new, strict=True)
            )
        if image not in known_paths:
            problems.append(
                f"line {line}: {cells[0]} is not in {table.name} (there: {table.paths[0]}, ...)"
            )
        elif new is None or not (
            new == (DROP,) or new in known_labels or _is_part(new, known_parts)
        ):
            problems.append(
                f"line {line}: unknown class {', '.join(values)!r}. Known: {known}, or {DROP}"
            )
        elif corrections.setdefault(image, new) != new:
            problems.append(f"line {line}: {cells[0]} is corrected twice, to different classes")
    if problems:
        raise DataError(f"{path}: {len(problems)} corrections cannot be used{named(problems)}")
    return corrections


def _parse_correction(
    values: tuple[str, ...], columns: list[str], table: Table
) -> tuple[str, ...] | None:
    """The correction in one row of a file of corrections, or None if the row has no valid one."""
    if DROP in values:
        return (DROP,)
    if columns == ["label"] and table.label_columns != ("label",):
        parts = values if len(table.label_columns) == 1 else tuple(values[0].split(PART_MARK))
        return parts if len(parts) == len(table.label_columns) and all(parts) else None
    given = dict(zip(columns, values, strict=True))
    return tuple(given.get(name, "") for name in table.label_columns) if any(values) else None


def _is_part(new: tuple[str, ...], known_parts: list[dict[str, str]]) -> bool:
    """Whether a correction changes some columns only, each to a known value of the column."""
    return not all(new) and all(
        not part or value_key(part) in known for part, known in zip(new, known_parts, strict=True)
    )


def _repeated_rows(
    table: Table,
    labels: list[tuple[str, ...]],
    boxes_N4: npt.NDArray[np.int32] | None,
    rejected: set[int],
) -> dict[int, tuple[str, str]]:
    """The rows to reject because another row has the same image, each with (reason, detail).

    Otherwise one image could be on both sides of a split. If two rows give an image different
    classes, both rows are rejected, because the right class is unknown.

    Args:
        rejected: rows that are rejected already; they are ignored.
    """
    first: dict[tuple[object, ...], int] = {}
    reasons: dict[int, tuple[str, str]] = {}
    for row, path in enumerate(table.paths):
        if row in rejected:
            continue
        key = (_normal(path, table), *(() if boxes_N4 is None else boxes_N4[row].tolist()))
        earlier = first.setdefault(key, row)
        if earlier == row:
            continue
        if labels[row] == labels[earlier] and earlier not in reasons:
            reasons[row] = ("duplicate row", f"the same as {table.where(earlier)}")
        else:
            both = " and ".join(
                f"{PART_MARK.join(labels[at])!r} in line {table.lines[at]}" for at in (earlier, row)
            )
            reasons[row] = reasons[earlier] = ("contradictory labels", both)
    return reasons


def _normal(path: str, table: Table) -> str:
    """A path in its normal form: `a/./b.jpg`, `a//b.jpg` and an absolute path become `a/b.jpg`.

    Paths that look normal already are not processed, to save time.
    """
    path = path.removeprefix(f"{table.root}/")
    return os.path.normpath(path) if "./" in path or "//" in path or path.startswith(".") else path
