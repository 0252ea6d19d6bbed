"""Whether a process still lives."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sweeps.processes import kernel_kills, lives, machine, started_s


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


@pytest.mark.parametrize(("hangs", "code"), [(True, 130), (False, 0)])
def test_a_process_ends_beside_a_thread_that_hangs_and_whatever_pool_it_waits_for(
    hangs: bool, code: int
):
    """Python's own end waits for every thread of a pool."""
    script = """
import concurrent.futures, sys, threading, time
from sweeps.processes import kernel_kills, end_beside_hanging_threads, leave_behind
pool = concurrent.futures.ThreadPoolExecutor(1)
thread = threading.Thread(target=lambda: pool.submit(time.sleep, 600).result(), daemon=True)
if sys.argv[1] == "True":
    thread.start()
leave_behind(thread)
print("last words", end="")
end_beside_hanging_threads(130)
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(hangs)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stdout) == (code, "last words")


@pytest.mark.parametrize(
    ("files", "count"),
    [
        ({"sys/fs/cgroup/box/memory.events": "low 0\noom 4\noom_kill 3\n"}, 3),
        ({"sys/fs/cgroup/memory/box/memory.oom_control": "under_oom 0\noom_kill 2\n"}, 2),
        ({"proc/vmstat": "nr_free_pages 12\noom_kill 5\n"}, 5),
        ({"proc/vmstat": "nr_free_pages 12\n"}, None),
        ({}, None),
    ],
)
def test_the_kernels_kills_are_those_of_the_container_else_of_the_machine(
    tmp_path: Path, files: dict[str, str], count: int | None
):
    for name, text in {"proc/self/cgroup": "4:memory:/box\n0::/box\n", **files}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert kernel_kills(root=tmp_path) == count
