"""Which complete trials stand on a sweep's leaderboard, best first, and where their files lie. Pure."""

import dataclasses
from collections.abc import Iterable
from pathlib import Path

from optuna.trial import FrozenTrial, TrialState

from sweeps.study import TAKEN_FROM


@dataclasses.dataclass(frozen=True)
class Origin:
    """The trial that was trained: the trial itself, or the one whose result it took over."""

    sweep: str
    number: int


def origin(trial: FrozenTrial, *, sweep: str) -> Origin:
    """Where the result of a trial of `sweep` comes from."""
    taken = trial.user_attrs.get(TAKEN_FROM)
    return Origin(sweep, trial.number) if taken is None else Origin(taken["sweep"], taken["trial"])


def trial_directory(runs: Path, trial: FrozenTrial, *, sweep: str) -> Path:
    """The directory with the files of a trial of `sweep`; that of another trial if it took a result over."""
    of = origin(trial, sweep=sweep)
    return runs / of.sweep / f"trial-{of.number:04d}"


def score_key(score: float, number: int, *, goal: str) -> tuple[float, int]:
    """Sorts complete trials best first; ties go to the lower number. A score is a number: Optuna refuses NaN."""
    return -score if goal == "maximize" else score, number


def rank(trials: Iterable[FrozenTrial], *, goal: str, sweep: str) -> list[FrozenTrial]:
    """The complete trials of a sweep, best first.

    Of trials with one origin only the first is listed: the others are that trial again.
    """
    done = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    done.sort(key=lambda trial: score_key(trial.values[0], trial.number, goal=goal))
    firsts: dict[Origin, FrozenTrial] = {}
    for trial in done:
        firsts.setdefault(origin(trial, sweep=sweep), trial)
    return list(firsts.values())
