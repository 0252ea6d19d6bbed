"""What users ask for in the program of a tracker, and how the driver obeys."""

import dataclasses
from typing import Any

from sweeps.running.driver import Driver
from sweeps.running.events import Notice
from sweeps.tracking.tracker import Command, Orders

# the trackers as users know them
SHOWN = {"wandb": "W&B", "tensorboard": "TensorBoard", "mlflow": "MLflow"}
_MEANING = {
    Command.RUN: "goes on",
    Command.PAUSE: "pauses: no trial is started",
    Command.DRAIN: "ends: running trials go on to their end",
    Command.INTERRUPT: "ends now: running trials are interrupted",
}


@dataclasses.dataclass(frozen=True)
class Order:
    """One thing that a user asked for.

    Attributes:
        by: name of the tracker.
        command: what the whole sweep has to do; None for no change.
        stop: numbers of the trials to stop.
    """

    by: str
    command: Command | None = None
    stop: frozenset[int] = frozenset()

    def as_json(self) -> dict[str, Any]:
        """The order as a value of JSON."""
        command = None if self.command is None else self.command.value
        return {"by": self.by, "command": command, "stop": sorted(self.stop)}

    @classmethod
    def of_json(cls, value: Any) -> "Order":
        """Read what `as_json` made.

        Raises:
            ValueError, KeyError, TypeError: the value is something else.
        """
        command = None if value["command"] is None else Command(value["command"])
        return cls(str(value["by"]), command, frozenset(map(int, value["stop"])))


def change(before: Orders | None, now: Orders, *, by: str) -> Order | None:
    """The order that follows from two answers of a tracker; None if nothing changed.

    The first answer of a process only says how things are: a sweep that was finished in W&B stays
    finished there when it is continued here. Stopped trials need no such rule, because a trial
    that is over cannot be stopped.

    Args:
        before: None if `now` is the first answer.

    Example:
        >>> change(Orders(), Orders(Command.PAUSE), by="wandb").command
        <Command.PAUSE: 'pause'>
    """
    known = frozenset() if before is None else before.stop
    command = None if before is None or before.command is now.command else now.command
    if command is None and now.stop <= known:
        return None
    return Order(by, command, now.stop - known)


def obey(driver: Driver, order: Order) -> None:
    """Have the driver do what a user asked for, and say so."""
    by = SHOWN.get(order.by, order.by)
    if order.stop:
        driver.stop_trials(order.stop, reason=f"stopped in {by}")
    if order.command is None:
        return
    driver.notify(Notice(f"asked in {by}: the sweep {_MEANING[order.command]}"))
    if order.command is Command.DRAIN:
        driver.drain()
    elif order.command is Command.INTERRUPT:
        driver.stop()
    else:
        driver.pause(order.command is Command.PAUSE)
