"""What a driver reports about its sweep: events as they happen, and a snapshot at any time."""

import dataclasses
import enum
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from sweeps.running.messages import TrialReport


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
class EpochFinished:
    """A trial reported one more epoch."""

    number: int
    report: "TrialReport"


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


Event = TrialStarted | EpochFinished | FoldFinished | TrialEnded | Notice


@dataclasses.dataclass(frozen=True)
class Running:
    """A trial on a worker.

    Attributes:
        fold: the current fold, from 0.
        epoch: the last reported epoch, from 1; 0 before the trial's first report.
        epochs: number of epochs of one fold run.
        value: the last reported value; None before the trial's first report.
        finishes: number of the pruned trial that this trial finishes, or None.
        params: the trial's parameters that vary.
        versus_best: `value` minus the value that the best trial had at this epoch of this fold;
            None if it is not known.
        left_s: estimated seconds to the trial's end, if nothing stops it; None if not known.
        doing: what the trial does before its first report; else empty.
    """

    number: int
    fold: int
    epoch: int
    epochs: int
    value: float | None
    finishes: int | None = None
    params: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    versus_best: float | None = None
    left_s: float | None = None
    doing: str = ""


class Phase(enum.Enum):
    """What a driver does. The value is what a user reads; running is not worth a word."""

    RUNNING = ""
    FINISHING = "finishing: the last trials run, no more will start"
    DRAINING = "stopping as asked: running trials go on to their end, no more will start"
    INTERRUPTING = "interrupting: running trials save their state, to be continued"
    NOT_DRIVEN = "nobody runs this sweep: `sweeps run` continues it"
    CLOSING = "closing: the last results are written to the storage"


@dataclasses.dataclass(frozen=True)
class Leader:
    """One of the best trials so far.

    Attributes:
        std: standard deviation over the folds; None if not known.
        oof: the metric over all out-of-fold predictions; None if not known.
        params: the trial's parameters that vary.
    """

    number: int
    score: float
    std: float | None
    oof: float | None
    params: Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Snapshot:
    """The progress of a sweep at one moment.

    Attributes:
        repeats: number of the completed and pruned trials that took over the result of an equal
            trial. They do not count towards the cap.
        finishes: number of the trials that finish pruned ones. They do not count towards the cap.
        cap: number of trials in all; None if only the budget ends the sweep.
        k: number of folds.
        eta_s: estimated seconds to the end; None without a cap, or while no trial has ended and
            `sweeps check --train` has not estimated it.
        phase: what the driver does.
        by_user: whether a user pressed Ctrl-C, so that a second one kills the trials.
        spent_s: seconds that all drivers of the sweep have spent.
        hours: the budget for `spent_s`; None without one.
        gpus: GPUs that running trials have.
        leaders: the best trials so far, best first.
        last: the last trial that ended, with the time in seconds since 1970; None before that.
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
    phase: Phase = Phase.RUNNING
    by_user: bool = False
    spent_s: float = 0.0
    hours: float | None = None
    gpus: float = 0.0
    leaders: tuple[Leader, ...] = ()
    last: tuple[float, TrialEnded] | None = None


class ProgressView(Protocol):
    """Shows a sweep in progress: in a terminal, in a notebook, or not at all.

    `notify` is called from several threads. It must not block, because the driver holds its lock
    during the call. What it raises is logged and goes no further, see `listeners`.
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
