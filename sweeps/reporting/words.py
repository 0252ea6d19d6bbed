"""What a report says in sentences. The functions are pure."""

import datetime
from collections.abc import Iterator, Sequence
from typing import Any

from sweeps.reporting.charts import Point
from sweeps.reporting.svg import counted
from sweeps.results.chosen import Choice, names_of
from sweeps.results.differences import Difference, Differences
from sweeps.results.explained import explain_ensemble, explain_trial
from sweeps.results.importance import Importance
from trainer.metrics import Goal

MOST_NAMED = 8
# The ease of a fold is told if it is this many times the standard error of a mean over trials.
WORTH_TELLING = 3.0


def value_text(value: Any) -> str:
    """The value of a parameter as text; a float has three significant digits.

    Example:
        >>> value_text(0.000123456), value_text("adamw"), value_text([1, 2])
        ('0.000123', 'adamw', '[1, 2]')
    """
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def time_text(seconds: float) -> str:
    """How long something took.

    Example:
        >>> time_text(288), time_text(5400)
        ('5 minutes', '1.5 hours')
    """
    minutes = round(seconds / 60)
    if minutes < 60:
        return counted(minutes, "minute")
    return f"{seconds / 3600:.1f} hours"


def moment_text(moment: str) -> str:
    """A moment in ISO 8601 as people write it.

    Example:
        >>> moment_text("2026-11-28T12:25:14+00:00")
        '2026-11-28 12:25 UTC'
    """
    return f"{datetime.datetime.fromisoformat(moment):%Y-%m-%d %H:%M %Z}"


def about_the_choice(choice: Choice | None) -> list[str]:
    """What is best, what cannot be told from it, and what is shipped."""
    if choice is None:
        return ["no completed trial has readable predictions, so nothing is chosen"]
    names = names_of(choice)
    members = ", ".join(names[member.name] for member in choice.ensemble.members)
    score, *more = explain_ensemble(choice)
    return [
        *explain_trial(choice),
        f"ensemble of {members}: {score}",
        *(f"the ensemble: {line}" for line in more[:1]),
    ]


def alike_sentence(choice: Choice) -> str:
    """Who cannot be told from the best trial; empty if there is no other one."""
    names = names_of(choice)
    if len(names) == 1:
        return ""
    best = names[choice.chosen]
    others = [names[name] for name in choice.alike if name != choice.chosen]
    if choice.single is None:
        return "fewer than 10 groups are scored, so no two trials can be told apart"
    if not others:
        return f"every other trial can be told from {best}: it is worse"
    more = f" and {len(others) - MOST_NAMED} more" if len(others) > MOST_NAMED else ""
    return f"cannot be told from {best}: {', '.join(others[:MOST_NAMED])}{more}"


def about_importance(found: Importance) -> str:
    """Which parameters matter most."""
    if not found.shares:
        return found.sentence
    first = ", ".join(f"{share.parameter} {share.value:.0%}" for share in found.shares[:3])
    return f"what matters most: {first}; {found.sentence}"


def difference_sentence(pair: Difference, *, metric: str) -> str:
    """One difference in words."""
    better, worse = value_text(pair.better), value_text(pair.worse)
    if pair.clear:
        return (
            f"{pair.parameter}: {better} is better than {worse} by {pair.gain:.4f} in {metric} "
            f"(95 %: {pair.low:.4f} to {pair.high:.4f})"
        )
    return (
        f"{pair.parameter}: {better} or {worse}: {pair.verdict} ({pair.gain:.4f}; 95 %: "
        f"{pair.low:.4f} to {pair.high:.4f})"
    )


def about_differences(found: Differences, *, metric: str) -> list[str]:
    """The largest clear difference of each parameter, and parameters without one."""
    if found.too_few is not None:
        return [f"which choices are better: {found.too_few}"]
    lines, unseen = [], []
    for name in dict.fromkeys(pair.parameter for pair in found.pairs):
        clear = [pair for pair in found.of(name) if pair.clear]
        if clear:
            largest = max(clear, key=lambda pair: pair.gain)
            lines.append(difference_sentence(largest, metric=metric))
        else:
            unseen.append(name)
    if unseen:
        lines.append(f"no clear difference between values of {', '.join(unseen)}")
    return lines


def about_folds(points: Sequence[Point], ease_K: Sequence[float], *, goal: Goal) -> list[str]:
    """How hard each fold is, the hardest first, where it is no chance."""
    error = _fold_error(points, ease_K)
    told = [
        (goal.sign * ease, fold)
        for fold, ease in enumerate(ease_K)
        if error is not None and abs(ease) > WORTH_TELLING * error
    ]
    return [
        f"fold {fold + 1} is {'harder' if ease < 0 else 'easier'} than the mean of all folds by "
        f"{abs(ease):.4f}"
        for ease, fold in sorted(told)
    ]


def _fold_error(points: Sequence[Point], ease_K: Sequence[float]) -> float | None:
    """The standard error of the ease of a fold, by the residuals of complete trials."""
    residuals = list(_residuals(points, ease_K))
    complete = sum(len(point.folds) == len(ease_K) for point in points)
    free = (complete - 1) * (len(ease_K) - 1)
    if free < 4:
        return None
    variance = sum(residual**2 for residual in residuals) / free
    return float((variance / complete) ** 0.5)


def _residuals(points: Sequence[Point], ease_K: Sequence[float]) -> Iterator[float]:
    for point in points:
        if len(point.folds) == len(ease_K):
            for score, ease in zip(point.folds, ease_K, strict=True):
                yield score - ease - point.score
