"""A map of two numbers: the plane of both in cells, each with the mean score of its trials.

Nothing is interpolated: a cell without trials stays empty. The functions are pure.
"""

import collections
import dataclasses
import math
import statistics
from collections.abc import Sequence
from typing import Any

from sweeps.reporting.charts import Point
from sweeps.reporting.svg import (
    BOTTOM,
    HEIGHT,
    LEFT,
    RIGHT,
    TOP,
    WIDTH,
    Chart,
    Scale,
    axis_x,
    axis_y,
    counted,
    drawing,
    escape,
    quantiles,
    short,
    strength,
    tag,
)
from sweeps.results.design import has_log_scale
from sweeps.space.domains import Numeric
from sweeps.space.parameters import Parameter
from trainer.metrics import Goal

PER_CELL = 3  # trials, on average
FEWEST_TRIALS = 2 * 2 * PER_CELL
MOST_BINS = 10  # along each axis; with more, the scores do not fit into the cells
LABEL_X = 14  # of the name of the vertical axis


@dataclasses.dataclass(frozen=True)
class Cell:
    """A part of the plane that holds trials.

    Attributes:
        column, row: counted from the least values.
        score: the mean of the trials' fold-adjusted scores.
        trials: their numbers.
    """

    column: int
    row: int
    score: float
    trials: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Binned:
    """The plane of two parameters, from their least to their greatest values, in equal cells.

    Attributes:
        names: the horizontal and the vertical parameter.
        x, y: their axes.
        cells: those that hold trials.
    """

    names: tuple[str, str]
    x: Scale
    y: Scale
    columns: int
    rows: int
    cells: tuple[Cell, ...]

    def edges(self, cell: Cell) -> tuple[tuple[float, float], tuple[float, float]]:
        """The least and the greatest value of each parameter in a cell."""
        across = [self.x.value((cell.column + side) / self.columns) for side in (0, 1)]
        up = [self.y.value((cell.row + side) / self.rows) for side in (0, 1)]
        return (across[0], across[1]), (up[0], up[1])

    def as_json(self) -> dict[str, Any]:
        """The cells as the report's JSON has them."""
        return {
            "parameters": list(self.names),
            "cells": [
                {
                    **dict(zip(self.names, map(list, self.edges(cell)), strict=True)),
                    "score": cell.score,
                    "trials": list(cell.trials),
                }
                for cell in self.cells
            ],
        }


def binned(points: Sequence[Point], across: Parameter, up: Parameter) -> Binned | None:
    """Put the trials that have both parameters into cells.

    The number of cells follows from the number of trials.

    Returns:
        None if fewer than FEWEST_TRIALS have both, or if all have the same value of one.
    """
    having = [p for p in points if across.name in p.values and up.name in p.values]
    bins = min(MOST_BINS, math.isqrt(len(having) // PER_CELL))
    x = _axis(across, having, start=LEFT, end=WIDTH - RIGHT)
    y = _axis(up, having, start=HEIGHT - BOTTOM, end=TOP)
    if bins < 2 or x is None or y is None:
        return None
    columns = min(bins, len({p.values[across.name] for p in having}))
    rows = min(bins, len({p.values[up.name] for p in having}))
    found: dict[tuple[int, int], list[Point]] = collections.defaultdict(list)
    for point in having:
        column = min(int(x.share(point.values[across.name]) * columns), columns - 1)
        row = min(int(y.share(point.values[up.name]) * rows), rows - 1)
        found[column, row].append(point)
    cells = tuple(
        Cell(*place, statistics.fmean(p.score for p in inside), tuple(p.trial for p in inside))
        for place, inside in sorted(found.items())
    )
    return Binned((across.name, up.name), x, y, columns, rows, cells)


def _axis(
    parameter: Parameter, points: Sequence[Point], *, start: float, end: float
) -> Scale | None:
    """The axis from the least to the greatest value; None if they are the same."""
    assert isinstance(parameter.domain, Numeric)
    numbers = [float(point.values[parameter.name]) for point in points]
    low, high = min(numbers, default=0.0), max(numbers, default=0.0)
    log = has_log_scale(parameter.domain) and low > 0
    return Scale(low, high, start, end, log) if low < high else None


def binned_map(found: Binned, *, metric: str, goal: Goal) -> Chart:
    """The cells, coloured by their scores; a cell lights its trials in all charts."""
    low, high = quantiles([goal.sign * cell.score for cell in found.cells], 0.05, 0.95)
    parts = [
        axis_y(found.y),
        axis_x(found.x, y=HEIGHT - BOTTOM, label=found.names[0]),
        tag(
            "text",
            escape(found.names[1]),
            class_="label middle",
            transform=f"translate({LABEL_X} {(TOP + HEIGHT - BOTTOM) / 2:g}) rotate(-90)",
        ),
    ]
    parts.append(
        tag(
            "rect",
            x=found.x.start,
            y=found.y.end,
            width=found.x.end - found.x.start,
            height=found.y.start - found.y.end,
            class_="empty",
        )
    )
    for cell in found.cells:
        share = strength(goal.sign * cell.score, low, high)
        parts.append(_drawn(cell, found, share=share, metric=metric))
    title = f"{found.names[0]} and {found.names[1]}: mean {metric} of the trials in each cell"
    return Chart(
        title,
        drawing(title, *parts),
        "The stronger the colour, the better. Empty: no trial was there.",
        wide=True,
    )


def _drawn(cell: Cell, found: Binned, *, share: float, metric: str) -> str:
    """A cell with its mean score.

    Args:
        share: how good it is among the cells, from 0 to 1.
    """
    width = (found.x.end - found.x.start) / found.columns
    height = (found.y.start - found.y.end) / found.rows
    left = found.x.start + cell.column * width
    top = found.y.start - (cell.row + 1) * height
    count = counted(len(cell.trials), "trial")
    ranges = ", ".join(
        f"{name} {_short(low)} to {_short(high)}"
        for name, (low, high) in zip(found.names, found.edges(cell), strict=True)
    )
    return tag(
        "rect",
        tag("title", escape(f"{count}, mean {metric} {cell.score:.4f}; {ranges}")),
        x=left,
        y=top,
        width=width - 1,
        height=height - 1,
        fill_opacity=f"{0.12 + 0.88 * share:.2f}",
        class_="cell",
        data_t=" ".join(map(str, cell.trials)),
    ) + tag(
        "text",
        f"{cell.score:.4f}",
        x=left + width / 2,
        y=top + height / 2 + 4,
        class_="middle on-dark" if share > 0.5 else "middle on-light",
    )


def _short(number: float) -> str:
    return short(float(f"{number:.3g}"))
