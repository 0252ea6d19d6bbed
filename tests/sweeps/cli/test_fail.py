"""Trials that a user ends by hand."""

from collections.abc import Callable

import pytest
from optuna.trial import TrialState

from sweeps.errors import InputError
from sweeps.running.messages import Outcome
from sweeps.study.lease import Lease, find_holder
from sweeps.study.storage import open_storage
from sweeps.study.stored_sweep import StoredSweep
from tests.sweeps.cli.conftest import Ended

Recorded = Callable[..., StoredSweep]


def test_an_interrupted_trial_fails_at_once_with_the_reason_that_is_given(
    sweeps: Callable[..., Ended], recorded: Recorded
):
    stored = recorded(None, [0, 0, 0], None)
    assert sweeps("fail", "--trial", 2, "--reason", "takes the machine down") == Ended(
        0,
        "trial 2 has failed: takes the machine down\n",
        "again      sweeps retry curve --trial 2\n",
    )
    interrupted, completed, failed = stored.trials()
    assert (interrupted.state, completed.state) == (TrialState.WAITING, TrialState.COMPLETE)
    assert (failed.state, failed.user_attrs["reason"]) == (
        TrialState.FAIL,
        "takes the machine down",
    )
    assert sweeps("fail", "curve.yaml", "--trial", 0).out == (
        "trial 0 has failed: ended by hand with `sweeps fail`\n"
    )
    assert "takes the machine down" in sweeps("status").out
    assert sweeps("retry", "--trial", 2).code == 0
    assert find_holder(open_storage("sqlite:///runs/sweeps.db").engine, "curve") is None


def test_a_driver_that_runs_is_told_as_by_the_dashboard(
    sweeps: Callable[..., Ended], recorded: Recorded
):
    stored = recorded(None, None)
    number = stored.storage.get_trial_id_from_study_id_trial_number(stored.study_id, 1)
    stored.storage.set_trial_state_values(number, TrialState.RUNNING)
    engine = open_storage("sqlite:///runs/sweeps.db").engine
    with Lease.acquire(engine, "curve", on_lost=lambda error: pytest.fail(str(error))):
        assert sweeps("fail", "--trial", 1, "--trial", 0, "--trial", 1) == Ended(
            0,
            "trial 0 has failed: ended by hand with `sweeps fail`\n"
            "trial 1 stops at its next report, the sweep goes on\n",
            "again      sweeps retry curve --trial 0 --trial 1\n",
        )
    assert [trial.state for trial in stored.trials()] == [TrialState.FAIL] * 2


def test_only_trials_that_are_not_over_can_fail(sweeps: Callable[..., Ended], recorded: Recorded):
    stored = recorded([0, 0, 0], Outcome("failed", reason="out of luck"), None)
    assert sweeps("fail", "--trial", 0, "--trial", 1, "--trial", 2, "--trial", 3) == Ended(
        2,
        "",
        "error: --trial: trial 0 completed already; trial 1 has failed already; "
        "there is no trial 3, only 0 to 2\n`sweeps status` shows which are left\n",
    )
    assert stored.trials()[2].state == TrialState.WAITING
    assert sweeps("fail").code == 2


def test_a_trial_that_ends_in_this_moment_stays_as_it_is(recorded: Recorded):
    stored = recorded([0, 0, 0])
    with pytest.raises(InputError, match="trial 0 has ended in the meantime"):
        stored.fail(0, "too late")
    assert "reason" not in stored.trials()[0].user_attrs
