"""The leaderboard: the complete trials of a sweep, best first, with their OOF scores.

This module only reads.
"""

import dataclasses
import statistics
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from sweeps.errors import NothingCompletedError
from sweeps.paths import SweepFiles
from sweeps.results.chosen import Choice, Ranked
from sweeps.results.metric import Metric
from sweeps.results.oof import oof_score
from sweeps.results.ranking import trial_directory
from sweeps.results.resampling import Interval
from sweeps.results.summary import summarise
from sweeps.results.sweep_metric import metric_of
from sweeps.results.view import SweepView
from sweeps.space.domains import Categorical
from sweeps.space.language import read_space
from sweeps.space.parameters import Space
from sweeps.study.records import Origin, fold_scores, is_history, origin, reason
from trainer.data.folds import Folds
from trainer.errors import DataError
from trainer.metrics import Goal

# the keys of `sweeps best --json` that a choice fills
NOTHING_CHOSEN = {"ensemble": None, "choice": None}


@dataclasses.dataclass(frozen=True)
class Row:
    """One trial of a leaderboard.

    Attributes:
        std: standard deviation of the fold scores, with ddof 1; None with a single fold.
        oof_score: the metric over all OOF predictions together; None if their files are missing or
            damaged.
        params: values of the parameters by name, as in the search space.
        directory: the directory of the trial that was trained for this result.
        taken_from: the original trial in the other sweep if the trial is history; else None.
        seconds: the time that the trial took; None if it is not known.
        chance: the chance to be the best trial; None without a choice.
        expected: the score to expect on new groups, see `sweeps.results.chosen.Ranked`.
    """

    number: int
    score: float
    fold_scores: tuple[float, ...]
    std: float | None
    oof_score: float | None
    params: Mapping[str, Any]
    directory: Path
    taken_from: Origin | None
    seconds: float | None = None
    chance: float | None = None
    expected: Interval | None = None

    def as_json(self) -> dict[str, Any]:
        """The row as `sweeps best --json` prints it."""
        source = self.taken_from
        return {
            "number": self.number,
            "score": self.score,
            "fold_scores": list(self.fold_scores),
            "std": self.std,
            "oof_score": self.oof_score,
            "params": dict(self.params),
            "directory": str(self.directory),
            "taken_from": None
            if source is None
            else {"sweep": source.sweep, "trial": source.number},
            "seconds": self.seconds,
            "chance": self.chance,
            "estimate": None if self.expected is None else self.expected.value,
            "ci95": None if self.expected is None else [self.expected.low, self.expected.high],
        }


@dataclasses.dataclass(frozen=True)
class Other:
    """A trial without a score, for `sweeps best --all`.

    Attributes:
        state: "pruned" or "failed".
        reason: why.
    """

    number: int
    state: str
    fold_scores: tuple[float, ...]
    reason: str
    params: Mapping[str, Any]

    def as_json(self) -> dict[str, Any]:
        """The trial as `sweeps best --all --json` prints it."""
        return {**dataclasses.asdict(self), "fold_scores": list(self.fold_scores)}


