"""How far a sweep is."""

import copy
import datetime
import json
import os
import re
import socket
from collections.abc import Callable

import pytest
from optuna.trial import TrialState

from sweeps.running.messages import Outcome
from sweeps.study.lease import Lease, Times, find_holder
from sweeps.study.records import BEGUN, finishing
from sweeps.study.storage import open_storage
from sweeps.study.stored_sweep import StoredSweep
from sweeps.upkeep.retry import add_retry
from tests.sweeps.cli.conftest import Ended
from tests.sweeps.study.waiting import until

Recorded = Callable[..., StoredSweep]
MIXED = (
    [0, 1, 2],
    Outcome("stopped", (0.1,)),
    Outcome("failed", reason="fold 0, epoch 1: the training loss is nan"),
    None,
)


def started(sweep: StoredSweep) -> str:
    begun = sweep.record().begun
    assert begun is not None
    return (
        datetime.datetime.fromtimestamp(begun, datetime.UTC)
        .astimezone()
        .isoformat(timespec="seconds")
    )


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
        "left       6 trials\n"
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
        "left       9 trials\n"
    )


def test_who_drives_it(sweeps: Callable[..., Ended], recorded: Recorded):
    recorded(*MIXED)
    engine = open_storage("sqlite:///runs/sweeps.db").engine
    lease = Lease.acquire(engine, "curve", on_lost=lambda error: pytest.fail(str(error)))
    try:
        line = sweeps("status").out.splitlines()[1]
        holder = find_holder(engine, "curve")
        assert holder is not None
        as_json = json.loads(sweeps("status", "--json").out)["holder"]
    finally:
        lease.release()
    assert line == f"driver     {holder}"
    assert line.startswith(f"driver     process {os.getpid()} on {socket.gethostname()} since 20")
    assert (as_json["pid"], as_json["host"]) == (os.getpid(), socket.gethostname())
    since = datetime.datetime.fromisoformat(as_json["since"])
    assert since.tzinfo is not None
    assert abs(since.timestamp() - holder.since) <= 1


def test_a_sweep_that_reads_its_images_is_known_before_it_is_stored(
    sweeps: Callable[..., Ended], recorded: Recorded
):
    recorded([0, 1, 2])
    engine = open_storage("sqlite:///runs/sweeps.db").engine
    with Lease.acquire(engine, "new", times=Times(poll_every_s=0.01)) as lease:
        assert sweeps("status", "new").out.splitlines()[2:] == [
            "doing      starting",
            "trials     none yet",
        ]
        lease.say("images decoded: 12,000 of 90,000")
        until(lambda: getattr(find_holder(engine, "new"), "doing", None) is not None)
        holder = find_holder(engine, "new")
        shown = (
            "sweep      new\n"
            f"driver     {holder}\n"
            "doing      images decoded: 12,000 of 90,000\n"
            "trials     none yet\n"
        )
        assert sweeps("status", "new") == sweeps("status") == Ended(0, shown, "")
        known = json.loads(sweeps("status", "--json").out)
        assert (known["state"], known["holder"]["doing"]) == (
            "preparing",
            "images decoded: 12,000 of 90,000",
        )
        listed = sweeps("list").out.splitlines()[-1]
        assert listed.startswith("new ")
        assert listed.endswith(f"{holder}: images decoded: 12,000 of 90,000")
        assert json.loads(sweeps("list", "--json").out)[-1]["state"] == "preparing"
        assert sweeps("stop").out.startswith(f"asked {holder} to drain sweep new")
    assert sweeps("status").out.startswith("sweep      curve\n")


def test_running_trials_have_their_last_reports(sweeps: Callable[..., Ended], recorded: Recorded):
    sweep = recorded([0, 1, 2])
    storage = sweep.storage
    trial_id = storage.create_new_trial(sweep.study_id)
    storage.set_trial_intermediate_value(trial_id, 4, 0.625)
    (running,) = json.loads(sweeps("status", "--json").out)["running_trials"]
    assert (running["trial"], running["fold"], running["epoch"]) == (1, 1, 2)
    assert running["value"] == 0.625


