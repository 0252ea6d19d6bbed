"""Which rows of a table can be used: pure decisions, each rejected row with its reason, each repair counted."""

import collections
import dataclasses
import os
from pathlib import Path

import numpy as np
import numpy.typing as npt

from trainer.data.options import DataOptions
from trainer.data.sources import Table, named, read_frame
from trainer.errors import DataError
from trainer.files import write_csv
from trainer.images.manifest import PART_MARK

DROP = "drop"
Flags = npt.NDArray[np.bool_]
REPAIRS = {  # traits of a file (see trainer.images.picture) -> what is done about them
    "alpha": "transparent pixels filled",
    "palette": "palettes turned to RGB",
    "cmyk": "CMYK turned to RGB",
    "16-bit": "16 bits cut to 8",
    "grey": "greyscale turned to RGB",
    "rotated": "EXIF orientation applied",
    "animated": "animations, first frame used",
}


@dataclasses.dataclass(frozen=True)
class Rejected:
    """A row that is not used, and why."""

    line: int
    path: str
    reason: str
    detail: str


@dataclasses.dataclass(frozen=True)
class FileFacts:
    """What reading the files of a table's N rows showed; rows of one file repeat it.

    Attributes:
        errors: for rows whose file cannot be read, why.
        sizes_N2: height and width as displayed; 0 for those.
        traits_N: a bit per entry of `REPAIRS`.
        digests_N: content of each file.
        fingerprints_N4: 256-bit perceptual hash, or None if nobody asked.
    """

    errors: dict[int, str]
    sizes_N2: npt.NDArray[np.int32]
    traits_N: npt.NDArray[np.uint16]
    digests_N: npt.NDArray[np.void]
    fingerprints_N4: npt.NDArray[np.uint64] | None = None


@dataclasses.dataclass(frozen=True)
class Cleaned:
    """The rows that are left.

    Attributes:
        rows_M: their numbers in the table, ascending.
        labels: the class of each, after corrections.
        boxes_M4: whole pixels inside the image, or None.
        rejected: all other rows.
        repaired: what was done to which of the rows that are left.
    """

    rows_M: npt.NDArray[np.int64]
    labels: list[tuple[str, ...]]
    boxes_M4: npt.NDArray[np.int32] | None
    rejected: list[Rejected]
    repaired: dict[str, npt.NDArray[np.int64]]


def clean(table: Table, facts: FileFacts, data: DataOptions) -> Cleaned:
    """Decide about every row: unusable files, boxes and labels go, corrections have the last word.

    Raises:
        DataError: the corrections cannot be used.
    """
    reasons = dict(_unusable(table, facts))
    boxes_N4, clipped_N = None, np.zeros(len(table), dtype=bool)
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
    reasons |= _twice(table, labels, boxes_N4, set(reasons))
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
    """Boxes in whole pixels, which of them were cut at the edge, and what is wrong with those that cannot be used.

    Args:
        boxes_N4: left, top, right, bottom.
        sizes_N2: height and width of each image.
        clip: cut boxes that leave the image; otherwise they cannot be used.
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
    """Write `rejected.csv`; a header alone says that nothing was."""
    write_csv(
        path,
        ("line", "path", "reason", "detail"),
        (dataclasses.astuple(entry) for entry in rejected),
    )


def unusable(rejected: list[Rejected]) -> list[Rejected]:
    """The rows that nobody chose to leave out."""
    return [entry for entry in rejected if entry.reason not in ("near duplicate", "correction")]


def too_many(rejected: list[Rejected], *, rows: int, data: DataOptions) -> bool:
    """Whether more of the rows are unusable than `data.max_rejected` allows."""
    return (
        len(unusable(rejected)) > data.max_rejected * rows + 1e-9
    )  # 0.29 * 100 is a little less than 29


def refuse_too_many(rejected: list[Rejected], *, rows: int, data: DataOptions) -> None:
    """A data set of which much is unusable is a mistake in the options more often than bad data.

    Raises:
        DataError: there are too many.
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
        f"{data.source}: {len(bad):,} of {rows:,} rows cannot be used ({most}), more than data.max_rejected "
        f"({data.max_rejected:.0%}) allows. Repair them, or raise it; the rejected.csv of `sweeps check` lists them"
        f"{named(examples)}"
    )


