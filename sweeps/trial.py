"""One trial on its worker: K fold runs in one directory. Imports neither Ray nor Optuna."""

import dataclasses
import functools
import logging
import statistics
import traceback
from pathlib import Path

import pydantic
import torch

from sweeps.messages import CODE_FOLDER, FOLDS_FILE, Assignment, Outcome, OutcomeState, TrialReport, TrialReporter
from trainer.config import TrainConfig, nested
from trainer.curve import goal_of
from trainer.data.cache import open_images
from trainer.data.crops import require
from trainer.data.folds import Folds, load_folds
from trainer.data.images import ImageSource
from trainer.data.preprocessing import Preprocessing
from trainer.errors import TrainerError, first_line
from trainer.files import write_json
from trainer.fit import Ended, pick_device, run_fold
from trainer.kept_epochs import leave_results_only, score_common_epoch
from trainer.memory import leftover_bytes, used_bytes
from trainer.reporter import EpochReport
from trainer.result import FoldResult

logger = logging.getLogger(__name__)


def run_trial(assignment: Assignment, reporter: TrialReporter) -> Outcome:
    """Train and score all folds that are not finished yet.

    A user's mistake or an exception of our own fails the trial and is returned, not raised: the sweep
    goes on. `SystemExit`, with which Ray ends a worker, passes.
    """
    device = torch.device(assignment.device)
    before = used_bytes(device)
    outcome = _run(assignment, reporter)
    # after the last reference to what was trained is gone
    return dataclasses.replace(outcome, leftover_bytes=leftover_bytes(before, used_bytes(device)))


def _run(assignment: Assignment, reporter: TrialReporter) -> Outcome:
    results: list[FoldResult] = []
    try:
        ended = _run_folds(assignment, reporter, results)
    except TrainerError as error:
        return _failed(assignment, results, " ".join(str(error).split()))
    except Exception as error:  # noqa: BLE001 - the trial boundary: the traceback goes into the trial
        name, text = type(error).__name__, first_line(error)
        return _failed(assignment, results, name if text == name else f"{name}: {text}")
    state: OutcomeState = "completed"
    if ended is not None:
        state = "stopped" if ended is Ended.STOPPED else "interrupted"
    if state == "stopped":
        _tidy(assignment)
    return Outcome(state, _scores(assignment, results), notes=_notes(results))


def _failed(assignment: Assignment, results: list[FoldResult], reason: str) -> Outcome:
    _tidy(assignment)
    scores, notes = _scores(assignment, results), _notes(results)
    return Outcome("failed", scores, reason=reason, traceback=traceback.format_exc(), notes=notes)


def _tidy(assignment: Assignment) -> None:
    """A trial that ended for good is not continued: what only that would need takes gigabytes."""
    for fold in Path(assignment.directory).glob("fold-*"):
        leave_results_only(fold)


def _scores(assignment: Assignment, results: list[FoldResult]) -> tuple[float, ...]:
    return tuple(result.metrics[assignment.metric] for result in results)


def _notes(results: list[FoldResult]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(note for result in results for note in result.notes))


def _run_folds(assignment: Assignment, reporter: TrialReporter, results: list[FoldResult]) -> Ended | None:
    """Fill `results`, fold by fold."""
    directory = Path(assignment.directory)
    config = _config(assignment)
    write_json(directory / "config.json", config.model_dump(mode="json"))
    path = Path(assignment.sweep_directory) / FOLDS_FILE
    folds = _folds(path)
    images = [_images(path, view, assignment.streamed, assignment.threads) for view in config.views]
    for fold in range(folds.k):
        result = run_fold(
            config,
            images,
            folds,
            fold=fold,
            directory=directory / f"fold-{fold}",
            reporter=_FoldReporter(assignment, reporter, _scores(assignment, results)),
            device=pick_device(assignment.device),
            threads=assignment.threads,
            code=Path(assignment.sweep_directory) / CODE_FOLDER,
            parts=max((result.accumulation for result in results), default=1),
        )
        if isinstance(result, Ended):
            return result
        results.append(result)
    if config.checkpoint == "best":
        metric, goal = assignment.metric, goal_of(assignment.metric, config)
        results[:] = score_common_epoch(results, folds, directory=directory, metric=metric, goal=goal)
    return None


def _config(assignment: Assignment) -> TrainConfig:
    try:
        return TrainConfig(**nested(assignment.values))
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "configuration"
        raise TrainerError(f"{where}: {first['msg'].removeprefix('Value error, ')}") from None


class _FoldReporter:
    """Turns a fold run's epochs into the trial's reports."""

    def __init__(self, assignment: Assignment, reporter: TrialReporter, scores: tuple[float, ...]) -> None:
        self._assignment, self._reporter, self._scores = assignment, reporter, scores

    def epoch(self, report: EpochReport) -> bool:
        return self._reporter.report(
            TrialReport(
                step=report.fold * self._assignment.max_epochs + report.epoch,
                value=statistics.fmean([*self._scores, report.metrics[self._assignment.metric]]),
                fold=report.fold,
                epoch=report.epoch,
                epochs=report.epochs,
                fold_scores=self._scores,
                notes=report.notes,
            )
        )

    def interrupted(self) -> bool:
        return self._reporter.interrupted()


# a worker serves many trials of one sweep: folds are read once, images are mapped once per choice
@functools.lru_cache(maxsize=1)
def _folds(path: Path) -> Folds:
    return load_folds(path)


@functools.lru_cache(maxsize=8)
def _images(path: Path, how: Preprocessing, streamed: tuple[str, ...], threads: int) -> ImageSource:
    manifest = _folds(path).manifest
    require(how.crop, how.background, reading=manifest.reading)
    return open_images(manifest, how, streamed=streamed, threads=threads)
