"""What a driver reports about its sweep: events as they happen, and a snapshot at any time."""

import dataclasses
import enum
from collections.abc import Callable
from typing import Any, Protocol


class EndState(enum.StrEnum):
    """How a trial ended, as a user reads it."""

    COMPLETED = "completed"  # every fold has a score, so the trial is on the leaderboard
    PRUNED = "pruned"  # the trial was stopped early, with a reason
    FAILED = "failed"  # the trial's code or loss failed; `sweeps retry` evaluates the trial again
    INTERRUPTED = "interrupted"  # the next driver continues the trial


@dataclasses.dataclass(frozen=True)
class TrialStarted:
    """A trial was handed to a worker.

    Attributes:
        continued: whether the trial was interrupted before.
        finishes: number of the pruned trial that this trial finishes, or None.
    """

    number: int
    params: dict[str, Any]
    continued: bool
    finishes: int | None = None


@dataclasses.dataclass(frozen=True)
class FoldFinished:
    """One more fold of a trial has a score. `fold` counts from 0; `k` is the number of folds."""

    number: int
    fold: int
    k: int
    score: float


@dataclasses.dataclass(frozen=True)
class TrialEnded:
    """A trial ended or was interrupted. `best`: it is the best completed trial so far."""

    number: int
    state: EndState
    score: float | None
    reason: str
    best: bool
    seconds: float


@dataclasses.dataclass(frozen=True)
class Notice:
    """A sentence that the user should read."""

    text: str


Event = TrialStarted | FoldFinished | TrialEnded | Notice


@dataclasses.dataclass(frozen=True)
class Running:
    """A trial on a worker.

    Attributes:
        fold: the current fold, from 0.
        epoch: the last reported epoch, from 1; 0 before the trial's first report.
        epochs: number of epochs of one fold run.
        value: the last reported value; None before the trial's first report.
        finishes: number of the pruned trial that this trial finishes, or None.
    """

    number: int
    fold: int
    epoch: int
    epochs: int
    value: float | None
    finishes: int | None = None


@dataclasses.dataclass(frozen=True)
class Snapshot:
    """The progress of a sweep at one moment.

    Attributes:
        repeats: number of the completed and pruned trials that took over the result of an equal
            trial. They do not count towards the cap.
        finishes: number of the trials that finish pruned ones. They do not count towards the cap.
        cap: number of trials in all; None if only the budget ends the sweep.
        k: number of folds.
        eta_s: estimated seconds to the end; None without a cap, or while no trial has ended.
        stopping: whether the driver starts no more trials.
    """

    completed: int
    pruned: int
    failed: int
    interrupted: int
    repeats: int
    finishes: int
    running: tuple[Running, ...]
    cap: int | None
    k: int
    best_score: float | None
    best_number: int | None
    elapsed_s: float
    eta_s: float | None
    stopping: bool


class ProgressView(Protocol):
    """Shows a sweep in progress: in a terminal, in a notebook, or not at all.

    `notify` is called from several threads. It must not block, because the driver holds its lock
    during the call. It must not raise.
    """

    def notify(self, event: Event) -> None:
        """Show an event."""
        ...

    def watch(self, name: str, snapshot: Callable[[], Snapshot]) -> None:
        """Begin to show the sweep called `name`; `snapshot` returns its progress at any time."""
        ...

    def images(self, what: str, done: int, total: int) -> None:
        """Show that `done` of `total` images are read, decoded or compared (`what`)."""
        ...


class Silent:
    """The view that shows nothing."""

    def notify(self, event: Event) -> None:
        """Do nothing."""

    def watch(self, name: str, snapshot: Callable[[], Snapshot]) -> None:
        """Do nothing."""

    def images(self, what: str, done: int, total: int) -> None:
        """Do nothing."""
