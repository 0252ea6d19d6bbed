"""Units of images, and how the images of one unit differ in a value.

A unit is a set of images that seem to belong together: a folder, a name or a cluster.

Shapes: N images, U units, P pairs of rows, C pairs of a unit and a class in it.
"""

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.int64]
MAX_PAIRS = 12  # pairs of example images that are shown to the user


@dataclasses.dataclass(frozen=True)
class Units:
    """The unit of each image.

    Attributes:
        unit_N: the number of the image's unit, 0..U-1, or -1 for an image without a unit.
        names: the U names of the units, for messages.
    """

    unit_N: Rows
    names: Sequence[str]

    def only(self, chosen_U: npt.NDArray[np.bool_]) -> "Units":
        """The chosen units. The images of the other units get no unit (-1)."""
        # the last element is the new number of -1
        number_U = np.append(np.where(chosen_U, np.cumsum(chosen_U) - 1, -1), -1)
        return Units(
            number_U[self.unit_N], [self.names[unit] for unit in np.flatnonzero(chosen_U).tolist()]
        )

    @property
    def sizes_U(self) -> Rows:
        """The number of images in each unit."""
        return np.bincount(self.unit_N[self.unit_N >= 0], minlength=len(self.names))

    def varied_U(self, value_N: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
        """For each unit, whether its images differ in the value `value_N`."""
        varied_U = np.zeros(len(self.names), dtype=bool)
        varied_U[self.unit_N[self.changes(value_N)[0]]] = True
        return varied_U

    def changes(self, value_N: npt.NDArray[Any]) -> tuple[Rows, Rows]:
        """Pairs of rows that follow each other in one unit and differ in the value `value_N`.

        The pairs are sorted by unit, then by row. The first array has the first row of each pair.
        """
        order_N = np.argsort(self.unit_N, kind="stable")
        a_P = order_N[:-1]
        b_P = order_N[1:]
        apart = (
            (self.unit_N[a_P] == self.unit_N[b_P])
            & (self.unit_N[a_P] >= 0)
            & (value_N[a_P] != value_N[b_P])
        )
        return a_P[apart], b_P[apart]


def units_of(keys: Iterable[Any]) -> Units:
    """One unit for each distinct key. Images with an empty key get no unit (-1).

    Example:
        >>> units_of(["ann", "bob", "ann", ""])
        Units(unit_N=array([ 0,  1,  0, -1]), names=['ann', 'bob'])
    """
    numbers: dict[Any, int] = {"": -1, b"": -1}
    unit = [numbers.setdefault(key, len(numbers) - 2) for key in keys]
    return Units(np.array(unit, dtype=np.int64), list(numbers)[2:])


def content_keys(digests: Sequence[bytes] | npt.NDArray[Any]) -> Iterable[bytes]:
    """Turn digests of files into keys for `units_of`. Each row of an array is one digest."""
    if not isinstance(digests, np.ndarray):
        return digests
    if not len(digests):
        return []
    # tolist() would drop zero bytes at the end of a digest
    content = digests.tobytes()
    width = len(content) // len(digests)
    return (content[at : at + width] for at in range(0, len(content), width))


def differing_pairs(units: Units, value_N: npt.NDArray[Any]) -> tuple[tuple[int, int], ...]:
    """At most MAX_PAIRS pairs of rows. The rows of a pair are in one unit and differ in the value.

    The first pair of each unit comes before the second pair of any unit. Units with about the
    median number of images come before larger and smaller units.
    """
    a_P, b_P = units.changes(value_N)
    if not len(a_P):
        return ()
    unit_P = units.unit_N[a_P]
    _, begins, of = np.unique(unit_P, return_index=True, return_inverse=True)
    turn_P = np.arange(len(a_P)) - begins[of]
    sizes_P = units.sizes_U[unit_P]
    unusual_P = np.abs(sizes_P - np.median(sizes_P[begins]))
    first = np.lexsort((a_P, unusual_P, turn_P))[:MAX_PAIRS]
    return tuple(zip(a_P[first].tolist(), b_P[first].tolist(), strict=True))


def purity(units: Units, labels_N: Rows) -> float:
    """The share of images that have the most frequent class of their unit, from 0 to 1."""
    unit_C, images_C = _per_class(units, labels_N)
    most_U = np.zeros(len(units.names), dtype=np.int64)
    np.maximum.at(most_U, unit_C, images_C)
    return float(most_U.sum() / images_C.sum())


def agreement(units: Units, labels_N: Rows) -> float:
    """How much more often two images of one unit have the same class than any two images.

    0 means no more often. 1 means that all images of each unit have one class.
    """
    per_class = np.bincount(labels_N[units.unit_N >= 0])
    observed = _pairs_within(_per_class(units, labels_N)[1]) / _pairs_within(units.sizes_U)
    expected = _pairs_within(per_class) / _pairs_within(per_class.sum(keepdims=True))
    return float((observed - expected) / (1 - expected)) if expected < 1 else 0.0


def _per_class(units: Units, labels_N: Rows) -> tuple[Rows, Rows]:
    """The unit of each pair of a unit and a class in it, and the number of images of the pair."""
    inside = units.unit_N >= 0
    count = int(labels_N.max()) + 1
    both_C, images_C = np.unique(
        units.unit_N[inside] * count + labels_N[inside], return_counts=True
    )
    return both_C // count, images_C


def _pairs_within(sizes: Rows) -> float:
    """The number of ordered pairs of images within sets of these sizes."""
    return float((sizes * (sizes - 1)).sum())
