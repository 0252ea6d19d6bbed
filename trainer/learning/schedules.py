"""Learning rates as stateless functions of the optimizer step and of the epochs so far: nothing to save or restore.

Positions are in epochs as a real number: step / steps_per_epoch, from 0 up to `config.epochs`. A curve has one row per
finished epoch, in order, as it is recorded: `epoch` (from 1), `loss`, `train_loss`, `f1` and the other metrics.
"""

import bisect
import dataclasses
import math
from collections.abc import Callable

from trainer.config import TrainConfig
from trainer.fields.optimization import SchedulerName
from trainer.learning.curve import Curve, improvements

FEEDBACK = frozenset(
    {"plateau", "two_stage"}
)  # look at the curve; the others are functions of the step alone
OWN_RISE = frozenset({"cyclic", "one_cycle"})  # begin low by themselves: no warm-up
TOLERANCE = 1e-9  # epochs: a border between two positions is met in spite of rounding


def lr_at(config: TrainConfig, *, step: int, steps_per_epoch: int, curve: Curve) -> float:
    """The learning rate of optimizer step `step` (the first is 0).

    Args:
        curve: at least the epochs before that of `step` for a scheduler of `FEEDBACK`; later ones are not looked at.
    """
    at = _At(step, steps_per_epoch, curve[: step // steps_per_epoch])
    return SCHEDULES[config.scheduler](config, at) * _warm_up(config, at)


def second_stage_epoch(config: TrainConfig, curve: Curve) -> int | None:
    """two_stage: the first epoch (from 1) of the second stage as far as `curve` tells; None: not yet known, or never.

    The first stage ends with the epoch whose gap (validation minus training loss) exceeds the smallest gap before it
    by more than `second_gap`; the second begins at `second_epoch` at the latest.
    """
    if config.scheduler != "two_stage":
        return None
    widened = _widened_epoch(config, curve)
    return widened + 1 if widened is not None else config.second_epoch or None


def goes_back(config: TrainConfig, curve: Curve) -> bool:
    """two_stage: whether the last epoch of `curve` ended the first stage by its gap.

    Exactly then the state from before that epoch must be restored. The undone epoch stays in the curve, and the next
    one has the next number.
    """
    return (
        config.scheduler == "two_stage"
        and bool(curve)
        and _widened_epoch(config, curve) == len(curve)
    )


def _widened_epoch(config: TrainConfig, curve: Curve) -> int | None:
    """The first epoch of the first stage whose gap is too wide. A gap of NaN is, even in the first epoch."""
    if not config.second_gap:
        return None
    smallest = math.inf
    for epoch, row in enumerate(curve, start=1):
        if epoch == config.second_epoch:  # the second stage has begun
            return None
        gap = row["loss"] - row["train_loss"]
        if not gap <= smallest + config.second_gap:
            return epoch
        smallest = min(smallest, gap)
    return None


@dataclasses.dataclass(frozen=True)
class _At:
    """A moment of the training."""

    step: int
    steps_per_epoch: int
    curve: Curve  # of the epochs before this one

    @property
    def position(self) -> float:
        """In epochs, at the beginning of the step."""
        return self.step / self.steps_per_epoch

    @property
    def finished(self) -> int:
        """Whole epochs before this one."""
        return self.step // self.steps_per_epoch


def _warm_up(config: TrainConfig, at: _At) -> float:
    """Linear from 0 to 1; it counts from step 1, so that the first step is not wasted on a rate of 0."""
    if config.scheduler in OWN_RISE or at.position >= config.warmup_epochs:
        return 1.0
    return min(1.0, (at.position + 1 / at.steps_per_epoch) / config.warmup_epochs)


def _none(config: TrainConfig, at: _At) -> float:
    return config.lr


def _step(config: TrainConfig, at: _At) -> float:
    """torch's StepLR, stepped once per epoch."""
    return config.lr * config.step_gamma ** (at.finished // config.step_epochs)


def _multistep(config: TrainConfig, at: _At) -> float:
    """torch's MultiStepLR, stepped once per epoch; a milestone may lie inside an epoch."""
    return config.lr * config.step_gamma ** bisect.bisect_right(
        config.milestones, at.position + TOLERANCE
    )


def _exponential(config: TrainConfig, at: _At) -> float:
    """torch's ExponentialLR, stepped once per epoch."""
    return config.lr * config.epoch_gamma**at.finished


def _cosine(config: TrainConfig, at: _At) -> float:
    """Half a cosine from lr to min_lr after the warm-up, once or in cycles (Loshchilov and Hutter 2017)."""
    elapsed = max(0.0, at.position - config.warmup_epochs)
    if config.restart_epochs:
        share = _share_of_cycle(elapsed / config.restart_epochs, config.restart_factor)
    else:
        share = elapsed / (config.epochs - config.warmup_epochs)
    return config.min_lr + (config.lr - config.min_lr) * 0.5 * (1 + math.cos(math.pi * share))


def _share_of_cycle(elapsed: float, factor: float) -> float:
    """How much of its cycle has passed, in [0, 1).

    Args:
        elapsed: since the first cycle began, in lengths of that cycle.
        factor: length of each cycle over the one before, >= 1. n cycles take (factor^n - 1) / (factor - 1).
    """
    if factor == 1:
        return max(0.0, elapsed - math.floor(elapsed + TOLERANCE))
    log = math.log(factor)
    cycle = math.floor(math.log1p(elapsed * (factor - 1)) / log + TOLERANCE)
    begin = math.expm1(cycle * log) / (factor - 1)
    return min(1.0, max(0.0, (elapsed - begin) / factor**cycle))


def _one_cycle(config: TrainConfig, at: _At) -> float:
    """torch's OneCycleLR with its defaults: cosine from lr / 25 up to lr, then down to lr / 250,000."""
    top, last = (
        config.rise * config.epochs * at.steps_per_epoch - 1,
        config.epochs * at.steps_per_epoch - 1,
    )
    if at.step < top:
        return _between(config.lr / 25, config.lr, at.step / top)
    return _between(config.lr, config.lr / 25e4, (at.step - top) / (last - top))


def _between(start: float, end: float, share: float) -> float:
    """Along half a cosine."""
    return end + (start - end) * 0.5 * (1 + math.cos(math.pi * share))


def _cyclic(config: TrainConfig, at: _At) -> float:
    """Smith 2017, triangular: from base_lr up to lr and down again in `cycle_epochs`."""
    phase = at.position / config.cycle_epochs % 1
    return config.base_lr + (config.lr - config.base_lr) * (1 - abs(2 * phase - 1))


def _plateau(config: TrainConfig, at: _At) -> float:
    """torch's ReduceLROnPlateau (threshold_mode abs, no cooldown) after every epoch of the curve.

    Deviation: it drops after `plateau_patience` epochs without improvement, torch after one more than its patience.
    A NaN is no improvement.
    """
    bad = drops = 0
    for better in improvements(config, at.curve):
        bad = 0 if better else bad + 1
        if bad == config.plateau_patience:
            drops, bad = drops + 1, 0
    return max(config.min_lr, config.lr * config.step_gamma**drops)


def _two_stage(config: TrainConfig, at: _At) -> float:
    """lr in the first stage, second_lr in the second."""
    begin = second_stage_epoch(config, at.curve)
    return config.lr if begin is None or at.finished + 1 < begin else config.second_lr


SCHEDULES: dict[SchedulerName, Callable[[TrainConfig, _At], float]] = {
    "none": _none,
    "step": _step,
    "multistep": _multistep,
    "exponential": _exponential,
    "cosine": _cosine,
    "one_cycle": _one_cycle,
    "cyclic": _cyclic,
    "plateau": _plateau,
    "two_stage": _two_stage,
}
