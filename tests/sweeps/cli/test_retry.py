"""Failed trials again."""

from collections.abc import Callable
from pathlib import Path

import pytest
from optuna.trial import TrialState

from sweeps.running.messages import Outcome
from sweeps.study.lease import Lease, find_holder
from sweeps.study.storage import open_storage
from sweeps.study.stored_sweep import StoredSweep
from tests.sweeps.cli.conftest import Ended

Recorded = Callable[..., StoredSweep]
FAILED = Outcome("failed", reason="out of luck")


def test_all_failed_trials_wait_for_the_next_driver(
    sweeps: Callable[..., Ended], recorded: Recorded
):
    stored = recorded(FAILED, [0, 0, 0], FAILED)
    for fold in ("fold-0", "fold-1"):
        folder = Path("runs/curve/trial-0002", fold)
        folder.mkdir(parents=True)
        for name in ("oof.npz", "curve.csv", "result.json", "model.safetensors"):
            (folder / name).touch()
    assert sweeps("retry") == Ended(
        0,
        "trial 3 repeats trial 0, with no finished fold of it\n"
        "trial 4 repeats trial 2, with 2 finished folds of it\n",
        "`sweeps run SPACE` runs them\n",
    )
    assert [trial.state for trial in stored.trials()[3:]] == [TrialState.WAITING] * 2
    assert Path("runs/curve/trial-0004/fold-1/model.safetensors").is_file()
    assert sweeps("retry") == Ended(0, "", "sweep 'curve' has no failed trial to retry\n")


def test_some_of_them(sweeps: Callable[..., Ended], recorded: Recorded):
    recorded(FAILED, FAILED, FAILED)
    assert sweeps("retry", "curve.yaml", "--trial", 2, "--trial", 0).out == (
        "trial 3 repeats trial 0, with no finished fold of it\n"
        "trial 4 repeats trial 2, with no finished fold of it\n"
    )
    again = (
        "--trial: trial 0 was retried already: trial 3 is to be continued by `sweeps run`; "
        "there is no trial 9, only 0 to 4"
    )
    assert sweeps("retry", "curve", "--trial", 0, "--trial", 9) == Ended(
        2, "", f"error: {again}\n`sweeps status` lists the failed ones\n"
    )


def test_a_sweep_with_a_driver_says_who_it_is(sweeps: Callable[..., Ended], recorded: Recorded):
    stored = recorded(FAILED)
    engine = open_storage("sqlite:///runs/sweeps.db").engine
    lease = Lease.acquire(engine, "curve", on_lost=lambda error: pytest.fail(str(error)))
    try:
        ended = sweeps("retry")
    finally:
        lease.release()
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith("error: sweep 'curve' is already running: process ")
    assert len(stored.trials()) == 1
    assert sweeps("retry").code == 0
    assert find_holder(engine, "curve") is None


def test_files_that_are_elsewhere_are_an_error(sweeps: Callable[..., Ended], recorded: Recorded):
    stored = recorded(FAILED)
    ended = sweeps("retry", "--runs", "elsewhere", "--storage", "sqlite:///runs/sweeps.db")
    assert ended.code == 2
    assert "has no files of it. Give the --runs folder it was started with" in ended.err
    assert len(stored.trials()) == 1
