"""One trial on its worker: K fold runs in one directory. Imports neither Ray nor Optuna."""

import functools
import logging
import statistics
import traceback
from pathlib import Path

import pydantic

from sweeps.messages import FOLDS_FILE, Assignment, Outcome, TrialReport, TrialReporter
from trainer.config import TrainConfig
from trainer.data.cache import open_images
from trainer.data.crops import require
from trainer.data.folds import Folds, load_folds
from trainer.data.images import ImageSource
from trainer.data.preprocessing import Preprocessing
from trainer.errors import TrainerError
from trainer.files import write_json
from trainer.fit import Ended, pick_device, run_fold
from trainer.reporter import EpochReport

logger = logging.getLogger(__name__)


def run_trial(assignment: Assignment, reporter: TrialReporter) -> Outcome:
    """Train and score all folds that are not finished yet.

    A user's mistake or an exception of our own fails the trial and is returned, not raised: the sweep
    goes on. `SystemExit`, with which Ray ends a worker, passes.
    """
    scores: list[float] = []
    try:
        ended = _run_folds(assignment, reporter, scores)
    except TrainerError as error:
        return Outcome("failed", tuple(scores), reason=" ".join(str(error).split()), traceback=traceback.format_exc())
    except Exception as error:  # noqa: BLE001 - the trial boundary: the traceback goes into the trial
        reason = f"{type(error).__name__}: {(str(error).splitlines() or ['no message'])[0]}"
        return Outcome("failed", tuple(scores), reason=reason, traceback=traceback.format_exc())
    if ended is None:
        return Outcome("completed", tuple(scores))
    return Outcome("stopped" if ended is Ended.STOPPED else "interrupted", tuple(scores))


def _run_folds(assignment: Assignment, reporter: TrialReporter, scores: list[float]) -> Ended | None:
    directory = Path(assignment.directory)
    config = _config(assignment)
    write_json(directory / "config.json", config.model_dump(mode="json"))
    path = Path(assignment.sweep_directory) / FOLDS_FILE
    folds = _folds(path)
    images = _images(path, config.preprocessing, assignment.streamed, assignment.threads)
    for fold in range(folds.k):
        result = run_fold(
            config,
            images,
            folds,
            fold=fold,
            directory=directory / f"fold-{fold}",
            reporter=_FoldReporter(assignment, reporter, scores),
            device=pick_device(assignment.device),
            threads=assignment.threads,
        )
        if isinstance(result, Ended):
            return result
        scores.append(result.metrics[assignment.metric])
    return None


def _config(assignment: Assignment) -> TrainConfig:
    try:
        return TrainConfig(**assignment.values)
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "configuration"
        raise TrainerError(f"{where}: {first['msg'].removeprefix('Value error, ')}") from None


class _FoldReporter:
    """Turns a fold run's epochs into the trial's reports."""

    def __init__(self, assignment: Assignment, reporter: TrialReporter, scores: list[float]) -> None:
        self._assignment, self._reporter, self._scores = assignment, reporter, scores

    def epoch(self, report: EpochReport) -> bool:
        return self._reporter.report(
            TrialReport(
                step=report.fold * self._assignment.max_epochs + report.epoch,
                value=statistics.fmean([*self._scores, report.metrics[self._assignment.metric]]),
                fold=report.fold,
                epoch=report.epoch,
                epochs=report.epochs,
                fold_scores=tuple(self._scores),
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
