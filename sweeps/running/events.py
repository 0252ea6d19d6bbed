"""What a driver reports about its sweep: events as they happen, and a snapshot at any time."""

import dataclasses
import enum
from collections.abc import Callable
from typing import Any, Protocol


class EndState(enum.StrEnum):
    """How a trial ended, as people see it."""

    COMPLETED = "completed"  # every fold has a score: it is on the leaderboard
    PRUNED = "pruned"  # stopped early, with a reason
    FAILED = "failed"  # its code or its loss failed; `sweeps retry` evaluates it again
    INTERRUPTED = "interrupted"  # to be continued by the next driver


@dataclasses.dataclass(frozen=True)
class TrialStarted:
    """A trial goes to a worker; `continued` if it was interrupted before."""

    number: int
    params: dict[str, Any]
    continued: bool


@dataclasses.dataclass(frozen=True)
class FoldFinished:
    """One more fold of a trial is scored."""

    number: int
    fold: int
    k: int
    score: float


@dataclasses.dataclass(frozen=True)
class TrialEnded:
    """A trial is over, or interrupted. `best`: it is the best completed trial so far."""

    number: int
    state: EndState
    score: float | None
    reason: str
    best: bool
    seconds: float


@dataclasses.dataclass(frozen=True)
class Notice:
    """Something the user should know."""

    text: str


Event = TrialStarted | FoldFinished | TrialEnded | Notice


@dataclasses.dataclass(frozen=True)
class Running:
    """A trial on a worker. `fold` from 0, `epoch` 0 before its first report."""

    number: int
    fold: int
    epoch: int
    epochs: int
    value: float | None


@dataclasses.dataclass(frozen=True)
class Snapshot:
    """Where a sweep stands.

    Attributes:
        cap: trials in all, None if only time ends the sweep.
        eta_s: estimated seconds to the end, None while nothing is finished.
    """

    completed: int
    pruned: int
    failed: int
    interrupted: int
    running: tuple[Running, ...]
    cap: int | None
    k: int
    best_score: float | None
    best_number: int | None
    elapsed_s: float
    eta_s: float | None
    stopping: bool


class ProgressView(Protocol):
    """Shows a sweep while it runs: a terminal, a notebook, or nothing.

    `notify` is called from several threads. It must not block, since the driver holds its lock, and not raise.
    """

    def notify(self, event: Event) -> None:
        """Something happened."""
        ...

    def watch(self, name: str, snapshot: Callable[[], Snapshot]) -> None:
        """The sweep of that name begins; `snapshot` says at any time where it stands."""
        ...

    def images(self, what: str, done: int, total: int) -> None:
        """So many images are read, decoded or compared."""
        ...


class Silent:
    """The view that shows nothing."""

    def notify(self, event: Event) -> None:
        """Nothing."""

    def watch(self, name: str, snapshot: Callable[[], Snapshot]) -> None:
        """Nothing."""

    def images(self, what: str, done: int, total: int) -> None:
        """Nothing."""
