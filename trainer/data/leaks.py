"""Find signs of leaks: images on different sides of a split that seem to belong together.

Such images show one person or are from one video, or they are copies of one file. A unit is a set
of images that seem to belong together: a folder, a name or a cluster. A side is a fold, "always
trained on" (-1) or the holdout (-2). A unit leaks if its images are on several sides.

Shapes: N images, U units, P pairs of rows.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from trainer.data.name_stems import plain_name, stems_of
from trainer.data.units import (
    Rows,
    Units,
    agreement,
    content_keys,
    differing_pairs,
    purity,
    units_of,
)
from trainer.images.manifest import Manifest

Kind = Literal["folder", "name", "identical", "contradiction", "near_duplicate", "group"]


OTHER_SIDES = {-1: "the images always trained on", -2: "the holdout"}


# Conditions under which folders or file names count as units, see _seem_units and _names.
MIN_UNITS = 5


MIN_LEAKING = 3


BIG_SHARE = 1 / 4


SIZE_OF_ROOT = 3


MANY_OF_A_WORD = 20


MANY_OF_ANY_CLASS = 50


MIN_AGREEMENT = 0.05


PURE = 0.9


MAX_PER_CLASS = 1.5


MAX_BELOW_CLASSES = 3


# This share of all images must share their name with other images. Random names agree by chance for
# a smaller share.
MIN_NAMED_SHARE = 0.2


@dataclasses.dataclass(frozen=True)
class Sign:
    """One reason to suspect a leak.

    Attributes:
        text: one line for the user: the observation, the numbers, and what to do.
        pairs: at most MAX_PAIRS example pairs of rows; the clearest examples come first.
    """

    kind: Kind
    text: str
    pairs: tuple[tuple[int, int], ...]


def signs_of_leaks(
    manifest: Manifest,
    fold_N: npt.ArrayLike,
    *,
    digests: Sequence[bytes] | npt.NDArray[Any] | None = None,
    clusters_N: npt.ArrayLike | None = None,
    groups: Sequence[str] | None = None,
) -> list[Sign]:
    """All signs that images on different sides of a split belong together, the surest sign first.

    Args:
        fold_N: the fold that holds out each image; -1 for always trained on, -2 for the holdout.
        digests: the hash of each file's content, as a sequence or as an array with one row per
            image. An empty hash means that the content is unknown.
        clusters_N: one number per image; near-duplicates have the same number.
        groups: the group of each image that the folds should keep together. An empty text means
            that the image has no group.

    Raises:
        ValueError: the length of one of the arguments is not the number of images.
    """
    sides_N = np.asarray(fold_N, dtype=np.int64)
    content = None if digests is None else units_of(content_keys(digests))
    clusters = None if clusters_N is None else units_of(np.asarray(clusters_N).tolist())
    named = None if groups is None else units_of(groups)
    for what, count in (
        ("folds", len(sides_N)),
        *(
            (what, len(units.unit_N))
            for what, units in _given(digests=content, clusters=clusters, groups=named)
        ),
    ):
        if count != len(manifest):
            raise ValueError(f"{len(manifest)} images, but {count} {what}")
    folders = _folders(manifest, sides_N, grouped=named is not None)
    signs = [
        _group_sign(named, sides_N),
        _contradiction_sign(manifest, content),
        _identical_sign(manifest, content, sides_N),
        _near_duplicate_sign(manifest, sides_N, clusters=clusters, content=content),
        folders,
        _names(manifest, sides_N, grouped=named is not None, across_folders=folders is not None),
    ]
    return [sign for sign in signs if sign is not None]


def _given(**units: Units | None) -> list[tuple[str, Units]]:
    """(name, units) of each argument that is not None."""
    return [(what, value) for what, value in units.items() if value is not None]


def _group_sign(groups: Units | None, sides_N: Rows) -> Sign | None:
    """A sign if a group is on several sides."""
    if groups is None or not (pairs := differing_pairs(groups, sides_N)):
        return None
    return Sign(
        "group",
        f"{_share_text(groups.varied_U(sides_N))} groups have images in several folds, "
        f"e.g. {_example(groups, pairs[0], sides_N)}: "
        "a model is scored on groups that it was trained on. "
        "Give all rows of a group one fold, or leave the folds to folds.k instead of folds.column",
        pairs,
    )


def _contradiction_sign(manifest: Manifest, content: Units | None) -> Sign | None:
    """A sign if identical files have different classes."""
    if content is None or not (pairs := differing_pairs(content, manifest.labels_N)):
        return None
    contradict_U = content.varied_U(manifest.labels_N)
    a, b = pairs[0]
    classes = " and ".join(repr(manifest.classes[manifest.labels_N[row]]) for row in (a, b))
    return Sign(
        "contradiction",
        f"{_count(contradict_U.sum(), 'file is', 'files are')} there several times "
        "with different classes "
        f"({_count(content.sizes_U[contradict_U].sum(), 'image', 'images')}), "
        f"e.g. {manifest.where(a)} and {manifest.where(b)} as {classes}. "
        "Correct or drop them: data.corrections",
        pairs,
    )


def _identical_sign(manifest: Manifest, content: Units | None, sides_N: Rows) -> Sign | None:
    """A sign if identical files are on several sides."""
    if content is None or not (pairs := differing_pairs(content, sides_N)):
        return None
    leaking_U = content.varied_U(sides_N)
    return Sign(
        "identical",
        f"{_count(leaking_U.sum(), 'file is', 'files are')} in several folds, byte for byte "
        f"({_count(content.sizes_U[leaking_U].sum(), 'image', 'images')}), "
        f"e.g. {_pair_text(manifest, pairs[0], sides_N)}. "
        "Set data.keep: one_per_cluster, or data.group: near_duplicates",
        pairs,
    )


def _near_duplicate_sign(
    manifest: Manifest, sides_N: Rows, *, clusters: Units | None, content: Units | None
) -> Sign | None:
    """A sign if near-duplicates are on several sides."""
    if clusters is None:
        return None
    # without the clusters that contain only copies of one file: `_identical_sign` reports them
    if content is not None:
        alone_N = np.where(
            content.unit_N < 0, len(content.names) + np.arange(len(manifest)), content.unit_N
        )
        clusters = clusters.only(clusters.varied_U(alone_N))
    if not (pairs := differing_pairs(clusters, sides_N)):
        return None
    leaking_U = clusters.varied_U(sides_N)
    return Sign(
        "near_duplicate",
        f"{_count(leaking_U.sum(), 'cluster', 'clusters')} of near-duplicates "
        f"({_count(clusters.sizes_U[leaking_U].sum(), 'image', 'images')}) "
        "have images in several folds, "
        f"e.g. {_pair_text(manifest, pairs[0], sides_N)}. "
        "Name a group: data.group (a column, or near_duplicates), "
        "or set data.keep: one_per_cluster",
        pairs,
    )


def _folders(manifest: Manifest, sides_N: Rows, *, grouped: bool) -> Sign | None:
    """A sign if folders are on several sides.

    A folder does not count if its name is the class of more than half of its images.
    """
    units = units_of(path.rpartition("/")[0] for path in manifest.paths)
    classes = {plain_name(name): label for label, name in enumerate(manifest.classes)}
    class_U = np.array(
        [classes.get(plain_name(name.rpartition("/")[2]), -1) for name in units.names],
        dtype=np.int64,
    )
    named_N = np.append(class_U, -1)[units.unit_N] == manifest.labels_N
    units = units.only(
        np.bincount(units.unit_N[named_N], minlength=len(class_U)) <= units.sizes_U / 2
    )
    return _sign_of_units(
        "folder", "folders", units, manifest=manifest, sides_N=sides_N, grouped=grouped
    )


def _names(
    manifest: Manifest, sides_N: Rows, *, grouped: bool, across_folders: bool
) -> Sign | None:
    """A sign if images with the same stem of their file names are on several sides.

    Args:
        across_folders: count only stems that are in several folders, because the folders are a
            sign already.
    """
    units = units_of(stems_of(manifest))
    if across_folders:
        folders = units_of([path.rpartition("/")[0] for path in manifest.paths])
        units = units.only(units.varied_U(folders.unit_N))
    if units.sizes_U[units.sizes_U > 1].sum() < MIN_NAMED_SHARE * len(manifest):
        return None
    return _sign_of_units(
        "name", "file names", units, manifest=manifest, sides_N=sides_N, grouped=grouped
    )


def _sign_of_units(
    kind: Literal["folder", "name"],
    noun: str,
    units: Units,
    *,
    manifest: Manifest,
    sides_N: Rows,
    grouped: bool,
) -> Sign | None:
    """A sign if at least MIN_LEAKING of the units leak, and if the units seem to be real units.

    Args:
        noun: the units' name in the text for the user.
        grouped: whether the user has named groups.
    """
    several_U = (units.sizes_U > 1) & (units.sizes_U <= BIG_SHARE * len(manifest))
    units = units.only(several_U)
    leaking_U = units.varied_U(sides_N)
    if leaking_U.sum() < MIN_LEAKING or not _seem_units(units, manifest):
        return None
    pairs = differing_pairs(units, sides_N)
    todo = (
        "data.group does not keep them together; name another column if it should"
        if grouped
        else "Name a group: data.group"
    )
    return Sign(
        kind,
        f"{_share_text(leaking_U)} {noun} with several images have them in several folds, "
        f"e.g. {_example(units, pairs[0], sides_N)}: "
        f"probably one person, video or object each. {todo}",
        pairs,
    )


def _seem_units(units: Units, manifest: Manifest) -> bool:
    """Whether units (folders or names of several images) seem to be persons, videos or objects.

    The units do not seem to be persons, videos or objects in any of these cases:

    - There are fewer than MIN_UNITS = 5 units. Then the units are sources or parts of the data. (A
      folder or name with more than BIG_SHARE = a quarter of all images is never a unit.)
    - The units have more than SIZE_OF_ROOT = 3 times the square root of N images on average. Then
      the units are shards, sites or years. With 10,000 images, the limit is 300 images: 33 folders
      of 300 images could be videos, and 32 folders of 313 images are taken for shards.
    - Fewer than half of the units have a digit in the name, and the units have more than
      MANY_OF_A_WORD = 20 images on average. Then the units are kinds of something (breeds within a
      species): persons that are known by name have fewer photos.
    - The units have more than MANY_OF_ANY_CLASS = 50 images on average, and the `agreement` in the
      class within a unit is below MIN_AGREEMENT = 0.05. Then the units are shards of a shuffled
      data set.
    - The units are a layout of the classes, see `_is_layout_of_classes`.
    """
    sizes_U = units.sizes_U
    if len(sizes_U) < MIN_UNITS:
        return False
    mean = sizes_U.mean()
    with_digit = np.mean(
        [any(letter.isdigit() for letter in name.rpartition("/")[2]) for name in units.names]
    )
    return bool(
        mean <= SIZE_OF_ROOT * np.sqrt(len(manifest))
        and (with_digit >= 0.5 or mean <= MANY_OF_A_WORD)
        and (mean <= MANY_OF_ANY_CLASS or agreement(units, manifest.labels_N) >= MIN_AGREEMENT)
        and not _is_layout_of_classes(units, manifest)
    )


def _is_layout_of_classes(units: Units, manifest: Manifest) -> bool:
    """Whether each unit has a single class, and the units seem to be folders of the classes.

    Units have a single class each if PURE = 0.9 of all images have the most frequent class of their
    unit, because some labels may have been corrected. The last part of a unit's path is its name.
    The units are a layout of the classes in any of these cases:

    - There are at most MAX_PER_CLASS = 1.5 units per class.
    - There are at most MAX_PER_CLASS names per class, and each name has a single class
      (`train/n01440764`, `valid/n01440764`).
    - There are at most MAX_BELOW_CLASSES = 3 names (`cat/train`, `cat/valid`).
    """
    if purity(units, manifest.labels_N) < PURE:
        return False
    last = units_of([name.rpartition("/")[2] for name in units.names])
    names = Units(np.append(last.unit_N, -1)[units.unit_N], last.names)
    few = MAX_PER_CLASS * len(np.unique(manifest.labels_N[units.unit_N >= 0]))
    if purity(names, manifest.labels_N) < PURE:
        return len(names.names) <= MAX_BELOW_CLASSES or len(units.names) <= few
    return len(names.names) <= few


def _example(units: Units, pair: tuple[int, int], sides_N: Rows) -> str:
    """The unit of a pair and the sides of its images: `ann (7 images in folds 0, 2, 4)`."""
    unit = units.unit_N[pair[0]]
    sides = np.unique(sides_N[units.unit_N == unit]).tolist()
    folds = [str(side) for side in sides if side >= 0]
    noun = f"fold{'s' if len(folds) > 1 else ''} " if folds else ""
    where = " and ".join(
        [
            *([noun + ", ".join(folds)] if folds else []),
            *(_side(side) for side in sides if side < 0),
        ]
    )
    return f"{units.names[unit]} ({units.sizes_U[unit]:,} images in {where})"


def _pair_text(manifest: Manifest, pair: tuple[int, int], sides_N: Rows) -> str:
    """The two images of a pair, each with its side."""
    return " and ".join(f"{manifest.where(row)} ({_side(int(sides_N[row]))})" for row in pair)


def _side(side: int) -> str:
    return OTHER_SIDES.get(side, f"fold {side}")


def _share_text(leaking_U: npt.NDArray[np.bool_]) -> str:
    return f"{leaking_U.sum():,} of {len(leaking_U):,}"


def _count(number: int, one: str, several: str) -> str:
    return f"{number:,} {one if number == 1 else several}"
