"""What learns in a fold run: network, optimizer, weight average, and in how many parts a batch goes through them."""

import logging
from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast

import torch
from torch import Tensor

from trainer.config import TrainConfig
from trainer.errors import OutOfMemoryError, first_line
from trainer.learning.average import WeightAverage
from trainer.learning.losses import HeadsLoss
from trainer.learning.optimizers import build_optimizer, set_lr
from trainer.learning.phases import Phases
from trainer.learning.step import Stepper
from trainer.model.freezing import apply_freezing
from trainer.model.network import Logits, Network

logger = logging.getLogger(__name__)
Answer = TypeVar("Answer")
Forward = Callable[[Network, Sequence[Tensor]], Logits]


class Learner:
    """Network, optimizer and weight average of one fold run, and their state.

    Attributes:
        parts: in which a batch goes through the network; `accumulation`, or more once memory was too small.
        notes: what happened to them.
    """

    def __init__(
        self,
        network: Network,
        config: TrainConfig,
        *,
        loss: HeadsLoss,
        parts: int,
        phases: Phases,
        make_room: Callable[[], None],
    ) -> None:
        """
        Args:
            network: on the device that it is trained on.
            parts: of an earlier fold of this trial.
            make_room: gives back device memory that only others would use.
        """
        self._config = config
        self._phases = phases
        self._make_room = make_room
        device = next(network.parameters()).device
        self.network = network
        self._optimizer = build_optimizer(network, config, device=device)
        self._average = WeightAverage(network, config.ema) if config.ema else None
        self._forward: Forward = Network.__call__
        self._stepper = Stepper(
            lambda views: self._forward(self.network, views),
            self._optimizer,
            loss,
            clip_norm=config.clip_norm,
            device=device,
            phases=phases,
        )
        self.parts = max(config.accumulation, parts)
        self._split = (
            parts > config.accumulation
        )  # memory was too small before: there is no second chance
        self.notes: list[str] = []

    @property
    def scored(self) -> Network:
        """The network that the fold is scored by."""
        return self.network if self._average is None else cast(Network, self._average.network)

    @property
    def lr(self) -> float:
        """The learning rate of the last step, before layer decay and head_lr_factor."""
        group = self._optimizer.param_groups[0]
        return float(group["lr"] / group["lr_scale"])

    def weights_and_moments(self) -> dict[str, Any]:
        """References to the state that training changes."""
        return {
            "network": self.network.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "average": None if self._average is None else self._average.state_dict(),
        }

    def restore_weights_and_moments(self, state: dict[str, Any]) -> None:
        """Take over what `weights_and_moments` gave."""
        self.network.load_state_dict(state["network"])
        self._optimizer.load_state_dict(state["optimizer"])
        if self._average is not None:
            self._average.load_state_dict(state["average"])

    def state(self) -> dict[str, Any]:
        """All of it, for a checkpoint."""
        return {
            **self.weights_and_moments(),
            "parts": self.parts,
            "split": self._split,
            "notes": self.notes,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take over a checkpoint's state."""
        self.restore_weights_and_moments(state)
        self.parts, self._split, self.notes = state["parts"], state["split"], state["notes"]

    def begin_epoch(self, epoch: int, *, forward: Forward) -> None:
        """Train mode, as far as layers are not frozen in this epoch (from 1); batches go through `forward`."""
        self.network.train()
        apply_freezing(self.network, self._config, epoch=epoch)
        self._forward = forward

    def step(
        self, views: Sequence[Tensor], targets_BK: Tensor, *, lr: float, index: int, at: str
    ) -> Tensor:
        """Take optimizer step `index` at the rate `lr`; the mean loss, on the device.

        Raises:
            NonFiniteStep: see Stepper.
            OutOfMemoryError: also split batches do not fit.
        """
        set_lr(self._optimizer, lr)
        images = len(targets_BK)
        loss = self.within_memory(
            lambda: self._stepper.step(
                views, targets_BK, parts=self._parts_of(images), index=index
            ),
            at=at,
        )
        if self._average is not None:
            with self._phases.phase("average"):
                self._average.update(self.network, step=index + 1)
        return loss

    def check(self) -> None:
        """See Stepper."""
        self._stepper.check()

    def _parts_of(self, images: int) -> int:
        """A batch that is smaller than usual (few images in all) goes in fewer parts, not in single images."""
        batch_size = self._config.batch_size
        return self.parts if images >= batch_size else max(1, images * self.parts // batch_size)

    def within_memory(self, action: Callable[[], Answer], *, at: str) -> Answer:
        """What `action` gives; with batches split once more where memory was too small for the first try.

        Args:
            action: can be repeated, and looks at `parts`.
            at: fold and epoch, for messages.

        Raises:
            OutOfMemoryError: with the numbers.
        """
        try:
            return action()
        except torch.OutOfMemoryError as error:
            self._split_batches(error, at=at)
        # outside of the handler, whose traceback holds what did not fit
        self._make_room()
        torch.cuda.empty_cache()
        try:
            return action()
        except torch.OutOfMemoryError as error:
            raise self._too_little(error, at=at) from None

    def _split_batches(self, error: torch.OutOfMemoryError, *, at: str) -> None:
        """Twice as many parts from now on, or the next number that divides a batch; once per trial."""
        batch_size = self._config.batch_size
        parts = next(
            (p for p in range(2 * self.parts, 4 * self.parts) if batch_size % p == 0),
            2 * self.parts,
        )
        # moments that were half updated cannot be tried again; batch norm cannot train on single images
        if self._split or self._stepper.updating or batch_size // parts < 2:
            raise self._too_little(error, at=at) from None
        self.parts, self._split = parts, True
        self.notes.append(
            f"{at}: CUDA out of memory ({sizes(self._config)}); batches were split into {parts} parts of "
            f"{batch_size // parts}"
        )
        logger.warning("%s", self.notes[-1])

    def _too_little(self, error: torch.OutOfMemoryError, *, at: str) -> OutOfMemoryError:
        parts = f", with batches in {self.parts} parts" if self.parts > 1 else ""
        return OutOfMemoryError(
            f"{at}: CUDA out of memory ({sizes(self._config)}{parts}). A smaller batch_size or resize helps, or more "
            f"accumulation. Torch says: {first_line(error)}"
        )


def sizes(config: TrainConfig) -> str:
    """What the memory of a fold run depends on."""
    return f"batch_size={config.batch_size}, backbone={config.backbone}, resize={config.resize}"
