"""Choose the folds of somebody's data, and which images stay together, from what was read."""

import collections
import dataclasses
import re
from collections.abc import Iterator
from typing import Any, Literal

from sweeps.preparing.layouts import Layout
from trainer.data.data_set import DataSet, Progress, ReadOptions, read_data_set
from trainer.data.folds import Folds, fixed_folds, make_folds
from trainer.data.leaks import signs_of_leaks
from trainer.data.options import FILE_NAME, FOLDER, NEAR_DUPLICATES, DataOptions, FoldOptions
from trainer.errors import DataError
from trainer.images.manifest import Manifest

SEED = FoldOptions().seed
# in the order in which they are tried: enough folds of all classes, then without the rare ones
TRIED: tuple[tuple[int, Literal["train"] | None], ...] = (
    (5, None),
    (4, None),
    (3, None),
    (5, "train"),
    (4, "train"),
    (3, "train"),
    (2, None),
    (2, "train"),
)
MIN_SCORED = 2  # classes that are held out; with fewer, nothing can be told apart
MOST_IN_A_GROUP = 0.2  # of all images; a larger group is rather the look or the name of them all
ADVICE = re.compile(r"\. (?:Name a group|Set data)")  # where the advice of a sign begins
# signs that images belong together -> `data.group` that keeps them so, the likeliest first
TOGETHER = {
    "folder": FOLDER,
    "name": FILE_NAME,
    "identical": NEAR_DUPLICATES,
    "near_duplicate": NEAR_DUPLICATES,
}


@dataclasses.dataclass(frozen=True)
class Read:
    """Data that were read, with folds.

    Attributes:
        options: options of the section `folds`.
    """

    found: DataSet
    folds: Folds
    options: dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Grouped:
    """Data that were read, with a group if there is one to suggest.

    Attributes:
        data: options of the section `data`.
        remarks: comments on options, by the option's name, or by `folds`.
        advice: what the user should know about images that may belong together.
    """

    read: Read
    data: dict[str, Any]
    remarks: dict[str, str]
    advice: tuple[str, ...]


def grouped(layout: Layout, *, progress: Progress | None = None) -> Grouped:
    """Read the images of a layout, and choose a group and folds that this group allows.

    A column that names persons, videos and the like comes first, then folders, file names and
    clusters of near-duplicates that the folds would tear apart.

    Raises:
        DataError: the images cannot be read, or no folds can be cut.
    """
    remarks = dict(layout.remarks)
    column = layout.fold_column
    try:
        plain = _read(layout.data, column, progress=progress)
    except DataError as error:
        if column is None:
            raise
        remarks["folds"] = f"column {column} does not fix the folds: {error}"
        column = None
        plain = _read(layout.data, column, progress=progress)
    advice: list[str] = []
    for group, why in _suggestions(layout, plain, advice, is_fixed=column is not None):
        data = {**layout.data, "group": group}
        try:
            found = _read(data, column, progress=progress)
        except DataError as error:
            advice.append(f"group: {group} is left out. {why}, but: {error}")
            continue
        manifest = found.folds.manifest
        largest, count = collections.Counter(manifest.groups).most_common(1)[0]
        if count > MOST_IN_A_GROUP * len(manifest):
            many = f"{count:,} of {len(manifest):,} images would be in one group ({largest})"
            advice.append(f"group: {group} is left out. {why}, but {many}")
            continue
        others = ", ".join(other for other in layout.groups if other != group)
        why = f"{why} ({len(set(manifest.groups or ())):,} groups of {len(manifest):,} images)"
        why = f"{why}. Or is the group {others}?" if others else why
        return Grouped(found, data, {**remarks, "group": why}, tuple(advice))
    return Grouped(plain, layout.data, remarks, tuple(advice))


def _suggestions(
    layout: Layout, plain: Read, advice: list[str], *, is_fixed: bool
) -> Iterator[tuple[str, str]]:
    """Values for `data.group`, the likeliest first, each with the reason for it.

    Args:
        advice: gets the signs that no group can heal, because a column fixes the folds.
    """
    if "group" in layout.data:
        return
    for name in layout.groups:
        yield name, f"column {name} looks like it says which images belong together"
    manifest = plain.folds.manifest
    signs = signs_of_leaks(
        manifest,
        plain.folds.fold_N,
        digests=manifest.digests_N,
        clusters_N=plain.found.clusters_N,
    )
    reasons = {sign.kind: sign.text for sign in signs if sign.kind in TOGETHER}
    if is_fixed:
        advice += reasons.values()
        return
    groups: dict[str, str] = {}
    for kind, group in TOGETHER.items():
        if kind in reasons:
            groups.setdefault(group, reasons[kind])
    for group, text in groups.items():
        # the end of a sign's text says what to do, which is done here
        yield group, f"without it, {ADVICE.split(text)[0]}"


def _read(data: dict[str, Any], column: str | None, *, progress: Progress | None) -> Read:
    """The data set of these options, with folds.

    Raises:
        DataError: it cannot be read, or no folds can be cut.
    """
    read = ReadOptions(fingerprints=True, progress=progress)
    found = read_data_set(DataOptions(**data), fold_column=column, read=read)
    if found.fixed_N is not None:
        return Read(found, fixed_folds(found.manifest, found.fixed_N), {"column": column})
    folds, options = _cut(found.manifest)
    return Read(found, folds, options)


def _cut(manifest: Manifest) -> tuple[Folds, dict[str, Any]]:
    """The first folds of TRIED that can be cut and hold out at least two classes, with options.

    Raises:
        DataError: none can; the message is that of two folds.
    """
    refused: DataError | None = None
    for k, rare in TRIED:
        try:
            folds = make_folds(manifest, k=k, seed=SEED, rare=rare)
        except DataError as error:
            refused = error if rare is None else refused
            continue
        if (folds.counts() > 0).any(axis=1).sum() >= MIN_SCORED:
            options: dict[str, Any] = {"k": k, "seed": SEED}
            return folds, options if rare is None else {**options, "rare": rare}
    assert refused is not None, "two folds of all classes are cut, or refused"
    raise refused
