"""The classes that a model predicts, and the label columns that they are made of.

Shapes: N images, K classes, P label columns, V values of one label column.
"""

import dataclasses
import functools
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from trainer.images.manifest import Manifest
from trainer.metrics import Probs


@dataclasses.dataclass(frozen=True)
class LabelColumn:
    """One label column of the training data.

    Attributes:
        name: the name of the column.
        values: its V values, in the order in which the classes name them first.
        value_of_K: for each class the index of its value.
    """

    name: str
    values: tuple[str, ...]
    value_of_K: npt.NDArray[np.int64]

    def marginal(self, probs_NK: Probs) -> Probs:
        """Return the probabilities (N, V) of the column's values."""
        probs_NV = np.zeros((len(probs_NK), len(self.values)), dtype=np.float32)
        for label, value in enumerate(self.value_of_K.tolist()):
            probs_NV[:, value] += probs_NK[:, label]
        return probs_NV


@dataclasses.dataclass(frozen=True)
class Classes:
    """The K classes, in the order of the predicted probabilities.

    Attributes:
        names: the names of the classes. With several label columns a name has the value of each
            column, joined by " / ".
        columns: the P label columns that together make the class.
        parts: the P values of each class; empty with a single label column.

    Example:
        >>> classes = Classes(
        ...     ("mask / old", "mask / young", "none / old"),
        ...     ("mask", "age"),
        ...     (("mask", "old"), ("mask", "young"), ("none", "old")),
        ... )
        >>> [column.values for column in classes.label_columns]
        [('mask', 'none'), ('old', 'young')]
        >>> classes.label_columns[1].value_of_K.tolist()
        [0, 1, 0]
    """

    names: tuple[str, ...]
    columns: tuple[str, ...] = ("label",)
    parts: tuple[tuple[str, ...], ...] = ()

    @classmethod
    def of(cls, manifest: Manifest) -> "Classes":
        """Return the classes of a manifest."""
        return cls(manifest.classes, manifest.label_columns, manifest.class_parts)

    def __len__(self) -> int:
        return len(self.names)

    @functools.cached_property
    def label_columns(self) -> tuple[LabelColumn, ...]:
        """The P label columns; a single one has the classes as its values."""
        return tuple(self._label_columns())

    def _label_columns(self) -> Iterator[LabelColumn]:
        parts = self.parts or tuple((name,) for name in self.names)
        for name, of_class in zip(self.columns, zip(*parts, strict=True), strict=True):
            values = tuple(dict.fromkeys(of_class))
            index = {value: number for number, value in enumerate(values)}
            yield LabelColumn(name, values, np.array([index[value] for value in of_class]))
