"""Stratified folds, frozen to one file. Every result contains the hash of the folds.

The folds keep each group whole, and they can keep images in the folds of an earlier cut. A unit is
a group, or an image without a group. A bin is a fold or the holdout.

Shapes: N images, K classes, k folds, U units, B bins.
"""

import dataclasses
import functools
import hashlib
import json
from collections.abc import Iterator
from typing import Literal

import numpy as np
import numpy.typing as npt

from trainer.data.fold_column import ALWAYS_TRAINED, HOLDOUT
from trainer.data.image_files import MAX_NAMED, named
from trainer.data.placing import Ints, place_units
from trainer.data.rare_classes import rare_units, refuse_rare_classes
from trainer.errors import DataError
from trainer.images.manifest import Manifest
from trainer.seeds import derive

FORMAT = 2
# A class's number of images in a fold may differ from its even share by this part of the share, or
# by the size of the largest group, if this is more.
MAX_DEVIATION = 0.1


@dataclasses.dataclass(frozen=True)
class Folds:
    """A manifest with the fold that holds out each image.

    Attributes:
        fold_N: for each image, the fold (0..k-1) whose model never sees the image in training.
            ALWAYS_TRAINED (-1) for an image that is never held out, HOLDOUT (-2) for an image that
            no fold run sees.
        k: the number of folds. It can be 1 only if a column of the source fixes the folds.
        seed: the seed of the cut; 0 if a column of the source fixes the folds.
        holdout: the requested share of the images in the holdout, from 0 to 1.
    """

    manifest: Manifest
    fold_N: Ints
    k: int
    seed: int
    holdout: float = 0.0

    @functools.cached_property
    def hash(self) -> str:
        """16 hex digits that identify everything that decides the training and the scores.

        This is: the paths, contents, boxes and classes of the images, their folds, the fill
        colour, and the levels of images of more than 8 bits.
        """
        manifest = self.manifest
        head = [
            FORMAT,
            self.k,
            list(manifest.classes),
            list(manifest.paths),
            manifest.reading.fill_rgb,
            # nothing for images of 8 bits, so that the hashes of older versions stay valid
            *filter(None, [manifest.reading.chosen_levels]),
        ]
        digest = hashlib.sha256(json.dumps(head).encode())
        for array in (manifest.labels_N, self.fold_N, manifest.boxes_N4, manifest.digests_N):
            digest.update(b"none" if array is None else array.tobytes())
        return digest.hexdigest()[:16]

    def train_rows(self, fold: int) -> Ints:
        """The manifest rows that fold run `fold` trains on, ascending."""
        return np.flatnonzero((self.fold_N != fold) & (self.fold_N != HOLDOUT))

    def valid_rows(self, fold: int) -> Ints:
        """The manifest rows that fold run `fold` is scored on, ascending."""
        return np.flatnonzero(self.fold_N == fold)

    def all_rows(self, *, with_holdout: bool) -> Ints:
        """The manifest rows of all folds, and of the holdout if asked, ascending."""
        return np.flatnonzero((self.fold_N != HOLDOUT) | with_holdout)

    def scored_rows(self) -> Ints:
        """The manifest rows that have an out-of-fold prediction, ascending.

        Each of these rows is in the held-out part of exactly one fold run.
        """
        return np.flatnonzero(self.fold_N >= 0)

    def counts(self) -> npt.NDArray[np.int64]:
        """The number of images of each class that each fold holds out (K, k)."""
        scored = self.scored_rows()
        flat = self.manifest.labels_N[scored] * self.k + self.fold_N[scored]
        return np.bincount(flat, minlength=len(self.manifest.classes) * self.k).reshape(-1, self.k)


