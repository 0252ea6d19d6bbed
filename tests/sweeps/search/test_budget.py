"""What a sweep has spent, and when that is enough."""

from collections.abc import Callable
from typing import Any

import pytest

from sweeps.search.budget import Meter, Spent, enough
from sweeps.space.spec import SweepSpec

HOUR = 3600.0


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_a_meter_adds_what_earlier_drivers_spent():
    clock = Clock()
    meter = Meter(Spent(elapsed_s=50, gpu_s=7), gpu=0.5, clock=clock)
    clock.now_s += 10
    assert meter.spent() == Spent(60, 7)
    assert meter.own_s == 10


def test_gpu_time_is_the_share_of_each_trial_while_it_is_on_a_worker():
    clock = Clock()
    meter = Meter(Spent(), gpu=0.5, clock=clock)
    meter.started(0)
    clock.now_s += 10
    meter.started(1)
    clock.now_s += 10
    assert meter.ended(0) == 20
    clock.now_s += 5
    assert meter.spent() == Spent(25, 0.5 * (20 + 15))


def test_without_a_gpu_none_is_spent():
    clock = Clock()
    meter = Meter(Spent(), gpu=0.0, clock=clock)
    meter.started(0)
    clock.now_s += 10
    assert meter.spent().gpu_s == 0


@pytest.mark.parametrize(
    ("changes", "spent", "best", "reason"),
    [
        ({}, Spent(1e9, 1e9), 1.0, None),
        ({"budget": {"hours": 2}}, Spent(2 * HOUR - 1, 0), None, None),
        ({"budget": {"hours": 2}}, Spent(2 * HOUR, 0), None, "the budget of 2 hours is used up"),
        ({"budget": {"gpu_hours": 0.5}}, Spent(9 * HOUR, HOUR / 2 - 1), None, None),
        (
            {"budget": {"gpu_hours": 0.5}},
            Spent(0, HOUR / 2),
            None,
            "the budget of 0.5 GPU-hours is used up",
        ),
        ({"metric": {"name": "valid/f1", "goal": "maximize", "target": 0.9}}, Spent(), None, None),
        ({"metric": {"name": "valid/f1", "goal": "maximize", "target": 0.9}}, Spent(), 0.899, None),
        (
            {"metric": {"name": "valid/f1", "goal": "maximize", "target": 0.9}},
            Spent(),
            0.9,
            "the target of 0.9 is reached: 0.9000",
        ),
        (
            {"metric": {"name": "valid/log_loss", "goal": "minimize", "target": 0.2}},
            Spent(),
            0.25,
            None,
        ),
        (
            {"metric": {"name": "valid/log_loss", "goal": "minimize", "target": 0.2}},
            Spent(),
            0.15,
            "the target of 0.2 is reached: 0.1500",
        ),
    ],
)
def test_a_sweep_ends_when_enough_is_spent_or_reached(
    make_spec: Callable[..., SweepSpec],
    changes: dict[str, Any],
    spent: Spent,
    best: float | None,
    reason: str | None,
):
    assert enough(make_spec(**changes), spent, best=best) == reason
