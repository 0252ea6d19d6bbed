"""Learning rate schedules, as functions of the optimizer step and of the epochs so far.

The functions have no state, so there is nothing to save or restore. A position is a real number of
epochs: step / steps_per_epoch, from 0 to `config.epochs`. A curve has one row per finished epoch,
in order: `epoch` (from 1), `loss`, `train_loss`, `f1` and the other metrics; for two_stage also
`fitted_loss`, the loss of training images measured as the validation loss is: in eval mode, without
augmentation and mixing.
"""

import bisect
import dataclasses
import math
from collections.abc import Callable

from trainer.config import TrainConfig
from trainer.fields.optimization import SchedulerName
from trainer.learning.curve import Curve, best_epoch, improvements
from trainer.metrics import Goal

# schedulers that depend on the curve; all other schedulers depend only on the step
FEEDBACK = frozenset({"plateau", "two_stage"})
# schedulers without warm-up, because they start with a low rate themselves
WITHOUT_WARMUP = frozenset({"cyclic", "one_cycle"})
TOLERANCE = 1e-9  # epochs; a position this close before a border counts as on it (rounding)


def lr_at(config: TrainConfig, *, step: int, steps_per_epoch: int, curve: Curve) -> float:
    """Return the learning rate of optimizer step `step`, counted from 0.

    Args:
        curve: the curve of the fold run. For a scheduler in `FEEDBACK` the curve must have all
            epochs before the epoch of `step`; later epochs are ignored.

    Example:
        >>> config = TrainConfig(
        ...     scheduler="step", lr=0.1, step_epochs=2, step_gamma=0.5, warmup_epochs=0
        ... )
        >>> [lr_at(config, step=step, steps_per_epoch=10, curve=[]) for step in (0, 19, 20)]
        [0.1, 0.1, 0.05]
    """
    moment = _Moment(step, steps_per_epoch, curve[: step // steps_per_epoch])
    return SCHEDULES[config.scheduler](config, moment) * _warm_up(config, moment)


def second_stage_epoch(config: TrainConfig, curve: Curve) -> int | None:
    """Return the first epoch (from 1) of the second stage of the scheduler two_stage.

    None means that the epochs in `curve` do not decide it yet, or that there is no second stage.

    The gap of an epoch is its validation loss minus the loss of training images that is measured in
    the same way. An epoch overfits if its gap exceeds the smallest gap before it by more than
    `second_gap` and its validation loss is above the best one before it. The first stage ends with
    `second_patience` such epochs in a row after the warm-up. The second stage begins at epoch
    `second_epoch` at the latest.
    """
    if config.scheduler != "two_stage":
        return None
    ended = _overfitted_epoch(config, curve)
    return ended + 1 if ended is not None else config.second_epoch or None


def goes_back(config: TrainConfig, curve: Curve) -> bool:
    """Return whether the last epoch of `curve` ended the first stage of two_stage by its gap.

    Only in this case the state after the best epoch must be restored. The undone epochs stay in the
    curve, and the next epoch has the next number.
    """
    return (
        config.scheduler == "two_stage"
        and bool(curve)
        and _overfitted_epoch(config, curve) == len(curve)
    )


def plateau_drops(config: TrainConfig, curve: Curve) -> list[int]:
    """Return the epochs (from 1) after which the learning rate of the scheduler plateau drops.

    Example:
        >>> config = TrainConfig(plateau_patience=2, monitor="loss")
        >>> plateau_drops(config, [{"loss": loss} for loss in (3, 2, 2, 2, 1, 1, 1)])
        [4, 7]
    """
    bad = 0
    drops = []
    for epoch, better in enumerate(improvements(config, curve), start=1):
        bad = 0 if better else bad + 1
        if bad == config.plateau_patience:
            drops.append(epoch)
            bad = 0
    return drops


def stage_lengths(config: TrainConfig, curve: Curve) -> tuple[int, int]:
    """Return how many epochs of each stage of two_stage the state after the curve has seen.

    The epochs that were undone at the end of the first stage count for neither stage. After the
    last epoch of the configuration nothing is undone.

    Example:
        >>> config = TrainConfig(scheduler="two_stage", epochs=9, second_gap=0.5)
        >>> curve = [{"loss": loss, "fitted_loss": 0.5} for loss in (2, 1, 3, 1, 1)]
        >>> stage_lengths(config, curve)
        (2, 2)
    """
    done = len(curve)
    ended = _overfitted_epoch(config, curve)
    if ended is not None:
        if done == ended:
            return done, 0
        restored = best_epoch(curve[:ended], metric="loss", goal=Goal.MINIMIZE)
        return restored, done - ended
    second = config.second_epoch or done + 1
    return min(done, second - 1), max(0, done - second + 1)


def watches_gap(config: TrainConfig) -> bool:
    """Return whether the gap of an epoch may end the first stage of two_stage."""
    return config.scheduler == "two_stage" and config.second_gap > 0


def _overfitted_epoch(config: TrainConfig, curve: Curve) -> int | None:
    """Return the epoch that ended the first stage by its gap, or None."""
    if not watches_gap(config):
        return None
    smallest = best = math.inf
    in_a_row = 0
    for epoch, row in enumerate(curve, start=1):
        if epoch == config.second_epoch:  # the second stage has begun
            return None
        gap = row["loss"] - row["fitted_loss"]
        overfits = gap > smallest + config.second_gap and row["loss"] > best
        in_a_row = in_a_row + 1 if overfits and epoch > math.ceil(config.warmup_epochs) else 0
        if in_a_row == config.second_patience:
            return epoch
        smallest = min(smallest, gap)
        best = min(best, row["loss"])
    return None


@dataclasses.dataclass(frozen=True)
class _Moment:
    """A moment of the training: the beginning of an optimizer step."""

    step: int
    steps_per_epoch: int
    curve: Curve  # the epochs before the epoch of `step`

    @property
    def position(self) -> float:
        """The number of epochs before the step, as a real number."""
        return self.step / self.steps_per_epoch

    @property
    def finished(self) -> int:
        """The number of finished epochs before the step."""
        return self.step // self.steps_per_epoch


def _warm_up(config: TrainConfig, moment: _Moment) -> float:
    """Return the warm-up factor, which rises linearly from 0 to 1.

    The factor of the first step is above 0, because a step with a rate of 0 would be wasted.
    """
    if config.scheduler in WITHOUT_WARMUP or moment.position >= config.warmup_epochs:
        return 1.0
    return min(1.0, (moment.position + 1 / moment.steps_per_epoch) / config.warmup_epochs)


def _none(config: TrainConfig, moment: _Moment) -> float:
    return config.lr


def _step(config: TrainConfig, moment: _Moment) -> float:
    """torch's StepLR with one scheduler step per epoch."""
    return config.lr * config.step_gamma ** (moment.finished // config.used_step_epochs)


def _multistep(config: TrainConfig, moment: _Moment) -> float:
    """torch's MultiStepLR with one scheduler step per epoch; a milestone may be inside an epoch."""
    return config.lr * config.step_gamma ** bisect.bisect_right(
        config.milestones, moment.position + TOLERANCE
    )


def _exponential(config: TrainConfig, moment: _Moment) -> float:
    """torch's ExponentialLR with one scheduler step per epoch."""
    return config.lr * config.used_epoch_gamma**moment.finished


def _cosine(config: TrainConfig, moment: _Moment) -> float:
    """Half a cosine from lr to min_lr after the warm-up, once or in cycles.

    Source: Loshchilov and Hutter 2017.
    """
    elapsed = max(0.0, moment.position - config.warmup_epochs)
    if config.restart_epochs:
        share = _share_of_cycle(elapsed / config.restart_epochs, config.restart_factor)
    else:
        share = elapsed / (config.epochs - config.warmup_epochs)
    return config.min_lr + (config.lr - config.min_lr) * 0.5 * (1 + math.cos(math.pi * share))


def _share_of_cycle(elapsed: float, factor: float) -> float:
    """Return the share of the current cycle that has passed, in [0, 1).

    Args:
        elapsed: time since the first cycle began, in lengths of the first cycle.
        factor: the length of each cycle divided by the length of the cycle before, >= 1. n cycles
            take (factor^n - 1) / (factor - 1).
    """
    if factor == 1:
        return max(0.0, elapsed - math.floor(elapsed + TOLERANCE))
    log = math.log(factor)
    cycle = math.floor(math.log1p(elapsed * (factor - 1)) / log + TOLERANCE)
    begin = math.expm1(cycle * log) / (factor - 1)
    return min(1.0, max(0.0, (elapsed - begin) / factor**cycle))


def _one_cycle(config: TrainConfig, moment: _Moment) -> float:
    """torch's OneCycleLR with its defaults: cosine from lr / 25 to lr, then to lr / 250,000."""
    top = config.rise * config.epochs * moment.steps_per_epoch - 1
    last = config.epochs * moment.steps_per_epoch - 1
    if moment.step < top:
        return _between(config.lr / 25, config.lr, moment.step / top)
    return _between(config.lr, config.lr / 25e4, (moment.step - top) / (last - top))


def _between(start: float, end: float, share: float) -> float:
    """Return the value at `share` of half a cosine from `start` to `end`."""
    return end + (start - end) * 0.5 * (1 + math.cos(math.pi * share))


def _cyclic(config: TrainConfig, moment: _Moment) -> float:
    """Smith 2017, triangular: from base_lr up to lr and down again within `cycle_epochs` epochs."""
    phase = moment.position / config.used_cycle_epochs % 1
    lowest = config.used_base_lr
    return lowest + (config.lr - lowest) * (1 - abs(2 * phase - 1))


def _plateau(config: TrainConfig, moment: _Moment) -> float:
    """torch's ReduceLROnPlateau (threshold_mode abs, no cooldown) after every epoch of the curve.

    Our deviation: the rate drops after `plateau_patience` epochs without improvement; torch's rate
    drops one epoch later. NaN is no improvement.
    """
    drops = len(plateau_drops(config, moment.curve))
    return max(config.min_lr, config.lr * config.step_gamma**drops)


def _two_stage(config: TrainConfig, moment: _Moment) -> float:
    """`lr` in the first stage, `second_lr` in the second stage."""
    begin = second_stage_epoch(config, moment.curve)
    return config.lr if begin is None or moment.finished + 1 < begin else config.second_lr


SCHEDULES: dict[SchedulerName, Callable[[TrainConfig, _Moment], float]] = {
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