def make_folds(
    manifest: Manifest,
    *,
    k: int,
    seed: int,
    holdout: float = 0.0,
    rare: Literal["train"] | None = None,
    earlier: Folds | None = None,
) -> Folds:
    """Cut the manifest into k stratified folds of whole groups.

    Groups are placed one after another in descending order of size. Each group goes to the fold
    that lacks its classes most, as in scikit-learn's StratifiedGroupKFold. Single images then fill
    every class up to its even share. The seed, and the names of groups or the paths of images,
    decide ties and the order of groups of equal size. The order of the rows in the source decides
    nothing.

    Args:
        holdout: the share of the images that is left out of all folds, from 0 to 1.
        rare: "train": classes with fewer groups (or images) than k are always trained on, and so
            are whole groups with an image of such a class. None: such classes are refused.
        earlier: folds whose images keep their folds. Only new images and new groups are placed. If
            a group has images in several of the earlier folds, the whole group goes to the fold
            with most of these images.

    Raises:
        DataError: a class has fewer groups (or images) than k, so that a fold would lack the class;
            a fold is empty; or the earlier folds do not fit the other arguments.
    """
    if k < 2:
        raise DataError(f"folds.k must be at least 2, got {k}")
    if earlier is not None and earlier.k != k:
        raise DataError(
            f"the earlier folds are {earlier.k} and not {k}: set folds.k to {earlier.k}"
        )
    if earlier is not None and rare is None and (earlier.fold_N == ALWAYS_TRAINED).any():
        raise DataError(
            "the earlier folds have images that are always trained on: give the column again that "
            "fixes the folds (folds.column), or folds.rare: train"
        )
    if earlier is not None and earlier.holdout and not holdout:
        raise DataError(
            "the earlier folds have a holdout, whose images would now be trained on: "
            f"set folds.holdout to {earlier.holdout:g}"
        )
    units_N, names = _units(manifest)
    if rare is None:
        refuse_rare_classes(manifest, units_N, k=k)
    rare_U = rare_units(manifest, units_N, k=k)
    shares_B = np.array([(1 - holdout) / k] * k + ([holdout] if holdout else []))
    bins_U = np.full(len(names), -1, dtype=np.int64)
    if earlier is not None:
        bins_U = _kept(manifest, units_N, earlier, bins=len(shares_B))
    order = np.array([derive(seed, "folds", *name) for name in names], dtype=np.uint64)
    placed_N = ~rare_U[units_N]
    # the units that are placed get numbers without gaps
    number_U = np.cumsum(~rare_U) - 1
    bins = bins_U[~rare_U]
    place_units(
        manifest.labels_N[placed_N],
        number_U[units_N[placed_N]],
        bins,
        order=order[~rare_U].tolist(),
        shares_B=shares_B,
    )
    fold_N = np.full(len(manifest), ALWAYS_TRAINED, dtype=np.int64)
    fold_N[placed_N] = bins[number_U[units_N[placed_N]]]
    fold_N[fold_N == k] = HOLDOUT
    folds = Folds(manifest=manifest, fold_N=fold_N, k=k, seed=seed, holdout=holdout)
    _refuse_impossible(folds)
    return folds


def fixed_folds(manifest: Manifest, fixed_N: Ints) -> Folds:
    """The folds that a column of the source fixes.

    Args:
        fixed_N: the fold of each image, or ALWAYS_TRAINED.

    Raises:
        DataError: a fold is empty, a class has no training images in a fold run, or a group is on
            both sides of a split.
    """
    k = int(fixed_N.max(initial=ALWAYS_TRAINED)) + 1
    if k == 0:
        raise DataError(
            f"{manifest.root}: folds.column holds no fold out; fold numbers begin with 0"
        )
    folds = Folds(manifest=manifest, fold_N=fixed_N.astype(np.int64), k=k, seed=0)
    _refuse_impossible(folds)
    return folds


