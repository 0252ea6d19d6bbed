"""The driver process that holds the lease of a sweep."""

import dataclasses
import datetime
import socket
from typing import Any

from sweeps import processes


@dataclasses.dataclass(frozen=True)
class Holder:
    """The driver process that holds the lease of a sweep.

    Attributes:
        owner: uuid of the lease.
        host: name of the process's host, for messages.
        process_start: seconds from the start of the machine to the start of the process.
        since: when the process took the lease, in seconds since 1970 by the server's clock.
        machine: the place in which `pid` identifies a process, see `processes.machine`; None in
            rows of earlier versions.
        doing: what the driver does before the first trial, such as decoding images; else None.
    """

    owner: str
    host: str
    pid: int
    process_start: float
    since: float
    machine: str | None = None
    doing: str | None = None

    def __str__(self) -> str:
        since = datetime.datetime.fromtimestamp(self.since).astimezone()
        return f"process {self.pid} on {self.host} since {since:%Y-%m-%d %H:%M:%S}"

    def as_json(self) -> dict[str, Any]:
        """The attributes for JSON; `since` is ISO 8601 in local time."""
        since = datetime.datetime.fromtimestamp(self.since).astimezone()
        return {**dataclasses.asdict(self), "since": since.isoformat(timespec="seconds")}

    def is_dead_on_this_machine(self) -> bool:
        """Whether the holder was a process of this machine and no longer exists."""
        return self.machine == processes.machine() and not processes.lives(
            self.pid, self.process_start
        )

    def may_be_gone(self) -> bool:
        """Whether the holder may have been a process of this machine that cannot be asked for.

        That is so in a container that was started again, and after the machine was: the host has
        the same name, and processes have new numbers.
        """
        return self.host == socket.gethostname() and self.machine != processes.machine()
