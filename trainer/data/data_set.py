"""Read a data set as the user's options say, and make a clean manifest of it.

The image files are read in one pass, or in two passes if only one image per cluster is kept.
"""

import contextlib
import dataclasses
import os
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from trainer.data.cleaning import Cleaned, FileFacts, Rejected, clean, refuse_too_many
from trainer.data.name_stems import stems_of
from trainer.data.options import FILE_NAME, FOLDER, NEAR_DUPLICATES, DataOptions
from trainer.data.sampled_levels import sampled_reading
from trainer.data.scan import scan_files
from trainer.data.sources import read_table
from trainer.data.table import Table
from trainer.data.values import alike_groups
from trainer.errors import DataError
from trainer.images.cache import CachePlan, make_room, plan_cache, pool_of
from trainer.images.manifest import PART_MARK, Manifest, order_classes
from trainer.images.pool import PoolWriter
from trainer.images.preprocessing import Preprocessing, Reading

# Pixels. The fingerprint of a smaller image says too little: a fingerprint has 17 x 16 cells, and
# the fingerprints of digits of 32 x 32 pixels are all similar.
MIN_SIDE = 48
Progress = Callable[[str, int, int], None]  # name of the step, images done, all images


@dataclasses.dataclass(frozen=True)
class ReadOptions:
    """What a command needs from `read_data_set`, in addition to the user's `DataOptions`.

    Attributes:
        choices: the preparations of the images for which the cache is filled, as far as the
            decoded images fit into the cache.
        fingerprints: find near-duplicates even if no option of the user needs them.
        tolerant: accept any number of rejected rows, so that the command can show them.
        on_rejected: called with the rejected rows, before an error because of them is raised.
        progress: called with (name of the step, images done, all images).
        levels_of: a reading whose levels are kept, or None to choose the levels from a sample of
            the files. The options of the user come before both.
    """

    choices: Sequence[Preprocessing] = ()
    fingerprints: bool = False
    tolerant: bool = False
    on_rejected: Callable[[list[Rejected]], None] | None = None
    progress: Progress | None = None
    levels_of: Reading | None = None


PLAIN_READ = ReadOptions()


@dataclasses.dataclass(frozen=True)
class DataSet:
    """N images that are ready to be cut into folds, and the rejected rows.

    Attributes:
        manifest: the N images.
        rows: the number of all rows of the source.
        rejected: the rows that are not used.
        repairs: for each kind of repair, the number of repaired images.
        sizes_N2: the height and width of each image's file, as displayed.
        clusters_N: the number of each image's near-duplicate cluster, or None if near-duplicates
            were not requested.
        fixed_N: the fold of each image in the source's fold column, or None without such a column.
        to_decode: the number of images that the cache needs for each preparation.
        plan: which of the requested preparations are kept decoded in the cache.
        notes: sentences about what was read otherwise than it is written.
        warnings: sentences about groups that look alike.
    """

    manifest: Manifest
    rows: int
    rejected: list[Rejected]
    repairs: dict[str, int]
    sizes_N2: npt.NDArray[np.int32]
    clusters_N: npt.NDArray[np.int64] | None
    fixed_N: npt.NDArray[np.int64] | None
    to_decode: int
    plan: CachePlan
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def read_data_set(
    data: DataOptions, *, fold_column: str | None = None, read: ReadOptions = PLAIN_READ
) -> DataSet:
    """Read the source and all its image files, and reject the rows that cannot be used.

    Args:
        fold_column: the column with fixed folds, or None.

    Raises:
        DataError: the source, its files or the cache cannot be used.
        ConfigError: a preparation of the images needs a library or weights that are missing.
    """
    table = read_table(data, fold_column=fold_column)
    require_boxes(data, read.choices)
    reading = _reading(table, data, read)
    # with one image per cluster, most images may be rejected: decode only the kept images, later
    at_once = data.keep == "all"
    plan = plan_cache(read.choices if at_once else (), images=len(table), cache_gb=data.cache_gb)
    facts = _scan(
        table,
        data,
        plan,
        reading=reading,
        fingerprints=read.fingerprints or data.needs_fingerprints,
        progress=read.progress,
    )
    cleaned = clean(table, facts, data)
    if read.on_rejected is not None:
        read.on_rejected(cleaned.rejected)
    if not read.tolerant or not cleaned.labels:
        refuse_too_many(cleaned.rejected, rows=len(table) + len(table.ignored), data=data)
    if not cleaned.labels:
        raise DataError(f"{table.name}: none of {len(table):,} rows can be used")
    found = _data_set(
        table, data, facts, cleaned, reading=reading, plan=plan, progress=read.progress
    )
    if at_once:
        return found
    kept = set(found.manifest.paths)
    part = table.only([row for row, path in enumerate(table.paths) if path in kept])
    found = dataclasses.replace(found, to_decode=len(part))
    if not read.choices:
        return found
    plan = plan_cache(read.choices, images=len(part), cache_gb=data.cache_gb)
    _scan(part, data, plan, reading=reading, fingerprints=False, progress=read.progress)
    return dataclasses.replace(found, plan=plan)


