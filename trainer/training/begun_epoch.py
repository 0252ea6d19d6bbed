"""An epoch of which some steps were taken, so that a checkpoint can be written within it."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor


@dataclasses.dataclass(frozen=True)
class BegunEpoch:
    """An epoch that has begun.

    Attributes:
        done: the number of its steps that were taken.
        loss: the sum of the training loss over the images so far, on the device.
        generators: the states of torch's random generators after these steps: of the CPU and, on a
            GPU, of the device. Dropout and stochastic depth draw from them.
    """

    done: int
    loss: Tensor
    generators: list[Tensor]

    @classmethod
    def now(cls, done: int, loss: Tensor) -> "BegunEpoch":
        """Return the epoch after `done` steps, with the generators as they are."""
        states = [torch.get_rng_state()]
        if loss.is_cuda:
            states.append(torch.cuda.get_rng_state(loss.device))
        return cls(done, loss, states)

    @classmethod
    def of(cls, state: Mapping[str, Any] | None, device: torch.device) -> "BegunEpoch | None":
        """Return the epoch whose attributes a checkpoint has, or None if no epoch had begun."""
        if state is None:
            return None
        return cls(state["done"], state["loss"].to(device), state["generators"])

    def restore_generators(self) -> None:
        """Set torch's random generators to their states after the last step."""
        torch.set_rng_state(self.generators[0].cpu())
        for state in self.generators[1:]:
            torch.cuda.set_rng_state(state.cpu(), self.loss.device)
