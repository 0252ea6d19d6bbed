"""The charts of a report."""

import itertools
import re
from typing import Any

import numpy as np
import pytest

from sweeps.reporting.charts import (
    Point,
    best_so_far,
    choice_strips,
    cost,
    fold_grid,
    importance_bars,
    interval_rows,
    learning_curves,
    numeric_scatter,
    pareto,
)
from sweeps.reporting.matrix import confusion_matrix
from sweeps.reporting.parallel import parallel_coordinates
from sweeps.results.differences import Difference
from sweeps.results.importance import Share
from sweeps.space.language import read_space
from tests.sweeps.preparing.test_check_page import Element, Tree
from trainer.metrics import Goal


def point(trial: int, score: float, *, seconds: float | None = 10.0, **values: Any) -> Point:
    complete = trial % 2 == 0
    return Point(trial, score, complete, seconds, (score,) * (3 if complete else 1), values)


POINTS = [
    point(0, 0.80, optimizer="sgd", lr=0.01),
    point(1, 0.95, optimizer="adamw", lr=0.001),
    point(2, 0.90, optimizer="adamw", lr=0.1, seconds=20.0),
    point(4, 0.85, optimizer="sgd", lr=0.1, seconds=None),
]


def read(svg: str) -> Element:
    tree = Tree()
    tree.feed(svg)
    assert tree.open == [tree.root]
    return tree.root


def trials(svg: str, tag: str = "circle") -> list[str]:
    return [
        each.attributes["data-t"] for each in read(svg).find(tag) if "data-t" in each.attributes
    ]


def test_the_best_so_far_rises_with_complete_trials_only():
    chart = best_so_far(POINTS, metric="valid/f1", goal=Goal.MAXIMIZE)
    assert trials(chart.svg) == ["0", "1", "2", "4"]
    (steps,) = read(chart.svg).find("path", **{"class": "best"})
    heights = [float(y) for y in re.findall(r" ([\d.]+)", steps.attributes["d"])]
    assert len(heights) == 4
    assert heights[0] == heights[1] > heights[2] == heights[3]
    falling = best_so_far(POINTS, metric="valid/loss", goal=Goal.MINIMIZE)
    (steps,) = read(falling.svg).find("path", **{"class": "best"})
    assert len(re.findall(r" ([\d.]+)", steps.attributes["d"])) == 2  # the first one stays best


def test_a_single_trial_has_whole_numbers_below_and_few_scores_beside_it():
    chart = best_so_far([point(0, 0.8)], metric="valid/f1", goal=Goal.MAXIMIZE)
    ticks = read(chart.svg).find("text", **{"class": "tick middle"})
    assert [tick.text for tick in ticks] == ["0", "1"]
    scores = [float(t.text) for t in read(chart.svg).find("text", **{"class": "tick end"})]
    assert 0.7 < min(scores) < 0.8 < max(scores) < 0.9


def test_stopped_trials_are_hollow():
    chart = best_so_far(POINTS, metric="valid/f1", goal=Goal.MAXIMIZE)
    hollow = read(chart.svg).find("circle", **{"class": "cut"})
    assert [each.text for each in hollow] == ["trial 1: 0.9500, stopped after 1 fold"]


def test_a_trial_that_learned_nothing_does_not_flatten_the_others():
    usual = [point(2 * n, 0.9 + n / 1000) for n in range(20)]
    chart = best_so_far([*usual, point(40, 0.05)], metric="valid/f1", goal=Goal.MAXIMIZE)
    heights = [float(each.attributes["cy"]) for each in read(chart.svg).find("circle")]
    assert max(heights[:-1]) - min(heights[:-1]) > 200


def test_the_front_has_the_trials_that_are_neither_worse_nor_slower():
    timed = [
        point(0, 0.8, seconds=1.0),
        point(2, 0.7, seconds=2.0),
        point(4, 0.9, seconds=3.0),
        point(6, 0.9, seconds=4.0),
        point(7, 0.99, seconds=0.5),  # stopped early
        point(8, 0.99, seconds=None),
    ]
    assert [p.trial for p in pareto(timed, goal=Goal.MAXIMIZE)] == [0, 4]
    assert [p.trial for p in pareto(timed, goal=Goal.MINIMIZE)] == [0, 2]
    chart = cost(timed, timed[:1], metric="valid/f1")
    assert "8" not in trials(chart.svg)


def test_shares_and_intervals_have_a_row_each():
    bars = importance_bars([Share("lr", 0.7, 0.5, 0.8), Share("<b>", 0.3, 0.1, 0.4)])
    assert [each.text for each in read(bars.svg).find("rect")] == ["lr: 70%", "<b>: 30%"]
    pairs = [
        Difference("optimizer", "adamw", "sgd", (9, 8), 0.02, 0.01, 0.03, 0.001),
        Difference("lr", 0.1, 0.01, (9, 9), 0.002, -0.01, 0.014, 1.0),
    ]
    rows = interval_rows(pairs, names=["first", "second"], metric="valid/f1")
    assert len(read(rows.svg).find("path", **{"class": "bold"})) == 1
    assert [each.text for each in read(rows.svg).find("circle")] == [
        "first: 0.0200 (clear)",
        "second: 0.0020 (no difference seen)",
    ]