def _unusable(table: Table, facts: FileFacts) -> list[tuple[int, tuple[str, str]]]:
    no_path = [
        (row, ("no path", "the path is empty")) for row, path in enumerate(table.paths) if not path
    ]
    return [*((row, ("unreadable", why)) for row, why in facts.errors.items()), *no_path]


def _corrected(
    table: Table, data: DataOptions
) -> tuple[list[tuple[str, ...]], list[int], list[int]]:
    """Labels after the corrections, the rows to drop, and the rows whose label changed."""
    if data.corrections is None:
        return table.labels, [], []
    corrections = _read_corrections(Path(data.corrections), table)
    labels, dropped, corrected = list(table.labels), [], []
    for row, path in enumerate(table.paths):
        correction = corrections.get(_normal(path, table))
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


def _read_corrections(path: Path, table: Table) -> dict[str, tuple[str, ...]]:
    """For each path its new parts (empty: as it was), or (DROP,).

    With several label columns a file may hold those columns, or `label` with the joined name.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file (data.corrections)")
    frame = read_frame(path)
    several = len(table.label_columns) > 1 and set(table.label_columns) & set(frame.columns)
    wanted = (
        [name for name in table.label_columns if name in frame.columns] if several else ["label"]
    )
    if "path" not in frame.columns or not set(wanted) <= set(frame.columns):
        there = ", ".join(repr(str(name)) for name in frame.columns)
        raise DataError(f"{path}: corrections need the columns path and label; there: {there}")
    known_paths, known_labels = {_normal(image, table) for image in table.paths}, set(table.labels)
    known_parts = [set(parts) for parts in zip(*table.labels, strict=True)]
    known = ", ".join(sorted(PART_MARK.join(label) for label in known_labels if all(label))[:20])
    corrections: dict[str, tuple[str, ...]] = {}
    problems = []
    for row, *cells in frame[["path", *wanted]].itertuples(name=None):
        line, image, values = row + 2, _normal(cells[0], table), tuple(map(str, cells[1:]))
        if not any(cells):
            continue
        new = _parse_correction(values, wanted, table)
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
    """The parts that a row of the corrections gives; None if it says nothing that can be understood."""
    if DROP in values:
        return (DROP,)
    if columns == ["label"] and table.label_columns != ("label",):
        parts = values if len(table.label_columns) == 1 else tuple(values[0].split(PART_MARK))
        return parts if len(parts) == len(table.label_columns) and all(parts) else None
    given = dict(zip(columns, values, strict=True))
    return tuple(given.get(name, "") for name in table.label_columns) if any(values) else None


def _is_part(new: tuple[str, ...], known_parts: list[set[str]]) -> bool:
    """Whether only some columns are corrected, and each to a value that it has elsewhere."""
    return not all(new) and all(
        not part or part in known for part, known in zip(new, known_parts, strict=True)
    )


def _twice(
    table: Table,
    labels: list[tuple[str, ...]],
    boxes_N4: npt.NDArray[np.int32] | None,
    gone: set[int],
) -> dict[int, tuple[str, str]]:
    """An image that is named twice would lie on both sides of a split; with two classes nobody knows which holds."""
    first: dict[tuple[object, ...], int] = {}
    reasons: dict[int, tuple[str, str]] = {}
    for row, path in enumerate(table.paths):
        if row in gone:
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
    """`a/./b.jpg`, `a//b.jpg` and the absolute path of `a/b.jpg` are one; only odd paths pay for it."""
    path = path.removeprefix(f"{table.root}/")
    return os.path.normpath(path) if "./" in path or "//" in path or path.startswith(".") else path
