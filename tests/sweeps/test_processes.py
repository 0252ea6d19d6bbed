"""Whether a process still lives."""

import os
import subprocess
import sys
import time

import pytest

from sweeps.processes import lives, machine, started_s


def test_a_process_lives_until_it_ends_even_while_nobody_has_waited_for_it():
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        start = started_s(process.pid)
        assert lives(process.pid, start)
        assert not lives(process.pid, start - 100)  # that pid was another process
        process.kill()
        while lives(process.pid, start):  # a zombie from here on
            time.sleep(0.01)
    assert not lives(process.pid, start)


def test_this_process_lives_on_this_machine(monkeypatch: pytest.MonkeyPatch):
    assert lives(os.getpid(), started_s())
    assert machine() == machine()
    monkeypatch.setattr(os, "readlink", lambda path: "pid:[9]")
    assert machine().endswith(" pid:[9]")  # a container with processes of its own
