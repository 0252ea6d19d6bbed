"""The command with a trial that hangs, as on a stale mount, and with one that kills its driver."""

import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from optuna.trial import TrialState

from sweeps.study.lease import find_holder
from sweeps.study.storage import open_storage
from sweeps.study.stored_sweep import StoredSweep
from tests.integration.conftest import SWEEPS, command
from tests.sweeps.study.waiting import until

HANGS = """\
import concurrent.futures, pathlib, threading, time
import torch

def hangs(logits, targets):
    if threading.current_thread().name == "trial 0":
        pathlib.Path({mark!r}).touch()
        with concurrent.futures.ThreadPoolExecutor(1) as pool:  # Python waits for pools as it ends
            pool.submit(time.sleep, 600).result()
    return torch.nn.functional.cross_entropy(logits, targets)
"""
KILLS = """\
import os, signal, threading
import torch

def kills(logits, targets):
    if threading.current_thread().name == "trial 0":
        os.kill(os.getpid(), signal.SIGKILL)
    return torch.nn.functional.cross_entropy(logits, targets)
"""


def test_sigterm_ends_a_sweep_without_ray_whose_trial_hangs(
    space: Callable[..., Path], tmp_path: Path
):
    runs, mark = tmp_path / "runs", tmp_path / "hangs"
    (tmp_path / "mine.py").write_text(HANGS.format(mark=str(mark)))
    path = space(parameters={"loss": {"value": "mine.py:hangs"}})
    options = ["--local", "--plain", "--grace", "0.01", "--runs", runs]
    with subprocess.Popen(
        [SWEEPS, "run", path, *options],
        stderr=subprocess.PIPE,
        env={**os.environ, "SWEEPS_STORAGE": f"sqlite:///{runs}/sweeps.db"},
        text=True,
    ) as process:
        until(lambda: mark.exists() or process.poll() is not None)
        process.send_signal(signal.SIGTERM)
        _, told = process.communicate(timeout=120)
    assert process.returncode == 130, told
    assert (
        "trial 0 has not ended within 0.6 s of the stop: "
        "left behind, to be continued from the last checkpoint\n"
    ) in told
    storage = open_storage(f"sqlite:///{runs}/sweeps.db")
    assert find_holder(storage.engine, "small", include_expired=True) is None
    stored = StoredSweep.find(storage, "small")
    assert stored is not None
    assert [trial.state for trial in stored.trials()] == [TrialState.WAITING]
    storage.engine.dispose()


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_trial_that_kills_its_driver_ends_and_the_sweep_with_it(
    space: Callable[..., Path], tmp_path: Path
):
    """Without Ray a trial runs in its driver's process."""
    runs = tmp_path / "runs"
    (tmp_path / "mine.py").write_text(KILLS)
    path = space(parameters={"loss": {"value": "mine.py:kills"}}, run_cap=2, retries=1)

    def run() -> subprocess.CompletedProcess[str]:
        return command("run", path, "--local", "--plain", "--runs", runs, cwd=tmp_path)

    assert run().returncode == -signal.SIGKILL
    last = run()
    assert last.returncode == -signal.SIGKILL
    suspected = last.stderr.index("so they come last and one by one: 0\n")
    assert suspected < last.stderr.index("trial 1 completed") < last.stderr.index("trial 0 cont")
    done = run()
    assert done.returncode == 0, done.stderr
    reason = (
        "the machine, the driver or the worker died 2 times while this trial ran, the last time"
    )
    assert reason in done.stderr
    assert command("run", path, "--local", "--runs", runs, cwd=tmp_path).stderr.startswith(
        "all trials are done already"
    )
