"""The complete trials of a sweep, best first, with their scores over all folds at once. Reads only."""

import dataclasses
import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial

from sweeps.paths import SweepFiles
from sweeps.results.oof import Score, oof_score
from sweeps.results.ranking import trial_directory
from sweeps.results.summary import summarise
from sweeps.results.view import SweepView
from sweeps.space.domains import Categorical
from sweeps.space.language import read_space
from sweeps.space.parameters import Space
from sweeps.space.spec import result_field, user_metric
from sweeps.study.records import (
    Origin,
    fold_scores,
    is_history,
    origin,
)
from trainer.data.folds import Folds
from trainer.metrics import Goal, score_fold


@dataclasses.dataclass(frozen=True)
class Row:
    """One trial of a leaderboard.

    Attributes:
        std: over the folds, with ddof 1; None with a single fold.
        oof_score: the metric over all out-of-fold predictions at once; None where another sweep's files are gone.
        params: by name, as the search space writes them.
        directory: with the files of the trial that was trained.
        taken_from: the trial of another sweep that it is, if it is history.
    """

    number: int
    score: float
    fold_scores: tuple[float, ...]
    std: float | None
    oof_score: float | None
    params: Mapping[str, Any]
    directory: Path
    taken_from: Origin | None

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
        }


@dataclasses.dataclass(frozen=True)
class Leaderboard:
    """The best complete trials of a sweep, and what became of all of them.

    Attributes:
        completed, pruned, failed, taken_over, history: counts of trials, see Summary.
        trials: best first.
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

    def as_json(self) -> dict[str, Any]:
        """What `sweeps best --json` prints."""
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
        rows = [row.as_json() for row in self.trials]
        return {**{name: getattr(self, name) for name in names}, "trials": rows, "ensemble": None}


def leaderboard(view: SweepView, *, runs: Path, topk: int) -> Leaderboard:
    """The best trials of a sweep.

    Args:
        runs: the folder of all results; directories are below it as it is written.
        topk: how many trials.

    Raises:
        InputError, DataError: files of the sweep are missing or damaged.
    """
    summary, scores = summarise(view), _OOFScores(view, runs)
    space, _ = read_space(view.sweep.spec["parameters"])
    return Leaderboard(
        sweep=summary.sweep,
        metric=summary.metric,
        goal=summary.goal,
        completed=summary.completed,
        pruned=summary.pruned,
        failed=summary.failed,
        taken_over=summary.taken_over,
        history=summary.history,
        trials=tuple(
            _row(view, trial, space, runs=runs, scores=scores) for trial in view.ranked()[:topk]
        ),
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
    """Stored labels as the values they stand for: lists and mappings are stored as text."""
    domains = {name: space[name].domain for name in params}
    return {
        name: domain.value_of(params[name]) if isinstance(domain, Categorical) else params[name]
        for name, domain in domains.items()
    }


class _OOFScores:
    """The sweep's metric over all predictions of a trial at once; folds and metric are loaded with the first."""

    def __init__(self, view: SweepView, runs: Path) -> None:
        self._view, self._runs, self._files = view, runs, SweepFiles.of(runs, view.name)
        self._folds: Folds | None = None
        self._score: Score

    def of(self, trial: FrozenTrial) -> float | None:
        """The score; None where another sweep's files are gone.

        Raises:
            InputError: files of this sweep are missing or damaged.
        """
        if self._folds is None:
            self._folds = self._files.folds()  # those of sweeps in the history are the same
            self._score = _scorer(self._view.metric, self._files, self._folds)
        directory = trial_directory(self._runs.resolve(), trial, sweep=self._view.name)
        if is_history(trial, self._view.name) and not directory.is_dir():
            return None
        return oof_score(directory, self._folds, score=self._score)


def _scorer(metric: str, files: SweepFiles, folds: Folds) -> Score:
    """The sweep's metric over any set of predictions; `valid/loss` as log loss, since each trial has its own loss."""
    own = user_metric(metric)
    if own is None:
        name = {"loss": "log_loss"}.get(result_field(metric), result_field(metric))
        return lambda probs_NK, labels_N: score_fold(probs_NK, labels_N)[name]
    from trainer.user_code import call_metric, load_user_function

    function, classes = load_user_function(own, files.code), folds.manifest.classes
    return lambda probs_NK, labels_N: call_metric(
        function, probs_NK, labels_N, classes, reference=own
    )