def test_a_scatter_has_the_trials_with_the_parameter():
    without = [*POINTS, point(6, 0.7)]
    chart = numeric_scatter("lr", without, metric="valid/f1", log=True)
    assert trials(chart.svg) == ["0", "1", "2", "4"]
    strips = choice_strips("optimizer", ("sgd", "adamw", "adam"), without, metric="valid/f1")
    assert sorted(trials(strips.svg)) == ["0", "1", "2", "4"]
    assert len(read(strips.svg).find("path", **{"class": "error"})) == 2  # medians


def test_the_grid_of_folds_has_a_cell_for_each_finished_fold():
    chart = fold_grid(POINTS, [0.01, 0.0, -0.01], goal=Goal.MAXIMIZE)
    cells = read(chart.svg).find("rect")
    assert [cell.attributes["data-t"] for cell in cells] == ["1"] + ["2"] * 3 + ["4"] * 3 + [
        "0"
    ] * 3
    assert cells[0].text == "trial 1, fold 1: 0.9500"


def test_equal_scores_are_neither_good_nor_bad():
    # 0.1 + 0.2 - 0.2 is not 0.1: equal but for rounding
    equal = [point(2 * n, score) for n, score in enumerate((0.1, 0.1 + 0.2 - 0.2, 0.1))]
    chart = fold_grid(equal, [0.0] * 3, goal=Goal.MAXIMIZE)
    assert {cell.attributes["fill-opacity"] for cell in read(chart.svg).find("rect")} == {"0.54"}


def test_learning_curves_have_a_line_per_fold_and_a_mean():
    chart = learning_curves({3: [[(1, 0.5), (2, 0.7)], [(1, 0.6), (2, 0.8)]]}, metric="valid/f1")
    lines = [each for each in read(chart.svg).find("path") if "data-t" in each.attributes]
    assert [each.attributes["class"] for each in lines] == ["run", "run", "bold"]


@pytest.mark.parametrize("ends", [[0.9] * 5, [0.9, 0.1, 0.9, 0.5, 0.1], [0.0] * 4 + [0.01]])
def test_the_numbers_of_learning_curves_stand_apart_in_the_order_of_their_ends(ends: list[float]):
    curves = {number: [[(1.0, 0.0), (2.0, end)]] for number, end in enumerate(ends)}
    chart = learning_curves(curves, metric="valid/f1")
    texts = [each for each in read(chart.svg).find("text") if "data-t" in each.attributes]
    places = [float(each.attributes["y"]) for each in texts]
    order = sorted(range(len(ends)), key=lambda number: places[number])
    assert [ends[number] for number in order] == sorted(ends, reverse=True)
    gaps = [places[low] - places[high] for high, low in itertools.pairwise(order)]
    assert min(gaps) >= 11.9
    assert min(places) >= 12
    assert max(places) <= 284.1  # the foot of the chart, and half a letter


def test_better_trials_have_stronger_lines():
    space, _ = read_space({"lr": {"min": 0.0, "max": 1.0}})
    many = [point(2 * n, 0.5 + n / 1000, lr=n / 200) for n in range(200)]
    chart = parallel_coordinates(many, space.varying(), metric="valid/f1", goal=Goal.MAXIMIZE)
    lines = [each for each in read(chart.svg).find("path") if "data-y" in each.attributes]
    strength = {
        int(each.attributes["data-t"]): float(each.attributes["stroke-opacity"]) for each in lines
    }
    assert strength[398] == 0.9
    assert strength[0] == 0.08
    assert list(strength.values()) == sorted(strength.values())


def test_a_trial_drawn_at_the_edge_is_told():
    usual = [point(2 * n, 0.9 + n / 1000, lr=n) for n in range(20)]
    far = [*usual, point(40, 0.05, lr=30)]
    for note, trials in (("At the edge: trials that are far off the others.", far), ("", usual)):
        chart = numeric_scatter("lr", trials, metric="valid/f1", log=False)
        assert chart.note == note


@pytest.mark.parametrize("goal", list(Goal))
def test_parallel_coordinates_know_the_places_on_all_axes(goal: Goal):
    space, problems = read_space(
        {
            "optimizer": {"values": ["sgd", "adamw"]},
            "lr": {"distribution": "log_uniform_values", "min": 1e-3, "max": 1.0},
        }
    )
    assert not problems
    chart = parallel_coordinates(
        [*POINTS, point(6, 0.7)], space.varying(), metric="valid/f1", goal=goal
    )
    lines = [each for each in read(chart.svg).find("path") if "data-y" in each.attributes]
    places = {
        each.attributes["data-t"]: list(map(float, each.attributes["data-y"].split()))
        for each in lines
    }
    assert all(len(of_trial) == 3 for of_trial in places.values())
    assert places["0"][0] == places["4"][0] > places["1"][0]
    assert places["0"][1] == pytest.approx((places["1"][1] + places["2"][1]) / 2, abs=0.1)
    assert places["6"][:2] == [350.0, 350.0]
    assert len(read(chart.svg).find("rect", **{"class": "touch"})) == 3


def test_a_confusion_matrix_has_a_cell_for_each_pair_that_occurs():
    counts = np.array([[8, 2], [0, 5]])
    chart = confusion_matrix(counts, ("cat", "dog"), trial=4)
    assert chart is not None
    assert [cell.text for cell in read(chart.svg).find("rect")] == [
        "cat, predicted cat: 8",
        "cat, predicted dog: 2",
        "dog, predicted dog: 5",
    ]
    assert confusion_matrix(np.eye(31, dtype=np.int64), ["x"] * 31, trial=4) is None
