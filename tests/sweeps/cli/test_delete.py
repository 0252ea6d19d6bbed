"""A sweep is removed for ever."""

import io
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from sweeps.paths import artifacts_folder
from sweeps.running.messages import Outcome
from sweeps.study.lease import Lease
from sweeps.study.storage import open_storage
from sweeps.study.stored_sweep import StoredSweep
from tests.sweeps.cli.conftest import Ended

Recorded = Callable[..., StoredSweep]
FAILED = Outcome("failed", reason="out of luck", traceback="Traceback ...")
LOSS = "sweep curve: 2 trials, 1 of them complete, 3 min of work, "


def left() -> list[str]:
    """What a runs folder still has besides the storage."""
    return sorted(path.name for path in Path("runs").iterdir() if path.suffix != ".db")


def test_files_trials_and_artifacts_go_and_nothing_else(
    sweeps: Callable[..., Ended], recorded: Recorded
):
    recorded([0, 0, 0], FAILED)
    recorded(FAILED, name="other")
    store = artifacts_folder(Path("runs"))
    assert len(list(store.iterdir())) == 2
    ended = sweeps("delete", "curve", "--yes")
    assert (ended.code, ended.out) == (0, "deleted curve\n")
    assert ended.err.startswith(LOSS)
    assert left() == ["artifacts", "other"]
    (artifact,) = store.iterdir()
    assert artifact.samefile("runs/other/trial-0000/error.txt")
    assert sweeps("list").out.splitlines()[1].startswith("other ")


def test_the_name_is_free_again(sweeps: Callable[..., Ended], recorded: Recorded):
    first = recorded([0, 0, 0])
    assert sweeps("delete", "curve", "--yes").code == 0
    assert recorded([1, 1, 1]).uuid != first.uuid


def test_without_a_terminal_nothing_is_deleted_by_accident(
    sweeps: Callable[..., Ended], recorded: Recorded, monkeypatch: pytest.MonkeyPatch
):
    recorded([0, 0, 0], FAILED)
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    ended = sweeps("delete", "curve")
    assert ended.code == 2
    assert ended.err.startswith(LOSS)
    assert ended.err.endswith("error: sweep 'curve' is not deleted: add --yes to do it\n")
    assert left() == ["artifacts", "curve"]


@pytest.mark.parametrize(("answer", "remaining"), [("y", ["artifacts"]), ("n", None)])
def test_a_terminal_is_asked(
    sweeps: Callable[..., Ended],
    recorded: Recorded,
    monkeypatch: pytest.MonkeyPatch,
    answer: str,
    remaining: list[str] | None,
):
    recorded([0, 0, 0], FAILED)
    terminal = io.StringIO(f"{answer}\n")
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stdin", terminal)
    assert sweeps("delete", "curve").code == (0 if remaining else 1)
    assert left() == (remaining or ["artifacts", "curve"])


def test_a_sweep_that_runs_is_refused(sweeps: Callable[..., Ended], recorded: Recorded):
    recorded([0, 0, 0])
    storage = open_storage("sqlite:///runs/sweeps.db")
    with Lease.acquire(storage.engine, "curve"):
        ended = sweeps("delete", "curve", "--yes")
    storage.engine.dispose()
    assert ended.code == 2
    assert "sweeps stop curve" in ended.err
    assert Path("runs/curve/sweep.json").is_file()
    assert sweeps("status", "curve").code == 0


def test_a_sweep_whose_trials_another_one_took_over_is_refused(
    sweeps: Callable[..., Ended], recorded: Recorded, space: Callable[..., Path]
):
    assert sweeps("run", space(), "--local").code == 0
    later = space(("name: tiny", "name: later\nwarm_start: tiny"), name="later.yaml")
    assert sweeps("run", later, "--local").code == 0
    ended = sweeps("delete", "tiny", "--yes")
    assert ended.code == 2
    assert ended.err == (
        "error: sweep 'tiny' cannot be deleted: 'later' took over trials of it (warm_start) and "
        "needs their files. Delete that first\n"
    )
    assert sweeps("delete", "later", "--yes").code == 0
    assert sweeps("delete", "tiny", "--yes").code == 0


def test_what_a_killed_deletion_left_is_removed_by_the_next_one(
    sweeps: Callable[..., Ended], recorded: Recorded
):
    recorded([0, 0, 0])
    folder = Path("runs/curve")
    folder.rename("runs/.deleted-curve-1234")  # and killed before it deleted the trials
    ended = sweeps("delete", "curve", "--yes")
    assert (ended.code, ended.out) == (0, "deleted curve\n")
    assert "no files here" in ended.err
    assert left() == []


def test_an_unknown_sweep_is_named(sweeps: Callable[..., Ended], recorded: Recorded):
    recorded([0, 0, 0])
    ended = sweeps("delete", "curv", "--yes")
    assert ended.code == 2
    assert "no sweep 'curv'" in ended.err
