"""Whether the process that holds a lease is dead."""

import os
import socket
import subprocess

import psutil
import pytest

from sweeps.processes import machine
from sweeps.study.holder import Holder
from tests.sweeps.study.leases import ended_process, started


def test_a_killed_process_that_its_parent_has_not_looked_at_is_dead() -> None:
    process = subprocess.Popen(["cat"], stdin=subprocess.PIPE)
    holder = Holder(
        "somebody", "here", process.pid, started(process.pid), since=0.0, machine=machine()
    )
    assert not holder.is_dead_on_this_machine()
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # ended, and still in the table
    assert holder.is_dead_on_this_machine()
    process.communicate()


def test_a_holder_of_another_machine_is_never_called_dead() -> None:
    pid, start = ended_process()
    assert not Holder(
        "a", socket.gethostname(), pid, start, 0.0, "another"
    ).is_dead_on_this_machine()
    assert Holder("a", socket.gethostname(), pid, start, 0.0, machine()).is_dead_on_this_machine()


def test_a_clock_that_was_set_anew_makes_nobody_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    me = psutil.Process()
    holder = Holder("a", "here", me.pid, started(me.pid), 0.0, machine())
    created = me.create_time()
    boot = psutil.boot_time()
    monkeypatch.setattr(psutil.Process, "create_time", lambda process: created + 7200)
    monkeypatch.setattr(
        psutil, "boot_time", lambda: boot + 7200
    )  # both are computed from the time of day
    assert not holder.is_dead_on_this_machine()
