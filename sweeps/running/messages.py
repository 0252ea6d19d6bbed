"""What the driver and a trial say to each other; plain values that travel between processes."""

import dataclasses
import enum
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from sweeps.paths import SweepFiles, TrialFiles


class OutcomeState(enum.StrEnum):
    """How a trial ended on its worker."""

    COMPLETED = "completed"  # every fold has a score
    STOPPED = "stopped"  # the driver answered to stop: it is pruned
    INTERRUPTED = "interrupted"  # it left a checkpoint, to be continued
    FAILED = "failed"  # its code or its loss failed, for good
    NO_SPACE = "no_space"  # interrupted by a full disk: the sweep ends, to be continued when there is space


@dataclasses.dataclass(frozen=True)
class Share:
    """What one trial gets of a machine, and how it reads its images.

    Attributes:
        device: `cpu` or `cuda`.
        gpu: GPUs, or a share of one.
        threads: torch's CPU threads.
        streamed: keys of the choices of preprocessing that are decoded per batch instead of once.
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
        values: fields of TrainConfig, entries of mappings dotted (`loss_mix.focal`), the seed included.
        sweep_directory: absolute; holds `folds.npz` and the trials' directories.
        metric: name of the score in a fold's result, e.g. `f1`; `metric` for the user's own.
        max_epochs: E, the largest `epochs` in the space.
        device, threads, streamed: see Share.
        driver: names the driver that gave it out; attempts of another one were not this one's failures.
        retries: times that a dead worker process is replaced.
        reported: the last step that the driver knows; it is told again, for its answer, and nothing before it.
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
    reported: int = 0

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
    """One finished epoch of a trial, or a finished fold: the report of its last epoch again, with the fold's score.

    Attributes:
        step: fold x E + epoch; grows, with gaps.
        value: mean over the scores of the finished folds and the current fold's value.
        fold: from 0.
        epoch: from 1, up to `epochs`.
        fold_scores: scores of the finished folds, in fold order; of this one, too, when it has just finished.
        notes: of this fold so far, see Outcome.
    """

    step: int
    value: float
    fold: int
    epoch: int
    epochs: int
    fold_scores: tuple[float, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def fold_finished(self) -> bool:
        """Whether it tells a fold's score, not an epoch's value."""
        return len(self.fold_scores) > self.fold


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How a trial ended on its worker.

    Attributes:
        fold_scores: of all finished folds, in fold order; all K of them if completed.
        reason: one line for a failed trial.
        traceback: of a failed trial, where our code raised.
        notes: what a reader of the score should know, e.g. that batches were split for want of memory.
        leftover_bytes: memory that the trial did not give back; its worker process is not to be used again.
    """

    state: OutcomeState
    fold_scores: tuple[float, ...] = ()
    reason: str = ""
    traceback: str = ""
    notes: tuple[str, ...] = ()
    leftover_bytes: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(
            self, "state", OutcomeState(self.state)
        )  # a plain text once it has been through Ray


class TrialReporter(Protocol):
    """A trial's way to the driver. `report` answers go on (True) or stop; all calls as in trainer.training.reporter."""

    def report(self, report: TrialReport) -> bool:
        """Go on?"""
        ...

    def interrupted(self) -> bool:
        """Shall the trial stop now and be continued later?"""
        ...

    def owns(self) -> bool:
        """May this process still write into the trial's directory?"""
        ...


RunTrial = Callable[[Assignment, TrialReporter], Outcome]
