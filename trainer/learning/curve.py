"""The best epoch of a fold run and early stopping, as pure functions of the fold run's curve.

A curve has one row per finished epoch, with the metrics of the epoch's report. A value of NaN is
never an improvement.
"""

import math
from collections.abc import Mapping, Sequence

from trainer.config import TrainConfig
from trainer.metrics import METRICS, Goal

Curve = Sequence[Mapping[str, float]]


def goal_of(metric: str, config: TrainConfig) -> Goal:
    """Return the direction in which `metric` gets better.

    The name "metric" means the user's metric, whose direction is `config.metric_goal`.
    """
    return config.metric_goal if metric == "metric" else METRICS[metric]


def best_epoch(curve: Curve, *, metric: str, goal: Goal) -> int:
    """Return the epoch (from 1) with the best value of `metric`; the first of equal epochs."""
    values = [row[metric] for row in curve]
    # `index` also works if all values are NaN, because it compares the identity of objects first
    return 1 + values.index(goal.best(values))


def improvements(config: TrainConfig, curve: Curve) -> list[bool]:
    """Return for each epoch whether it is an improvement.

    An epoch is an improvement if its value of `monitor` is better than the value of the last
    improvement by more than `min_delta`.
    """
    sign = goal_of(config.monitor, config).sign
    best = -math.inf
    improved = []
    for row in curve:
        score = sign * row[config.monitor]
        improved.append(score > best + config.min_delta)
        best = score if improved[-1] else best
    return improved


def stops_early(config: TrainConfig, curve: Curve, *, counted_from: int = 1) -> bool:
    """Return whether the last `patience` epochs had no improvement.

    Args:
        counted_from: the first epoch of the current stage. Epochs before it do not count, so that a
            second stage has its own patience.
    """
    if not config.patience:
        return False
    last = max(
        (epoch for epoch, better in enumerate(improvements(config, curve), start=1) if better),
        default=0,
    )
    return len(curve) - max(last, counted_from - 1) >= config.patience
