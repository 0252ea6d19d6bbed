"""What users order in a tracker, on its way to the driver."""

from collections.abc import Callable

import pytest
from optuna.trial import TrialState

from sweeps.paths import SweepFiles
from sweeps.running.asking import Next
from sweeps.running.events import EndState, Notice, TrialEnded
from sweeps.running.local import run_local
from sweeps.running.messages import Assignment, Outcome, TrialReporter
from sweeps.tracking.orders import Order, change, obey
from sweeps.tracking.tracker import Command, Orders
from tests.sweeps.running.curve_sweep import completed, handed_out, report
from tests.sweeps.tracking.simulated import SimulatedTrials, TrackedSweep

Make = Callable[..., TrackedSweep]
SEVEN = frozenset({7})


@pytest.mark.parametrize(
    ("before", "now", "order"),
    [
        (None, Orders(Command.DRAIN), None),
        (None, Orders(stop=SEVEN), Order("wandb", None, SEVEN)),
        (Orders(), Orders(), None),
        (Orders(), Orders(Command.PAUSE), Order("wandb", Command.PAUSE)),
        (Orders(Command.PAUSE), Orders(Command.PAUSE), None),
        (Orders(Command.PAUSE), Orders(), Order("wandb", Command.RUN)),
        (Orders(stop=SEVEN), Orders(Command.INTERRUPT, SEVEN), Order("wandb", Command.INTERRUPT)),
        (Orders(stop=SEVEN), Orders(stop=SEVEN | {9}), Order("wandb", None, frozenset({9}))),
    ],
)
def test_only_a_change_is_an_order(before: Orders | None, now: Orders, order: Order | None):
    assert change(before, now, by="wandb") == order


@pytest.mark.parametrize(
    "order", [Order("wandb", Command.PAUSE), Order("wandb", None, SEVEN), Order("x")]
)
def test_an_order_goes_through_json(order: Order):
    assert Order.of_json(order.as_json()) == order


class TestObeying:
    def test_a_paused_sweep_starts_nothing_until_it_runs_again(self, tracked: Make):
        sweep = tracked()
        with sweep.driver() as driver:
            first = handed_out(driver)
            obey(driver, Order("wandb", Command.PAUSE))
            assert driver.next() is Next.WAIT
            assert driver.epoch(first.number, report(0, 1, 0.5))
            driver.finished(first.number, completed(0.5, 0.5, 0.5))
            assert driver.next() is Next.WAIT
            assert not driver.done
            obey(driver, Order("wandb", Command.RUN))
            assert handed_out(driver).number == 1
        assert [notice.text for notice in sweep.told(Notice)] == [
            "asked in W&B: the sweep pauses: no trial is started",
            "asked in W&B: the sweep goes on",
        ]

    def test_a_paused_sweep_can_be_stopped(self, tracked: Make):
        with tracked().driver() as driver:
            obey(driver, Order("wandb", Command.PAUSE))
            driver.stop()
            assert driver.next() is Next.FINISHED

    def test_a_drained_sweep_lets_its_trials_end(self, tracked: Make):
        with tracked().driver() as driver:
            first = handed_out(driver)
            obey(driver, Order("wandb", Command.DRAIN))
            assert driver.next() is Next.FINISHED
            assert driver.epoch(first.number, report(0, 1, 0.5))
            driver.finished(first.number, completed(0.5, 0.5, 0.5))
            assert (driver.drained, driver.done) == (True, True)

    def test_an_interrupted_sweep_ends_as_after_ctrl_c(self, tracked: Make):
        with tracked().driver() as driver:
            handed_out(driver)
            obey(driver, Order("wandb", Command.INTERRUPT))
            assert (driver.interrupted, driver.stopping) == (True, True)

    def test_a_stopped_trial_is_pruned_with_the_reason_and_the_sweep_goes_on(self, tracked: Make):
        sweep = tracked()
        trials = SimulatedTrials()

        with sweep.driver() as driver:

            def before(number: int, fold: int, epoch: int) -> None:
                if (number, fold, epoch) == (1, 1, 2):
                    obey(driver, Order("wandb", None, frozenset({1, 99})))

            trials.before = before
            run_local(driver, trial=trials)
        assert [event.state for event in sweep.told(TrialEnded)] == [
            EndState.COMPLETED,
            EndState.PRUNED,
            EndState.COMPLETED,
        ]
        stopped = sweep.trial(1)
        assert stopped.state == TrialState.PRUNED
        assert stopped.user_attrs["reason"] == "stopped in W&B"
        assert max(stopped.intermediate_values) == 3

    def test_a_worker_of_ray_sees_a_file_that_is_gone_afterwards(self, tracked: Make):
        sweep = tracked()
        with sweep.driver() as driver:
            first = handed_out(driver)
            stop = first.files.stop(first.driver)
            first.files.directory.mkdir()
            driver.stop_trials([first.number], reason="stopped in W&B")
            assert stop.exists()
            assert not SweepFiles(sweep.folder).stop(first.driver).exists()
            assert not driver.epoch(first.number, report(0, 1, 0.5))
            driver.finished(first.number, Outcome("interrupted"))
            assert not stop.exists()
        assert sweep.trial(0).state == TrialState.PRUNED

    def test_a_stopped_trial_that_ends_at_the_same_moment_is_complete(self, tracked: Make):
        sweep = tracked("run_cap=1")

        def trial(assignment: Assignment, reporter: TrialReporter) -> Outcome:
            driver.stop_trials([0], reason="stopped in W&B")
            return completed(0.5, 0.5, 0.5)

        with sweep.driver() as driver:
            run_local(driver, trial=trial)
        assert sweep.trial(0).state == TrialState.COMPLETE
