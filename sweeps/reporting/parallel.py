"""Parallel coordinates: one axis per parameter, one line per trial. The functions are pure."""

import math
from collections.abc import Sequence
from typing import Any

from sweeps.reporting.charts import Point
from sweeps.reporting.svg import WIDTH, Chart, Scale, cut, drawing, escape, quantiles, short, tag
from sweeps.results.design import has_log_scale
from sweeps.space.domains import Categorical, Numeric
from sweeps.space.parameters import Parameter
from trainer.metrics import Goal

HEIGHT, TOP, END = 380, 44, 350
FIRST, LAST = 40, 650
MOST_AXES = 9
FAINT = 0.08  # opacity of the line of a bad trial
STRONG = 15  # so many trials are better than the one whose line has about a third of the strength
LETTER = 6.4  # pixels, of a tick's label
MOST_LINES = 500


def parallel_coordinates(
    points: Sequence[Point], parameters: Sequence[Parameter], *, metric: str, goal: Goal
) -> Chart:
    """The best MOST_LINES trials along the first MOST_AXES parameters and the score.

    The best trials stand out, the more so the more trials there are.
    A line has the places of its trial on all axes as `data-y`; on an axis of a parameter that the
    trial lacks, the place is below the axis. The page's script hides the lines outside of brushes.
    """
    best_last = sorted(points, key=lambda p: goal.sign * p.score)[-MOST_LINES:]
    shown = parameters[:MOST_AXES]
    step = (LAST - FIRST) / len(shown)
    axes = [_axis(parameter, best_last) for parameter in shown]
    scores = Scale.over([p.score for p in best_last], start=END - 20, end=TOP)
    lines = []
    for better, point in zip(range(len(best_last) - 1, -1, -1), best_last, strict=True):
        places = [axis.place(point) for axis in axes] + [scores.at(point.score)]
        path = "M" + "L".join(f"{FIRST + i * step:.1f} {y:.1f}" for i, y in enumerate(places))
        lines.append(
            tag(
                "path",
                tag("title", escape(point.text)),
                d=path,
                class_="way",
                stroke_opacity=f"{FAINT + (0.9 - FAINT) * math.exp(-better / STRONG):.2f}",
                data_t=point.trial,
                data_y=" ".join(f"{y:.1f}" for y in places),
            )
        )
    names = [parameter.name for parameter in shown] + [metric]
    ticks = [axis.ticks for axis in axes] + [[(scores.at(t), short(t)) for t in scores.ticks()]]
    frame = [
        _frame(index, step, name, of_axis)
        for index, (name, of_axis) in enumerate(zip(names, ticks, strict=True))
    ]
    title = "Parameters and scores of the trials"
    left_out = len(parameters) - len(shown)
    return Chart(
        title,
        drawing(title, *lines, *frame, height=HEIGHT, width=WIDTH),
        "Drag along an axis to keep the trials that pass there; click it to keep all. At the foot "
        "of an axis: trials without the parameter."
        + (f" The {left_out} parameters that matter least are left out." if left_out else ""),
    )


class _Axis:
    """Where trials lie on the axis of one parameter."""

    def __init__(self, ticks: list[tuple[float, str]], place: Any, name: str) -> None:
        self.ticks = ticks
        self._place = place
        self._name = name

    def place(self, point: Point) -> float:
        """The height of a trial, END without the parameter."""
        if self._name not in point.values:
            return float(END)
        return float(self._place(point.values[self._name]))


def _axis(parameter: Parameter, points: Sequence[Point]) -> _Axis:
    name, domain = parameter.name, parameter.domain
    if isinstance(domain, Categorical):
        count = len(domain.values)
        gap = (END - 20 - TOP) / max(count - 1, 1)
        places = {repr(value): END - 20 - index * gap for index, value in enumerate(domain.values)}
        ticks = [(places[repr(value)], str(value)) for value in domain.values]
        return _Axis(ticks, lambda value: places[repr(value)], name)
    assert isinstance(domain, Numeric)
    numbers = [float(point.values[name]) for point in points if name in point.values]
    scale = Scale.over(numbers, start=END - 20, end=TOP, log=has_log_scale(domain))
    low, high = quantiles(numbers or [0.0], 0, 1)
    ticks = [(scale.at(number), short(float(f"{number:.2g}"))) for number in {low, high}]
    ticks += [(scale.at(tick), short(tick)) for tick in scale.ticks(most=4) if low < tick < high]
    return _Axis(_apart(ticks), scale.at, name)


def _apart(ticks: list[tuple[float, str]]) -> list[tuple[float, str]]:
    """The ticks without those that would lie on another one."""
    kept: list[tuple[float, str]] = []
    for y, text in ticks:
        if all(abs(y - other) > 12 for other, _ in kept):
            kept.append((y, text))
    return kept


def _frame(index: int, step: float, name: str, ticks: Sequence[tuple[float, str]]) -> str:
    """An axis with its name and ticks, and the areas to drag on.

    Args:
        step: the distance between two axes.
    """
    x = FIRST + index * step
    letters = int((step - 14) / LETTER)
    labels = "".join(
        tag(
            "text",
            escape(cut(text, letters)),
            x=x + 5,
            y=y + 4,
            class_="tick",
        )
        for y, text in ticks
    )
    return (
        tag(
            "text",
            tag("title", escape(name)),
            escape(cut(name, 14)),
            x=x,
            y=16 + 14 * (index % 2),
            class_="middle",
        )
        + tag("path", d=f"M{x:.1f} {TOP - 6}V{END}", class_="axis")
        + labels
        + tag(
            "rect",
            x=x - 12,
            y=TOP - 6,
            width=24,
            height=END - TOP + 12,
            class_="touch",
            data_axis=index,
        )
        + tag("rect", x=x - 6, y=TOP, width=12, height=0, class_="brush")
    )
