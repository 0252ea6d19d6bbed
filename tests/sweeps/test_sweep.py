"""A sweep as a notebook starts it: `run_sweep`, its result and its errors."""

import concurrent.futures
import dataclasses
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from sweeps import InputError, RunOptions, RunState, SweepSpec, run_sweep
from sweeps.running.events import Event, Silent, TrialEnded
from sweeps.running.local import run_local
from sweeps.running.messages import Assignment, Outcome, OutcomeState, TrialReporter

PARAMETERS = {"lr": {"min": 0.001, "max": 0.1}, "backbone": {"value": "test_resnet"}}


@pytest.fixture
def spec(make_spec: Callable[..., SweepSpec], images: Path) -> SweepSpec:
    parameters = {**PARAMETERS, "weights": {"value": "none"}, "resize": {"value": 8}}
    return make_spec(run_cap=2, resources={"gpu": 0}, parameters=parameters)


@pytest.fixture
def options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunOptions:
    """Without Ray, and with trials that train nothing."""

    def trial(assignment: Assignment, reporter: TrialReporter) -> Outcome:
        return Outcome(OutcomeState.COMPLETED, (0.5, 0.1 * assignment.number))

    monkeypatch.setattr(run_local, "__kwdefaults__", {"trial": trial})
    return RunOptions(runs=tmp_path / "runs", address=None)


class Listening(Silent):
    """Keeps what it is notified of."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def notify(self, event: Event) -> None:
        self.events.append(event)


def test_a_sweep_runs_to_its_end_and_is_then_done(spec: SweepSpec, options: RunOptions):
    view = Listening()
    result = run_sweep(spec, options, view=view)
    assert (result.state, result.has_results) == (RunState.ENDED, True)
    assert result.snapshot is not None
    assert (result.snapshot.completed, result.snapshot.best_number) == (2, 1)
    assert [event.number for event in view.events if isinstance(event, TrialEnded)] == [0, 1]
    again = run_sweep(spec, options)
    assert (again.state, again.snapshot) == (RunState.DONE_BEFORE, None)


def test_it_runs_outside_of_the_main_thread_where_no_signal_can_be_handled(
    spec: SweepSpec, options: RunOptions
):
    before = signal.getsignal(signal.SIGINT)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        assert pool.submit(run_sweep, spec, options).result().state is RunState.ENDED
    assert signal.getsignal(signal.SIGINT) is before


def test_what_cannot_be_used_is_an_error_that_says_so(spec: SweepSpec, options: RunOptions):
    wrong = dataclasses.replace(options, storage="mysql://host/db")
    with pytest.raises(InputError, match="mysql is not supported; use sqlite or postgresql"):
        run_sweep(spec, wrong)
