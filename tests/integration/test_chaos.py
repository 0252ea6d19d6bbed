"""Processes killed with SIGKILL in the middle of a real sweep.

The long form is benchmarks/chaos.py without options.
"""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("storage", "victims"), [("sqlite", "driver,head"), ("postgresql", "server,worker")]
)
def test_a_sweep_whose_processes_are_killed_ends_as_an_undisturbed_one_to_the_bit(
    storage: str, victims: str
):
    options = [
        "--kills",
        "2",
        "--victims",
        victims,
        "--storage",
        storage,
        "--epochs",
        "6",
        "--seed",
        "1",
    ]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", ROOT / "benchmarks" / "chaos.py", *options],
        capture_output=True,
        text=True,
        timeout=550,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith(
        "the two sweeps are equal: trials, reports, scores and weights, to the bit\n"
    )
    assert done.stdout.count(" killed ") == 2