def require_boxes(data: DataOptions, choices: Sequence[Preprocessing]) -> None:
    """Refuse `crop: box` if the options do not name the columns of the box.

    Raises:
        DataError: a preparation crops boxes, and `data.box` is not set.
    """
    if any(how.crop == "box" for how in choices) and data.box is None:
        raise DataError(
            f"{data.source}: crop: box needs the columns of the box: "
            "data.box: [left, top, right, bottom]"
        )


def _reading(table: Table, data: DataOptions, read: ReadOptions) -> Reading:
    """How the files become pixels; notes about the levels are added to the table."""
    kept = read.levels_of
    if data.levels is None and kept is not None:
        return dataclasses.replace(data.reading, levels=kept.levels, real_levels=kept.real_levels)
    reading, notes = sampled_reading(table.root, table.paths, data.reading, wanted=data.levels)
    table.notes.extend(notes)
    return reading


def _scan(
    table: Table,
    data: DataOptions,
    plan: CachePlan,
    *,
    reading: Reading,
    fingerprints: bool,
    progress: Progress | None,
) -> FileFacts:
    pools = [pool_of(table.root, how, reading=reading) for how in plan.kept]
    if pools:
        make_room(pools, images=len(table), cache_gb=data.cache_gb)
    with contextlib.ExitStack() as stack:
        # every process locks the pools in the same order, so that two processes cannot deadlock
        ordered = sorted(pools, key=lambda pool: pool.pixels)
        writers = [stack.enter_context(PoolWriter(pool)) for pool in ordered]
        return scan_files(
            table,
            reading=reading,
            fingerprints=fingerprints,
            writers=writers,
            clip_boxes=data.bad_boxes == "clip",
            progress=None
            if progress is None
            else lambda done, total: progress("reading images", done, total),
        )


def _data_set(
    table: Table,
    data: DataOptions,
    facts: FileFacts,
    cleaned: Cleaned,
    *,
    reading: Reading,
    plan: CachePlan,
    progress: Progress | None,
) -> DataSet:
    rows_N = cleaned.rows_M
    labels = cleaned.labels
    boxes_N4 = cleaned.boxes_M4
    rejected = cleaned.rejected
    clusters_N: npt.NDArray[np.int64] | None = None
    if facts.fingerprints_N4 is not None:
        clusters_N = _clusters(facts, rows_N, data, progress)
        if data.keep == "one_per_cluster":
            kept, more = _one_per_cluster(table, rows_N, clusters_N, labels)
            rows_N = rows_N[kept]
            labels = [labels[at] for at in kept]
            clusters_N = clusters_N[kept]
            boxes_N4 = None if boxes_N4 is None else boxes_N4[kept]
            rejected = [*rejected, *more]
    parts, labels_N = order_classes(labels, label_columns=table.label_columns, orders=table.orders)
    if len(parts) < 2:
        raise DataError(
            f"{table.name}: only one class ({PART_MARK.join(parts[0])!r}); "
            "classification needs at least two"
        )
    paths = tuple(table.paths[row] for row in rows_N)
    groups = None
    if data.group == NEAR_DUPLICATES:
        assert clusters_N is not None
        # a group has the name of an image, so that it does not depend on the order of the rows
        first_of = dict(sorted(zip(clusters_N.tolist(), paths, strict=True), reverse=True))
        groups = tuple(first_of[cluster] for cluster in clusters_N.tolist())
    elif table.groups is not None:
        # an image without a group becomes a group of one image
        groups = tuple(table.groups[row] or f"image {table.paths[row]}" for row in rows_N)
    manifest = Manifest(
        root=table.root,
        paths=paths,
        labels_N=labels_N,
        classes=tuple(PART_MARK.join(part) for part in parts),
        lines=tuple(table.lines[row] for row in rows_N),
        label_columns=table.label_columns,
        class_parts=tuple(parts) if len(table.label_columns) > 1 else (),
        groups=groups,
        boxes_N4=boxes_N4,
        digests_N=facts.digests_N[rows_N],
        reading=reading,
    )
    if groups is None and data.group in (FOLDER, FILE_NAME):
        manifest = dataclasses.replace(manifest, groups=_groups_of_paths(manifest, data.group))
    return DataSet(
        manifest=manifest,
        rows=len(table) + len(table.ignored),
        rejected=rejected,
        repairs={
            name: count
            for name, rows in cleaned.repaired.items()
            if (count := int(np.isin(rows, rows_N).sum()))
        },
        to_decode=len(table),
        sizes_N2=facts.sizes_N2[rows_N],
        clusters_N=clusters_N,
        fixed_N=None if table.fixed_N is None else table.fixed_N[rows_N],
        plan=plan,
        notes=tuple(table.notes),
        warnings=tuple(alike_groups(table.groups or ())),
    )


