"""The map of two numbers in cells."""

import itertools
import math
from collections.abc import Sequence
from typing import Any

import pytest

from sweeps.reporting.binned import FEWEST_TRIALS, MOST_BINS, PER_CELL, binned, binned_map
from sweeps.reporting.charts import Point
from sweeps.space.domains import Numeric
from sweeps.space.language import read_space
from sweeps.space.parameters import Parameter
from tests.sweeps.reporting.test_charts import read
from trainer.metrics import Goal

LR = {"distribution": "log_uniform_values", "min": 1e-5, "max": 1e-1}


def number(name: str, section: dict[str, Any] | None = None) -> Parameter:
    space, problems = read_space({name: section or {"min": 0.0, "max": 1.0}})
    assert not problems
    assert isinstance(space[name].domain, Numeric)
    return space[name]


def points_of(places: Sequence[tuple[float, float]], scores: Sequence[float]) -> list[Point]:
    return [
        Point(trial, score, True, None, (score,), {"a": a, "b": b})
        for trial, ((a, b), score) in enumerate(zip(places, scores, strict=True))
    ]


def quarters(*scores: float) -> list[Point]:
    """Trials in the four corners of the plane, those in one corner with one mean score."""
    corners = [(0.0, 0.0), (0.0, 1.0), (1.0, 0.0), (1.0, 1.0)]
    chosen = corners[: len(scores)]
    each = math.ceil(FEWEST_TRIALS / len(chosen))
    around = [0.01 * (number - (each - 1) / 2) for number in range(each)]
    return points_of(
        [corner for corner in chosen for _ in around],
        [score + more for score in scores for more in around],
    )


def test_a_cell_has_the_mean_score_of_its_trials_and_names_them():
    found = binned(quarters(0.1, 0.2, 0.3, 0.4), number("a"), number("b"))
    assert found is not None
    assert (found.columns, found.rows) == (2, 2)
    assert [(cell.column, cell.row) for cell in found.cells] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert [cell.score for cell in found.cells] == pytest.approx([0.1, 0.2, 0.3, 0.4])
    assert found.cells[1].trials == (3, 4, 5)
    assert found.edges(found.cells[1]) == ((0.0, 0.5), (0.5, 1.0))
    assert found.as_json()["cells"][1] == {
        "a": [0.0, 0.5],
        "b": [0.5, 1.0],
        "score": pytest.approx(0.2),
        "trials": [3, 4, 5],
    }


def test_nothing_is_drawn_where_no_trial_was():
    found = binned(quarters(0.1, 0.2, 0.3), number("a"), number("b"))
    assert found is not None
    assert len(found.cells) == 3
    chart = binned_map(found, metric="valid/f1", goal=Goal.MAXIMIZE)
    assert len(read(chart.svg).find("rect", **{"class": "cell"})) == 3


@pytest.mark.parametrize("goal", list(Goal))
def test_a_better_cell_has_a_stronger_colour(goal: Goal):
    found = binned(quarters(0.1, 0.2, 0.3, 0.4), number("a"), number("b"))
    assert found is not None
    chart = binned_map(found, metric="valid/f1", goal=goal)
    cells = read(chart.svg).find("rect", **{"class": "cell"})
    strength = [float(cell.attributes["fill-opacity"]) for cell in cells]
    assert strength == sorted(set(strength), reverse=goal is Goal.MINIMIZE)
    assert cells[0].text == "3 trials, mean valid/f1 0.1000; a 0 to 0.5, b 0 to 0.5"
    assert cells[0].attributes["data-t"] == "0 1 2"
    left, right = (float(cells[index].attributes["x"]) for index in (0, 2))
    low, high = (float(cells[index].attributes["y"]) for index in (0, 1))
    assert left < right
    assert low > high  # greater values are higher on the page


def test_equal_scores_are_drawn_too():
    flat = points_of([(n / 11, n / 11) for n in range(FEWEST_TRIALS)], [0.5] * FEWEST_TRIALS)
    found = binned(flat, number("a"), number("b"))
    assert found is not None
    chart = binned_map(found, metric="valid/f1", goal=Goal.MAXIMIZE)
    assert "nan" not in chart.svg


def test_a_logarithmic_parameter_has_cells_of_equal_ratio():
    rates = [10.0**power for power in (-5, -4, -2, -1) for _ in range(PER_CELL)]
    places = [(rate, index % 2) for index, rate in enumerate(rates)]
    found = binned(points_of(places, [0.5] * len(rates)), number("a", LR), number("b"))
    assert found is not None
    assert found.x.log
    assert not found.y.log
    (edge,) = {found.edges(cell)[0][1] for cell in found.cells if cell.column == 0}
    assert edge == pytest.approx(1e-3)


@pytest.mark.parametrize(
    ("trials", "bins"), [(12, 2), (26, 2), (27, 3), (60, 4), (300, 10), (5000, MOST_BINS)]
)
def test_more_trials_have_more_cells(trials: int, bins: int):
    places = [(n / trials, (n * 0.618) % 1) for n in range(trials)]
    found = binned(points_of(places, [0.5] * trials), number("a"), number("b"))
    assert found is not None
    assert (found.columns, found.rows) == (bins, bins)
    assert sum(len(cell.trials) for cell in found.cells) == trials


def test_a_number_of_few_values_has_a_column_for_each():
    places = [(float(a), b / 30) for a, b in itertools.product((1, 2), range(30))]
    found = binned(points_of(places, [0.5] * 60), number("a"), number("b"))
    assert found is not None
    assert (found.columns, found.rows) == (2, 4)


def test_too_few_trials_or_one_value_have_no_map():
    few = points_of([(n / 11, n / 11) for n in range(FEWEST_TRIALS - 1)], [0.5] * 11)
    assert binned(few, number("a"), number("b")) is None
    alone = points_of([(0.5, n / 20) for n in range(20)], [0.5] * 20)
    assert binned(alone, number("a"), number("b")) is None
    # only trials that have both parameters are counted
    apart = [Point(n, 0.5, True, None, (0.5,), {"a" if n % 2 else "b": n / 30}) for n in range(30)]
    assert binned(apart, number("a"), number("b")) is None
