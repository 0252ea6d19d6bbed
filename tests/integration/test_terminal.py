"""The real command on a pseudo terminal: the live view, signals, and going on afterwards."""

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pexpect
import pytest

from tests.integration.conftest import SWEEPS, called, command


@pytest.mark.parametrize(
    ("how", "number"),
    [
        ("ray", signal.SIGTERM),
        pytest.param("ray", signal.SIGINT, marks=pytest.mark.slow),
        pytest.param("ray", signal.SIGHUP, marks=pytest.mark.slow),
        pytest.param("local", signal.SIGINT, marks=pytest.mark.slow),
    ],
)
def test_a_signal_to_its_processes_saves_the_trials_and_the_next_command_continues_them(
    how: str, number: signal.Signals, space: Callable[..., Path], tmp_path: Path
):
    """Ctrl-C, a terminal that is closed, and `timeout` or Slurm, which signal the whole group."""
    path = space(run_cap=2, parameters={"epochs": {"value": 15}, "batch_size": {"value": 8}})
    arguments = [
        "run",
        str(path),
        "--runs",
        str(tmp_path / "runs"),
        *(["--local"] if how == "local" else []),
    ]
    child = pexpect.spawn(
        str(SWEEPS), arguments, encoding="utf8", timeout=280, dimensions=(30, 120)
    )
    child.expect(r"\b0 +1/2 +[1-9]")  # the live view shows fold and epoch
    child.expect("used")
    os.killpg(child.pid, number)
    child.expect("interrupted; `sweeps run .*` continues it")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 130

    status = json.loads(
        called("status", "--runs", tmp_path / "runs", "--json", cwd=tmp_path).stdout
    )
    assert status["interrupted"] >= 1
    assert (status["running"], status["failed"], status["holder"]) == (0, 0, None)
    checkpoints = list((tmp_path / "runs" / "small").glob("trial-*/fold-*/last.ckpt"))
    assert checkpoints

    # without a second Ray: tests/integration/test_ray.py continues trials on one
    done = command(*arguments, "--local", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "trial 0 continued" in done.stderr
    best = json.loads(called("best", "--runs", tmp_path / "runs", "--json", cwd=tmp_path).stdout)
    assert sorted(trial["number"] for trial in best["trials"]) == [0, 1]
    assert not any(checkpoint.exists() for checkpoint in checkpoints)


def test_a_second_run_of_a_running_sweep_is_told_who_has_it(
    space: Callable[..., Path], tmp_path: Path
):
    path = space(run_cap=1, parameters={"epochs": {"value": 200}})
    arguments = ["run", str(path), "--runs", str(tmp_path / "runs"), "--local", "--plain"]
    first = pexpect.spawn(str(SWEEPS), arguments, encoding="utf8", timeout=280)
    first.expect("trial 0 started")

    second = called(*arguments, cwd=tmp_path)
    assert second.returncode == 2
    assert (
        f"sweep 'small' is already running: process {first.pid} on {os.uname().nodename} since 20"
        in second.stderr
    )

    first.sendintr()
    first.expect(pexpect.EOF)
    first.close()
    assert first.exitstatus == 130
