"""Processes of this machine: how to identify a process, whether it still runs, and how to leave it.

A pid alone does not identify a process, because pids are reused.
"""

import contextlib
import os
import socket
import sys
import threading
from pathlib import Path

import psutil

_left_behind: list[threading.Thread] = []
ROUNDING_S = 2.0  # a start is the difference of two times, each rounded to whole seconds


def machine() -> str:
    """Identifier of the place in which a pid identifies a process.

    On Linux, the place is this start of this machine, and this pid namespace. The host's name is
    not enough: containers may share it, and a container does not see the processes of others.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:  # not Linux
        return socket.gethostname()


def started_s(pid: int | None = None) -> float:
    """Seconds from the start of the machine to the start of a process.

    The result is a difference of two clock times. Therefore a change of the clock does not matter.

    Args:
        pid: None for this process.

    Raises:
        psutil.NoSuchProcess: there is no process with this pid.
    """
    return psutil.Process(pid).create_time() - psutil.boot_time()


def lives(pid: int, process_start_s: float) -> bool:
    """Whether the process with this pid and this start still runs on this machine.

    Args:
        process_start_s: see `started_s`.

    Example:
        >>> lives(os.getpid(), started_s())
        True
        >>> lives(os.getpid(), started_s() - 100)
        False
    """
    try:
        same = abs(started_s(pid) - process_start_s) <= ROUNDING_S
        # a zombie process has ended, but its parent process has not noticed yet
        return same and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def kernel_kills(*, root: Path = Path("/")) -> int | None:
    """How many processes the kernel has killed for lack of memory, in this container if it counts.

    Two counts at different times tell whether a process that vanished may have been one of them.

    Args:
        root: the folder that has `proc` and `sys`.

    Returns:
        None if the kernel does not say.
    """
    with contextlib.suppress(OSError, ValueError):
        for line in (root / "proc/self/cgroup").read_text().splitlines():
            _, controllers, name = line.split(":", 2)
            if controllers in ("", "memory"):
                mount, file = (
                    ("memory", "memory.oom_control") if controllers else ("", "memory.events")
                )
                folder = root / "sys/fs/cgroup" / mount / name.lstrip("/")
                with contextlib.suppress(OSError, KeyError, ValueError):
                    return _counts(folder / file)["oom_kill"]
    with contextlib.suppress(OSError, KeyError, ValueError):
        return _counts(root / "proc/vmstat")["oom_kill"]
    return None


def _counts(file: Path) -> dict[str, int]:
    """A file of the kernel with a name and a number in each line."""
    pairs = (line.split() for line in file.read_text().splitlines())
    return {name: int(number) for name, number in pairs}


def kill_children(name: str) -> None:
    """Kill the child processes of this process whose names begin with `name`."""
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.NoSuchProcess):
            if child.name().startswith(name):
                child.kill()


def leave_behind(thread: threading.Thread) -> None:
    """Take note of a thread that hangs; see `end_beside_hanging_threads`."""
    _left_behind.append(thread)


def end_beside_hanging_threads(exit_code: int) -> None:
    """End this process now if a thread that was left behind still runs.

    At its usual end Python waits for the threads of every pool, those of a thread that hangs, too.
    """
    if any(thread.is_alive() for thread in _left_behind):
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):  # its reader has ended
                stream.flush()
        os._exit(exit_code)
