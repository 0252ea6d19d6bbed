"""What `sweeps check` shows about a data set: tables, warnings, and a page with pictures."""

import collections
import dataclasses
import io
from collections.abc import Iterable, Iterator

import numpy as np
from PIL import Image

from sweeps.preparing.check_page import CheckPage, PageTable, Pair, Picture, Sheet, Suspicion
from sweeps.space.spec import SweepSpec
from trainer.data.cleaning import too_many, unusable
from trainer.data.cut import Cut
from trainer.data.fold_column import ALWAYS_TRAINED, HOLDOUT
from trainer.data.folds import MAX_DEVIATION, deviations
from trainer.data.leaks import Sign, signs_of_leaks
from trainer.errors import UnreadableError
from trainer.images.cache import plan_cache
from trainer.images.crops import face_box
from trainer.images.decode import decode
from trainer.images.images import Pixels
from trainer.images.manifest import Manifest
from trainer.images.parallel import map_in_order
from trainer.images.preprocessing import Preprocessing

THUMBNAIL = 112  # pixels a side
MAX_PICTURES = 600  # on all contact sheets together
MAX_PER_CLASS = 12  # pictures on the contact sheet of one class
MAX_SHEETS = 200  # further classes have no contact sheet and are only in the tables
MAX_SIZES = 8  # rows of a table of sizes
MAX_NAMED_FOLDS = 6  # with more folds, column heads do not have the word fold, to fit a terminal
FACES_TRIED = 100  # images in which a face is searched
FACE_SIDE = 640  # pixels a side of an image in which a face is searched
FOLD_NAMES = {ALWAYS_TRAINED: "always trained", HOLDOUT: "holdout"}


@dataclasses.dataclass(frozen=True)
class Inspection:
    """The content of the page without the pictures.

    Attributes:
        title: the sweep's name.
        summary: lines of name and value.
        warnings: what a user should repair or know, in full sentences.
        signs: why a leak between the folds is suspected, with example rows.
    """

    title: str
    summary: tuple[tuple[str, str], ...]
    warnings: tuple[str, ...]
    signs: tuple[Sign, ...]
    tables: tuple[PageTable, ...]


def inspect(spec: SweepSpec, cut: Cut) -> Inspection:
    """Collect the tables and warnings about a data set and its rejected rows."""
    found = cut.data
    folds = cut.folds
    manifest = folds.manifest
    signs = signs_of_leaks(
        manifest,
        folds.fold_N,
        digests=manifest.digests_N,
        clusters_N=found.clusters_N,
        groups=manifest.groups,
    )
    return Inspection(
        title=spec.name,
        summary=tuple(_summary(spec, cut)),
        warnings=tuple(_warnings(spec, cut)),
        signs=tuple(signs),
        tables=tuple(
            table
            for table in (
                _class_table(cut),
                _group_table(cut),
                _size_table(cut),
                _counts_table("Repaired", ("what", "images"), found.repairs),
                _counts_table(
                    "Rejected",
                    ("reason", "rows"),
                    collections.Counter(entry.reason for entry in found.rejected),
                ),
            )
            if table.rows
        ),
    )


def page_of(inspection: Inspection, cut: Cut) -> CheckPage:
    """The page with pictures: a contact sheet for each class, and the suspicious pairs.

    This function reads the images that the page shows.
    """
    manifest = cut.folds.manifest
    chosen = _sheet_rows(manifest)
    paired = [row for sign in inspection.signs for pair in sign.pairs for row in pair]
    pictures = dict(
        thumbnails(
            manifest, sorted({row for rows in chosen.values() for row in rows} | set(paired))
        )
    )
    counts_K = np.bincount(manifest.labels_N, minlength=len(manifest.classes))
    return CheckPage(
        title=inspection.title,
        summary=inspection.summary,
        warnings=inspection.warnings,
        suspicions=tuple(
            Suspicion(
                sign.text,
                tuple(
                    Pair(
                        pictures[left], pictures[right], f"{_side(cut, left)} | {_side(cut, right)}"
                    )
                    for left, right in sign.pairs
                    if left in pictures and right in pictures
                ),
            )
            for sign in inspection.signs
        ),
        tables=inspection.tables,
        sheets=tuple(
            Sheet(
                manifest.classes[label],
                f"{counts_K[label]:,} images",
                tuple(pictures[row] for row in rows if row in pictures),
            )
            for label, rows in chosen.items()
        ),
    )


