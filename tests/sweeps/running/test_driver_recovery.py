"""A full disk, a silent storage, a driver that is killed: what follows is the same."""

import itertools
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from optuna.exceptions import StorageInternalError
from optuna.storages import InMemoryStorage
from optuna.trial import TrialState

from sweeps.errors import InfrastructureError, LeaseLostError
from sweeps.running.asking import Next
from sweeps.running.driver import Driver
from sweeps.running.events import TrialEnded, TrialStarted
from sweeps.running.local import run_local
from sweeps.running.messages import Assignment, Outcome, TrialReporter
from tests.fakes import curve_trial
from tests.sweeps.running.curve_sweep import (
    GRID,
    MEDIAN,
    THREE,
    Death,
    Sweep,
    completed,
    handed_out,
    report,
    table,
)
from tests.sweeps.study.waiting import until


class TestDiskFull:
    def test_the_sweep_ends_with_exit_code_3_and_the_trial_is_continued(
        self, sweep: Callable[..., Sweep]
    ):
        curve = sweep()
        with curve.driver() as driver:
            for _ in range(2):
                handed_out(driver)
            driver.finished(
                0, Outcome("no_space", (0.5,), reason="OSError: [Errno 28] No space left on device")
            )
            assert (driver.stopping, driver.interrupted) == (True, False)
            assert driver.next() is Next.FINISHED
            driver.finished(1, Outcome("interrupted"))
        assert driver.failure is not None
        assert driver.failure.exit_code == 3
        assert str(driver.failure) == (
            f"the disk of {curve.folder} is full (OSError: [Errno 28] No space left on device). "
            "Free some space and run the same command again to continue"
        )
        assert [trial.state for trial in curve.stored.trials()] == [TrialState.WAITING] * 2
        with curve.driver() as driver:
            run_local(driver, trial=curve_trial)
        assert driver.failure is None
        assert [trial.state for trial in curve.stored.trials()] == [TrialState.COMPLETE] * 3

    def test_the_file_that_asks_trials_to_leave_may_not_fit_either(
        self, sweep: Callable[..., Sweep], monkeypatch: pytest.MonkeyPatch
    ):
        def full(path: Path, *args: Any, **options: Any) -> None:
            raise OSError(28, "No space left on device")

        with sweep().driver() as driver:
            handed_out(driver)
            monkeypatch.setattr(Path, "touch", full)
            driver.stop()
            assert driver.stopping


class TestStorageTrouble:
    def test_no_trial_starts_in_a_silence_and_all_that_happened_is_written_afterwards_in_order(
        self, sweep: Callable[..., Sweep]
    ):
        curve = sweep()
        with curve.driver() as driver:
            handed_out(driver)
            curve.storage.open.clear()
            assert driver.next() is Next.WAIT
            before = len(curve.storage.written)
            for step_report in (
                report(0, 1, 0.1),
                report(0, 2, 0.2),
                report(0, 2, 0.2, 0.2),
                report(1, 2, 0.3, 0.2),
            ):
                assert driver.epoch(0, step_report)
            driver.finished(0, completed(0.2, 0.4, 0.3))
            assert driver.next() is Next.WAIT
            assert [event.number for event in curve.told(TrialStarted)] == [0]
            assert curve.told(TrialEnded)[0].score == pytest.approx(0.3)
            curve.storage.open.set()
            assert handed_out(driver).number == 1
        written = [(name, args[1:]) for name, args in curve.storage.written[before:]]
        in_order = [args for name, args in written if name == "set_trial_intermediate_value"]
        assert in_order == [(1, 0.1), (2, 0.2), (4, 0.3)]
        first = [name for name, args in written if name.startswith(("create", "set_trial"))]
        assert first == [
            "create_new_trial",  # asked for before
            *["set_trial_intermediate_value"] * 3,
            *["set_trial_user_attr"] * 3,  # scores of the folds, std, worst fold
            "set_trial_state_values",
            "set_trial_user_attr",  # trial 1 is interrupted at the end
            "set_trial_state_values",
        ]
        assert table(curve.stored.trials()) == table(driver._mirror.trials())

    def test_a_storage_that_is_gone_ends_the_sweep_with_exit_code_3(
        self, sweep: Callable[..., Sweep]
    ):
        curve = sweep("run_cap=50")

        def trial(assignment: Assignment, reporter: TrialReporter) -> Outcome:
            if assignment.number == 1:
                until(lambda: curve.trial(0).state == TrialState.COMPLETE)
                curve.storage.error = StorageInternalError("disk full")
            return curve_trial(assignment, reporter)

        with curve.driver(patience_s=0.0) as driver:
            run_local(driver, trial=trial)
        assert isinstance(driver.failure, InfrastructureError)
        assert driver.failure.exit_code == 3
        assert str(driver.failure) == (
            "the storage of sweep 'curve' cannot be written (disk full). "
            "Finished folds are on disk; run the same command again to continue"
        )
        assert not driver.interrupted
        assert [trial.state for trial in curve.stored.trials()] == [
            TrialState.COMPLETE,
            TrialState.RUNNING,
        ]
        curve.storage.error = None
        with curve.driver(trial_cap=2) as driver:
            run_local(driver, trial=curve_trial)
        assert [trial.state for trial in curve.stored.trials()] == [TrialState.COMPLETE] * 2
        assert driver.failure is None

    def test_the_first_failure_is_the_one_that_is_told(self, sweep: Callable[..., Sweep]):
        with sweep().driver() as driver:
            driver.fail(InfrastructureError("the lease is lost"))
            driver.fail(InfrastructureError("and the storage"))
            assert driver.next() is Next.FINISHED
        assert str(driver.failure) == "the lease is lost"

    def test_another_program_that_writes_into_the_sweep_ends_it(self, sweep: Callable[..., Sweep]):
        curve = sweep()
        with curve.driver() as driver:
            curve.storage.create_new_trial(curve.stored.study_id)
            while driver.next() is not Next.FINISHED:
                threading.Event().wait(0.005)
        assert isinstance(driver.failure, InfrastructureError)
        assert str(driver.failure) == "another program adds trials to sweep 'curve'; stopping"

    def test_a_driver_that_lost_its_lease_writes_nothing_more(self, sweep: Callable[..., Sweep]):
        curve = sweep()
        with curve.driver() as driver:
            handed_out(driver)
            curve.storage.open.clear()
            driver.epoch(0, report(0, 1, 0.5))
            driver.epoch(0, report(0, 2, 0.5))  # at most one of them is on its way already
            driver.fail(LeaseLostError("another driver took over sweep 'curve'"))
            curve.storage.open.set()
            assert driver.next() is Next.FINISHED
        assert (driver.stopping, driver.interrupted) == (True, False)
        assert curve.trial(0).state == TrialState.RUNNING  # the other driver's business
        assert 2 not in curve.trial(0).intermediate_values


