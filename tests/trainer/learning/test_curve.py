"""What the epochs so far say: the best of them, and when to stop."""

import math

import pytest

from trainer.config import TrainConfig
from trainer.learning.curve import best_epoch, goal_of, improvements, stops_early
from trainer.metrics import METRICS, Goal


def rows(*losses: float) -> list[dict[str, float]]:
    return [
        {"epoch": epoch, "loss": loss, "f1": -loss} for epoch, loss in enumerate(losses, start=1)
    ]


# the best epoch of a curve


@pytest.mark.parametrize(
    ("values", "highest", "lowest"),
    [
        ((0.5,), 1, 1),
        ((0.1, 0.3, 0.2), 2, 1),
        ((0.3, 0.1, 0.3, 0.1), 1, 2),  # ties go to the earlier one
        ((math.nan, 0.1, 0.2), 3, 2),
        ((0.2, math.nan, 0.1), 1, 3),
        ((math.nan, math.nan), 1, 1),
        ((-math.inf, math.nan, -5.0), 3, 1),
    ],
)
def test_the_best_epoch_is_the_first_of_the_best_and_never_nan(values, highest, lowest):
    assert best_epoch(rows(*values), metric="loss", goal=Goal.MAXIMIZE) == highest
    assert best_epoch(rows(*values), metric="loss", goal=Goal.MINIMIZE) == lowest


# early stopping


@pytest.mark.parametrize(
    ("losses", "stops"),
    [
        ((), False),
        ((1.0,), False),
        ((1.0, 1.0), False),
        ((1.0, 1.0, 1.0), True),
        ((3.0, 2.0, 1.0), False),
        ((1.0, 2.0, 0.5, 2.0), False),
        ((1.0, 2.0, 0.5, 2.0, 0.5), True),
        ((1.0, 2.0, 0.95, 0.95), True),
        ((math.nan,), False),
        ((math.nan, math.nan), True),
        ((1.0, math.nan, 0.5), False),
        ((1.0, math.nan, math.nan), True),
    ],
)
@pytest.mark.parametrize("monitor", ["loss", "f1"])
def test_patience_counts_the_epochs_since_the_last_improvement(losses, stops, monitor):
    config = TrainConfig(patience=2, min_delta=0.1, monitor=monitor)
    assert stops_early(config, rows(*losses)) is stops


def test_a_change_of_exactly_min_delta_is_no_improvement():
    assert stops_early(TrainConfig(patience=1, min_delta=0.5), rows(1.0, 0.5))
    assert not stops_early(TrainConfig(patience=1, min_delta=0.5), rows(1.0, 0.25))


def test_without_patience_nothing_stops_early():
    assert not stops_early(TrainConfig(patience=0), rows(*[1.0] * 50))


def test_a_second_stage_gets_its_own_patience():
    curve = rows(1.0, 2.0, 2.0, 2.0)
    config = TrainConfig(patience=2)
    assert stops_early(config, curve)
    assert not stops_early(config, curve, counted_from=4)
    assert stops_early(config, curve, counted_from=3)


# improvements


@pytest.mark.parametrize(
    ("losses", "expected"),
    [
        ((), []),
        ((1.0,), [True]),
        ((1.0, 0.9, 0.8), [True, True, True]),
        ((1.0, 1.0, 0.5, 0.75, 0.25), [True, False, True, False, True]),
        ((math.nan, 1.0, math.nan, 0.5), [False, True, False, True]),
        ((math.inf, 1.0), [False, True]),
    ],
)
@pytest.mark.parametrize("monitor", ["loss", "f1"])
def test_an_improvement_is_better_than_ever_before(losses, expected, monitor):
    assert improvements(TrainConfig(monitor=monitor), rows(*losses)) == expected


def test_small_steps_add_up_to_an_improvement():
    config = TrainConfig(min_delta=0.25)
    assert improvements(config, rows(1.0, 0.875, 0.75, 0.625)) == [True, False, False, True]


# directions


@pytest.mark.parametrize("metric", METRICS)
def test_the_direction_of_a_metric_is_that_of_the_metric(metric):
    assert goal_of(metric, TrainConfig(metric_goal=Goal.MINIMIZE)) == METRICS[metric]


@pytest.mark.parametrize("goal", ["minimize", "maximize"])
def test_the_direction_of_the_users_own_is_said_by_the_configuration(goal):
    assert goal_of("metric", TrainConfig(metric="my_task.py:kappa", metric_goal=goal)) == goal