def _summary(spec: SweepSpec, cut: Cut) -> Iterator[tuple[str, str]]:
    found = cut.data
    folds = cut.folds
    manifest = folds.manifest
    yield "source", spec.data.source + (f" and {spec.data.valid}" if spec.data.valid else "")
    rejected = (
        f", {len(found.rejected):,} of {found.rows:,} rows rejected" if found.rejected else ""
    )
    yield "images", f"{len(manifest):,}{rejected}"
    parts = f" of {', '.join(manifest.label_columns)}" if manifest.class_parts else ""
    yield "classes", f"{len(manifest.classes):,}{parts}"
    if manifest.groups is not None:
        yield "groups", f"{len(set(manifest.groups)):,} ({spec.data.grouping})"
    how = f"column {spec.folds.column}" if spec.folds.column else f"stratified, seed {folds.seed}"
    yield "folds", f"{folds.k} ({how})"
    if folds.k > 1:
        bound = f"within {MAX_DEVIATION:.0%}" + (
            " or one group" if manifest.groups is not None else " or one image"
        )
        odd = deviations(folds)
        yield (
            "shares",
            f"every class even over the folds {bound}" if not odd else "not even, see the warnings",
        )
    for mark, name in FOLD_NAMES.items():
        count = int((folds.fold_N == mark).sum())
        if count:
            yield name, f"{count:,} images"
    levels = cut.levels()
    if levels is not None:
        yield "levels", f"{levels} (data.levels)"
    # `check` itself fills no cache: these lines describe what `run` and `prepare` will decode
    plan = plan_cache(spec.choices(), images=found.to_decode, cache_gb=spec.data.cache_gb)
    for key, size_bytes in plan.sizes_bytes.items():
        yield "decoded", f"{key}: {size_bytes / 1e6:,.1f} MB on disk, once"
    if any(choice.crop == "face" for choice in spec.choices()):
        yield "faces", _faces_found(manifest)
    for how_streamed in plan.streamed:
        yield (
            "decoded",
            f"{how_streamed.key}: per batch, since data.cache_gb is {spec.data.cache_gb:g}",
        )


def _faces_found(manifest: Manifest) -> str:
    """In how many of some evenly spread images a face is found.

    An image without a face is used whole.
    """
    rows = np.unique(
        np.linspace(0, len(manifest) - 1, min(FACES_TRIED, len(manifest))).astype(np.int64)
    )
    how = Preprocessing((FACE_SIDE, FACE_SIDE), "fit")

    def has_face(row: int) -> bool:
        try:
            image_HWC = decode(manifest.file(row).read_bytes(), how, reading=manifest.reading)
        except (OSError, UnreadableError):  # the file was removed or changed in the meantime
            return False
        return face_box(image_HWC, weights=manifest.reading.face_weights) is not None

    found = sum(map_in_order(has_face, rows.tolist()))
    return f"found in {found:,} of {len(rows):,} images tried; the others are used whole"


def _warnings(spec: SweepSpec, cut: Cut) -> Iterator[str]:
    found = cut.data
    if too_many(found.rejected, rows=found.rows, data=spec.data):
        yield (
            f"{len(unusable(found.rejected)):,} of {found.rows:,} rows are rejected, "
            f"more than data.max_rejected ({spec.data.max_rejected:.0%}): `sweeps run` refuses. "
            "Repair them (rejected.csv says why), or raise it"
        )
    yield from cut.warnings()


def _class_table(cut: Cut) -> PageTable:
    folds = cut.folds
    manifest = folds.manifest
    counts_Kk = folds.counts()
    total_K = np.bincount(manifest.labels_N, minlength=len(manifest.classes))
    few = folds.k <= MAX_NAMED_FOLDS
    columns = [
        "class",
        "images",
        *(f"fold {fold}" if few else str(fold) for fold in range(folds.k)),
    ]
    marks = [mark for mark in FOLD_NAMES if (folds.fold_N == mark).any()]
    columns += [FOLD_NAMES[mark] for mark in marks]
    extra = [
        np.bincount(manifest.labels_N[folds.fold_N == mark], minlength=len(total_K))
        for mark in marks
    ]
    rows = [
        (
            name,
            f"{total_K[label]:,}",
            *(f"{count:,}" for count in [*counts_Kk[label], *(e[label] for e in extra)]),
        )
        for label, name in enumerate(manifest.classes)
    ]
    note = "" if few else f"0 to {folds.k - 1} are the folds"
    return PageTable("Classes", tuple(columns), tuple(rows), note)


