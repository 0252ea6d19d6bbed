"""Trials on paper that leave the files of their fold runs, in a sweep whose race prunes."""

import dataclasses
import json
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from optuna.storages import BaseStorage

from sweeps.running.driver import Driver
from sweeps.running.messages import Assignment, Outcome, TrialReport, TrialReporter
from tests.fakes import K, curve_score
from tests.sweeps.running.curve_sweep import Sweep, handed_out
from trainer.data.fold_files import load_folds, save_folds
from trainer.data.folds import Folds
from trainer.files import write_csv
from trainer.images.manifest import Manifest
from trainer.metrics import Probs
from trainer.prediction.calibration import softmax
from trainer.training.oof import OOF, write_oof
from trainer.training.result import CURVE, RESULT, WEIGHTS, FoldResult, write_result

N_IMAGES = 90
TRIALS = 12
# the race knows after five complete trials how much scores scatter: from then on, it prunes
RACED = ("method=random", f"run_cap={TRIALS}", "parameters.optimizer={value: adam}")


def folds_on_paper() -> Folds:
    """90 images in three classes, 30 in each fold."""
    rows = np.arange(N_IMAGES)
    manifest = Manifest(
        Path("/nowhere"),
        tuple(f"{row}.png" for row in rows),
        rows % 3,
        ("a", "b", "c"),
        (0,) * N_IMAGES,
    )
    return Folds(manifest, rows // 3 % K, k=K, seed=0)


def predicted(lr: float, manifest: Manifest) -> Probs:
    """What a trial with this learning rate predicts.

    All complete trials of RACED make the same mistakes. Of the pruned ones, four make mistakes of
    their own, so an ensemble has a use for them.
    """
    seed = int(lr * 1e12) if 2e-4 < lr < 4e-4 or lr > 1e-2 else 0
    right_NK = np.eye(len(manifest.classes))[manifest.labels_N]
    noise_NK = np.random.default_rng(seed).normal(0, 1, right_NK.shape)
    return softmax((1.2 * right_NK + noise_NK).astype(np.float32))


class PaperTrials:
    """Evaluates trials as `run_trial` does, with the score of a learning curve for training.

    Attributes:
        trained: number and fold of each fold run that was trained, in order.
        fail: number of a trial that fails in its last fold.
        bad: number of a trial whose second fold has a score that is not a number.
        before_fold: called with number and fold before each fold.
    """

    def __init__(self) -> None:
        self.trained: list[tuple[int, int]] = []
        self.fail: int | None = None
        self.bad: int | None = None
        self.before_fold: Callable[[int, int], None] = lambda number, fold: None

    def __call__(self, assignment: Assignment, reporter: TrialReporter) -> Outcome:
        scores: list[float] = []
        for fold in range(K):
            self.before_fold(assignment.number, fold)
            if reporter.interrupted():
                return Outcome("interrupted", tuple(scores))
            directory = assignment.files.fold(fold)
            needed = (RESULT,) if assignment.without_weights else (RESULT, WEIGHTS)
            if all((directory / name).is_file() for name in needed):
                score = json.loads((directory / RESULT).read_text())["metrics"]["f1"]
            else:
                if assignment.number == self.fail and fold == K - 1:
                    return Outcome("failed", tuple(scores), reason="out of luck")
                self.trained.append((assignment.number, fold))
                score = self._train(assignment, fold)
            scores.append(float("nan") if (assignment.number, fold) == (self.bad, 1) else score)
            if not self._report(assignment, reporter, fold, scores):
                for path in assignment.files.directory.glob(f"fold-*/{WEIGHTS}"):
                    path.unlink()  # as retention does
                return Outcome("stopped", tuple(scores))
        return Outcome("completed", tuple(scores))

    def _report(
        self, assignment: Assignment, reporter: TrialReporter, fold: int, scores: list[float]
    ) -> bool:
        report = TrialReport(
            step=(fold + 1) * assignment.max_epochs,
            value=statistics.fmean(scores),
            fold=fold,
            epoch=2,
            epochs=2,
            fold_scores=tuple(scores[:-1]),
        )
        last = fold + 1 == K
        return reporter.report(report) and (
            last or reporter.report(dataclasses.replace(report, fold_scores=tuple(scores)))
        )

    def _train(self, assignment: Assignment, fold: int) -> float:
        lr = assignment.values["lr"]
        score = curve_score(lr=lr, optimizer=assignment.values["optimizer"], fold=fold, epoch=2)
        directory = assignment.files.fold(fold)
        folds = load_folds(assignment.sweep.folds_file)
        rows = folds.valid_rows(fold)
        probs_NK = predicted(lr, folds.manifest)
        write_oof(directory / OOF, rows, probs_NK[rows], folds_hash=folds.hash)
        write_csv(directory / CURVE, ["epoch", "f1"], [[2, score]])
        (directory / WEIGHTS).touch()
        write_result(directory, _result(fold, score, folds.hash))
        return score


def _result(fold: int, score: float, folds_hash: str) -> FoldResult:
    plain: dict[str, Any] = {"mean": [], "std": [], "f1_per_class": [], "confusion": []}
    return FoldResult(
        **plain,
        fold=fold,
        epochs=2,
        scored_epoch=2,
        biased=False,
        metrics={"f1": score},
        accumulation=1,
        notes=[],
        config_hash="",
        folds_hash=folds_hash,
        seconds=1.0,
        device="cpu",
        threads=1,
    )


def paper_sweep(runs: Path, *settings: str, storage: BaseStorage | None = None) -> Sweep:
    """A sweep in its folder below the runs folder, with its folds."""
    folder = runs / "curve"
    folder.mkdir(parents=True, exist_ok=True)
    save_folds(folds_on_paper(), folder / "folds.npz")
    return Sweep(folder, *RACED, *settings, storage=storage)


def up_to_the_end(curve: Sweep) -> None:
    """Evaluate all trials up to the cap; nothing is finished yet."""
    with curve.driver() as driver:
        trials = PaperTrials()
        while driver.snapshot().completed + driver.snapshot().pruned < TRIALS:
            evaluate_next(driver, trials)


def evaluate_next(driver: Driver, trials: PaperTrials) -> None:
    """Evaluate one trial, as `run_local` does."""
    given = handed_out(driver)
    driver.finished(given.number, trials(given, Reports(driver, given.number)))


class Reports:
    """Passes the reports of a trial to a driver in the same process."""

    def __init__(self, driver: Driver, number: int) -> None:
        self._driver = driver
        self._number = number

    def report(self, report: TrialReport) -> bool:
        return self._driver.epoch(self._number, report)

    def interrupted(self) -> bool:
        return self._driver.stopping

    def owns(self) -> bool:
        return True
