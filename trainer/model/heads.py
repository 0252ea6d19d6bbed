"""What the classifiers predict: the joint classes at once, or each label column apart.

Shapes: B batch, K joint classes, P heads, K_p classes of head p.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor

from trainer.errors import ConfigError
from trainer.images.manifest import Manifest


@dataclasses.dataclass(frozen=True, eq=False)
class Heads:
    """The P classifiers of a network, and how they make up the K joint classes.

    Attributes:
        names: "class" for the one joint head, else the label columns.
        sizes: K_p of each head.
        class_of: for each head K indices: which of its classes is part of joint class k.
    """

    names: tuple[str, ...]
    sizes: tuple[int, ...]
    class_of: tuple[npt.NDArray[np.int64], ...]
    # `class_of` on each device that asked: one copy, not one per step
    _on_devices: dict[torch.device, tuple[Tensor, ...]] = dataclasses.field(
        default_factory=dict, repr=False
    )

    @classmethod
    def joint(cls, n_classes: int) -> Heads:
        """One head over all K classes."""
        return cls(("class",), (n_classes,), (np.arange(n_classes),))

    @classmethod
    def separate(cls, manifest: Manifest) -> Heads:
        """One head per label column; its classes are the column's values in order of first appearance.

        Raises:
            ConfigError: the data have a single label column.
        """
        columns = manifest.label_columns
        if len(columns) < 2 or not manifest.class_parts:
            raise ConfigError(
                f"heads: separate needs several label columns, got 1 ({columns[0]}). Use heads: "
                "joint, or name all columns that make the class, e.g. label: [mask, gender, age]"
            )
        values = [list(dict.fromkeys(parts)) for parts in zip(*manifest.class_parts, strict=True)]
        class_of = tuple(
            np.array([known.index(parts[head]) for parts in manifest.class_parts], dtype=np.int64)
            for head, known in enumerate(values)
        )
        return cls(columns, tuple(map(len, values)), class_of)

    def refuse_unknown(self, names: Iterable[str], *, field: str) -> None:
        """Check the keys of `head_weights` and the like.

        Raises:
            ConfigError: a name is no head.
        """
        for name in names:
            if name not in self.names:
                raise ConfigError(
                    f"{field}: {name!r} is no label column. The columns are {', '.join(self.names)}"
                )

    def targets(self, targets_BK: Tensor) -> list[Tensor]:
        """For each head (B, K_p): the target mass of all joint classes that share a part."""
        if len(self.sizes) == 1:
            return [targets_BK]
        # not a product with a 0/1 matrix: autocast would round the targets of mixed images to bfloat16
        return [
            targets_BK.new_zeros(len(targets_BK), size).index_add_(1, class_of_K, targets_BK)
            for size, class_of_K in zip(self.sizes, self._class_of(targets_BK.device), strict=True)
        ]

    def log_probs(self, logits: Sequence[Tensor]) -> Tensor:
        """Log-probabilities (B, K) in float32 of logits (B, K_p) per head; their exp sums to 1 over the K classes.

        Several heads: the product of the parts' probabilities, as if they were independent; scaled, since parts can
        meet in classes that do not occur.
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
