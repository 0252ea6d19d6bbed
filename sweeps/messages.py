"""What the driver and a trial say to each other; plain values that travel between processes."""

import dataclasses
from collections.abc import Callable
from typing import Any, Literal, Protocol

OutcomeState = Literal["completed", "stopped", "interrupted", "failed"]


@dataclasses.dataclass(frozen=True)
class Assignment:
    """One trial to evaluate.

    Attributes:
        number: the trial's number in the sweep.
        values: fields of TrainConfig, entries of mappings dotted (`loss_mix.focal`), the seed included.
        sweep_directory: absolute; holds `folds.npz` and the trials' directories.
        metric: name of the score in a fold's result, e.g. `f1`; `metric` for the user's own.
        max_epochs: E, the largest `epochs` in the space.
        device: `cpu` or `cuda`.
        threads: torch's CPU threads.
        streamed: choices of preprocessing (their keys) that are decoded per batch instead of once.
    """

    number: int
    values: dict[str, Any]
    sweep_directory: str
    metric: str
    max_epochs: int
    device: str
    threads: int
    streamed: tuple[str, ...] = ()

    @property
    def directory(self) -> str:
        """The trial's own directory."""
        return f"{self.sweep_directory}/trial-{self.number:04d}"


@dataclasses.dataclass(frozen=True)
class TrialReport:
    """One finished epoch of a trial.

    Attributes:
        step: fold x E + epoch; grows, with gaps.
        value: mean over the scores of the finished folds and the current fold's value.
        fold: from 0.
        epoch: from 1, up to `epochs`.
        fold_scores: scores of the folds finished before this one.
        notes: of this fold so far, see Outcome.
    """

    step: int
    value: float
    fold: int
    epoch: int
    epochs: int
    fold_scores: tuple[float, ...] = ()
    notes: tuple[str, ...] = ()


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


CODE_FOLDER = "code"  # in the sweep's directory: the user's files with own functions, frozen
FOLDS_FILE = "folds.npz"  # in the sweep's directory: the manifest and the folds, frozen
STOP_FILE = "stop"  # in the sweep's directory: running trials leave a checkpoint and end


class TrialReporter(Protocol):
    """A trial's way to the driver. `report` answers go on (True) or stop; both calls as in trainer.reporter."""

    def report(self, report: TrialReport) -> bool:
        """Go on?"""
        ...

    def interrupted(self) -> bool:
        """Shall the trial stop now and be continued later?"""
        ...


RunTrial = Callable[[Assignment, TrialReporter], Outcome]