class Killed(BaseException):
    """The driver is gone."""


class Doomed:
    """A driver that dies where it would wait for a write that never comes."""

    def __init__(self, driver: Driver, death: Death) -> None:
        self._driver = driver
        self._death = death

    def next(self) -> Assignment | Next:
        answer = Next.WAIT if self._death.has_come else self._driver.next()
        if answer is Next.WAIT and self._death.has_come:
            raise Killed
        return answer

    def __getattr__(self, name: str) -> Any:
        return getattr(self._driver, name)


class TestKilledAtAnyPoint:
    """A storage knows the first so many writes of a driver, then the driver was killed:
    what follows is the same.

    Nothing is left on the workers either (`curve_trial` begins each trial anew). In Optuna's
    in-memory storage, since it is about which writes are there, not about how they got there.
    """

    @pytest.mark.parametrize(
        ("settings", "earlier"),
        [
            # earlier: trials that had ended before, so that the model, the race and the rules have
            # something to say
            pytest.param(
                ("method=random", "run_cap=7"), 5, id="random and race", marks=pytest.mark.slow
            ),
            pytest.param(("method=bayes", "run_cap=13", MEDIAN), 10, id="tpe, race and median"),
            pytest.param(
                (*GRID, "early_terminate={type: hyperband, min_iter: 2, eta: 2, keep_at_least: 1}"),
                1,
                id="grid and hyperband",
                marks=pytest.mark.slow,
            ),
            pytest.param((*THREE, "run_cap=2"), 0, id="points that repeat"),
        ],
    )
    def test_the_table_is_that_of_an_undisturbed_sweep(
        self, tmp_path: Path, settings: tuple[str, ...], earlier: int
    ):
        whole = Sweep(tmp_path, *settings, storage=InMemoryStorage())
        with whole.driver() as driver:
            run_local(driver, trial=curve_trial)
        trials = whole.stored.trials()
        assert table(trials) == table(driver._mirror.trials())
        assert any(
            "reason" in trial.user_attrs for trial in trials[earlier:]
        )  # stopped, or taken over
        for writes in itertools.count():
            parts = Sweep(tmp_path, *settings, storage=InMemoryStorage())
            for trial in trials[:earlier]:
                parts.stored.add(trial)
            dead = self._killed_after(writes, parts)
            with parts.driver() as driver:
                run_local(driver, trial=curve_trial)
            assert table(parts.stored.trials()) == table(trials), f"killed after {writes} writes"
            if not dead:
                break
        assert writes > 8

    def _killed_after(self, writes: int, curve: Sweep) -> bool:
        """Whether it died before the end."""
        death = Death(writes)
        with curve.mortal(death) as driver:
            try:
                run_local(Doomed(driver, death), trial=curve_trial)  # type: ignore[arg-type]
            except Killed:
                return True
        return False
