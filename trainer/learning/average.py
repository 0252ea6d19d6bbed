"""A moving average of the network's weights, which scores the fold instead of the last weights."""

from typing import Any, cast

from timm.utils import ModelEmaV3
from torch import nn


class WeightAverage:
    """timm's ModelEmaV3 with warm-up: after step t, average = d * average + (1 - d) * weights.

    d is 1 - (1 + t)^(-2/3), at most `decay`. At the first step (t = 0) d is 0, so the average is a
    copy of the weights. Therefore the random initial weights are never a part of the average.

    Buffers are averaged like weights; whole numbers (batch norm's step counter) are copied. Batch
    norm's running statistics are measured anew before the average scores a fold, see batch_norm.py.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self._average = ModelEmaV3(network, decay=decay, use_warmup=True, warmup_power=2 / 3)
        self._average.requires_grad_(False)

    @property
    def network(self) -> nn.Module:
        """The network with averaged weights, in eval mode."""
        return cast(nn.Module, self._average.module)

    def update(self, network: nn.Module, step: int) -> None:
        """Update the average with the weights after `step` optimizer steps.

        `step` counts from 1; t of the class docstring is `step - 1`.
        """
        self._average.update(network, step=step)

    def state_dict(self) -> dict[str, Any]:
        """Return the averaged weights and buffers."""
        return self.network.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Replace the averaged weights and buffers by those that `state_dict` returned."""
        self.network.load_state_dict(state)
