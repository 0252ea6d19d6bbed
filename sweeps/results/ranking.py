"""Which complete trials stand on a sweep's leaderboard, best first, and where their files lie. Pure."""

from collections.abc import Iterable
from pathlib import Path

from optuna.trial import FrozenTrial, TrialState

from sweeps.paths import SweepFiles
from sweeps.study.records import Origin, origin, score_key
from trainer.metrics import Goal


def trial_directory(runs: Path, trial: FrozenTrial, *, sweep: str) -> Path:
    """The directory with the files of a trial of `sweep`; that of another trial if it took a result over."""
    of = origin(trial, sweep=sweep)
    return SweepFiles(runs / of.sweep).trial(of.number).directory


def rank(trials: Iterable[FrozenTrial], *, goal: Goal, sweep: str) -> list[FrozenTrial]:
    """The complete trials of a sweep, best first.

    Of trials with one origin only the first is listed: the others are that trial again.
    """
    done = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    done.sort(key=lambda trial: score_key(trial.values[0], trial.number, goal=goal))
    firsts: dict[Origin, FrozenTrial] = {}
    for trial in done:
        firsts.setdefault(origin(trial, sweep=sweep), trial)
    return list(firsts.values())