@dataclasses.dataclass(frozen=True)
class Leaderboard:
    """The best complete trials of a sweep, and counts of all its trials.

    Attributes:
        completed, pruned, failed, taken_over, history: counts of trials, see Summary.
        trials: the best complete trials, best first.
        others: pruned and failed trials, if they were asked for.
        choice: what the sweep ships; None if it was not asked for.
        damaged: one line for each row whose OOF predictions are missing or damaged, except history.
    """

    sweep: str
    metric: str
    goal: Goal
    completed: int
    pruned: int
    failed: int
    taken_over: int
    history: int
    trials: tuple[Row, ...]
    others: tuple[Other, ...] = ()
    choice: Choice | None = None
    damaged: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The leaderboard as `sweeps best --json` prints it."""
        names = (
            "sweep",
            "metric",
            "goal",
            "completed",
            "pruned",
            "failed",
            "taken_over",
            "history",
        )
        values = {name: getattr(self, name) for name in names}
        values["trials"] = [row.as_json() for row in self.trials]
        if self.others:
            values["others"] = [other.as_json() for other in self.others]
        return {**values, **(NOTHING_CHOSEN if self.choice is None else self.choice.as_json())}


def leaderboard(
    view: SweepView,
    *,
    runs: Path,
    topk: int,
    choice: Choice | None = None,
    everything: bool = False,
) -> Leaderboard:
    """The leaderboard of a sweep.

    Args:
        runs: the folder of all results; the `directory` of a row begins with this path, unresolved.
        topk: the largest number of rows.
        choice: gives the rows their chances and estimates.
        everything: whether pruned and failed trials are listed, too.

    Raises:
        InputError, DataError: the folds of the sweep are missing or damaged.
    """
    summary = summarise(view)
    scores = _OOFScores(view, runs)
    known = {} if choice is None else {(row.sweep, row.number): row for row in choice.trials}
    space, _ = read_space(view.sweep.spec["parameters"])
    rows = tuple(
        _with_choice(
            _row(view, trial, space, runs=runs, scores=scores),
            known.get((view.name, trial.number)),
        )
        for trial in view.ranked()[:topk]
    )
    return Leaderboard(
        sweep=summary.sweep,
        metric=summary.metric,
        goal=summary.goal,
        completed=summary.completed,
        pruned=summary.pruned,
        failed=summary.failed,
        taken_over=summary.taken_over,
        history=summary.history,
        trials=rows,
        others=tuple(_others(view, space)) if everything else (),
        choice=choice,
        damaged=tuple(scores.damaged),
    )


def refuse_empty(found: Leaderboard) -> None:
    """Check that a trial is complete.

    Raises:
        NothingCompletedError: no trial is.
    """
    if not found.trials:
        raise NothingCompletedError(
            f"sweep {found.sweep!r} has no completed trial yet "
            f"({found.pruned} pruned, {found.failed} failed). `sweeps status` shows how it goes"
        )


def _row(
    view: SweepView, trial: FrozenTrial, space: Space, *, runs: Path, scores: "_OOFScores"
) -> Row:
    scored = fold_scores(trial)
    return Row(
        number=trial.number,
        score=trial.values[0],
        fold_scores=scored,
        std=statistics.stdev(scored) if len(scored) > 1 else None,
        oof_score=scores.of(trial),
        params=_values(space, trial.params),
        directory=trial_directory(runs, trial, sweep=view.name),
        taken_from=origin(trial, sweep=view.name) if is_history(trial, view.name) else None,
    )


def _values(space: Space, params: Mapping[str, Any]) -> dict[str, Any]:
    """The values of stored labels; for example, a list or a mapping is stored as text."""
    domains = {name: space[name].domain for name in params}
    return {
        name: domain.value_of(params[name]) if isinstance(domain, Categorical) else params[name]
        for name, domain in domains.items()
    }


def _with_choice(row: Row, known: Ranked | None) -> Row:
    if known is None:
        return row
    return dataclasses.replace(
        row, seconds=known.seconds, chance=known.chance, expected=known.expected
    )


def _others(view: SweepView, space: Space) -> Iterator[Other]:
    states = {TrialState.PRUNED: "pruned", TrialState.FAIL: "failed"}
    for trial in view.trials:
        if trial.state in states:
            yield Other(
                trial.number,
                states[trial.state],
                fold_scores(trial),
                reason(trial),
                _values(space, trial.params),
            )


class _OOFScores:
    """Computes OOF scores of trials with the sweep's metric.

    The first call of `of` loads the folds and the metric.
    """

    def __init__(self, view: SweepView, runs: Path) -> None:
        self._view = view
        self._runs = runs
        self._files = SweepFiles.of(runs, view.name)
        self._folds: Folds | None = None
        self._metric: Metric
        self.damaged: list[str] = []

    def of(self, trial: FrozenTrial) -> float | None:
        """The OOF score of a trial; None if its files are missing or damaged."""
        if self._folds is None:
            self._folds = self._files.folds()  # sweeps in the history have the same folds
            self._metric = metric_of(self._view, self._files, self._folds)
        directory = trial_directory(self._runs.resolve(), trial, sweep=self._view.name)
        if is_history(trial, self._view.name) and not directory.is_dir():
            return None
        try:
            return oof_score(directory, self._folds, metric=self._metric)
        except DataError as error:
            self.damaged.append(f"trial {trial.number}: {error}")
            return None
