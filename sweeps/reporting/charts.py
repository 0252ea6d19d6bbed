"""The charts of a report, from values that are known. The functions are pure.

The marks of a trial have its number as `data-t`, so that the page's script can light them together.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

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
    cut,
    drawing,
    escape,
    line,
    mark,
    quantiles,
    strength,
    tag,
)
from sweeps.results.differences import Difference
from sweeps.results.importance import Share
from trainer.metrics import Goal

MOST_CELLS = 200  # trials of the heat map of folds
SMALL_WIDTH, SMALL_HEIGHT = 460, 240  # of charts that stand beside each other
GOLDEN = 0.618034  # its multiples spread marks of one value evenly


@dataclasses.dataclass(frozen=True)
class Point:
    """A trial with a finished fold.

    Attributes:
        score: its fold-adjusted score.
        seconds: the mean time of its fold runs; None if it is not known.
        folds: the scores of its finished folds.
        values: the values of the parameters that vary.
    """

    trial: int
    score: float
    complete: bool
    seconds: float | None
    folds: tuple[float, ...]
    values: Mapping[str, Any]

    @property
    def text(self) -> str:
        """What is shown while the mouse pointer is over a mark of the trial."""
        state = "" if self.complete else f", stopped after {counted(len(self.folds), 'fold')}"
        return f"trial {self.trial}: {self.score:.4f}{state}"


def best_so_far(points: Sequence[Point], *, metric: str, goal: Goal) -> Chart:
    """All trials in their order, and the best complete one of those so far as a line."""
    x = Scale(-1, max(p.trial for p in points) + 1, LEFT, WIDTH - RIGHT)
    y = _scores(points)
    steps: list[tuple[float, float]] = []
    best: float | None = None
    for point in points:
        if point.complete and (best is None or goal.better(point.score, best)):
            if best is not None:
                steps.append((x.at(point.trial), y.at(best)))
            best = point.score
            steps.append((x.at(point.trial), y.at(best)))
    if best is not None:
        steps.append((x.end, y.at(best)))
    marks = "".join(
        mark(p.trial, x.at(p.trial), y.at(p.score), complete=p.complete, text=p.text)
        for p in points
    )
    title = f"{metric} of each trial, and the best so far"
    frame = axis_y(y) + axis_x(x, y=HEIGHT - BOTTOM, label="trial", counts=True)
    return Chart(
        title,
        drawing(title, frame, line(steps, class_="best") if steps else "", marks),
        "Filled: complete. Hollow: stopped early, at the fold-adjusted score." + _beyond(points, y),
    )


def importance_bars(shares: Sequence[Share]) -> Chart:
    """The share of each parameter, with its spread in bootstraps."""
    height = TOP + 24 * len(shares) + BOTTOM
    x = Scale(0, max(0.5, max(share.high for share in shares)), 190, WIDTH - RIGHT)
    rows = []
    for index, share in enumerate(shares):
        y = TOP + 24 * index
        rows += [
            tag("text", escape(cut(share.parameter, 26)), x=182, y=y + 15, class_="end"),
            tag(
                "rect",
                tag("title", escape(f"{share.parameter}: {share.value:.0%}")),
                x=x.start,
                y=y + 3,
                width=x.at(share.value) - x.start,
                height=16,
                class_="bar",
            ),
            line([(x.at(share.low), y + 11), (x.at(share.high), y + 11)], class_="error"),
        ]
    title = "Share of each parameter in the explained differences between trials"
    frame = axis_x(x, y=height - BOTTOM, label="share")
    return Chart(
        title,
        drawing(title, frame, *rows, height=height),
        "Lines: how much the share varies when the trials are drawn anew, 5 % to 95 %.",
    )


def interval_rows(pairs: Sequence[Difference], *, names: Sequence[str], metric: str) -> Chart:
    """The differences between values with their 95 % intervals.

    Args:
        names: what stands beside each pair.
    """
    height = TOP + 22 * len(pairs) + BOTTOM
    ends = [end for pair in pairs for end in (pair.low, pair.high)]
    x = Scale.over([0.0, *ends], start=300, end=WIDTH - RIGHT)
    rows = [tag("path", d=f"M{x.at(0):.1f} {TOP}V{height - BOTTOM}", class_="axis")]
    for index, (pair, name) in enumerate(zip(pairs, names, strict=True)):
        y = TOP + 22 * index + 11
        rows += [
            tag("text", escape(cut(name, 45)), x=292, y=y + 4, class_="end"),
            line(
                [(x.at(pair.low), y), (x.at(pair.high), y)],
                class_="bold" if pair.clear else "unsure",
            ),
            tag(
                "circle",
                tag("title", escape(f"{name}: {pair.gain:.4f} ({pair.verdict})")),
                cx=x.at(pair.gain),
                cy=float(y),
                r=4,
                class_="done" if pair.clear else "cut",
            ),
        ]
    title = f"By how much {metric} differs, with 95 % intervals"
    frame = axis_x(x, y=height - BOTTOM, label=f"difference in {metric}")
    return Chart(
        title,
        drawing(title, frame, *rows, height=height),
        "Bold: clear, all pairs considered. The first value of each pair is the better one.",
    )


def numeric_scatter(name: str, points: Sequence[Point], *, metric: str, log: bool) -> Chart:
    """A numeric parameter against the score."""
    having = [point for point in points if name in point.values]
    x = Scale.over(
        [float(point.values[name]) for point in having],
        start=LEFT,
        end=SMALL_WIDTH - RIGHT,
        log=log,
    )
    y = _scores(points, start=SMALL_HEIGHT - BOTTOM)
    marks = "".join(
        mark(p.trial, x.at(p.values[name]), y.at(p.score), complete=p.complete, text=p.text)
        for p in having
    )
    title = f"{name} against {metric}"
    return Chart(
        title,
        _small(
            title,
            axis_y(y, right=SMALL_WIDTH - RIGHT),
            axis_x(x, y=SMALL_HEIGHT - BOTTOM, label=name),
            marks,
        ),
        _beyond(having, y).strip(),
    )


def choice_strips(
    name: str, values: Sequence[Any], points: Sequence[Point], *, metric: str
) -> Chart:
    """A choice against the score: a strip of marks for each value, with its median.

    Args:
        values: the values in the order of the search space.
    """
    y = _scores(points, start=SMALL_HEIGHT - BOTTOM)
    width = (SMALL_WIDTH - RIGHT - LEFT) / len(values)
    parts = [axis_y(y, right=SMALL_WIDTH - RIGHT)]
    for index, value in enumerate(values):
        middle = LEFT + (index + 0.5) * width
        own = [p for p in points if name in p.values and repr(p.values[name]) == repr(value)]
        parts.append(
            tag(
                "text",
                escape(cut(str(value), int(width / 6.8))),
                x=middle,
                y=SMALL_HEIGHT - BOTTOM + 15,
                class_="tick middle",
            )
        )
        parts += [
            mark(
                p.trial,
                middle + (p.trial * GOLDEN % 1 - 0.5) * 0.6 * width,
                y.at(p.score),
                complete=p.complete,
                text=p.text,
            )
            for p in own
        ]
        if own:
            (median,) = quantiles([p.score for p in own], 0.5)
            at = y.at(median)
            parts.append(
                line([(middle - 0.35 * width, at), (middle + 0.35 * width, at)], class_="error")
            )
    parts.append(
        tag(
            "text",
            escape(name),
            x=(LEFT + SMALL_WIDTH - RIGHT) / 2,
            y=SMALL_HEIGHT - BOTTOM + 31,
            class_="label middle",
        )
    )
    title = f"{name} against {metric}"
    return Chart(title, _small(title, *parts), "Lines: medians." + _beyond(points, y))


def fold_grid(points: Sequence[Point], ease_K: Sequence[float], *, goal: Goal) -> Chart:
    """Trials, best first, by folds: how much better a score is than usual on its fold."""
    best = sorted(points, key=lambda p: -goal.sign * p.score)[:MOST_CELLS]
    k = len(ease_K)
    side = (WIDTH - RIGHT - LEFT) / len(best)
    height = TOP + 28 * k + BOTTOM
    relative = [
        [goal.sign * (score - ease_K[fold]) for fold, score in enumerate(p.folds)] for p in best
    ]
    low, high = quantiles([cell for row in relative for cell in row], 0.05, 0.95)
    cells = [
        tag(
            "rect",
            tag("title", escape(f"trial {p.trial}, fold {fold + 1}: {p.folds[fold]:.4f}")),
            x=LEFT + index * side,
            y=TOP + 28 * fold,
            width=max(side - 0.5, 0.5),
            height=26,
            fill_opacity=f"{0.08 + 0.92 * strength(cell, low, high):.2f}",
            class_="cell",
            data_t=p.trial,
        )
        for index, (p, row) in enumerate(zip(best, relative, strict=True))
        for fold, cell in enumerate(row)
    ]
    labels = [
        tag("text", f"fold {fold + 1}", x=LEFT - 6, y=TOP + 28 * fold + 18, class_="tick end")
        for fold in range(k)
    ]
    under = tag(
        "text",
        f"{counted(len(best), 'trial')}, the best at the left",
        x=(LEFT + WIDTH - RIGHT) / 2,
        y=height - BOTTOM + 20,
        class_="label middle",
    )
    title = "Folds of each trial"
    return Chart(
        title,
        drawing(title, *labels, *cells, under, height=height),
        "The stronger the colour, the better for its fold. A gap: the trial was stopped before "
        "this fold.",
    )


def cost(points: Sequence[Point], front: Sequence[Point], *, metric: str) -> Chart:
    """The time of a fold run against the score, with the trials that no other one dominates."""
    timed = [point for point in points if point.seconds]
    x = Scale.over([float(p.seconds or 0) for p in timed], start=LEFT, end=WIDTH - RIGHT, log=True)
    y = _scores(timed)
    marks = "".join(
        mark(p.trial, x.at(p.seconds or 0), y.at(p.score), complete=p.complete, text=p.text)
        for p in timed
    )
    steps = [(x.at(p.seconds or 0), y.at(p.score)) for p in front]
    title = f"Seconds of a fold run against {metric}"
    frame = axis_y(y) + axis_x(x, y=HEIGHT - BOTTOM, label="mean seconds of a fold run")
    return Chart(
        title,
        drawing(title, frame, line(steps, class_="front") if len(steps) > 1 else "", marks),
        "Line: complete trials of which none is both better and quicker." + _beyond(timed, y),
    )


def learning_curves(
    curves: Mapping[int, Sequence[Sequence[tuple[float, float]]]], *, metric: str
) -> Chart:
    """Epochs against the score of a fold, for each fold of some trials, and their means.

    Args:
        curves: for each trial one curve per fold, of epochs and scores.
    """
    every = [point for folds in curves.values() for fold in folds for point in fold]
    right = WIDTH - RIGHT - 12  # room for numbers of trials
    x = Scale.over([epoch for epoch, _ in every], start=LEFT, end=right)
    y = Scale.over([score for _, score in every], start=HEIGHT - BOTTOM, end=TOP)
    parts: list[str] = []
    ends: list[float] = []
    for index, (trial, folds) in enumerate(curves.items()):
        colour = f"c{index % 5}" if index % 5 else ""
        parts += [
            line([(x.at(e), y.at(s)) for e, s in fold], class_=f"run {colour}".strip(), trial=trial)
            for fold in folds
            if len(fold) > 1
        ]
        at_epoch: dict[float, list[float]] = {}
        for epoch, score in (point for fold in folds for point in fold):
            at_epoch.setdefault(epoch, []).append(score)
        means = [(x.at(e), y.at(float(np.mean(s)))) for e, s in sorted(at_epoch.items())]
        parts.append(line(means, class_=f"bold {colour}".strip(), trial=trial))
        ends.append(means[-1][1])
    places = _apart(ends, gap=12, low=TOP, high=HEIGHT - BOTTOM)
    for index, (trial, y_text) in enumerate(zip(curves, places, strict=True)):
        class_ = f"tick t{index % 5}"
        parts.append(
            tag("text", str(trial), x=right + 6, y=y_text + 4, class_=class_, data_t=trial)
        )
    which = "best trial" if len(curves) == 1 else f"best {len(curves)} trials"
    title = f"Learning curves of the {which}"
    label = f"epoch, against {metric}"
    frame = axis_y(y) + axis_x(x, y=HEIGHT - BOTTOM, label=label, counts=True)
    return Chart(
        title,
        drawing(title, frame, *parts),
        "Thin: folds. Bold: their mean, with the trial's number.",
    )


def pareto(points: Sequence[Point], *, goal: Goal) -> list[Point]:
    """The complete trials of which none is both better and quicker, the quickest first."""
    timed = [point for point in points if point.complete and point.seconds]
    timed.sort(key=lambda point: (point.seconds or 0, -goal.sign * point.score, point.trial))
    front: list[Point] = []
    for point in timed:
        if not front or goal.better(point.score, front[-1].score):
            front.append(point)
    return front


def _apart(places: Sequence[float], *, gap: float, low: float, high: float) -> list[float]:
    """The places, moved as little as possible until neighbours are at least `gap` apart.

    Without the gaps up to each place, they only have to rise: least squares pools those that fall.
    """
    order = sorted(range(len(places)), key=lambda index: places[index])
    pools: list[list[float]] = []
    for rank, index in enumerate(order):
        pools.append([places[index] - rank * gap])
        while len(pools) > 1 and np.mean(pools[-2]) > np.mean(pools[-1]):
            last = pools.pop()
            pools[-1] += last
    level = [float(np.mean(pool)) for pool in pools for _ in pool]
    highest = high - gap * (len(places) - 1)
    moved = {
        index: min(max(level[rank], low), highest) + gap * rank for rank, index in enumerate(order)
    }
    return [moved[index] for index in range(len(places))]


def _small(title: str, *content: str) -> str:
    """A chart that stands beside another one."""
    return drawing(title, *content, width=SMALL_WIDTH, height=SMALL_HEIGHT)


def _scores(points: Sequence[Point], *, start: float = HEIGHT - BOTTOM) -> Scale:
    """The vertical axis of scores; a trial far off all others lies at its edge.

    One trial that learned nothing would press all others onto one line.
    """
    low, middle, high = quantiles([p.score for p in points], 0.25, 0.5, 0.75)
    reach = 3 * (high - low) or abs(middle) or 1.0
    near = [p.score for p in points if low - reach <= p.score <= high + reach]
    return Scale.over(near, start=start, end=TOP)


def _beyond(points: Sequence[Point], y: Scale) -> str:
    """A sentence about trials that are not where they are drawn; empty without one."""
    outside = any(not y.low <= point.score <= y.high for point in points)
    return " At the edge: trials that are far off the others." if outside else ""
