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
        values: fields of TrainConfig, the seed included.
        sweep_directory: absolute; holds `folds.npz` and the trials' directories.
        metric: name of the score in a fold's result, e.g. `f1`.
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
    """

    step: int
    value: float
    fold: int
    epoch: int
    epochs: int
    fold_scores: tuple[float, ...] = ()


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How a trial ended on its worker.

    Attributes:
        fold_scores: of all finished folds, in fold order; all K of them if completed.
        reason: one line for a failed trial.
        traceback: of a failed trial, where our code raised.
    """

    state: OutcomeState
    fold_scores: tuple[float, ...] = ()
    reason: str = ""
    traceback: str = ""


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
