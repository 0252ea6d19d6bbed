"""Trials that share a machine: which shares are tried, and what they say."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from sweeps.preparing.side_by_side import Share, Speed, at_once_in, measure, shares, slowdown
from tests.rehearsals import measured
from trainer.config import TrainConfig
from trainer.training.rehearsed import Order, Outcome, Refused, Size

ORDER = Order(
    TrainConfig(), Path("folds.npz"), Size(10, 5), "cpu", threads=1, seconds=1, code=Path()
)


def test_a_cpu_is_shared_by_at_most_one_trial_per_core() -> None:
    assert shares(cpus=2, on_gpu=False, own=Share(2, 1)) == [Share(1, 1), Share(1, 2), Share(2, 1)]
    assert shares(cpus=1, on_gpu=False, own=Share(1, 1)) == [Share(1, 1)]


def test_a_gpu_is_shared_by_two_and_four_whatever_the_search_space_says() -> None:
    assert shares(cpus=16, on_gpu=True, own=Share(1, 1)) == [
        Share(1, 1),
        Share(1, 16),
        Share(2, 8),
        Share(4, 4),
    ]


def test_more_than_four_at_once_are_not_tried() -> None:
    wanted = shares(cpus=64, on_gpu=False, own=Share(64, 1))
    assert max(share.at_once for share in wanted) == 4
    assert Share(4, 1) in wanted


def test_the_speeds_of_all_processes_add_up() -> None:
    asked: list[Sequence[Order]] = []

    def act_at_once(orders: Sequence[Order]) -> list[Outcome]:
        asked.append(orders)
        return [measured(image_s=0.01 * len(orders)) for _ in orders]

    speeds = measure(ORDER, [Share(1, 2), Share(4, 1)], act_at_once)
    assert [speed.images_s for speed in speeds] == [pytest.approx(100), pytest.approx(100)]
    assert [[order.threads for order in orders] for orders in asked] == [[2], [1] * 4]


def test_after_a_share_that_does_not_fit_no_larger_one_is_tried() -> None:
    def act_at_once(orders: Sequence[Order]) -> list[Outcome]:
        assert len(orders) < 4
        return [measured(image_s=1)] * (2 - len(orders)) + [
            Refused("memory", "CUDA out of memory")
        ] * (len(orders) - 1)

    first, second, third = measure(ORDER, [Share(1, 1), Share(2, 1), Share(4, 1)], act_at_once)
    assert first.images_s == 1
    assert (second.images_s, second.note) == (None, "CUDA out of memory")
    assert (third.images_s, third.note) == (None, "CUDA out of memory")


def test_the_slowdown_compares_the_share_of_the_sweep_with_one_trial_alone() -> None:
    speeds = [Speed(Share(1, 1), 100), Speed(Share(1, 2), 180), Speed(Share(2, 1), 150)]
    assert slowdown(speeds, Share(2, 1)) == pytest.approx(100 / 75)
    assert slowdown(speeds, Share(1, 1)) == 1
    assert slowdown(speeds, Share(4, 1)) == 1  # not measured
    assert slowdown([Speed(Share(1, 1), None, "no")], Share(1, 1)) == 1


def test_a_share_of_a_gpu_fits_as_often_as_its_peak_and_context_do() -> None:
    gib = 2**30
    assert at_once_in(10 * gib, of_bytes=80 * gib) == 4
    assert at_once_in(30 * gib, of_bytes=80 * gib) == 2
    assert at_once_in(79 * gib, of_bytes=80 * gib) == 1
    assert at_once_in(80 * gib, of_bytes=80 * gib) == 0
