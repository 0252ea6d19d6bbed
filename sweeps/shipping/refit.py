"""`sweeps refit`: train the configuration of a complete trial on all images.

A refit lies beside the fold runs of its trial. It needs neither the storage nor the lease of the
sweep, so a running sweep goes on.
"""

import dataclasses
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pydantic

from sweeps.errors import InputError
from sweeps.paths import SweepFiles, TrialFiles
from sweeps.results.chosen import Choice
from sweeps.results.ranking import trial_directory
from sweeps.results.view import SweepView
from sweeps.running.attempt import Attempt
from sweeps.space.yaml_file import YamlFile
from trainer.config import TrainConfig
from trainer.data.folds import Folds
from trainer.data.options import DataOptions
from trainer.errors import DataError
from trainer.files import write_json
from trainer.images.cache import open_images, plan_cache
from trainer.images.crops import require
from trainer.training.agreement import Agreement, agree
from trainer.training.refit_result import RefitResult
from trainer.training.reporter import EpochReport
from trainer.training.result import read_curve, read_results

if TYPE_CHECKING:
    import torch

    from trainer.training.fit import Ended


@dataclasses.dataclass(frozen=True)
class Refittable:
    """A complete trial that can be trained on all images.

    Attributes:
        files: the directory of the trial that was trained for the result.
        agreed: how the training goes.
        scored: the epoch that scores each fold.
        planned: the number of epochs that the folds' schedule was planned over.
        threads: the number of CPU threads that the fold runs had.
        parts: the largest number of parts that a fold run split its batches into.
    """

    files: TrialFiles
    folds: Folds
    agreed: Agreement
    scored: tuple[int, ...]
    planned: int
    threads: int
    parts: int

    @property
    def name(self) -> str:
        """The directory of the trial below the runs folder, e.g. `mask/trial-0012`."""
        return f"{self.sweep.directory.name}/{self.files.directory.name}"

    @property
    def sweep(self) -> SweepFiles:
        """The directory of the sweep that trained the trial."""
        return SweepFiles(self.files.directory.parent)


def directory_of(view: SweepView, number: int, *, runs: Path) -> Path:
    """Return the directory of a complete trial of a sweep.

    Raises:
        InputError: there is no such trial, or it is not complete.
    """
    complete = {trial.number: trial for trial in view.ranked()}
    if number in complete:
        return trial_directory(runs.resolve(), complete[number], sweep=view.name)
    known = ", ".join(map(str, sorted(complete))) or "none"
    raise InputError(
        f"--trial {number}: not a completed trial of {view.name}, and only these have epochs that "
        f"all folds agreed on. Completed are {known}"
    )


def member_directories(choice: Choice, *, runs: Path) -> list[Path]:
    """Return the directories of the members of what a sweep ships, the heaviest first."""
    return list(choice.directories(runs.resolve()).values())


def refittable(directory: Path) -> Refittable:
    """Read what the folds of a complete trial agreed on.

    Raises:
        InputError, DataError: files of the trial or of its sweep are missing or damaged.
    """
    files = TrialFiles(directory)
    folds = SweepFiles(directory.parent).folds()
    config = _config(files.config)
    results = read_results(directory, folds)
    scored = tuple(result.scored_epoch for result in results)
    try:
        curves = [read_curve(files.fold(result.fold)) for result in results]
    except (OSError, ValueError) as error:
        raise DataError(f"{directory}: the curve of a fold cannot be read ({error})") from None
    return Refittable(
        files,
        folds,
        agree(config, curves, scored),
        scored,
        planned=config.epochs,
        threads=results[0].threads,
        parts=max(result.accumulation for result in results),
    )


def _config(path: Path) -> TrainConfig:
    try:
        return TrainConfig(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError, pydantic.ValidationError) as error:
        first = str(error).splitlines()[0]
        raise InputError(f"{path}: not a readable configuration of a trial ({first})") from None


class Watch:
    """Follows refits: what it is told, and whether the user wants to stop.

    Args:
        tell: is called with the number of the refit and the report of each of its epochs.
    """

    def __init__(self, tell: Callable[[int, EpochReport], None] = lambda *_: None) -> None:
        self.tell = tell
        self.stopping = False

    def stop(self, *_: object) -> None:
        """Ask the refit to write a checkpoint and end."""
        self.stopping = True


def run_refits(
    trial: Refittable,
    *,
    numbers: Sequence[int],
    with_holdout: bool,
    device: "torch.device",
    watch: Watch,
) -> "Iterator[RefitResult | Ended]":
    """Train the refits with these numbers one after another, and yield how each of them ended.

    A finished refit is not trained again; an interrupted one continues from its checkpoint. After
    an interrupted one no other begins.

    Raises:
        InputError: another process has begun to train a refit in the meantime.
        TrainerError: see `run_refit`.
    """
    from trainer.training.fit import Ended, run_refit
    from trainer.training.refit import RefitSetup

    config = trial.agreed.config
    manifest = trial.folds.manifest
    for view in config.views:
        require(view.crop, view.background, reading=manifest.reading)
    streamed = plan_cache(config.views, images=len(manifest), cache_gb=_cache_gb(trial.sweep))
    keys = [how.key for how in streamed.streamed]
    images = [
        open_images(manifest, view, streamed=keys, threads=trial.threads) for view in config.views
    ]
    for number in numbers:
        files = trial.files.refit(number)
        attempt = Attempt.begin(files, driver="refit")
        write_json(files.config, config.settled().model_dump(mode="json"))
        setup = RefitSetup(
            config=config,
            images=images,
            folds=trial.folds,
            directory=files.directory,
            device=device,
            threads=trial.threads,
            code=trial.sweep.code,
            parts=trial.parts,
            number=number,
            epochs=trial.agreed.epochs,
            with_holdout=with_holdout,
        )
        result = run_refit(setup, _Reporter(number, watch, attempt))
        if not attempt.owns():
            raise InputError(
                f"{files.directory}: another process trains this model now, so this one stopped"
            )
        attempt.end()
        yield result
        if isinstance(result, Ended):
            return


def _cache_gb(sweep: SweepFiles) -> float | None:
    default = DataOptions.model_fields["cache_gb"].default
    value = YamlFile(sweep.spec).values["data"].get("cache_gb", default)
    return None if value is None else float(value)


class _Reporter:
    """Passes the reports of one refit to a Watch."""

    def __init__(self, number: int, watch: Watch, attempt: Attempt) -> None:
        self._number = number
        self._watch = watch
        self._attempt = attempt

    def epoch(self, report: EpochReport) -> bool:
        self._watch.tell(self._number, report)
        return True

    def past(self, report: EpochReport) -> bool:
        return True

    def interrupted(self) -> bool:
        return self._watch.stopping

    def owns(self) -> bool:
        return self._attempt.owns()
