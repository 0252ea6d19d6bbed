"""Hours, GPU-hours and a target end a sweep, over all of its drivers."""

from collections.abc import Callable

import pytest
from optuna.trial import TrialState

from sweeps.paths import SweepFiles
from sweeps.running.asking import Next
from sweeps.running.events import Event, Notice
from sweeps.running.messages import Outcome
from tests.sweeps.running.curve_sweep import Sweep, completed, handed_out


class TestBudget:
    """Hours, GPU-hours and a target: whichever comes first interrupts what runs."""

    @pytest.mark.parametrize(
        ("limit", "gpu", "seconds", "notice"),
        [
            ("budget.hours=0.5", 0.0, 1800, "the budget of 0.5 hours is used up"),
            # two trials on half a GPU each
            ("budget.gpu_hours=0.5", 0.5, 1800, "the budget of 0.5 GPU-hours is used up"),
        ],
        ids=["hours", "gpu_hours"],
    )
    def test_what_is_used_up_interrupts_what_runs_but_is_no_interruption(
        self, sweep: Callable[..., Sweep], limit: str, gpu: float, seconds: int, notice: str
    ):
        now = [500.0]
        curve = sweep(limit)
        with curve.driver(clock=lambda: now[0], gpu=gpu) as driver:
            for _ in range(2):
                handed_out(driver)
            now[0] += seconds - 1
            driver.tick()
            assert (driver.stopping, curve.told(Notice)) == (False, [])
            now[0] += 1
            driver.tick()
            driver.tick()
            assert (driver.stopping, driver.interrupted, driver.done) == (True, False, False)
            assert list(SweepFiles(curve.folder).stops())
            assert driver.next() is Next.FINISHED
            for number in range(2):
                driver.finished(number, Outcome("interrupted"))
            assert driver.done
        assert curve.told(Notice) == [Notice(notice)]
        assert [trial.state for trial in curve.stored.trials()] == [TrialState.WAITING] * 2

    def test_what_is_used_up_is_obeyed_before_it_is_talked_about(self, sweep: Callable[..., Sweep]):
        now = [500.0]
        obeyed: list[bool] = []

        def listener(event: Event) -> None:
            if isinstance(event, Notice):
                obeyed.append(driver.stopping)

        curve = sweep("budget.hours=0.5")
        with curve.driver(clock=lambda: now[0], listener=listener) as driver:
            now[0] += 1800
            driver.tick()
        assert obeyed == [True]

    @pytest.mark.parametrize(
        ("metric", "scores"),
        [
            ("name: valid/f1, goal: maximize", (0.5, 0.75)),
            ("name: valid/loss, goal: minimize", (0.9, 0.75)),
        ],
    )
    def test_a_target_that_is_reached_interrupts_what_runs_and_is_said_once(
        self, sweep: Callable[..., Sweep], metric: str, scores: tuple[float, float]
    ):
        curve = sweep(f"metric={{{metric}, target: 0.75}}")
        with curve.driver() as driver:
            for _ in range(3):
                handed_out(driver)
            driver.finished(0, completed(*[scores[0]] * 3))
            assert not driver.stopping
            driver.finished(1, completed(*[scores[1]] * 3))
            assert driver.stopping
            driver.finished(2, Outcome("interrupted"))
        assert curve.told(Notice) == [Notice("the target of 0.75 is reached: 0.7500")]
        curve.events.clear()
        with curve.driver() as driver:  # and stays reached
            assert driver.next() is Next.FINISHED
        assert curve.told(Notice) == [Notice("the target of 0.75 is reached: 0.7500")]
        assert curve.trial(2).state == TrialState.WAITING

    def test_another_sweeps_score_reaches_no_target(self, sweep: Callable[..., Sweep]):
        curve = sweep("metric.target=0.75")
        curve.remember(0, 0.8, lr=0.003, optimizer="adam")
        with curve.driver() as driver:
            assert handed_out(driver).number == 1

    def test_time_counts_over_all_drivers(self, sweep: Callable[..., Sweep]):
        now = [500.0]
        curve = sweep()
        for seconds in (100.0, 50.0):
            with curve.driver(clock=lambda: now[0], gpu=0.5) as driver:
                now[0] += 7
                handed_out(driver)
                now[0] += seconds
                assert driver.snapshot().elapsed_s == 7 + seconds
        assert curve.spent() == (164.0, 75.0)

    def test_what_a_killed_driver_has_spent_is_not_lost(self, sweep: Callable[..., Sweep]):
        now = [500.0]
        curve = sweep("budget.gpu_hours=0.01")  # 36 s
        with curve.mortal(clock=lambda: now[0], gpu=1.0) as driver:
            handed_out(driver)
            now[0] += 14.9
            driver.tick()
            now[0] += 0.1
            driver.tick()
            now[0] += 14
            driver.tick()
            handed_out(driver)  # recorded after what was spent
        assert curve.spent() == (15.0, 15.0)
        curve.events.clear()
        with curve.driver(clock=lambda: now[0], gpu=1.0) as driver:
            assert handed_out(driver).number == 0
            now[0] += 20.9
            driver.tick()
            assert not driver.stopping
            now[0] += 0.1
            driver.tick()
            assert driver.stopping
        assert curve.stored.record().gpu_s == 36.0

    def test_a_sweep_without_time_left_starts_no_trial(self, sweep: Callable[..., Sweep]):
        now = [0.0]
        curve = sweep("budget.hours=1")
        with curve.driver(clock=lambda: now[0]) as driver:
            now[0] += 3601
        with curve.driver(clock=lambda: now[0]) as driver:
            assert driver.next() is Next.FINISHED
            assert driver.done
        assert curve.stored.trials() == []

    def test_the_limits_are_stored(self, sweep: Callable[..., Sweep]):
        curve = sweep("budget={hours: 2, gpu_hours: 3}", "metric.target=0.75")
        with curve.driver():
            pass
        stored = curve.stored.record()
        assert (stored.hours, stored.gpu_hours, stored.target) == (2, 3, 0.75)
        assert stored.run_cap == 3
        with curve.driver(trial_cap=None):
            pass
        assert curve.stored.record().run_cap is None
