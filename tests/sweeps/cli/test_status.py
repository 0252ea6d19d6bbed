"""How far a sweep is."""

import json
import os
import socket
from collections.abc import Callable

import pytest

from sweeps.lease import Lease, find_holder
from sweeps.messages import Outcome
from sweeps.study import StoredSweep, open_storage
from tests.sweeps.cli.conftest import Ended

Recorded = Callable[..., StoredSweep]
MIXED = (
    [0, 1, 2],
    Outcome("stopped", (0.1,)),
    Outcome("failed", reason="fold 0, epoch 1: the training loss is nan"),
    None,
)


def started(sweep: StoredSweep) -> str:
    first = sweep.trials()[0].datetime_start
    assert first is not None
    return first.astimezone().isoformat(timespec="seconds")


def test_counts_best_time_and_reasons(sweeps: Callable[..., Ended], recorded: Recorded):
    since = started(recorded(*MIXED))
    assert sweeps("status") == Ended(
        0,
        "sweep      curve\n"
        "driver     none: `sweeps run` continues it\n"
        "trials     1 completed, 1 pruned, 1 failed, 0 running, 1 interrupted of 9\n"
        "best       0.9500 (valid/f1, maximize)\n"
        f"started    {since}\n"
        "time spent 6.0 min\n"
        "failed     trial 2: fold 0, epoch 1: the training loss is nan\n",
        "",
    )
    assert sweeps("status", "curve.yaml") == sweeps("status", "curve") == sweeps("status")


def test_a_sweep_that_has_not_begun(sweeps: Callable[..., Ended], recorded: Recorded):
    recorded()
    assert sweeps("status").out == (
        "sweep      curve\n"
        "driver     none: `sweeps run` continues it\n"
        "trials     0 completed, 0 pruned, 0 failed, 0 running, 0 interrupted of 9\n"
        "best       none yet (valid/f1, maximize)\n"
        "started    not yet\n"
        "time spent 0.0 min\n"
    )


def test_who_drives_it(sweeps: Callable[..., Ended], recorded: Recorded):
    recorded(*MIXED)
    engine = open_storage("sqlite:///runs/sweeps.db").engine
    lease = Lease.acquire(engine, "curve", on_lost=lambda error: pytest.fail(str(error)))
    try:
        line = sweeps("status").out.splitlines()[1]
        holder = find_holder(engine, "curve")
        as_json = json.loads(sweeps("status", "--json").out)["holder"]
    finally:
        lease.release()
    assert line == f"driver     {holder}"
    assert line.startswith(f"driver     process {os.getpid()} on {socket.gethostname()} since 20")
    assert (as_json["pid"], as_json["host"]) == (os.getpid(), socket.gethostname())


def test_json(sweeps: Callable[..., Ended], recorded: Recorded):
    since = started(recorded(*MIXED))
    ended = sweeps("status", "--json")
    assert (ended.code, ended.err) == (0, "")
    assert json.loads(ended.out) == {
        "sweep": "curve",
        "metric": "valid/f1",
        "goal": "maximize",
        "completed": 1,
        "pruned": 1,
        "failed": 1,
        "running": 0,
        "interrupted": 1,
        "run_cap": 9,
        "best_score": pytest.approx(0.95),
        "started": since,
        "elapsed_s": 360.0,
        "holder": None,
        "failures": {"2": "fold 0, epoch 1: the training loss is nan"},
        "notes": {},
    }


def test_what_a_reader_of_the_scores_should_know(sweeps: Callable[..., Ended], recorded: Recorded):
    split = "fold 1, epoch 2: CUDA out of memory with batch_size=64, went on in 2 parts"
    recorded(
        [0, 1, 2],
        Outcome("completed", (0.1, 0.2, 0.3), notes=(split, "another")),
        Outcome("failed", reason="out of luck", notes=(split,)),
        Outcome("stopped", (0.1,), notes=("yet another",)),
    )
    assert sweeps("status").out.splitlines()[6:] == [
        "failed     trial 2: out of luck",
        f"note       trial 1: {split}",
        "note       trial 1: another",
        f"note       trial 2: {split}",
        "note       trial 3: yet another",
    ]
    assert json.loads(sweeps("status", "--json").out)["notes"] == {
        "1": [split, "another"],
        "2": [split],
        "3": ["yet another"],
    }


def test_a_finished_sweep_is_not_said_to_go_on(sweeps: Callable[..., Ended], recorded: Recorded):
    recorded(*[[0, 1, 2]] * 9)
    lines = sweeps("status").out.splitlines()
    assert lines[2] == "trials     9 completed, 0 pruned, 0 failed, 0 running, 0 interrupted of 9"
    assert "continues it" not in lines[1]
