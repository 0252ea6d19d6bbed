"""The order of the trials on a sweep's leaderboard, and the directories of their files.

The functions are pure.
"""

from collections.abc import Iterable
from pathlib import Path

from optuna.trial import FrozenTrial, TrialState

from sweeps.paths import SweepFiles
from sweeps.study.records import Origin, origin, score_key
from trainer.metrics import Goal


def trial_directory(runs: Path, trial: FrozenTrial, *, sweep: str) -> Path:
    """The directory with the files for the result of a trial of `sweep`.

    If the trial took its result over, this is the directory of the trial that was trained.
    """
    source = origin(trial, sweep=sweep)
    return SweepFiles(runs / source.sweep).trial(source.number).directory


def rank(trials: Iterable[FrozenTrial], *, goal: Goal, sweep: str) -> list[FrozenTrial]:
    """The complete trials of a sweep, best first.

    Several trials may have the same result, because all but one took it over. Only the first of
    them is in the list.

    Example:
        >>> from optuna.trial import create_trial
        >>> trials = [create_trial(value=score) for score in (0.7, 0.9, 0.8)]
        >>> for number, trial in enumerate(trials):
        ...     trial.number = number
        >>> [trial.number for trial in rank(trials, goal=Goal.MAXIMIZE, sweep="mask")]
        [1, 2, 0]
    """
    done = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    done.sort(key=lambda trial: score_key(trial.values[0], trial.number, goal=goal))
    firsts: dict[Origin, FrozenTrial] = {}
    for trial in done:
        firsts.setdefault(origin(trial, sweep=sweep), trial)
    return list(firsts.values())
