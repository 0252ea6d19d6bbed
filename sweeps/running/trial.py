"""One trial on its worker: K fold runs in one directory.

This module imports neither Ray nor Optuna.
"""

import dataclasses
import functools
import logging
import math
import statistics
import time
import traceback
from collections.abc import Collection, Sequence
from pathlib import Path

import pydantic
import torch

from sweeps.results.metric import Metric
from sweeps.results.oof import oof_score
from sweeps.running.messages import (
    Assignment,
    Measured,
    Outcome,
    OutcomeState,
    TrialReport,
    TrialReporter,
)
from trainer.config import TrainConfig, nested
from trainer.data.fold_files import load_folds
from trainer.data.folds import Folds
from trainer.errors import TrainerError, first_line
from trainer.files import is_disk_full, write_json
from trainer.images.cache import open_images
from trainer.images.crops import require
from trainer.images.images import ImageSource
from trainer.images.preprocessing import Preprocessing
from trainer.learning.curve import goal_of
from trainer.model.checkpoint import read_parameters
from trainer.training.fit import Ended, pick_device, run_fold
from trainer.training.fold_setup import FoldSetup
from trainer.training.kept_epochs import leave_results_only, score_common_epoch
from trainer.training.memory import leftover_bytes, used_bytes
from trainer.training.reporter import EpochReport
from trainer.training.result import WEIGHTS, FoldResult

logger = logging.getLogger(__name__)

_STATES = {
    None: OutcomeState.COMPLETED,
    Ended.STOPPED: OutcomeState.STOPPED,
    Ended.INTERRUPTED: OutcomeState.INTERRUPTED,
}


def run_trial(assignment: Assignment, reporter: TrialReporter) -> Outcome:
    """Train and score all folds of a trial that are not finished yet.

    A user's mistake or an exception in our own code makes the trial fail. The function returns
    such a failure and does not raise it, so the sweep goes on. `SystemExit` is not caught, because
    Ray ends a worker with it.
    """
    device = torch.device(assignment.device)
    before = used_bytes(device)
    outcome = _run(assignment, reporter)
    # measured here, because no reference to the trained models and tensors is left
    return dataclasses.replace(outcome, leftover_bytes=leftover_bytes(before, used_bytes(device)))


def _run(assignment: Assignment, reporter: TrialReporter) -> Outcome:
    results: list[FoldResult] = []
    try:
        ended = _run_folds(assignment, reporter, results)
    except Exception as error:  # noqa: BLE001 - the trial boundary: the trial keeps the traceback
        if is_disk_full(error, assignment.sweep.directory):
            return Outcome(
                OutcomeState.NO_SPACE,
                _scores(assignment, results),
                reason=first_line(error),
                notes=_notes(results),
            )
        if isinstance(error, TrainerError):
            return _failed(assignment, reporter, results, " ".join(str(error).split()))
        name = type(error).__name__
        text = first_line(error)
        return _failed(assignment, reporter, results, name if text == name else f"{name}: {text}")
    state = _STATES[ended]
    if state is OutcomeState.STOPPED and reporter.owns():
        _tidy(assignment)
    measured = Measured()
    if state is OutcomeState.COMPLETED:
        measured = measure(assignment, results)
    return Outcome(state, _scores(assignment, results), notes=_notes(results), measured=measured)


def measure(assignment: Assignment, results: Sequence[FoldResult]) -> Measured:
    """Return what is known of a completed trial besides the scores of its folds.

    Args:
        results: the results of all folds.
    """
    folds = _folds(assignment.sweep.folds_file)
    seconds = sum(result.seconds for result in results)
    images = sum(result.epochs * len(folds.train_rows(result.fold)) for result in results)
    # a fold that the trial took over may have lost its weights
    weights = (assignment.files.fold(result.fold) / WEIGHTS for result in results)
    return Measured(
        oof=_oof_score(assignment, folds),
        seconds=round(seconds, 3),
        images_per_s=round(images / seconds, 1) if seconds else None,
        parameters=next((count for path in weights if (count := read_parameters(path))), None),
    )


def _oof_score(assignment: Assignment, folds: Folds) -> float | None:
    """The metric over all out-of-fold predictions; None if it cannot be computed, or is NaN."""
    config = _config(assignment)
    goal = goal_of(assignment.metric, config)
    try:
        metric = (
            Metric.named(assignment.metric, goal)
            if config.metric is None
            else Metric.of_user(
                config.metric,
                goal,
                code=assignment.sweep.code,
                classes=folds.manifest.classes,
            )
        )
        score = oof_score(assignment.files.directory, folds, metric=metric)
    # a user's metric may refuse all images together; the scores of the folds count
    except TrainerError as error:
        logger.warning("no score of all out-of-fold predictions together: %s", first_line(error))
        return None
    return score if math.isfinite(score) else None


