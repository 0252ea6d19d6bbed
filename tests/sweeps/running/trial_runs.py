"""Listeners to a trial that runs in a test, and what it leaves on disk."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from sweeps.running.messages import Assignment, TrialReport
from trainer.data.fold_files import load_folds

VALUES = {
    "backbone": "test_efficientnet",
    "weights": "none",
    "resize": 16,
    "batch_size": 10,
    "epochs": 2,
    "lr": 0.01,
    "seed": 5,
}


class Listener:
    """Keeps the reports of epochs and of folds; stops,
    interrupts or loses the trial when told to.
    """

    def __init__(
        self,
        *,
        stop_at: int = 0,
        interrupt_at: int = 0,
        lost_at: int = 0,
        stop_after_fold: int | None = None,
    ) -> None:
        self.reports: list[TrialReport] = []
        self.folds: list[TrialReport] = []
        self._stop_at = stop_at
        self._interrupt_at = interrupt_at
        self._lost_at = lost_at
        self._stop_after_fold = stop_after_fold

    def report(self, report: TrialReport) -> bool:
        if report.fold_finished:
            self.folds.append(report)
            return report.fold != self._stop_after_fold
        self.reports.append(report)
        return len(self.reports) != self._stop_at

    def owns(self) -> bool:
        return not 0 < self._lost_at <= len(self.reports)

    def interrupted(self) -> bool:
        return 0 < self._interrupt_at <= len(self.reports)

    @property
    def steps(self) -> list[int]:
        return [report.step for report in self.reports]


def result(assignment: Assignment, fold: int) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(
        (assignment.files.directory / f"fold-{fold}" / "result.json").read_text()
    )
    return loaded


def oof(assignment: Assignment, fold: int) -> tuple[Any, Any]:
    with np.load(assignment.files.directory / f"fold-{fold}" / "oof.npz") as file:
        return file["rows"], file["probs"]


def right(assignment: Assignment, fold: int) -> float:
    """The share of the held-out images that are predicted right."""
    rows_N, probs_NK = oof(assignment, fold)
    labels_N = load_folds(Path(assignment.sweep_directory) / "folds.npz").manifest.labels_N
    return float((probs_NK.argmax(axis=1) == labels_N[rows_N]).mean())
