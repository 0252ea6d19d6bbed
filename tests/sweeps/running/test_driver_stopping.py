"""Drivers that are stopped or drained: what runs is continued by the next one."""

import concurrent.futures
import dataclasses
import threading
from collections.abc import Callable, Sequence
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from sweeps.errors import InfrastructureError
from sweeps.paths import SweepFiles
from sweeps.running.asking import Next
from sweeps.running.driver import Driver
from sweeps.running.events import Notice, Phase, TrialEnded, TrialStarted
from sweeps.running.messages import Outcome
from sweeps.running.patience import Silence
from sweeps.search.sampling import propose
from sweeps.study import records
from sweeps.study.recorder import Recorder
from tests.sweeps.running.curve_sweep import Sweep, completed, handed_out, report


class TestStopping:
    def test_stop_asks_running_trials_to_leave_and_starts_nothing_more(
        self, sweep: Callable[..., Sweep]
    ):
        curve = sweep()
        with curve.driver() as driver:
            stop_file = SweepFiles(curve.folder).stop(handed_out(driver).driver)
            assert not stop_file.exists()
            driver.stop()
            assert stop_file.exists()
            assert (driver.stopping, driver.interrupted, driver.done) == (True, True, False)
            assert driver.next() is Next.FINISHED
            driver.finished(0, Outcome("interrupted", (0.5,)))
            assert driver.done
        assert not stop_file.exists()
        assert curve.trial(0).state == TrialState.WAITING
        assert curve.trial(0).user_attrs["interrupted"] is True
        assert [type(event).__name__ for event in curve.events] == ["TrialStarted", "TrialEnded"]

    def test_leaving_records_what_still_runs_as_interrupted(self, sweep: Callable[..., Sweep]):
        curve = sweep()

        def leave_by_an_exception() -> None:
            with curve.driver() as driver:
                handed_out(driver)
                handed_out(driver)
                driver.epoch(1, report(0, 1, 0.5))
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            leave_by_an_exception()
        assert [trial.state for trial in curve.stored.trials()] == [TrialState.WAITING] * 2
        assert [trial.user_attrs for trial in curve.stored.trials()] == [{"interrupted": True}] * 2
        assert curve.trial(1).intermediate_values == {1: 0.5}

    def test_a_trial_that_was_asked_for_but_not_handed_out_is_continued_too(
        self, sweep: Callable[..., Sweep]
    ):
        curve = sweep()
        with curve.driver() as driver:
            curve.storage.open.clear()
            assert driver.next() is Next.WAIT
            driver.stop()
            assert driver.next() is Next.FINISHED
            curve.storage.open.set()
        assert [trial.state for trial in curve.stored.trials()] == [TrialState.WAITING]
        with curve.driver() as driver:
            assert handed_out(driver).number == 0

    def test_a_trial_that_never_began_is_not_told_to_have_ended(self, sweep: Callable[..., Sweep]):
        curve = sweep()
        with curve.driver() as driver:
            curve.storage.open.clear()
            assert driver.next() is Next.WAIT
            driver.stop()
            curve.storage.open.set()
        assert curve.events == []

    def test_interrupted_trials_come_first_with_their_number_parameters_and_reports(
        self, sweep: Callable[..., Sweep]
    ):
        curve = sweep("run_cap=4")
        with curve.driver() as driver:
            first = handed_out(driver)
            second = handed_out(driver)
            driver.epoch(0, report(0, 1, 0.5))
            driver.stop()
        before = [(trial.params, trial.intermediate_values) for trial in curve.stored.trials()]
        curve.events.clear()
        with curve.driver() as driver:
            assert driver.snapshot().interrupted == 2
            again = [handed_out(driver), handed_out(driver)]
            assert [dataclasses.replace(given, driver=first.driver) for given in again] == [
                dataclasses.replace(first, reported=1),  # its last known step
                second,
            ]
            assert driver.snapshot().interrupted == 0
            assert [trial.state for trial in curve.stored.trials()] == [TrialState.RUNNING] * 2
            assert handed_out(driver).number == 2
            assert driver.epoch(0, report(0, 1, 0.5))
            driver.finished(0, completed(0.5, 0.5, 0.5))
        assert [(trial.params, trial.intermediate_values) for trial in curve.stored.trials()][
            :2
        ] == before
        assert curve.trial(0).state == TrialState.COMPLETE
        assert [e.continued for e in curve.events if isinstance(e, TrialStarted)] == [
            True,
            True,
            False,
        ]

    def test_trials_of_a_dead_driver_are_recovered_with_a_notice(self, sweep: Callable[..., Sweep]):
        curve = sweep()
        study = optuna.create_study(direction="maximize")
        dead = Recorder(curve.stored, on_failed=lambda error: pytest.fail(str(error)))
        for number in range(2):
            dead.start(propose(study, curve.spec, number=number))
        dead.report(1, 1, 0.5)
        dead.close()  # no end was recorded
        SweepFiles(curve.folder).stop("of a killed driver").touch()
        with curve.driver() as driver:
            assert curve.events == [Notice("the last driver died; trials to be continued: 0, 1")]
            assert not list(SweepFiles(curve.folder).stops())  # or every trial would leave at once
            assert [handed_out(driver).number for _ in range(3)] == [0, 1, 2]
        assert curve.trial(1).intermediate_values == {1: 0.5}
        assert curve.trial(1).user_attrs == {"interrupted": True}


