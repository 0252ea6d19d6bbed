"""What the epochs so far say: which was best, and whether more of them help. Pure functions of a fold run's curve.

A curve has one row per finished epoch, with the metrics of its report. NaN is never an improvement.
"""

import math
from collections.abc import Mapping, Sequence

from trainer.config import TrainConfig
from trainer.metrics import METRICS, Goal

Curve = Sequence[Mapping[str, float]]


def goal_of(metric: str, config: TrainConfig) -> Goal:
    """The direction in which a metric gets better; `metric` is the name of the user's metric."""
    return config.metric_goal if metric == "metric" else METRICS[metric]


def best_epoch(curve: Curve, *, metric: str, goal: Goal) -> int:
    """The epoch (from 1) with the best value; ties go to the earlier one."""
    values = [row[metric] for row in curve]
    return 1 + values.index(goal.best(values))  # of NaN alone, too: the very object is found


def improvements(config: TrainConfig, curve: Curve) -> list[bool]:
    """For each epoch whether `monitor` is better than ever before by more than `min_delta`."""
    sign = goal_of(config.monitor, config).sign
    best, improved = -math.inf, []
    for row in curve:
        score = sign * row[config.monitor]
        improved.append(score > best + config.min_delta)
        best = score if improved[-1] else best
    return improved


def stops_early(config: TrainConfig, curve: Curve, *, counted_from: int = 1) -> bool:
    """Whether `patience` epochs have passed without an improvement.

    Args:
        counted_from: the first epoch of the stage in progress: a second stage gets its own patience.
    """
    if not config.patience:
        return False
    last = max(
        (epoch for epoch, better in enumerate(improvements(config, curve), start=1) if better),
        default=0,
    )
    return len(curve) - max(last, counted_from - 1) >= config.patience
