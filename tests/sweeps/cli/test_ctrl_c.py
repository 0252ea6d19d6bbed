"""A second Ctrl-C."""

import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from optuna.trial import TrialState

from sweeps.results.view import find_sweep
from sweeps.running.local import run_local
from sweeps.running.messages import Assignment, Outcome, TrialReporter
from sweeps.study.storage import open_storage
from tests.sweeps.cli.conftest import Ended
from tests.sweeps.study.waiting import until


def test_a_second_ctrl_c_does_not_wait_for_the_trial_which_writes_nothing_more(
    sweeps: Callable[..., Ended], space: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
):
    def trial(assignment: Assignment, reporter: TrialReporter) -> Outcome:
        signal.raise_signal(signal.SIGINT)
        until(reporter.interrupted)
        assert reporter.owns()
        signal.raise_signal(signal.SIGINT)
        until(lambda: not reporter.owns())
        return Outcome("completed", (0.5, 0.5))

    monkeypatch.setattr(run_local, "__kwdefaults__", {"trial": trial})
    # else this process would end at once, if the thread of the trial still runs at the end
    monkeypatch.setattr("sweeps.running.local.leave_behind", lambda thread: None)
    ended = sweeps("run", space(), "--local")
    assert (ended.code, ended.out) == (130, "")
    assert "Traceback" not in ended.err
    stored = find_sweep(open_storage("sqlite:///runs/sweeps.db"), "tiny")
    assert [trial.state for trial in stored.trials()] == [TrialState.WAITING]
