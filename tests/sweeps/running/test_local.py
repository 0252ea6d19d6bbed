"""Trials one after another in this process."""

import contextlib
import json
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from optuna.trial import TrialState

from sweeps.errors import LeaseLostError
from sweeps.paths import SweepFiles
from sweeps.running import local
from sweeps.running.attempt import Attempt, tries_at
from sweeps.running.deaths import Tries
from sweeps.running.driver import Driver
from sweeps.running.events import Event, Notice
from sweeps.running.local import run_local
from sweeps.running.messages import Assignment, Outcome, Share, TrialReport, TrialReporter
from sweeps.running.patience import Silence
from sweeps.running.plan import Plan
from sweeps.running.take_over import open_driver
from sweeps.running.trial import run_trial
from sweeps.space.spec_reader import read_spec
from sweeps.study.stored_sweep import StoredSweep
from tests.fakes import CURVE_SPACE, TroubledStorage, curve_trial, hasty_storage
from tests.sweeps.study.waiting import until


@pytest.fixture
def driver(tmp_path: Path, sqlite_template: Path) -> Iterator[Driver]:
    """A sweep of three trials."""
    shutil.copy(sqlite_template, tmp_path / "sweeps.db")
    (tmp_path / "curve.yaml").write_text(CURVE_SPACE)
    spec = read_spec(tmp_path / "curve.yaml")
    storage = TroubledStorage(hasty_storage(tmp_path))
    stored = StoredSweep.create(storage, spec, identity="an identity")  # type: ignore[arg-type]
    with open_driver(Plan(spec, SweepFiles(tmp_path), Share(), spec.trial_cap), stored) as driver:
        yield driver


class Hanging:
    """A sweep with a trial that hangs until `end` is set."""

    def __init__(self) -> None:
        self.end = threading.Event()
        self.reporter: TrialReporter
        self.silences = [[Silence(0, 1500.0, 120.0)]]

    @contextlib.contextmanager
    def driver(
        self, folder: Path, *, notices: list[str], grace_s: float = 120.0
    ) -> Iterator[Driver]:
        (folder / "curve.yaml").write_text(CURVE_SPACE)
        spec = read_spec(folder / "curve.yaml")
        stored = StoredSweep.create(hasty_storage(folder), spec, identity="an identity")
        plan = Plan(spec, SweepFiles(folder), Share(), spec.trial_cap, grace_s=grace_s)

        def listener(event: Event) -> None:
            if isinstance(event, Notice):
                notices.append(event.text)

        with open_driver(plan, stored, listener=listener) as driver:
            yield driver


@pytest.fixture
def hanging() -> Iterator[Hanging]:
    hanging = Hanging()
    yield hanging
    hanging.end.set()
    for thread in threading.enumerate():
        if thread.name == "trial 0":
            thread.join()


def states(driver: Driver) -> list[TrialState]:
    return [trial.state for trial in driver._mirror.trials()]


def test_trials_run_one_after_another_to_the_end(driver: Driver):
    seen: list[tuple[int, int]] = []

    def trial(assignment: Assignment, reporter: TrialReporter) -> Outcome:
        seen.append((assignment.number, len(driver.snapshot().running)))
        return curve_trial(assignment, reporter)

    run_local(driver, trial=trial)
    assert seen == [(0, 1), (1, 1), (2, 1)]
    assert states(driver) == [TrialState.COMPLETE] * 3
    assert driver.done


def test_the_drivers_answer_reaches_the_trial(driver: Driver, monkeypatch: pytest.MonkeyPatch):
    answers = iter([True, False])
    monkeypatch.setattr(Driver, "epoch", lambda self, number, report: next(answers))
    outcomes: list[Outcome] = []

    def trial(assignment: Assignment, reporter: TrialReporter) -> Outcome:
        outcomes.append(curve_trial(assignment, reporter))
        driver.stop()
        return outcomes[-1]

    run_local(driver, trial=trial)
    assert outcomes == [Outcome("stopped")]
    assert states(driver) == [TrialState.PRUNED]


def test_a_trial_is_interrupted_when_the_driver_stops(driver: Driver):
    def trial(assignment: Assignment, reporter: TrialReporter) -> Outcome:
        assert not reporter.interrupted()
        assert reporter.report(TrialReport(step=1, value=0.5, fold=0, epoch=1, epochs=2))
        driver.stop()
        assert reporter.interrupted()
        return curve_trial(assignment, reporter)

    run_local(driver, trial=trial)
    assert states(driver) == [TrialState.WAITING]
    assert driver._mirror.trials()[0].intermediate_values == {1: 0.5}