def _groups_of_paths(manifest: Manifest, group: str) -> tuple[str, ...]:
    """The group of each image from its path: its folder, or its file name without a counter.

    An image whose file name is only a counter becomes a group of one image.
    """
    if group == FOLDER:
        return tuple(os.path.dirname(path) or "." for path in manifest.paths)
    stems = stems_of(manifest)
    return tuple(stem or f"image {path}" for stem, path in zip(stems, manifest.paths, strict=True))


def _clusters(
    facts: FileFacts, rows_N: npt.NDArray[np.int64], data: DataOptions, progress: Progress | None
) -> npt.NDArray[np.int64]:
    """The near-duplicate cluster of each of the rows `rows_N`, as the lowest position in a cluster.

    The fingerprints of tiny images and of images with one colour say too little. Such images are
    near-duplicates only if their files are identical.
    """
    from trainer.data.duplicates import near_duplicate_clusters

    def report(done: int, total: int) -> None:
        if progress is not None and total:
            progress("comparing images", done, total)

    assert facts.fingerprints_N4 is not None
    fingerprints_N4 = facts.fingerprints_N4[rows_N]
    rows = np.flatnonzero(
        (facts.sizes_N2[rows_N].min(axis=1) >= MIN_SIDE) & fingerprints_N4.any(axis=1)
    )
    first: dict[bytes, int] = {}
    digests = facts.digests_N[rows_N].tolist()
    clusters_N = np.array(
        [first.setdefault(digest, at) for at, digest in enumerate(digests)], dtype=np.int64
    )
    found = near_duplicate_clusters(
        fingerprints_N4[rows], distance=data.near_distance, progress=report
    )
    clusters_N[rows] = rows[found]
    return clusters_N


def _one_per_cluster(
    table: Table,
    rows_N: npt.NDArray[np.int64],
    clusters_N: npt.NDArray[np.int64],
    labels: list[tuple[str, ...]],
) -> tuple[list[int], list[Rejected]]:
    """The positions to keep, and the other rows as rejected rows.

    The middle image of each cluster and class is kept. Near-duplicates with different classes do
    not count as duplicates.
    """
    from trainer.data.duplicates import one_per_cluster

    first: dict[tuple[object, ...], int] = {}
    keys = zip(clusters_N.tolist(), labels, strict=True)
    split_N = np.array([first.setdefault(key, at) for at, key in enumerate(keys)], dtype=np.int64)
    kept_of = {split_N[at]: int(rows_N[at]) for at in one_per_cluster(split_N).tolist()}
    kept: list[int] = []
    rejected: list[Rejected] = []
    for at, row in enumerate(rows_N.tolist()):
        twin = kept_of[split_N[at]]
        # the same path, because an image with several boxes has several rows, which are all kept
        if table.paths[row] == table.paths[twin]:
            kept.append(at)
            continue
        detail = f"{table.where(twin)} stands for it"
        rejected.append(Rejected(table.lines[row], table.paths[row], "near duplicate", detail))
    return kept, rejected
