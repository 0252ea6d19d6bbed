"""A moving average of the network's weights, scored in their place."""

from typing import Any, cast

from timm.utils import ModelEmaV3
from torch import nn


class WeightAverage:
    """timm's ModelEmaV3 with warm-up: after step t, average = d * average + (1 - d) * weights.

    d is 1 - (1 + t)^(-2/3), at most `decay`; the first step (t = 0) so copies the weights, and a short training forgets
    its random start. Buffers are averaged like weights: batch norm's running statistics describe the activations
    of the weights at their step, so that averaged weights go with averaged statistics, while those of the last step
    would belong to another network. Whole numbers (batch norm's step counter) are copied.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self._average = ModelEmaV3(network, decay=decay, use_warmup=True, warmup_power=2 / 3)
        self._average.requires_grad_(False)

    @property
    def network(self) -> nn.Module:
        """The network with averaged weights, in eval mode."""
        return cast(nn.Module, self._average.module)

    def update(self, network: nn.Module, step: int) -> None:
        """Take in the weights after `step` optimizer steps (1, 2, ...: its t is one less)."""
        self._average.update(network, step=step)

    def state_dict(self) -> dict[str, Any]:
        """All that is remembered: the averaged weights and buffers."""
        return self.network.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state_dict`."""
        self.network.load_state_dict(state)
