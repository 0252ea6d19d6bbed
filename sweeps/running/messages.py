"""What the driver and a trial send to each other: plain values that can go between processes."""

import dataclasses
import enum
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from sweeps.paths import SweepFiles, TrialFiles


class OutcomeState(enum.StrEnum):
    """How a trial ended on its worker."""

    COMPLETED = "completed"  # every fold has a score
    STOPPED = "stopped"  # the driver answered to stop, so the trial is pruned
    INTERRUPTED = "interrupted"  # the trial wrote a checkpoint and is to be continued
    FAILED = "failed"  # the trial's code or loss failed; the trial is not continued
    # A full disk interrupted the trial: the sweep ends, and can be continued when there is space.
    NO_SPACE = "no_space"


@dataclasses.dataclass(frozen=True)
class Share:
    """The part of a machine that one trial gets, and how the trial reads its images.

    Attributes:
        device: `cpu` or `cuda`.
        gpu: number of GPUs, or a share of one GPU.
        threads: number of torch's CPU threads.
        streamed: keys of the preprocessing choices whose images are decoded for each batch. The
            images of all other choices are decoded once, into the cache.
    """

    device: str = "cpu"
    gpu: float = 0.0
    threads: int = 1
    streamed: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Assignment:
    """One trial to evaluate.

    Attributes:
        number: the trial's number in the sweep.
        values: fields of TrainConfig with the seed; nested names are dotted (`loss_mix.focal`).
        sweep_directory: absolute path of the directory with `folds.npz` and the trials.
        metric: name of the score in a fold's result, e.g. `f1`; `metric` for a user function.
        max_epochs: E, the largest `epochs` in the search space.
        device, threads, streamed: see Share.
        driver: id of the driver that handed out the trial. Worker deaths under another driver do
            not count against `retries`.
        retries: how often a dead worker process is replaced.
        alone: whether nothing runs beside the trial, because it is suspected, see `deaths`.
        reported: the last step that the driver knows. The trial reports this step again, to get
            the driver's answer, and does not report earlier steps.
        every_epoch: whether a rule of the sweep may stop the trial after any epoch, see FoldSetup.
        without_weights: whether finished folds count as finished if their weights were removed, see
            FoldSetup.

    Example:
        >>> assignment = Assignment(
        ...     number=7, values={}, sweep_directory="/runs/mask", metric="f1", max_epochs=10,
        ...     device="cpu", threads=1,
        ... )
        >>> assignment.files.directory.as_posix()
        '/runs/mask/trial-0007'
    """

    number: int
    values: dict[str, Any]
    sweep_directory: str
    metric: str
    max_epochs: int
    device: str
    threads: int
    streamed: tuple[str, ...] = ()
    driver: str = ""
    retries: int = 2
    alone: bool = False
    reported: int = 0
    every_epoch: bool = False
    without_weights: bool = False

    @property
    def sweep(self) -> SweepFiles:
        """The sweep's directory."""
        return SweepFiles(Path(self.sweep_directory))

    @property
    def files(self) -> TrialFiles:
        """The trial's directory."""
        return self.sweep.trial(self.number)


@dataclasses.dataclass(frozen=True)
class TrialReport:
    """The report of one finished epoch of a trial, or of one finished fold.

    A finished fold repeats the report of its last epoch, with the fold's score added.

    Attributes:
        step: fold x E + epoch; increases from report to report, with gaps.
        value: mean over the scores of the finished folds and the current fold's value.
        fold: from 0.
        epoch: from 1, up to `epochs`.
        epochs: number of epochs of one fold run of this trial.
        fold_scores: scores of the finished folds, in fold order. The report of a finished fold
            contains the score of this fold as well.
        notes: the notes of this fold so far, see Outcome.
        metrics: all metrics of the epoch, see EpochReport, as pairs: Tune would flatten a mapping.
        time: when this report was made, in seconds since 1970. Two reports of the same epoch are
            equal, whenever they were made.
    """

    step: int
    value: float
    fold: int
    epoch: int
    epochs: int
    fold_scores: tuple[float, ...] = ()
    notes: tuple[str, ...] = ()
    metrics: tuple[tuple[str, float], ...] = ()
    time: float = dataclasses.field(default=0.0, compare=False)

    @property
    def fold_finished(self) -> bool:
        """Whether this is the report of a finished fold, not of an epoch."""
        return len(self.fold_scores) > self.fold


@dataclasses.dataclass(frozen=True)
class Measured:
    """What a worker measures of a completed trial; None where it is not known.

    Attributes:
        oof: the metric over all out-of-fold predictions together.
        seconds: how long its fold runs took.
        images_per_s: images that its fold runs trained on, per second of `seconds`; the time to
            score the held-out images is included.
        parameters: number of the network's parameters, frozen ones included.
    """

    oof: float | None = None
    # times are no part of what a trial computed
    seconds: float | None = dataclasses.field(default=None, compare=False)
    images_per_s: float | None = dataclasses.field(default=None, compare=False)
    parameters: int | None = None

    def known(self) -> dict[str, float]:
        """The values that are known."""
        values = dataclasses.asdict(self).items()
        return {name: value for name, value in values if value is not None}


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How a trial ended on its worker.

    Attributes:
        state: how the trial ended.
        fold_scores: the scores of all finished folds, in fold order; K scores if completed.
        reason: one line for a failed trial, else empty.
        traceback: the traceback of a failed trial, else empty.
        notes: what a reader of the score should know, e.g. that batches were split because the
            GPU's memory was too small.
        measured: numbers of a completed trial besides its scores.
        leftover_bytes: memory that the trial did not free. If it is not 0, the worker process must
            not evaluate another trial.
    """

    state: OutcomeState
    fold_scores: tuple[float, ...] = ()
    reason: str = ""
    traceback: str = ""
    notes: tuple[str, ...] = ()
    measured: Measured = Measured()
    leftover_bytes: int = 0

    def __post_init__(self) -> None:
        # Ray turns the state into a plain text, and `asdict` turns `measured` into a mapping
        object.__setattr__(self, "state", OutcomeState(self.state))
        if isinstance(self.measured, Mapping):
            object.__setattr__(self, "measured", Measured(**self.measured))


class TrialReporter(Protocol):
    """Passes a trial's reports to the driver.

    The methods are called at the same points as those of `trainer.training.reporter.Reporter`.
    """

    def report(self, report: TrialReport) -> bool:
        """Send a report; returns True if the trial goes on, False if the trial has to stop."""
        ...

    def interrupted(self) -> bool:
        """Whether the trial has to stop now and is continued later."""
        ...

    def owns(self) -> bool:
        """Whether this process may still write into the trial's directory."""
        ...


RunTrial = Callable[[Assignment, TrialReporter], Outcome]