class TestGrace:
    def test_what_has_not_ended_when_the_grace_is_over_is_interrupted(
        self, sweep: Callable[..., Sweep]
    ):
        curve = sweep()
        now = [50.0]
        with curve.driver(clock=lambda: now[0], grace_s=30.0) as driver:
            for _ in range(2):
                handed_out(driver)
            now[0] += 1000
            assert driver.leave_behind() == []  # nobody has asked it to stop
            driver.stop()
            driver.finished(0, Outcome("interrupted"))
            now[0] += 20
            driver.stop()  # a second request gives no second grace
            now[0] += 9.9
            assert driver.leave_behind() == []
            now[0] += 0.2
            assert driver.leave_behind() == [1]
            assert driver.leave_behind() == []
            assert driver.done
            driver.finished(1, completed(0.5, 0.5, 0.5))  # too late
            assert not driver.epoch(1, report(0, 1, 0.5))
        assert [trial.state for trial in curve.stored.trials()] == [TrialState.WAITING] * 2

    def test_a_lost_storage_gives_trials_the_same_grace(self, sweep: Callable[..., Sweep]):
        now = [0.0]
        with sweep().driver(clock=lambda: now[0]) as driver:
            handed_out(driver)
            driver.fail(InfrastructureError("the storage does not answer"))
            now[0] += 120
            assert driver.leave_behind() == [0]


class TestSilence:
    @staticmethod
    def silences(driver: Driver, now: list[float], *, restarted: Sequence[int]) -> list[Silence]:
        """What a driver finds in 2000 s, in the middle of which workers are restarted."""
        found = driver.silent()
        for step in range(40):
            now[0] += 50
            found += driver.silent(restarted=restarted if step == 20 else ())
        return found

    @pytest.mark.parametrize(
        ("restarted", "found"), [([1, 7], [Silence(0, 2000.0, 1000.0)]), ([0], [])]
    )
    def test_a_running_trial_that_does_not_report_is_named_unless_its_worker_begins_anew(
        self, sweep: Callable[..., Sweep], restarted: list[int], found: list[Silence]
    ):
        now = [0.0]
        with sweep("stuck_after=2").driver(clock=lambda: now[0]) as driver:
            for _ in range(2):
                handed_out(driver)
            for epoch in (1, 2):
                now[0] += 1000
                driver.epoch(0, report(0, epoch, 0.5))
            assert self.silences(driver, now, restarted=restarted) == found
            driver.stop()
            for _ in range(3):
                assert self.silences(driver, now, restarted=()) == []


