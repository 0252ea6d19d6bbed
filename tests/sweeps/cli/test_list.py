"""All sweeps of a storage."""

import datetime
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from sweeps.running.messages import Outcome
from sweeps.study.records import FORMAT, SWEEP
from sweeps.study.storage import open_storage
from sweeps.study.stored_sweep import StoredSweep
from tests.sweeps.cli.conftest import Ended


def test_one_line_per_sweep_the_latest_last(
    sweeps: Callable[..., Ended], recorded: Callable[..., StoredSweep]
):
    older = recorded(
        [0, 1, 2], Outcome("stopped", (0.1,)), Outcome("failed", reason="out of luck"), name="older"
    )
    recorded(name="newer", settings=("metric={name: valid/loss, goal: minimize}",))
    begun = older.record().begun
    assert begun is not None
    first = datetime.datetime.fromtimestamp(begun, datetime.UTC)
    since = first.astimezone().isoformat(timespec="seconds")
    assert sweeps("list") == Ended(
        0,
        f"sweep  completed  pruned  failed    best  metric      {'started':{len(since)}}  driver\n"
        f"older          1       1       1  0.9500  valid/f1    {since}  -\n"
        f"newer          0       0       0       -  valid/loss  {'-':{len(since)}}  -\n",
        "",
    )
    rows = json.loads(sweeps("list", "--json").out)
    assert [(row["sweep"], row["completed"], row["best_score"], row["holder"]) for row in rows] == [
        ("older", 1, pytest.approx(0.95), None),
        ("newer", 0, None, None),
    ]


def test_a_sweep_of_a_newer_version_is_a_note_beside_the_others(
    sweeps: Callable[..., Ended], recorded: Callable[..., StoredSweep]
):
    recorded(name="ours")
    future = recorded(name="future")
    future.set_attribute(SWEEP, {**future.record().identity, "format": FORMAT + 1})
    ended = sweeps("list", "--json")
    note = (
        "note: sweep 'future' was made by a newer version of foldsweep. Update: "
        "pip install -U foldsweep\n"
    )
    assert (ended.code, [row["sweep"] for row in json.loads(ended.out)], ended.err) == (
        0,
        ["ours"],
        note,
    )


def test_studies_of_other_programs_are_left_out(sweeps: Callable[..., Ended]):
    import optuna

    optuna.create_study(storage=open_storage("sqlite:///sweeps.db"), study_name="not ours")
    ended = sweeps("list", "--json", "--storage", "sqlite:///sweeps.db")
    assert ended == Ended(0, "[]\n", "")


def test_where_nothing_was_run_yet_the_list_is_empty(sweeps: Callable[..., Ended]):
    note = "no sweeps yet. `sweeps run SPACE` starts one\n"
    assert sweeps("list") == Ended(0, "", note)
    assert sweeps("list", "--json") == Ended(0, "[]\n", note)
    assert not Path("runs").exists()


def test_a_storage_that_was_named_must_be_there(sweeps: Callable[..., Ended]):
    ended = sweeps("list", "--storage", "sqlite:///typo.db")
    assert ended.code == 2
    assert "typo.db" in ended.err
