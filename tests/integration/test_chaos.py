"""Processes killed with SIGKILL in the middle of a real sweep.

What each death does is tested for itself elsewhere: a driver that dies after any of its writes
(test_driver_recovery), a worker (test_ray), a node (test_cluster), the database server
(test_recorder_outages).
The longest forms are benchmarks/chaos.py and benchmarks/chaos_tracking.py without options.
"""

import subprocess
import sys
from pathlib import Path

import pytest

CHAOS = Path(__file__).parents[2] / "benchmarks" / "chaos.py"
EQUAL = "the two sweeps are equal: trials, reports, scores and weights, to the bit\n"


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("storage", "victims", "more"),
    [
        ("sqlite", ["driver"], ["--epochs", "4", "--within", "2"]),
        ("sqlite", ["driver", "head"], ["--epochs", "6"]),
        ("postgresql", ["server", "worker"], ["--epochs", "6"]),
    ],
)
def test_a_sweep_whose_processes_are_killed_ends_as_an_undisturbed_one_to_the_bit(
    storage: str, victims: list[str], more: list[str]
):
    killed = ["--kills", str(len(victims)), "--victims", ",".join(victims), "--seed", "1"]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", CHAOS, "--storage", storage, *killed, *more],
        capture_output=True,
        text=True,
        timeout=850,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith(EQUAL)
    assert done.stdout.count(" killed ") == len(victims)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_w_and_b_has_every_step_once_although_tracker_and_worker_are_killed():
    killed = ["--trials", "4", "--trackers", "1", "--workers", "1", "--epochs", "4"]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", CHAOS.with_name("chaos_tracking.py"), *killed],
        capture_output=True,
        text=True,
        timeout=850,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("W&B has every step exactly once, and every end\n")
    assert done.stdout.count(" killed ") == 2
