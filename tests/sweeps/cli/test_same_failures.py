"""A sweep whose trials all fail alike stops soon, says why once, and is continued without loss."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.sweeps.cli.conftest import Ended

Sweeps = Callable[..., Ended]
# a loss that works on the 64 made-up images of the check, and fails in trainings
LOSS = """
from pathlib import Path
from torch.nn import functional

def loss(logits_BK, targets_BK):
    if len(logits_BK) < 64 and Path("cable").exists():
        raise RuntimeError(f"the cable {len(logits_BK)} is out")
    return functional.cross_entropy(logits_BK, targets_BK)
"""


@pytest.fixture
def file(space: Callable[..., Path]) -> Path:
    Path("my_task.py").write_text(LOSS)
    return space(("value: cross_entropy", "value: my_task.py:loss"), ("run_cap: 2", "run_cap: 5"))


def test_three_equal_failures_end_the_sweep_and_repairing_the_cause_continues_it(
    sweeps: Sweeps, file: Path
):
    Path("cable").touch()
    broken = sweeps("run", file, "--local")
    assert (broken.code, broken.out) == (1, "")
    assert "the first 3 trials failed for the same reason: the sweep stops\n" in broken.err
    assert "trial 3 started" not in broken.err
    message = broken.err[broken.err.index("error: ") :]
    assert message == (
        "error: the sweep stopped, because 3 trials in a row failed for the same reason:\n"
        f"  {message.splitlines()[1].strip()}\n"
        "runs/tiny/trial-0000/error.txt has the traceback. Repair the cause and run the same "
        "command again: it repeats these trials, which take nothing of run_cap, and goes on\n"
    )
    assert "the cable 10 is out" in message
    assert Path("runs/tiny/trial-0000/error.txt").is_file()

    said = sweeps("status", "tiny").out
    assert (
        "driver     none: 3 trials in a row failed for the same reason; "
        "`sweeps run tiny.yaml --local` repeats them\n"
    ) in said
    assert said.count("is out") == 1
    assert "failed     3 trials (0, 1, 2): " in said
    stored = json.loads(sweeps("status", "tiny", "--json").out)
    (group,) = stored["failure_groups"]
    assert (group["count"], group["trials"]) == (3, [0, 1, 2])
    assert stored["failures"].keys() == {"0", "1", "2"}

    Path("cable").unlink()
    repaired = sweeps("run", file, "--local")
    assert repaired.code == 0, repaired.err
    assert "trials that failed alike are repeated: 3\n" in repaired.err
    assert "5 completed, 0 pruned, 3 failed" in repaired.out
    stored = json.loads(sweeps("status", "tiny", "--json").out)
    assert (stored["retried"], stored["broken"], stored["left"]["trials"]) == (3, 0, 0)
    again = sweeps("run", file, "--local")
    assert again.err == "all trials are done already; more with --trials or a larger run_cap\n"


def test_a_cause_that_is_not_repaired_ends_the_sweep_again_and_costs_nothing_more(
    sweeps: Sweeps, file: Path
):
    Path("cable").touch()
    for _ in range(2):
        assert sweeps("run", file, "--local").code == 1
    stored = json.loads(sweeps("status", "tiny", "--json").out)
    assert (stored["failed"], stored["broken"]) == (6, 3)
    Path("cable").unlink()
    assert "5 completed, 0 pruned, 6 failed" in sweeps("run", file, "--local").out


def test_a_cap_that_failed_alike_as_a_whole_is_repeated_too(sweeps: Sweeps, file: Path):
    Path("cable").touch()
    assert sweeps("run", file, "--local", "--trials", "3").code == 1
    Path("cable").unlink()
    ended = sweeps("run", file, "--local", "--trials", "3")
    assert ended.code == 0
    assert "3 completed, 0 pruned, 3 failed" in ended.out
