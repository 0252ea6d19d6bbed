"""Images in units: those that seem to belong together, and how their values differ within a unit.

Shapes: N images, U units (a folder, a name, a cluster), P pairs of rows, C pairs of a unit and a
class in it.
"""

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.int64]
MAX_PAIRS = 12  # examples that are shown


@dataclasses.dataclass(frozen=True)
class Units:
    """Which of U units each image belongs to.

    Attributes:
        unit_N: 0..U-1, or -1 for an image that stands for itself.
        names: U names for messages.
    """

    unit_N: Rows
    names: Sequence[str]

    def only(self, chosen_U: npt.NDArray[np.bool_]) -> "Units":
        """These units, the images of others standing for themselves."""
        number_U = np.append(
            np.where(chosen_U, np.cumsum(chosen_U) - 1, -1), -1
        )  # the last: -1 stays -1
        return Units(
            number_U[self.unit_N], [self.names[unit] for unit in np.flatnonzero(chosen_U).tolist()]
        )

    @property
    def sizes_U(self) -> Rows:
        """Images per unit."""
        return np.bincount(self.unit_N[self.unit_N >= 0], minlength=len(self.names))

    def varied_U(self, value_N: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
        """Whether the images of a unit differ in this value."""
        varied_U = np.zeros(len(self.names), dtype=bool)
        varied_U[self.unit_N[self.changes(value_N)[0]]] = True
        return varied_U

    def changes(self, value_N: npt.NDArray[Any]) -> tuple[Rows, Rows]:
        """Pairs of neighbouring rows of one unit with different values, by unit and row."""
        order_N = np.argsort(self.unit_N, kind="stable")
        a_P, b_P = order_N[:-1], order_N[1:]
        apart = (
            (self.unit_N[a_P] == self.unit_N[b_P])
            & (self.unit_N[a_P] >= 0)
            & (value_N[a_P] != value_N[b_P])
        )
        return a_P[apart], b_P[apart]


def units_of(keys: Iterable[Any]) -> Units:
    """Images with the same key; those with an empty one stand for themselves."""
    numbers: dict[Any, int] = {"": -1, b"": -1}
    unit = [numbers.setdefault(key, len(numbers) - 2) for key in keys]
    return Units(np.array(unit, dtype=np.int64), list(numbers)[2:])


def content_keys(digests: Sequence[bytes] | npt.NDArray[Any]) -> Iterable[bytes]:
    """Digests of files as keys for `units_of`; in an array, one row is a digest."""
    if not isinstance(digests, np.ndarray):
        return digests
    if not len(digests):
        return []
    # not tolist(): it drops zero bytes at the end
    content = digests.tobytes()
    width = len(content) // len(digests)
    return (content[at : at + width] for at in range(0, len(content), width))


def differing_pairs(units: Units, value_N: npt.NDArray[Any]) -> tuple[tuple[int, int], ...]:
    """At most MAX_PAIRS pairs of rows in one unit that differ in the value.

    Every unit gives one pair before any gives two, and units of usual size come before others.
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
    """Share of the images that are of their unit's most frequent class."""
    unit_C, images_C = _per_class(units, labels_N)
    most_U = np.zeros(len(units.names), dtype=np.int64)
    np.maximum.at(most_U, unit_C, images_C)
    return float(most_U.sum() / images_C.sum())


def agreement(units: Units, labels_N: Rows) -> float:
    """How much more often two images of a unit have the same class than any two images.

    0 for no more often, 1 for always.
    """
    per_class = np.bincount(labels_N[units.unit_N >= 0])
    observed = _pairs_within(_per_class(units, labels_N)[1]) / _pairs_within(units.sizes_U)
    expected = _pairs_within(per_class) / _pairs_within(per_class.sum(keepdims=True))
    return float((observed - expected) / (1 - expected)) if expected < 1 else 0.0


def _per_class(units: Units, labels_N: Rows) -> tuple[Rows, Rows]:
    """The units that have images of a class, once for each such class, and how many."""
    inside = units.unit_N >= 0
    count = int(labels_N.max()) + 1
    both_C, images_C = np.unique(
        units.unit_N[inside] * count + labels_N[inside], return_counts=True
    )
    return both_C // count, images_C


def _pairs_within(sizes: Rows) -> float:
    return float((sizes * (sizes - 1)).sum())
