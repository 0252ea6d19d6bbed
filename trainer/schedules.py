"""Learning rates as stateless functions of the optimizer step: nothing to save, nothing to restore.

Positions are in epochs as a real number: step / steps_per_epoch, from 0 up to `config.epochs`.
"""

import math
from collections.abc import Callable

from trainer.config import SchedulerName, TrainConfig


def lr_at(config: TrainConfig, *, step: int, steps_per_epoch: int) -> float:
    """The learning rate of optimizer step `step` (the first is 0)."""
    return SCHEDULES[config.scheduler](config, step / steps_per_epoch, 1 / steps_per_epoch)


def _none(config: TrainConfig, position: float, one_step: float) -> float:
    return config.lr


def _step(config: TrainConfig, position: float, one_step: float) -> float:
    """torch's StepLR, stepped once per epoch."""
    return config.lr * config.step_gamma ** (math.floor(position + 1e-9) // config.step_epochs)


def _cyclic(config: TrainConfig, position: float, one_step: float) -> float:
    """Smith 2017, triangular: from base_lr up to lr and down again in `cycle_epochs`."""
    phase = position / config.cycle_epochs % 1
    return config.base_lr + (config.lr - config.base_lr) * (1 - abs(2 * phase - 1))


def _cosine(config: TrainConfig, position: float, one_step: float) -> float:
    """Linear warm-up, then half a cosine to 0 (Loshchilov and Hutter 2017, no restarts).

    The warm-up counts from step 1, so that the first step is not wasted on a rate of 0.
    """
    if position < config.warmup_epochs:
        return config.lr * min(1.0, (position + one_step) / config.warmup_epochs)
    progress = (position - config.warmup_epochs) / (config.epochs - config.warmup_epochs)
    return config.lr * 0.5 * (1 + math.cos(math.pi * progress))


SCHEDULES: dict[SchedulerName, Callable[[TrainConfig, float, float], float]] = {
    "none": _none,
    "step": _step,
    "cyclic": _cyclic,
    "cosine": _cosine,
}