def moved(folds: Folds, earlier: Folds) -> int:
    """The number of images that are in another fold than in the earlier folds.

    An image moves only if its group has images in several of the earlier folds.
    """
    before = dict(zip(earlier.manifest.identities(), earlier.fold_N.tolist(), strict=True))
    now = zip(folds.manifest.identities(), folds.fold_N.tolist(), strict=True)
    return sum(before.get(identity, fold) != fold for identity, fold in now)


def deviations(folds: Folds) -> list[str]:
    """Warnings about valid folds: classes without images in a fold, and uneven shares.

    The number of images of a class in a fold may differ from the even share by MAX_DEVIATION of the
    even share, or by the size of the largest group, if this is more.
    """
    counts_Kk = folds.counts()
    classes = folds.manifest.classes
    found = [*_unscored(folds), *_odd_holdout(folds)]
    scored_K1 = counts_Kk.any(axis=1, keepdims=True)
    for label, fold in np.argwhere((counts_Kk == 0) & scored_K1).tolist():
        found.append(
            f"fold {fold} has no image of class {classes[label]!r}: "
            "its F1 there is 0 for every trial"
        )
    if folds.k > 1:
        even_K1 = counts_Kk.sum(axis=1, keepdims=True) / folds.k
        bound_K1 = np.maximum(MAX_DEVIATION * even_K1, _largest_units(folds.manifest)[:, None])
        far = np.argwhere((np.abs(counts_Kk - even_K1) > bound_K1) & (counts_Kk > 0))
        for label, fold in far.tolist():
            found.append(
                f"fold {fold} has {counts_Kk[label, fold]:,} images of class {classes[label]!r}, "
                f"{even_K1[label, 0]:,.0f} would be even"
            )
    return (
        found
        if len(found) <= MAX_NAMED
        else [*found[:MAX_NAMED], f"and {len(found) - MAX_NAMED} more such folds"]
    )


def _unscored(folds: Folds) -> list[str]:
    """A warning about the classes that no fold run is scored on."""
    rare = _unscored_classes(folds)
    if not rare:
        return []
    names = [f"{name!r} ({count:,})" for name, count in rare]
    more = f" and {len(names) - MAX_NAMED:,} more" if len(names) > MAX_NAMED else ""
    highest = 1 - len(rare) / len(folds.manifest.classes)
    return [
        f"{len(rare):,} of {len(folds.manifest.classes):,} classes "
        f"({sum(count for _, count in rare):,} images) are held out by no fold: "
        f"{', '.join(names[:MAX_NAMED])}{more}. f1 counts 0 for each of them, so it can reach "
        f"{highest:.3f} at most; accuracy and balanced_accuracy leave them out"
    ]


def _odd_holdout(folds: Folds) -> list[str]:
    """A warning if the holdout is empty, or far from its share.

    The size of the largest group can explain a smaller difference.
    """
    images = int((folds.fold_N == HOLDOUT).sum())
    requested = folds.holdout * len(folds.fold_N)
    largest = int(np.bincount(_units(folds.manifest)[0]).max())
    far = abs(images - requested) > max(MAX_DEVIATION * requested, largest) or not images
    return (
        [f"the holdout has {images:,} images, {requested:,.0f} were asked for"]
        if folds.holdout and far
        else []
    )


def _units(manifest: Manifest) -> tuple[Ints, list[tuple[str, ...]]]:
    """The unit of each image, and the name of each unit for its random number.

    Without groups, the boxes of one photo are one unit.
    """
    grouped = manifest.groups is not None
    of_N = manifest.paths if manifest.groups is None else manifest.groups
    names = sorted(set(of_N))
    number = {name: unit for unit, name in enumerate(names)}
    units_N = np.array([number[name] for name in of_N], dtype=np.int64)
    return units_N, [("group", name) if grouped else (name,) for name in names]


def _unscored_classes(folds: Folds) -> list[tuple[str, int]]:
    """The classes that no fold run is scored on, each with its number of images."""
    total_K = np.bincount(folds.manifest.labels_N, minlength=len(folds.manifest.classes))
    unscored_K = folds.counts().sum(axis=1) == 0
    return [
        (name, int(count))
        for name, count, unscored in zip(folds.manifest.classes, total_K, unscored_K, strict=True)
        if unscored
    ]