class TestDraining:
    def test_running_trials_go_on_to_their_end_and_nothing_more_starts(
        self, sweep: Callable[..., Sweep]
    ):
        curve = sweep()
        with curve.driver() as driver:
            handed_out(driver)
            driver.drain()
            assert driver.next() is Next.FINISHED
            assert driver.epoch(0, report(0, 1, 0.5))
            assert (driver.stopping, driver.interrupted, driver.done) == (False, False, False)
            assert driver.snapshot().phase is Phase.DRAINING
            assert not list(SweepFiles(curve.folder).stops())
            driver.finished(0, completed(0.5, 0.5, 0.5))
            assert driver.done
        assert [trial.state for trial in curve.stored.trials()] == [TrialState.COMPLETE]

    def test_interrupted_trials_are_left_for_the_next_driver(self, sweep: Callable[..., Sweep]):
        curve = sweep()
        with curve.driver() as driver:
            handed_out(driver)
        with curve.driver() as driver:
            driver.drain()
            assert driver.next() is Next.FINISHED
            assert driver.done
        assert curve.trial(0).state == TrialState.WAITING

    def test_a_trial_that_is_on_its_way_into_the_storage_does_not_start(
        self, sweep: Callable[..., Sweep]
    ):
        curve = sweep()
        result = concurrent.futures.Future.result
        with curve.driver() as driver, pytest.MonkeyPatch.context() as patch:

            def drained_meanwhile(
                self: concurrent.futures.Future[None], timeout: float | None = None
            ) -> None:
                driver.drain()
                return result(self, timeout)

            patch.setattr(concurrent.futures.Future, "result", drained_meanwhile)
            while (
                answer := driver.next()
            ) is Next.WAIT:  # the machine is busy, and the storage slow
                pass
            assert answer is Next.FINISHED
        assert curve.events == []
        assert [trial.state for trial in curve.stored.trials()] == [TrialState.WAITING]

    def test_now_is_more_than_a_drain(self, sweep: Callable[..., Sweep]):
        with sweep().driver() as driver:
            handed_out(driver)
            driver.drain()
            driver.stop()
            assert (driver.stopping, driver.interrupted) == (True, True)


class TestATrialThatTheDashboardMarksAsFailed:
    """`Fail Trial` is the only button that Optuna's dashboard has to stop a trial."""

    @staticmethod
    def fail(curve: Sweep, number: int) -> None:
        storage = curve.stored.storage
        found = storage.get_trial_id_from_study_id_trial_number(curve.stored.study_id, number)
        storage.set_trial_state_values(found, TrialState.FAIL)

    def test_that_trial_alone_stops_at_its_next_report_and_the_sweep_goes_on(
        self, sweep: Callable[..., Sweep]
    ):
        curve = sweep("run_cap=2")
        with curve.driver() as driver:
            assert (handed_out(driver).number, handed_out(driver).number) == (0, 1)
            self.fail(curve, 0)
            driver.epoch(0, report(0, 1, 0.5))
            wait_for(lambda: curve.told(Notice))
            assert not driver.epoch(0, report(0, 2, 0.5))
            driver.finished(0, Outcome("stopped", (0.5,)))
            assert driver.epoch(1, report(0, 1, 0.5))
            driver.finished(1, completed(0.5, 0.5, 0.5))
            assert driver.done
        assert driver.failure is None
        reason = "another program ended it, e.g. `Fail Trial` in the Optuna dashboard"
        assert [event.text for event in curve.told(Notice)] == [f"trial 0 stops: {reason}"]
        ended = curve.told(TrialEnded)[0]
        assert (ended.number, ended.state, ended.reason) == (0, "failed", reason)
        assert [trial.state for trial in curve.stored.trials()] == [
            TrialState.FAIL,
            TrialState.COMPLETE,
        ]
        assert records.reason(curve.trial(0)) == reason

    def test_it_is_not_continued_when_it_is_interrupted(self, sweep: Callable[..., Sweep]):
        curve = sweep("run_cap=1")
        with curve.driver() as driver:
            handed_out(driver)
            self.fail(curve, 0)
            driver.epoch(0, report(0, 1, 0.5))
            wait_for(lambda: curve.told(Notice))
            driver.finished(0, Outcome("interrupted"))
            assert driver.done
        assert curve.trial(0).state == TrialState.FAIL

    def test_an_interrupted_one_does_not_start_again(self, sweep: Callable[..., Sweep]):
        curve = sweep("run_cap=2")
        with curve.driver() as driver:
            handed_out(driver)
            driver.stop()
            driver.finished(0, Outcome("interrupted"))
        with curve.driver() as driver:
            self.fail(curve, 0)
            assert handed_out(driver).number == 1
            assert driver.snapshot().failed == 1
        assert curve.trial(0).state == TrialState.FAIL
        assert driver.failure is None


def wait_for(condition: Callable[[], Any]) -> None:
    """Wait for the recorder's thread."""
    while not condition():
        threading.Event().wait(0.005)
