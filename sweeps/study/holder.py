"""Who owns a sweep now."""

import dataclasses
import datetime

from sweeps import processes


@dataclasses.dataclass(frozen=True)
class Holder:
    """Who owns a sweep now."""

    owner: str
    host: str
    pid: int
    process_start: float
    since: float
    machine: str | None = None

    def __str__(self) -> str:
        since = datetime.datetime.fromtimestamp(self.since).astimezone()
        return f"process {self.pid} on {self.host} since {since:%Y-%m-%d %H:%M:%S}"

    def is_dead_here(self) -> bool:
        """Whether it was a process of this machine that no longer exists."""
        return self.machine == processes.machine() and not processes.lives(
            self.pid, self.process_start
        )
