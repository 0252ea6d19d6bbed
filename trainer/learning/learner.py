"""The learner of a fold run: its network, optimizer and weight average.

The learner also splits batches into parts when the GPU's memory is too small.
"""

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar, cast

import torch
from torch import Tensor

from trainer.config import TrainConfig
from trainer.errors import OutOfMemoryError, first_line
from trainer.learning.average import WeightAverage
from trainer.learning.batch_norm import measure_again, trained_norms
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
        network: the network that is trained.
        parts: the number of parts that a batch is split into; at first `accumulation`, more after
            memory was too small.
        notes: messages about batches that were split.
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
            network: the network, on the device where it is trained.
            parts: the parts that an earlier fold of this trial ended with.
            make_room: frees device memory that this fold run does not use.
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
        # batches are split only once per trial; an earlier fold may have split them
        self._split = parts > config.accumulation
        self.notes: list[str] = []

    @property
    def scored(self) -> Network:
        """The network that scores the fold: the averaged network if `ema` is set."""
        return self.network if self._average is None else cast(Network, self._average.network)

    @property
    def lr(self) -> float:
        """The learning rate of the last step, without layer_decay and head_lr_factor."""
        group = self._optimizer.param_groups[0]
        return float(group["lr"] / group["lr_scale"])

    def weights_and_moments(self) -> dict[str, Any]:
        """Return the state that training changes, as references and not as copies."""
        return {
            "network": self.network.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "average": None if self._average is None else self._average.state_dict(),
        }

    def restore_weights_and_moments(self, state: dict[str, Any]) -> None:
        """Restore a state that `weights_and_moments` returned."""
        self.network.load_state_dict(state["network"])
        self._optimizer.load_state_dict(state["optimizer"])
        if self._average is not None:
            self._average.load_state_dict(state["average"])

    def state(self) -> dict[str, Any]:
        """Return the complete state for a checkpoint."""
        return {
            **self.weights_and_moments(),
            "parts": self.parts,
            "split": self._split,
            "notes": self.notes,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Restore the state of a checkpoint."""
        self.restore_weights_and_moments(state)
        self.parts = state["parts"]
        self._split = state["split"]
        self.notes = state["notes"]

    def begin_epoch(self, epoch: int, *, forward: Forward) -> None:
        """Set train mode for all layers that are not frozen in this epoch.

        Args:
            epoch: the epoch, counted from 1.
            forward: the forward pass of this epoch's batches.
        """
        self.network.train()
        apply_freezing(self.network, self._config, epoch=epoch)
        self._forward = forward

    def step(
        self, views: Sequence[Tensor], targets_BK: Tensor, *, lr: float, index: int, at: str
    ) -> Tensor:
        """Take optimizer step `index` with the learning rate `lr`.

        Args:
            views: see `Stepper.step`.
            targets_BK: see `Stepper.step`.
            at: fold and epoch, for messages.

        Returns:
            The mean loss of the batch, on the device.

        Raises:
            NonFiniteStep: see `Stepper.step`.
            OutOfMemoryError: the GPU's memory is too small even for split batches.
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
        """See `Stepper.check`."""
        self._stepper.check()

    @property
    def has_statistics(self) -> bool:
        """Whether the network has batch norms that are trained in this epoch."""
        return next(trained_norms(self.network), None) is not None

    def measure_statistics(self, batches: Iterable[Sequence[Tensor]]) -> None:
        """Measure the batch norm statistics of the network that scores the fold, see batch_norm.py.

        Args:
            batches: training batches. They are split into parts like the batches of the steps.
        """
        parts = (
            part
            for views in batches
            for part in zip(
                *(view.tensor_split(self._parts_of(len(views[0]))) for view in views), strict=True
            )
        )

        def forward(views: Sequence[Tensor]) -> None:
            with torch.autocast("cuda", dtype=torch.bfloat16, enabled=views[0].is_cuda):
                self._forward(self.scored, views)

        measure_again(self.scored, self.network, parts, forward)

    def _parts_of(self, images: int) -> int:
        """Return the number of parts for a batch of `images` images.

        A part has at most as many images as a part of a whole batch, but not a single image, unless
        all parts have a single image.
        """
        at_once = -(-self._config.batch_size // self.parts)
        parts = -(-images // at_once)
        return parts - 1 if parts > 1 and images // parts < min(2, at_once) else parts

    def within_memory(self, action: Callable[[], Answer], *, at: str) -> Answer:
        """Return the result of `action`; if memory is too small, split batches and try once more.

        Args:
            action: a function that may be repeated and that uses `parts`.
            at: fold and epoch, for messages.

        Raises:
            OutOfMemoryError: memory is too small even so; the message has the sizes.
        """
        try:
            return action()
        except torch.OutOfMemoryError as error:
            self._split_batches(error, at=at)
        # outside the `except` block: the traceback of the error keeps its tensors alive
        self._make_room()
        torch.cuda.empty_cache()
        try:
            return action()
        except torch.OutOfMemoryError as error:
            raise self._too_little(error, at=at) from None

    def _split_batches(self, error: torch.OutOfMemoryError, *, at: str) -> None:
        """Double the number of parts, or use the next higher number that divides `batch_size`.

        This happens once per trial.
        """
        batch_size = self._config.batch_size
        parts = next(
            (p for p in range(2 * self.parts, 4 * self.parts) if batch_size % p == 0),
            2 * self.parts,
        )
        # A step cannot be repeated after the optimizer has updated a part of its moments. Batch
        # norm cannot train on single images.
        if self._split or self._stepper.updating or batch_size // parts < 2:
            raise self._too_little(error, at=at) from None
        self.parts = parts
        self._split = True
        self.notes.append(
            f"{at}: CUDA out of memory ({sizes(self._config)}); batches were split into {parts} "
            f"parts of {batch_size // parts}"
        )
        logger.warning("%s", self.notes[-1])

    def _too_little(self, error: torch.OutOfMemoryError, *, at: str) -> OutOfMemoryError:
        parts = f", with batches in {self.parts} parts" if self.parts > 1 else ""
        return OutOfMemoryError(
            f"{at}: CUDA out of memory ({sizes(self._config)}{parts}). A smaller batch_size or "
            f"resize helps, or more accumulation. Torch says: {first_line(error)}"
        )


def sizes(config: TrainConfig) -> str:
    """Return the settings that decide how much memory a fold run needs, for messages."""
    return f"batch_size={config.batch_size}, backbone={config.backbone}, resize={config.resize}"
