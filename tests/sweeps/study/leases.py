"""Leases as a test finds, changes and loses them, and processes that are over."""

import subprocess
from collections.abc import Callable
from typing import Any

import psutil
import sqlalchemy as sa

from sweeps.errors import InfrastructureError
from sweeps.study.lease import Lease
from sweeps.study.lease_table import leases, server_clock

NEVER_S = 3600.0
Acquire = Callable[..., Lease]


def unexpected(error: InfrastructureError) -> None:
    raise AssertionError(f"lost: {error}")


def change(engine: sa.Engine, **values: Any) -> None:
    """Make the stored lease say something else."""
    with engine.begin() as connection:
        assert connection.execute(sa.update(leases).values(**values)).rowcount == 1


def server_now(engine: sa.Engine) -> float:
    with engine.connect() as connection:
        return float(connection.execute(sa.select(server_clock(engine))).scalar_one())


def started(pid: int) -> float:
    """Seconds from the machine's start to the process's."""
    return psutil.Process(pid).create_time() - psutil.boot_time()


def ended_process() -> tuple[int, float]:
    """Pid and start of a real process that is over."""
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as process:
        start = started(process.pid)
        process.communicate(b"")
    return process.pid, start


def expiry(engine: sa.Engine) -> float:
    with engine.connect() as connection:
        return float(connection.execute(sa.select(leases.c.expires)).scalar_one())


class Outage:
    """A database that answers nothing while `on`; `asked` counts."""

    def __init__(self, engine: sa.Engine) -> None:
        self.on = False
        self.asked = 0
        sa.event.listen(engine, "before_cursor_execute", self._refuse)

    def _refuse(self, *_: Any) -> None:
        if self.on:
            self.asked += 1
            raise sa.exc.OperationalError("SELECT 1", {}, Exception("server gone\nsecond line"))