def _group_table(cut: Cut) -> PageTable:
    groups = cut.folds.manifest.groups
    if groups is None:
        return PageTable("Groups", (), ())
    sizes = collections.Counter(collections.Counter(groups).values())
    rows = [(f"{size:,}", f"{count:,}") for size, count in sorted(sizes.items())]
    if len(rows) > MAX_SIZES:
        at_least = rows[MAX_SIZES - 1][0]
        rest = sum(count for size, count in sizes.items() if size >= int(at_least.replace(",", "")))
        rows = [*rows[: MAX_SIZES - 1], (f"{at_least} or more", f"{rest:,}")]
    return PageTable("Groups", ("images in a group", "groups"), tuple(rows))


def _size_table(cut: Cut) -> PageTable:
    sizes = collections.Counter(map(tuple, cut.data.sizes_N2.tolist()))
    rows = [
        (f"{height} x {width}", f"{count:,}")
        for (height, width), count in sizes.most_common(MAX_SIZES)
    ]
    rest = len(cut.data.sizes_N2) - sum(count for _, count in sizes.most_common(MAX_SIZES))
    if rest:
        rows.append((f"{len(sizes) - MAX_SIZES:,} other sizes", f"{rest:,}"))
    areas = sorted(sizes, key=lambda size: size[0] * size[1])
    low_h, low_w = areas[0]
    high_h, high_w = areas[-1]
    note = f"smallest {low_h} x {low_w}, largest {high_h} x {high_w}"
    return PageTable("Image sizes", ("height x width", "images"), tuple(rows), note)


def _counts_table(title: str, columns: tuple[str, str], counts: dict[str, int]) -> PageTable:
    ordered = sorted(counts.items(), key=lambda entry: (-entry[1], entry[0]))
    return PageTable(title, columns, tuple((name, f"{count:,}") for name, count in ordered))


def _sheet_rows(manifest: Manifest) -> dict[int, list[int]]:
    """For each class, the rows of its contact sheet, evenly spread over the images of the class."""
    classes = range(min(len(manifest.classes), MAX_SHEETS))
    per_class = max(2, min(MAX_PER_CLASS, MAX_PICTURES // max(1, len(classes))))
    order = np.argsort(manifest.labels_N, kind="stable")
    ends = np.cumsum(np.bincount(manifest.labels_N, minlength=len(manifest.classes)))
    chosen = {}
    for label in classes:
        rows = order[ends[label - 1] if label else 0 : ends[label]]
        at = np.unique(np.linspace(0, len(rows) - 1, min(per_class, len(rows))).astype(np.int64))
        chosen[label] = rows[at].tolist()
    return chosen


def thumbnails(manifest: Manifest, rows: Iterable[int]) -> Iterator[tuple[int, Picture]]:
    """The thumbnail of each row; a file that was removed in the meantime has no thumbnail."""

    def thumbnail(row: int) -> tuple[int, Picture] | None:
        image_HWC = small_image(manifest, row)
        if image_HWC is None:
            return None
        return row, Picture(small_jpeg(image_HWC), manifest.paths[row])

    for found in map_in_order(thumbnail, rows):
        if found is not None:
            yield found


def small_image(manifest: Manifest, row: int) -> Pixels | None:
    """The image of a row as a thumbnail (H, W, 3); None if its file was removed or changed."""
    how = Preprocessing((THUMBNAIL, THUMBNAIL), "fit")
    try:
        return decode(manifest.file(row).read_bytes(), how, reading=manifest.reading)
    except (OSError, UnreadableError):
        return None


def small_jpeg(image_HWC: Pixels) -> bytes:
    """The image as a JPEG file of at most THUMBNAIL pixels a side; a smaller one keeps its size."""
    image = Image.fromarray(image_HWC)
    image.thumbnail((THUMBNAIL, THUMBNAIL))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=80)
    return buffer.getvalue()


def _side(cut: Cut, row: int) -> str:
    """The class of an image, and its fold or the part of the data outside the folds."""
    fold = int(cut.folds.fold_N[row])
    label = cut.folds.manifest.classes[cut.folds.manifest.labels_N[row]]
    return f"{label}, {FOLD_NAMES.get(fold, f'fold {fold}')}"
