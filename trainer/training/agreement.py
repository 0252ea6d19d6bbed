"""What the folds of a trial agreed on: how a training without scores goes on all images.

The scores of a held-out fold can decide when the training ends, when the learning rate drops, and
which epoch counts. A training on all images has no such scores, so the decisions of the folds are
taken over: the median over the folds, of two middle ones the later, because more images can be
learned from for longer. Everything else stays as the folds planned it. In particular a schedule
that was planned over `epochs` is still planned over them, also if the training ends before.
"""

import dataclasses
import itertools
import statistics
from collections.abc import Sequence

from trainer.config import TrainConfig
from trainer.learning.curve import Curve
from trainer.learning.schedules import plateau_drops, stage_lengths


@dataclasses.dataclass(frozen=True)
class Agreement:
    """How a training on all images goes.

    Attributes:
        config: the configuration without the decisions that need scores.
        epochs: the epoch with which the training ends; `config.epochs` stays what the schedule was
            planned over.
    """

    config: TrainConfig
    epochs: int


def agree(config: TrainConfig, curves: Sequence[Curve], scored: Sequence[int]) -> Agreement:
    """Return what the folds of a trial agreed on.

    - The training ends with the median of the epochs that score the folds. That is the last epoch;
      or the best one, with `patience` or `fold_best`; or the common one, with `checkpoint: best`.
    - `plateau` becomes `multistep`: its drops come after the median of the epochs after which the
      folds dropped, as many as more than half of the folds had. A drop below `min_lr`, which
      multistep does not know, is left out.
    - `two_stage` with a gap begins its second stage after a number of epochs: the median of the
      epochs of the first stage, without those that were undone. The second stage has the median of
      the epochs that it had.

    Args:
        curves: the curve of each fold.
        scored: the epoch (from 1) that scores each fold.

    Example:
        >>> config = TrainConfig(scheduler="cosine", epochs=20, patience=2)
        >>> agreed = agree(config, [[], [], []], scored=[7, 12, 9])
        >>> agreed.epochs, agreed.config.epochs, agreed.config.patience
        (9, 20, 0)
    """
    used = [curve[:epoch] for curve, epoch in zip(curves, scored, strict=True)]
    plain = config.model_copy(update={"patience": 0, "checkpoint": "last"})
    epochs = statistics.median_high(scored)
    if config.scheduler == "plateau":
        return Agreement(_with_drops(plain, _common_drops(config, used, before=epochs)), epochs)
    if config.scheduler == "two_stage":
        stages = [stage_lengths(config, curve) for curve in used]
        first, second = map(statistics.median_high, zip(*stages, strict=True))
        return Agreement(_with_stages(plain, first, second), first + second)
    return Agreement(plain, epochs)


def _common_drops(config: TrainConfig, curves: Sequence[Curve], *, before: int) -> list[int]:
    """Return the epochs after which the rate drops, in rising order."""
    common: list[int] = []
    for drops in itertools.zip_longest(*(plateau_drops(config, curve) for curve in curves)):
        reached = [epoch for epoch in drops if epoch is not None]
        if 2 * len(reached) <= len(curves):
            break
        epoch = max(statistics.median_high(reached), common[-1] + 1 if common else 1)
        if epoch >= before or config.lr * config.step_gamma ** (len(common) + 1) < config.min_lr:
            break
        common.append(epoch)
    return common


def _with_drops(config: TrainConfig, drops: Sequence[int]) -> TrainConfig:
    if not drops:
        return config.model_copy(update={"scheduler": "none"})
    return config.model_copy(
        update={"scheduler": "multistep", "milestones": [float(epoch) for epoch in drops]}
    )


def _with_stages(config: TrainConfig, first: int, second: int) -> TrainConfig:
    if not second:
        return config.model_copy(update={"scheduler": "none"})
    return config.model_copy(update={"second_gap": 0.0, "second_epoch": first + 1})
