"""Everything that a report shows, read from the storage and the runs folder.

This module only reads. What is missing or damaged is left out of the report: it explains a sweep,
also a sweep that still runs or whose files were removed.
"""

import dataclasses
import functools
import json
import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from optuna.trial import TrialState

from sweeps.paths import SweepFiles, TrialFiles
from sweeps.reporting.charts import Point
from sweeps.reporting.one_trial import Curve, fold_curves
from sweeps.reporting.thumbnails import views_of
from sweeps.results.candidates import group_numbers
from sweeps.results.chosen import Choice
from sweeps.results.leaderboard import Leaderboard, leaderboard
from sweeps.results.metric import Ints, Predicted
from sweeps.results.ranking import trial_directory
from sweeps.results.statistics import Statistics
from sweeps.results.summary import Summary, summarise
from sweeps.results.view import SweepView
from sweeps.space.spec import result_field
from sweeps.study.records import fold_scores
from trainer.data.folds import Folds
from trainer.errors import DataError
from trainer.files import fold_directories
from trainer.images.preprocessing import Preprocessing
from trainer.metrics import Probs
from trainer.training.oof import read_oof
from trainer.training.result import RESULT

MOST_ROWS = 100
MOST_CURVES = 5


@dataclasses.dataclass(frozen=True, eq=False)
class Gathered:
    """The content of a sweep for its report.

    Attributes:
        runs: the folder of all results.
        choice: what the sweep ships; None if no trial is complete or no files are readable.
    """

    view: SweepView
    runs: Path
    files: SweepFiles
    folds: Folds
    summary: Summary
    board: Leaderboard
    choice: Choice | None
    statistics: Statistics

    @classmethod
    def of(
        cls, view: SweepView, *, runs: Path, files: SweepFiles, choice: Choice | None
    ) -> "Gathered":
        """Read the sweep.

        Raises:
            InputError, DataError: the folds of the sweep are missing or damaged.
        """
        return cls(
            view=view,
            runs=runs,
            files=files,
            folds=files.folds(),
            summary=summarise(view),
            board=leaderboard(view, runs=runs, topk=MOST_ROWS, choice=choice),
            choice=choice,
            statistics=Statistics.of(view),
        )

    @functools.cached_property
    def about(self) -> Mapping[str, Any]:
        """What `sweep.json` says."""
        values: dict[str, Any] = json.loads(self.files.about.read_text())
        return values

    @functools.cached_property
    def points(self) -> tuple[Point, ...]:
        """The trials with a finished fold, in the order of their numbers."""
        found = self.statistics
        return tuple(
            Point(
                trial=trial.number,
                score=float(score),
                complete=trial.state == TrialState.COMPLETE,
                seconds=_seconds(trial_directory(self.runs, trial, sweep=self.view.name)),
                folds=fold_scores(trial),
                values=values,
            )
            for trial, score, values in zip(
                found.trials, found.adjusted.scores_T, found.values, strict=True
            )
        )

    def curves(self) -> dict[int, list[Curve]]:
        """The learning curves of the best trials that have some: epochs and scores per fold."""
        field = result_field(self.view.metric)
        best = self.board.trials[:MOST_CURVES]
        found = {row.number: fold_curves(row.directory, field) for row in best}
        return {number: curves for number, curves in found.items() if curves}

    @functools.cached_property
    def rows(self) -> Ints:
        """The manifest rows that have an out-of-fold prediction."""
        return self.folds.scored_rows()

    @functools.cached_property
    def groups_N(self) -> Ints | None:
        """The group of each of these rows as a number."""
        return group_numbers(self.folds.manifest, self.rows)

    @functools.cached_property
    def best(self) -> tuple[int, Predicted] | None:
        """The best trial by score whose predictions are readable, and what it predicts."""
        for row in self.board.trials:
            probs_NK = self._probs(row.directory)
            if probs_NK is not None:
                return row.number, Predicted.by_argmax(probs_NK)
        return None

    @functools.cached_property
    def views(self) -> tuple[Preprocessing, ...]:
        """How this trial prepared its images; empty if its configuration is not readable."""
        directories = {row.number: row.directory for row in self.board.trials}
        if self.best is None:
            return ()
        return views_of(TrialFiles(directories[self.best[0]]).config)

    @functools.cached_property
    def ensemble(self) -> Predicted | None:
        """What the ensemble predicts out of fold; None if it is not shipped or not readable."""
        choice = self.choice
        if choice is None or not choice.ships_ensemble or len(choice.ensemble.members) < 2:
            return None
        names = [member.name for member in choice.ensemble.members]
        probs = {name: self._probs(self.runs / name) for name in names}
        known = {name: [each] for name, each in probs.items() if each is not None}
        if len(known) < len(names):
            return None
        mixed_NK = choice.ensemble.of(known)
        return Predicted(mixed_NK, choice.ensemble.decision.of(mixed_NK))

    def _probs(self, directory: Path) -> Probs | None:
        try:
            return read_oof(directory.resolve(), self.folds)[self.rows]
        except (DataError, OSError):
            return None


def _seconds(directory: Path) -> float | None:
    """The mean time of the finished fold runs of a trial; None if no result is readable."""
    times: list[float] = []
    for fold in fold_directories(directory):
        try:
            times.append(float(json.loads((fold / RESULT).read_text())["seconds"]))
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return statistics.fmean(times) if times else None
