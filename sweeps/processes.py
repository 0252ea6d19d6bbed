"""Processes of this machine: how one is named, and whether it still lives.

A pid alone is not enough: pids are reused.
"""

import os
import socket
from pathlib import Path

import psutil

ROUNDING_S = 2.0  # a start is two times of whole seconds, both rounded


def machine() -> str:
    """Name the place in which a pid means one process: this start of this machine, and this pid namespace.

    Containers may share a host's name, and do not see each other's processes.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:  # not Linux
        return socket.gethostname()


def started_s(pid: int | None = None) -> float:
    """Seconds from the start of the machine to the start of a process, this one by default.

    The time of day, which somebody may set, cancels out.

    Raises:
        psutil.NoSuchProcess: there is no process with this pid.
    """
    return psutil.Process(pid).create_time() - psutil.boot_time()


def lives(pid: int, process_start_s: float) -> bool:
    """Whether the process with this pid and this start (see `started_s`) still runs on this machine.

    Example:
        >>> lives(os.getpid(), started_s())
        True
        >>> lives(os.getpid(), started_s() - 100)
        False
    """
    try:
        same = abs(started_s(pid) - process_start_s) <= ROUNDING_S
        # a zombie was killed, and its parent has not noticed yet
        return same and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
