"""A driver that was stopped for longer than its lease lasts, and woken: real processes.

Another driver has the sweep then. The woken one may not touch what that one did.
"""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import psutil

from sweeps.results.view import find_sweep
from sweeps.study.storage import open_storage
from tests.sweeps.cli.conftest import Ended
from trainer.training.result import WEIGHTS

URL = "sqlite:///runs/sweeps.db"
# `sweeps run` whose lease lasts 2 s, and that stops itself as SIGSTOP from elsewhere would: after
# its second trial is trained, before it says so. Woken, it says that the trial was pruned.
DRIVER = """\
import functools, os, signal, sys, time
from sweeps import cli
from sweeps.running import local
from sweeps.running.messages import Outcome
from sweeps.study import lease

# the lease is renewed by writes alone: so no thread holds a lock of SQLite while all are stopped
lease.Times = functools.partial(lease.Times, ttl_s=2.0, renew_every_s=60.0, poll_every_s=60.0)
train = local.run_local.__kwdefaults__["trial"]

def trial(assignment, reporter):
    outcome = train(assignment, reporter)
    if assignment.number == 1:
        time.sleep(1)  # until all reports are written
        os.kill(os.getpid(), signal.SIGSTOP)
        return Outcome("stopped")
    return outcome

local.run_local.__kwdefaults__["trial"] = trial
sys.argv = ["sweeps", "run", "tiny.yaml", "--local"]
cli.main()
"""


def contents(folder: Path) -> dict[Path, bytes]:
    """All files but the log, in which every driver says what becomes of it."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path: path.read_bytes() for path in files if path.name != "sweep.log"}


def test_a_driver_that_wakes_without_its_lease_touches_nothing_and_says_why(
    sweeps: Callable[..., Ended], space: Callable[..., Path]
):
    path = space(("run_cap: 2", "run_cap: 3\nearly_terminate: {type: none}"))
    with subprocess.Popen(
        [sys.executable, "-c", DRIVER], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as old:
        process = psutil.Process(old.pid)
        try:
            while process.status() != psutil.STATUS_STOPPED:
                assert old.poll() is None
                threading.Event().wait(0.05)
            threading.Event().wait(2.5)  # its lease expires
            assert sweeps("run", path, "--local").code == 0
            before = contents(Path("runs"))
            states = [trial.state for trial in find_sweep(open_storage(URL), "tiny").trials()]
            os.kill(old.pid, signal.SIGCONT)
            out, err = old.communicate(timeout=120)
        finally:
            old.kill()
    assert (old.returncode, out) == (3, "")
    assert err.splitlines()[-1] == "error: another driver took over sweep 'tiny'; this one stops"
    assert contents(Path("runs")) == before
    assert len(list(Path("runs/tiny/trial-0001").rglob(WEIGHTS))) == 2
    assert [trial.state for trial in find_sweep(open_storage(URL), "tiny").trials()] == states