def test_a_continued_sweep_started_when_it_first_did(
    sweeps: Callable[..., Ended], recorded: Recorded
):
    sweep = recorded([0, 1, 2])
    sweep.set_attribute(BEGUN, 1_790_000_000.0)
    with_first = sweeps("status").out
    assert f"started    {started(sweep)}" in with_first
    assert "started    2026-09-21" in with_first


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
        "taken_over": 0,
        "retried": 0,
        "finishes": 0,
        "history": 0,
        "run_cap": 9,
        "best_score": pytest.approx(0.95),
        "started": since,
        "elapsed_s": 360.0,
        "gpu_hours": 0.0,
        "left": {"trials": 6, "hours": None, "gpu_hours": None},
        "target": None,
        "target_reached": None,
        "holder": None,
        "state": "stopped",
        "running_trials": [],
        "left_s": pytest.approx(360 * 6 / 2),
        "broken": 0,
        "failures": {"2": "fold 0, epoch 1: the training loss is nan"},
        "failure_groups": [
            {"count": 1, "trials": [2], "reason": "fold 0, epoch 1: the training loss is nan"}
        ],
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
    assert sweeps("status").out.splitlines()[7:] == [
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


def test_a_trial_that_another_program_failed_and_tracebacks_are_named(
    sweeps: Callable[..., Ended], recorded: Recorded
):
    sweep = recorded(
        *[Outcome("failed", reason=f"no luck {n}", traceback=f"Trace {n}") for n in range(2)], None
    )
    trial_id = sweep.storage.get_trial_id_from_study_id_trial_number(sweep.study_id, 2)
    sweep.storage.set_trial_state_values(trial_id, TrialState.FAIL)
    assert sweeps("status").out.splitlines()[7:] == [
        "failed     2 trials (0, 1): no luck 0",
        "failed     trial 2: another program ended it, e.g. `Fail Trial` in the Optuna dashboard",
        "traceback  runs/curve/trial-*/error.txt",
    ]


def test_a_finished_sweep_is_not_said_to_go_on(sweeps: Callable[..., Ended], recorded: Recorded):
    recorded(*[[0, 1, 2]] * 9)
    lines = sweeps("status").out.splitlines()
    assert lines[1] == "driver     none: all trials are done"
    assert lines[2] == "trials     9 completed, 0 pruned, 0 failed, 0 running, 0 interrupted of 9"
    assert lines[6] == "left       0 trials"


@pytest.mark.parametrize(
    ("settings", "left"),
    [
        (("budget.hours=2",), "8 trials, or 1.98 hours"),
        (("budget={hours: 0.02, gpu_hours: 3}",), "8 trials, or 0.00 hours, or 3.00 GPU-hours"),
        (("metric.target=0.99",), "8 trials, or the target of 0.99"),
        (("metric.target=0.95",), "8 trials, or the target of 0.95 is reached"),
    ],
)
def test_what_is_left_until_the_sweep_ends(
    sweeps: Callable[..., Ended], recorded: Recorded, settings: tuple[str, ...], left: str
):
    recorded([0, 1, 2], settings=settings)
    assert sweeps("status").out.splitlines()[6] == f"left       {left}"


def test_gpu_hours_retries_repeats_finishes_and_history_are_shown_where_there_are_any(
    sweeps: Callable[..., Ended], recorded: Recorded
):
    sweep = recorded([0, 1, 2], Outcome("failed", reason="out of luck"))
    sweep.set_attribute("gpu_s", 5400.0)
    sweep.set_attribute("run_cap", None)
    done, failed = sweep.trials()
    add_retry(sweep, failed)
    finished = copy.copy(done)
    finished.user_attrs = {**done.user_attrs, **finishing(failed)}
    sweep.add(finished)
    for source in ({"sweep": "curve", "trial": 0, "repeats": 0}, {"sweep": "other", "trial": 0}):
        taken = copy.copy(done)
        taken.user_attrs = {**done.user_attrs, "taken_from": source}
        sweep.add(taken)
    lines = sweeps("status").out.splitlines()
    assert lines[2] == (
        "trials     3 completed, 0 pruned, 1 failed, 0 running, 1 interrupted"
        "; 1 whose results were taken over from equal trials; 1 that repeat failed ones; "
        "1 that finish pruned ones; 1 of other sweeps as history"
    )
    assert lines[5:7] == ["time spent 3.0 min, 1.50 GPU-hours", "left       no limit"]


class TestWatch:
    def test_the_live_view_is_drawn_once_where_there_is_no_terminal(
        self, sweeps: Callable[..., Ended], recorded: Recorded
    ):
        recorded(*MIXED)
        ended = sweeps("status", "--watch")
        assert (ended.code, ended.err) == (0, "")
        lines = ended.out.splitlines()
        assert lines[0] == (
            "curve   1 completed, 1 pruned, 0 running, 1 failed, 1 interrupted of 9; "
            "best 0.9500 ± 0.0500 (trial 0)"
        )
        assert lines[1] == "0:06:00 used   about 0:18:00 left"
        assert lines[2] == "nobody runs this sweep: `sweeps run` continues it"
        assert lines[3].split() == ["best", "score", "OOF", "parameters"]
        assert re.fullmatch(
            r"last       \d\d:\d\d trial 2 failed: fold 0, epoch 1: the training loss is nan",
            lines[-1],
        )

    def test_a_running_trial_is_shown_where_it_reported_last(
        self, sweeps: Callable[..., Ended], recorded: Recorded
    ):
        sweep = recorded([0, 1, 2], None)
        trial_id = sweep.storage.get_trial_id_from_study_id_trial_number(sweep.study_id, 1)
        sweep.storage.set_trial_state_values(trial_id, TrialState.RUNNING)
        sweep.storage.set_trial_intermediate_value(trial_id, 3, 0.625)  # two epochs a fold
        with Lease.acquire(sweep.storage.engine, "curve"):
            lines = sweeps("status", "--watch").out.splitlines()
        row = next(line.split() for line in lines if line.startswith("1 "))
        assert row[:4] == ["1", "2/3", "1/2", "0.6250"]
        assert not any("nobody" in line for line in lines)

    def test_it_is_either_a_view_or_json(self, sweeps: Callable[..., Ended], recorded: Recorded):
        recorded()
        assert sweeps("status", "--watch", "--json") == Ended(
            2, "", "error: --watch draws a view, and --json prints once: give one of them\n"
        )


def test_equal_reasons_are_one_line_and_the_first_five_trials_are_named(
    sweeps: Callable[..., Ended], recorded: Recorded
):
    reasons = [*(f"no weights in /tmp/{n}" for n in range(6)), "out of luck", "no weights in /a"]
    recorded([0, 0, 0], *(Outcome("failed", reason=reason) for reason in reasons))
    assert sweeps("status").out.splitlines()[7:] == [
        "failed     7 trials (1, 2, 3, 4, 5, ...): no weights in /tmp/0",
        "failed     trial 7: out of luck",
    ]
    assert json.loads(sweeps("status", "--json").out)["failure_groups"] == [
        {"count": 7, "reason": "no weights in /tmp/0", "trials": [1, 2, 3, 4, 5, 6, 8]},
        {"count": 1, "reason": "out of luck", "trials": [7]},
    ]