def _kept(manifest: Manifest, units_N: Ints, earlier: Folds, *, bins: int) -> Ints:
    """The bin (U) of each unit in the earlier folds, or -1 for a new unit.

    If a unit's images are in several bins, the bin with most of these images is chosen.
    """
    before = dict(zip(earlier.manifest.identities(), earlier.fold_N.tolist(), strict=True))
    bin_N = np.array(
        [before.get(identity, -1) for identity in manifest.identities()], dtype=np.int64
    )
    bin_N[bin_N == HOLDOUT] = earlier.k
    known = (bin_N >= 0) & (bin_N < bins)
    votes = np.bincount(
        units_N[known] * bins + bin_N[known], minlength=(units_N.max() + 1) * bins
    ).reshape(-1, bins)
    return np.where(votes.any(axis=1), votes.argmax(axis=1), -1)


def _largest_units(manifest: Manifest) -> npt.NDArray[np.float64]:
    """For each class (K), the largest number of its images in one unit, at least 1."""
    units_N, _ = _units(manifest)
    pairs, counts = np.unique(np.stack([manifest.labels_N, units_N]), axis=1, return_counts=True)
    largest_K = np.ones(len(manifest.classes))
    np.maximum.at(largest_K, pairs[0], counts)
    return largest_K


def _refuse_impossible(folds: Folds) -> None:
    """Refuse folds that cannot be used, both folds from `make_folds` and folds from a column.

    Raises:
        DataError: a fold is empty, a group is on both sides of a split, or a class has no training
            images in a fold run.
    """
    manifest = folds.manifest
    empty = [str(fold) for fold in range(folds.k) if not len(folds.valid_rows(fold))]
    if empty:
        raise DataError(f"{manifest.root}: fold {', '.join(empty)} of {folds.k} would be empty")
    split = _split_groups(folds)
    if split:
        raise DataError(
            f"{manifest.root}: {len(split)} groups have images on both sides of a split, "
            "so a model would be scored on groups that it has seen. "
            f"Repair folds.column, or leave data.group out if that is meant{named(split)}"
        )
    unlearned = list(_unlearned(folds))
    if unlearned:
        advice = ", drop them, or lower folds.holdout" if folds.holdout else ", or drop them"
        raise DataError(
            f"{manifest.root}: {len(unlearned)} classes are held out without being trained on. "
            f"Add images of these classes to other folds{advice}{named(unlearned)}"
        )


def _split_groups(folds: Folds) -> list[str]:
    """One text for each group with images in several folds: the group and its folds."""
    groups = folds.manifest.groups
    if groups is None:
        return []
    first: dict[str, int] = {}
    sides: dict[str, set[int]] = {}
    for group, fold in zip(groups, folds.fold_N.tolist(), strict=True):
        if first.setdefault(group, fold) != fold:
            sides.setdefault(group, {first[group]}).add(fold)
    words = {ALWAYS_TRAINED: "always trained", HOLDOUT: "holdout"}
    return [
        f"{group}: {', '.join(words.get(fold, f'fold {fold}') for fold in sorted(found))}"
        for group, found in sides.items()
    ]


def _unlearned(folds: Folds) -> Iterator[str]:
    """Yield one text for each class whose images outside the holdout are all in one fold."""
    labels_N = folds.manifest.labels_N
    classes = folds.manifest.classes
    total_K = np.bincount(labels_N[folds.fold_N != HOLDOUT], minlength=len(classes))
    for label, fold in np.argwhere(
        (folds.counts() == total_K[:, None]) & (total_K[:, None] > 0)
    ).tolist():
        yield f"{classes[label]!r}: all {total_K[label]:,} images are in fold {fold}"
