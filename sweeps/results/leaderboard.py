"""The leaderboard: the complete trials of a sweep, best first, with their OOF scores.

This module only reads.
"""

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
from sweeps.study.records import Origin, fold_scores, is_history, origin
from trainer.data.folds import Folds
from trainer.metrics import Goal, score_fold


@dataclasses.dataclass(frozen=True)
class Row:
    """One trial of a leaderboard.

    Attributes:
        std: standard deviation of the fold scores, with ddof 1; None with a single fold.
        oof_score: the metric over all OOF predictions together; None for history if the files of
            the other sweep are gone.
        params: values of the parameters by name, as in the search space.
        directory: the directory of the trial that was trained for this result.
        taken_from: the original trial in the other sweep if the trial is history; else None.
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
    """The best complete trials of a sweep, and counts of all its trials.

    Attributes:
        completed, pruned, failed, taken_over, history: counts of trials, see Summary.
        trials: the best complete trials, best first.
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
        rows = [row.as_json() for row in self.trials]
        return {**{name: getattr(self, name) for name in names}, "trials": rows, "ensemble": None}


def leaderboard(view: SweepView, *, runs: Path, topk: int) -> Leaderboard:
    """The leaderboard of a sweep.

    Args:
        runs: the folder of all results; the `directory` of a row begins with this path, unresolved.
        topk: the largest number of rows.

    Raises:
        InputError, DataError: files of the sweep are missing or damaged.
    """
    summary = summarise(view)
    scores = _OOFScores(view, runs)
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
    """The values of stored labels; for example, a list or a mapping is stored as text."""
    domains = {name: space[name].domain for name in params}
    return {
        name: domain.value_of(params[name]) if isinstance(domain, Categorical) else params[name]
        for name, domain in domains.items()
    }


class _OOFScores:
    """Computes OOF scores of trials with the sweep's metric.

    The first call of `of` loads the folds and the metric.
    """

    def __init__(self, view: SweepView, runs: Path) -> None:
        self._view = view
        self._runs = runs
        self._files = SweepFiles.of(runs, view.name)
        self._folds: Folds | None = None
        self._score: Score

    def of(self, trial: FrozenTrial) -> float | None:
        """The OOF score of a trial; None for history if the files of the other sweep are gone.

        Raises:
            DataError: files of this sweep are missing or damaged.
        """
        if self._folds is None:
            self._folds = self._files.folds()  # sweeps in the history have the same folds
            self._score = _scorer(self._view.metric, self._files, self._folds)
        directory = trial_directory(self._runs.resolve(), trial, sweep=self._view.name)
        if is_history(trial, self._view.name) and not directory.is_dir():
            return None
        return oof_score(directory, self._folds, score=self._score)


def _scorer(metric: str, files: SweepFiles, folds: Folds) -> Score:
    """The sweep's metric as a function of predictions and labels.

    For `valid/loss` this is the log loss, because each trial has its own loss function.
    """
    reference = user_metric(metric)
    if reference is None:
        name = {"loss": "log_loss"}.get(result_field(metric), result_field(metric))
        return lambda probs_NK, labels_N: score_fold(probs_NK, labels_N)[name]
    from trainer.user_code import call_metric, load_user_function

    function = load_user_function(reference, files.code)
    classes = folds.manifest.classes
    return lambda probs_NK, labels_N: call_metric(
        function, probs_NK, labels_N, classes, reference=reference
    )
