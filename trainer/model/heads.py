"""What the classifiers predict: the joint classes together, or each label column separately.

Shapes: B batch, K joint classes, P heads, K_p classes of head p.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F  # noqa: N812 - torch's convention
from torch import Tensor

from trainer.errors import ConfigError


class Labelled(Protocol):
    """Something with classes, such as a manifest; its attributes are those of `Manifest`."""

    @property
    def label_columns(self) -> tuple[str, ...]: ...

    @property
    def class_parts(self) -> tuple[tuple[str, ...], ...]: ...


@dataclasses.dataclass(frozen=True, eq=False)
class Heads:
    """The P classifiers of a network, and how their classes form the K joint classes.

    Attributes:
        names: "class" for the single joint head, else the label columns.
        sizes: the number of classes K_p of each head.
        class_of: for each head K indices; index k is the class of the head in joint class k.

    Example:
        >>> class_of = np.array([0, 0, 1]), np.array([0, 2, 1])
        >>> heads = Heads(("mask", "age"), (2, 3), class_of)
        >>> [targets.tolist() for targets in heads.targets(torch.tensor([[0.0, 1.0, 0.0]]))]
        [[[1.0, 0.0]], [[0.0, 0.0, 1.0]]]
    """

    names: tuple[str, ...]
    sizes: tuple[int, ...]
    class_of: tuple[npt.NDArray[np.int64], ...]
    # a copy of `class_of` for each device, so that the indices are not copied in each step
    _on_devices: dict[torch.device, tuple[Tensor, ...]] = dataclasses.field(
        default_factory=dict, repr=False
    )

    @classmethod
    def joint(cls, n_classes: int) -> Heads:
        """One head over all K classes."""
        return cls(("class",), (n_classes,), (np.arange(n_classes),))

    @classmethod
    def separate(cls, labelled: Labelled) -> Heads:
        """One head per label column.

        The classes of a head are the column's values, in order of first appearance.

        Raises:
            ConfigError: there is a single label column.
        """
        columns = labelled.label_columns
        if len(columns) < 2 or not labelled.class_parts:
            raise ConfigError(
                f"heads: separate needs several label columns, got 1 ({columns[0]}). Use heads: "
                "joint, or name all columns that make the class, e.g. label: [mask, gender, age]"
            )
        values = [list(dict.fromkeys(parts)) for parts in zip(*labelled.class_parts, strict=True)]
        class_of = tuple(
            np.array([known.index(parts[head]) for parts in labelled.class_parts], dtype=np.int64)
            for head, known in enumerate(values)
        )
        return cls(columns, tuple(map(len, values)), class_of)

    def refuse_unknown(self, names: Iterable[str], *, field: str) -> None:
        """Check that the keys of a field such as `head_weights` are names of heads.

        Args:
            field: the name of the field, for the message.

        Raises:
            ConfigError: a name is not the name of a head.
        """
        for name in names:
            if name not in self.names:
                raise ConfigError(
                    f"{field}: {name!r} is no label column. The columns are {', '.join(self.names)}"
                )

    def targets(self, targets_BK: Tensor) -> list[Tensor]:
        """The targets (B, K_p) of each head.

        The target of a head's class is the sum of the targets of all joint classes with that class.

        Args:
            targets_BK: the targets of the joint classes.
        """
        if len(self.sizes) == 1:
            return [targets_BK]
        # A product with a 0/1 matrix would be shorter, but autocast would then round the targets of
        # mixed images to bfloat16.
        return [
            targets_BK.new_zeros(len(targets_BK), size).index_add_(1, class_of_K, targets_BK)
            for size, class_of_K in zip(self.sizes, self._class_of(targets_BK.device), strict=True)
        ]

    def log_probs(self, logits: Sequence[Tensor]) -> Tensor:
        """The log-probabilities (B, K) of the joint classes in float32; their exp sums to 1.

        With several heads, the probability of a joint class is the product of its heads'
        probabilities, as if the heads were independent. The products are then scaled to sum 1,
        because some combinations of classes do not occur as a joint class.

        Args:
            logits: the logits (B, K_p) of each head.
        """
        if len(self.sizes) == 1:
            return F.log_softmax(logits[0].float(), dim=1)
        parts = zip(logits, self._class_of(logits[0].device), strict=True)
        logs = [
            F.log_softmax(head_BK.float(), dim=1)[:, class_of_K] for head_BK, class_of_K in parts
        ]
        return F.log_softmax(torch.stack(logs).sum(dim=0), dim=1)

    def _class_of(self, device: torch.device) -> tuple[Tensor, ...]:
        if device not in self._on_devices:
            self._on_devices[device] = tuple(
                torch.from_numpy(class_of_K).to(device) for class_of_K in self.class_of
            )
        return self._on_devices[device]
