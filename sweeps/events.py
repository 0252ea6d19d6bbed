"""What a driver tells about its sweep: events as they happen, and a snapshot at any time."""

import dataclasses
from typing import Any, Literal

EndState = Literal["completed", "pruned", "failed", "interrupted"]


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