def test_a_slow_storage_is_waited_for(driver: Driver, monkeypatch: pytest.MonkeyPatch):
    storage = driver._recorder._storage
    storage.open.clear()  # type: ignore[attr-defined]
    naps: list[float] = []

    def nap(seconds: float) -> None:
        naps.append(seconds)
        storage.open.set()  # type: ignore[attr-defined]

    monkeypatch.setattr(local.time, "sleep", nap)
    run_local(driver, trial=curve_trial)
    assert set(naps) == {0.05}
    assert states(driver) == [TrialState.COMPLETE] * 3


def test_each_trial_owns_its_directory_as_long_as_no_other_process_begins_it(driver: Driver):
    owned: list[bool] = []

    def trial(assignment: Assignment, reporter: TrialReporter) -> Outcome:
        owned.append(reporter.owns())
        if assignment.number == 1:  # another process has it now, and this one leaves without a word
            Attempt.begin(assignment.files, driver="another")
            owned.append(reporter.owns())
        return Outcome("failed", reason="out of luck")

    run_local(driver, trial=trial)
    assert owned == [True, True, False, True]
    files = [driver.files.trial(number).attempt for number in range(3)]
    ended = [
        (left["number"], left["ended"]) for left in (json.loads(file.read_text()) for file in files)
    ]
    assert ended == [(1, True), (2, False), (1, True)]


def test_a_trial_that_hangs_is_left_after_the_grace_and_can_write_nothing_more(
    tmp_path: Path, hanging: Hanging
):
    notices: list[str] = []
    with hanging.driver(tmp_path, notices=notices, grace_s=0.2) as driver:

        def trial(assignment: Assignment, reporter: TrialReporter) -> Outcome:
            hanging.reporter = reporter
            driver.stop()
            assert hanging.end.wait(timeout=60)
            return Outcome("completed", (0.5, 0.5, 0.5))

        run_local(driver, trial=trial)
        assert driver.done
        assert states(driver) == [TrialState.WAITING]
        assert (hanging.reporter.owns(), hanging.reporter.interrupted()) == (False, True)
        hanging.end.set()
    assert notices == [
        "trial 0 has not ended within 0.2 s of the stop: "
        "left behind, to be continued from the last checkpoint"
    ]
    assert tries_at(driver.files.trial(0)) == Tries()  # nobody is to blame


def test_a_trial_that_does_not_report_is_told_although_nothing_can_replace_it(
    tmp_path: Path, hanging: Hanging, monkeypatch: pytest.MonkeyPatch
):
    notices: list[str] = []
    with hanging.driver(tmp_path, notices=notices) as driver:
        monkeypatch.setattr(
            driver, "silent", lambda: hanging.silences.pop() if hanging.silences else []
        )

        def trial(assignment: Assignment, reporter: TrialReporter) -> Outcome:
            until(lambda: bool(notices))
            driver.stop()
            return Outcome("interrupted")

        run_local(driver, trial=trial)
    assert notices == [
        "trial 0 has not reported for 25 min (a usual epoch takes 2 min). With --local its process "
        "cannot be replaced: stop the sweep and run it again to continue"
    ]


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt, AssertionError])
def test_what_a_trial_lets_through_ends_the_sweep(driver: Driver, error: type[BaseException]):
    def trial(assignment: Assignment, reporter: TrialReporter) -> Outcome:
        raise error

    with pytest.raises(error):
        run_local(driver, trial=trial)
    assert states(driver) == [TrialState.RUNNING]  # leaving the driver makes it interrupted


def test_a_trial_of_a_sweep_that_another_driver_has_writes_nothing_more(driver: Driver):
    """That driver may not have begun it yet, so nothing in its directory says so."""
    owned: list[bool] = []

    def trial(assignment: Assignment, reporter: TrialReporter) -> Outcome:
        owned.append(reporter.owns())
        driver.fail(LeaseLostError("another driver took over"))
        owned.append(reporter.owns())
        return Outcome("interrupted")

    run_local(driver, trial=trial)
    assert owned == [True, False]


def test_trials_are_trainings_unless_told_otherwise():
    assert run_local.__kwdefaults__ == {"trial": run_trial}
