"""Choose a bin for each unit of images, so that every bin gets its share of every class.

A unit is a group, or an image without a group. A bin is a fold or the holdout.

Shapes: N images, K classes, U units, B bins, L classes of one unit.
"""

import dataclasses

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Surplus = tuple[Floats, Floats]  # images in a bin minus the even share; the even share


@dataclasses.dataclass(frozen=True)
class _Bins:
    """The numbers of images in the bins. The numbers grow while units are placed.

    Attributes:
        labels_N: the class of each image of the data set.
        shares_B: the share of all images that each bin should get, from 0 to 1.
        even_KB: the even share of each class in each bin, in images.
        counts_KB: the number of images of each class in each bin so far.
        filled_B: the number of all images in each bin so far.
    """

    labels_N: Ints
    shares_B: Floats
    even_KB: Floats
    counts_KB: Floats
    filled_B: Floats


def place_units(
    labels_N: Ints, units_N: Ints, bins_U: Ints, *, order: list[int], shares_B: Floats
) -> None:
    """Choose a bin for every unit that has no bin yet, and write it into `bins_U`.

    Units of several images are placed first, in descending order of size. Single images then fill
    every class up to its even share.

    Args:
        labels_N: the class of each image.
        units_N: the unit of each image, from 0 to U-1.
        bins_U: the bin of each unit, or -1 for a unit without a bin; changed in place.
        order: a random number for each unit, which decides the order of units of equal size.
        shares_B: the share of all images that each bin should get, from 0 to 1.

    Example:
        >>> labels_N = np.array([0, 0, 0, 0])
        >>> units_N = np.array([0, 0, 1, 2])
        >>> bins_U = np.full(3, -1)
        >>> place_units(labels_N, units_N, bins_U, order=[5, 2, 9], shares_B=np.array([0.5, 0.5]))
        >>> np.bincount(bins_U[units_N]).tolist()  # the number of images in each bin
        [2, 2]
    """
    bins = _bins(labels_N, units_N, bins_U, shares_B=shares_B)
    sizes_U = np.bincount(units_N)
    rank_U = np.argsort(np.argsort(np.array(order, dtype=np.uint64), kind="stable"))
    new = np.flatnonzero(bins_U < 0)
    several = new[sizes_U[new] > 1]
    members = np.split(np.argsort(units_N, kind="stable"), np.cumsum(sizes_U)[:-1])
    for unit in several[np.lexsort((rank_U[several], -sizes_U[several]))].tolist():
        bins_U[unit] = _place_group(bins, labels_N[members[unit]], turn=int(rank_U[unit]))
    single = new[sizes_U[new] == 1]
    single = single[np.argsort(rank_U[single])]
    label_of = labels_N[np.unique(units_N, return_index=True)[1][single]]
    by_label = np.argsort(label_of, kind="stable")
    borders = np.flatnonzero(np.diff(label_of[by_label])) + 1
    for same_class, labels in zip(
        np.split(single[by_label], borders), np.split(label_of[by_label], borders), strict=True
    ):
        if len(same_class):
            bins_U[same_class] = _place_images(bins, len(same_class), label=int(labels[0]))


def _bins(labels_N: Ints, units_N: Ints, bins_U: Ints, *, shares_B: Floats) -> _Bins:
    """The bins, filled with the units that have a bin already."""
    n_classes = int(labels_N.max()) + 1
    n_bins = len(shares_B)
    placed = bins_U[units_N] >= 0
    flat = labels_N[placed] * n_bins + bins_U[units_N[placed]]
    counts_KB = (
        np.bincount(flat, minlength=n_classes * n_bins).reshape(-1, n_bins).astype(np.float64)
    )
    even_KB = np.bincount(labels_N, minlength=n_classes)[:, None] * shares_B
    return _Bins(labels_N, shares_B, even_KB, counts_KB, filled_B=counts_KB.sum(axis=0))


def _place_group(bins: _Bins, labels: Ints, *, turn: int) -> int:
    """Choose the bin of a group whose images have the classes `labels`, and fill the bin.

    `turn` makes groups without a preference go to different bins.
    """
    classes_L, count_L = np.unique(labels, return_counts=True)
    even_LB = bins.even_KB[classes_L]
    even_B = len(bins.labels_N) * bins.shares_B
    chosen = _best_bin(
        (bins.counts_KB[classes_L] - even_LB, even_LB),
        (bins.filled_B - even_B, even_B),
        count_L=count_L,
        turn=turn,
    )
    bins.counts_KB[classes_L, chosen] += count_L
    bins.filled_B[chosen] += count_L.sum()
    return chosen


def _place_images(bins: _Bins, count: int, *, label: int) -> Ints:
    """Choose the bins of `count` single images of a class, and fill the bins.

    The bins are returned in ascending order.
    """
    missing_B = bins.even_KB[label] - bins.counts_KB[label]
    quota_B = _quotas(count, missing_B, filled_B=bins.filled_B / bins.shares_B)
    bins.counts_KB[label] += quota_B
    bins.filled_B[:] += quota_B
    return np.repeat(np.arange(len(quota_B)), quota_B)


def _best_bin(classes_LB: Surplus, whole_B: Surplus, *, count_L: Ints, turn: int) -> int:
    """The bin in which the squared distance from the even share grows least.

    A rare class has more weight than a frequent class: each distance is divided by the even share.

    Args:
        classes_LB: the surplus of each of the unit's L classes in each bin.
        whole_B: the surplus of all images in each bin.
        count_L: the number of images that the unit adds to each of its classes.
        turn: the bin with which the search begins; of equally good bins, the first one is chosen.
    """
    added_L1 = count_L[:, None]
    size = int(count_L.sum())
    surplus_LB, even_LB = classes_LB
    surplus_B, even_B = whole_B
    cost_B = (added_L1 * (2 * surplus_LB + added_L1) / even_LB).sum(axis=0)
    cost_B += size * (2 * surplus_B + size) / even_B
    # the roll begins the search at another bin for each unit, so that ties do not fill one bin
    cost_B = np.roll(np.round(cost_B, 9), -turn)
    return int((cost_B.argmin() + turn) % len(cost_B))


def _quotas(total: int, missing_B: Floats, *, filled_B: Floats) -> Ints:
    """The number of images that each bin gets, out of `total` images of one class.

    A bin gets a number in proportion to its missing images. The images that remain after rounding
    down go first to the bins with the largest rounding loss, and among equals to the emptiest bin.

    Args:
        missing_B: the number of images that each bin lacks up to its even share of the class.
        filled_B: the number of all images in each bin, divided by the share of the bin.
    """
    missing_B = np.maximum(missing_B, 0)
    if missing_B.sum() > 0:
        missing_B = missing_B * total / missing_B.sum()
    quota_B = np.floor(missing_B + 1e-9)
    rest = round(total - quota_B.sum())
    first = np.lexsort((filled_B, -np.round(missing_B - quota_B, 6)))
    quota_B[np.resize(first, rest)] += 1
    return quota_B.astype(np.int64)