def _failed(
    assignment: Assignment, reporter: TrialReporter, results: list[FoldResult], reason: str
) -> Outcome:
    if reporter.owns():
        # a retry takes over the finished folds with all their files
        _tidy(assignment, besides={result.fold for result in results})
    scores = _scores(assignment, results)
    notes = _notes(results)
    return Outcome(
        OutcomeState.FAILED, scores, reason=reason, traceback=traceback.format_exc(), notes=notes
    )


def _tidy(assignment: Assignment, *, besides: Collection[int] = ()) -> None:
    """Remove the files that only a continued trial would need, which take gigabytes.

    The trial has ended and will not be continued.

    Args:
        besides: the folds that keep all their files.
    """
    kept = {assignment.files.fold(fold) for fold in besides}
    for directory in assignment.files.folds():
        if directory not in kept:
            leave_results_only(directory)


def _scores(assignment: Assignment, results: list[FoldResult]) -> tuple[float, ...]:
    return tuple(result.metrics[assignment.metric] for result in results)


def _notes(results: list[FoldResult]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(note for result in results for note in result.notes))


def _run_folds(
    assignment: Assignment, reporter: TrialReporter, results: list[FoldResult]
) -> Ended | None:
    """Run all folds and append the result of each fold to `results`.

    Returns:
        How the trial ended early; None if all folds are finished.
    """
    files = assignment.files
    config = _config(assignment)
    write_json(files.config, config.settled().model_dump(mode="json"))
    path = assignment.sweep.folds_file
    folds = _folds(path)
    images = [_images(path, view, assignment.streamed, assignment.threads) for view in config.views]
    for fold in range(folds.k):
        setup = FoldSetup(
            config=config,
            images=images,
            folds=folds,
            fold=fold,
            directory=files.fold(fold),
            device=pick_device(assignment.device),
            threads=assignment.threads,
            code=assignment.sweep.code,
            parts=max((result.accumulation for result in results), default=1),
            every_epoch=assignment.every_epoch,
            without_weights=assignment.without_weights,
        )
        result = run_fold(setup, _FoldReporter(assignment, reporter, _scores(assignment, results)))
        if isinstance(result, Ended):
            return result
        results.append(result)
        if fold + 1 < folds.k and not _report_fold(assignment, reporter, results):
            return Ended.STOPPED
    if config.checkpoint == "best":
        metric = assignment.metric
        goal = goal_of(metric, config)
        results[:] = score_common_epoch(
            results, folds, directory=files.directory, metric=metric, goal=goal
        )
    return None


def _report_fold(
    assignment: Assignment, reporter: TrialReporter, results: list[FoldResult]
) -> bool:
    """Report the score of the last finished fold before the next fold run starts.

    Returns:
        Whether the trial goes on.
    """
    last = results[-1]
    scores = _scores(assignment, results)
    max_epochs = assignment.max_epochs
    # the driver knows a step of a later fold, so its answer to this fold was to go on
    if assignment.reported > (last.fold + 1) * max_epochs:
        return True
    step = last.fold * max_epochs + last.epochs
    epochs = int(assignment.values.get("epochs", last.epochs))
    return reporter.report(
        TrialReport(step, statistics.fmean(scores), last.fold, last.epochs, epochs, scores)
    )


def _config(assignment: Assignment) -> TrainConfig:
    try:
        return TrainConfig(**nested(assignment.values))
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "configuration"
        raise TrainerError(f"{where}: {first['msg'].removeprefix('Value error, ')}") from None


class _FoldReporter:
    """Turns the epoch reports of a fold run into reports of the trial."""

    def __init__(
        self, assignment: Assignment, reporter: TrialReporter, scores: tuple[float, ...]
    ) -> None:
        self._assignment = assignment
        self._reporter = reporter
        self._scores = scores

    def epoch(self, report: EpochReport) -> bool:
        step = report.fold * self._assignment.max_epochs + report.epoch
        if step < self._assignment.reported:
            return True
        return self._reporter.report(
            TrialReport(
                step=step,
                value=statistics.fmean([*self._scores, report.metrics[self._assignment.metric]]),
                fold=report.fold,
                epoch=report.epoch,
                epochs=report.epochs,
                fold_scores=self._scores,
                notes=report.notes,
                metrics=tuple(report.metrics.items()),
                time=time.time(),
            )
        )

    def past(self, report: EpochReport) -> bool:
        return self.epoch(report)

    def interrupted(self) -> bool:
        return self._reporter.interrupted()

    def owns(self) -> bool:
        return self._reporter.owns()


# A worker evaluates many trials of one sweep: the folds are read once, and the images are mapped
# into memory once for each choice of preprocessing.
@functools.lru_cache(maxsize=1)
def _folds(path: Path) -> Folds:
    return load_folds(path)


@functools.lru_cache(maxsize=8)
def _images(path: Path, how: Preprocessing, streamed: tuple[str, ...], threads: int) -> ImageSource:
    manifest = _folds(path).manifest
    require(how.crop, how.background, reading=manifest.reading)
    return open_images(manifest, how, streamed=streamed, threads=threads)
