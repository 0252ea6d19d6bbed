"""Reports of a running trial: recorded, shown, and the reason to stop it."""

import math
from collections.abc import Callable

import optuna
import pytest
from optuna.trial import TrialState

from sweeps.paths import SweepFiles
from sweeps.running.attempt import Attempt
from sweeps.running.events import EpochFinished, Event, FoldFinished, Leader, Running, TrialEnded
from sweeps.running.local import run_local
from sweeps.running.messages import Outcome
from tests.fakes import curve_trial
from tests.sweeps.running.curve_sweep import (
    GRID,
    MEDIAN,
    NO_RACE,
    Sweep,
    completed,
    handed_out,
    report,
)


class TestReports:
    def test_a_report_is_recorded_and_shown(self, sweep: Callable[..., Sweep]):
        curve = sweep()
        with curve.driver() as driver:
            handed_out(driver)
            (first,) = driver.snapshot().running
            params = curve.trial(0).params
            assert first == Running(0, 0, 0, 2, None, params=params, doing="starting")
            Attempt.begin(SweepFiles(curve.folder).trial(0), driver="any")
            assert driver.snapshot().running[0].doing == "loading weights"
            assert driver.epoch(0, report(0, 2, 0.5))
            (now,) = driver.snapshot().running
            assert now == Running(0, fold=0, epoch=2, epochs=2, value=0.5, params=params)
        assert curve.trial(0).intermediate_values == {2: 0.5}

    def test_a_running_trial_is_compared_with_the_best_at_the_same_epoch(
        self, sweep: Callable[..., Sweep]
    ):
        curve = sweep(NO_RACE)
        with curve.driver() as driver:
            handed_out(driver)
            for step_report in (report(0, 1, 0.25), report(0, 2, 0.5)):
                driver.epoch(0, step_report)
            driver.finished(0, completed(0.5, 0.5, 0.5))
            handed_out(driver)
            driver.epoch(1, report(0, 1, 0.125))
            assert driver.snapshot().running[0].versus_best == -0.125
            driver.epoch(1, report(1, 2, 0.125, 0.125))
            assert driver.snapshot().running[0].versus_best is None
            (leader,) = driver.snapshot().leaders
            assert driver.snapshot().last is not None
            at, last = driver.snapshot().last
        assert leader == Leader(0, 0.5, 0.0, None, curve.trial(0).params)
        assert at > 0
        assert (last.number, last.state, last.best) == (0, "completed", True)

    def test_listeners_are_told_of_every_epoch_once(self, sweep: Callable[..., Sweep]):
        curve = sweep()
        first, second = report(0, 1, 0.5), report(0, 2, 0.6)
        with curve.driver() as driver:
            handed_out(driver)
            for told in (first, second, first, second):
                driver.epoch(0, told)
            driver.epoch(0, report(0, 2, 0.6, 0.6))  # of a finished fold
        assert curve.told(EpochFinished) == [EpochFinished(0, first), EpochFinished(0, second)]

    def test_a_known_step_decides_nothing_and_is_not_written_twice(
        self, sweep: Callable[..., Sweep]
    ):
        curve = sweep(MEDIAN)
        with curve.driver() as driver:
            handed_out(driver)
            for step_report in (report(0, 1, 0.5), report(0, 2, 0.6)):
                driver.epoch(0, step_report)
            driver.finished(0, completed(0.6, 0.6, 0.6))
            handed_out(driver)
            assert driver.epoch(1, report(0, 1, 0.9))
            assert driver.epoch(1, report(0, 2, 0.8))
            assert driver.epoch(1, report(0, 2, 0.0))  # would be pruned if it were news
            assert driver.epoch(1, report(0, 1, 0.0))
            driver.finished(1, completed(0.8, 0.8, 0.8))
        assert curve.trial(1).intermediate_values == {1: 0.9, 2: 0.8}
        assert curve.writes("set_trial_intermediate_value") == 4

    def test_a_fold_is_told_when_it_has_finished_and_the_last_one_with_the_trial(
        self, sweep: Callable[..., Sweep]
    ):
        curve = sweep()
        finished = [
            FoldFinished(0, 0, 3, 0.5),
            FoldFinished(0, 1, 3, 0.6),
            FoldFinished(0, 2, 3, 0.7),
        ]

        def told() -> list[Event]:
            return [event for event in curve.events if isinstance(event, FoldFinished)]

        with curve.driver() as driver:
            handed_out(driver)
            for fold, epoch, scores, known in (
                (0, 1, (), 0),
                (0, 2, (), 0),
                (0, 2, (0.5,), 1),
                (1, 1, (0.5,), 1),
                (1, 2, (0.5, 0.6), 2),
                (2, 2, (0.5, 0.6), 2),
            ):
                assert driver.epoch(0, report(fold, epoch, 0.5, *scores))
                assert told() == finished[:known]
            driver.finished(0, completed(0.5, 0.6, 0.7))
            assert told() == finished
        # a fold's score is no report of its own: the step of its last epoch is known
        assert curve.trial(0).intermediate_values == {1: 0.5, 2: 0.5, 3: 0.5, 6: 0.5}

    def test_a_trial_that_does_not_run_is_told_to_stop(self, sweep: Callable[..., Sweep]):
        curve = sweep()
        with curve.driver() as driver:
            assert not driver.epoch(7, report(0, 1, 0.5))
            handed_out(driver)
            driver.finished(0, completed(0.5, 0.5, 0.5))
            assert not driver.epoch(0, report(0, 1, 0.5))
            driver.finished(0, Outcome("failed", reason="told twice"))
        assert curve.trial(0).state == TrialState.COMPLETE

    def test_a_poor_trial_is_pruned_with_its_reason_and_its_reports(
        self, sweep: Callable[..., Sweep]
    ):
        curve = sweep(*GRID, MEDIAN)
        with curve.driver() as driver:
            run_local(driver, trial=curve_trial)
        for number in (1, 2):
            trial = curve.trial(number)
            assert trial.state == TrialState.PRUNED
            assert trial.user_attrs == {
                "reason": "median rule: at fold 1, epoch 1 worse than half of the completed trials"
            }
            assert list(trial.intermediate_values) == [1]

    @pytest.mark.parametrize(
        ("values", "stored"),
        [
            ((0.1, 0.2), [0.2]),
            ((0.1, math.inf), [math.inf]),
            ((0.1, math.nan), None),
            ((), None),
        ],
        ids=["last report", "not finite", "not a number", "no report"],
    )
    def test_a_stopped_trial_is_stored_with_the_value_that_optunas_tell_would_store(
        self, sweep: Callable[..., Sweep], values: tuple[float, ...], stored: list[float] | None
    ):
        curve = sweep()
        with curve.driver() as driver:
            handed_out(driver)
            for epoch, value in enumerate(values, start=1):
                driver.epoch(0, report(0, epoch, value))
            driver.finished(0, Outcome("stopped"))
            (ended,) = curve.told(TrialEnded)
            assert (ended.state, ended.score) == ("pruned", None)  # the value is not a score
            assert driver.snapshot().best_score is None
        study = optuna.create_study()
        trial = study.ask()
        for epoch, value in enumerate(values, start=1):
            trial.report(value, epoch)
        study.tell(trial, state=TrialState.PRUNED)
        assert curve.trial(0).values == study.trials[0].values == stored

    def test_a_pruned_trial_keeps_the_scores_of_its_finished_folds(
        self, sweep: Callable[..., Sweep]
    ):
        curve = sweep(MEDIAN.replace("warmup_epochs: 0", "warmup_epochs: 2"))
        with curve.driver() as driver:
            handed_out(driver)
            driver.epoch(0, report(1, 1, 0.8, 0.8))
            driver.finished(0, completed(0.8, 0.8, 0.8))
            handed_out(driver)
            assert driver.epoch(1, report(0, 2, 0.1))
            assert not driver.epoch(1, report(1, 1, 0.1, 0.1))
            driver.finished(1, Outcome("stopped", (0.1,)))
        assert curve.trial(1).state == TrialState.PRUNED
        assert curve.trial(1).user_attrs == {
            "fold_scores": [0.1],
            "reason": "median rule: at fold 2, epoch 1 worse than half of the completed trials",
        }


class TestFoldRace:
    """On by default: five complete trials of three folds are enough evidence."""

    SCORES = (
        (0.70, 0.72, 0.74),
        (0.60, 0.63, 0.64),
        (0.65, 0.66, 0.69),
        (0.50, 0.52, 0.55),
        (0.71, 0.73, 0.74),
    )

    @pytest.fixture
    def raced(self, sweep: Callable[..., Sweep]) -> Sweep:
        curve = sweep("run_cap=9")
        with curve.driver() as driver:
            for scores in self.SCORES:
                driver.finished(handed_out(driver).number, completed(*scores))
        curve.events.clear()
        return curve

    def test_a_hopeless_trial_is_stopped_after_its_first_fold(self, raced: Sweep):
        with raced.driver() as driver:
            number = handed_out(driver).number
            assert driver.epoch(number, report(0, 1, 0.1))
            assert driver.epoch(number, report(0, 2, 0.2))
            assert not driver.epoch(number, report(0, 2, 0.2, 0.2))
            driver.finished(number, Outcome("stopped", (0.2,)))
        trial = raced.trial(number)
        assert (trial.state, trial.values, trial.user_attrs["fold_scores"]) == (
            TrialState.PRUNED,
            [0.2],
            [0.2],
        )
        assert trial.intermediate_values == {1: 0.1, 2: 0.2}
        reason = trial.user_attrs["reason"]
        assert (
            reason
            == "fold race: less than 0.1 % chance to beat trial 4 (0.7267) after 1 of 3 folds"
        )
        assert raced.milestones()[1:] == [
            FoldFinished(number, 0, 3, 0.2),
            TrialEnded(number, "pruned", None, reason, best=False, seconds=0.0),
        ]

    def test_one_that_may_still_win_goes_on(self, raced: Sweep):
        with raced.driver() as driver:
            number = handed_out(driver).number
            assert driver.epoch(number, report(0, 2, 0.708, 0.708))
            assert driver.epoch(number, report(1, 2, 0.72, 0.708, 0.728))

    def test_a_restarted_driver_decides_the_same(self, raced: Sweep):
        reasons = []
        for _ in range(2):
            with raced.mortal() as driver:
                number = handed_out(driver).number
                assert driver.epoch(number, report(0, 2, 0.2))
                assert not driver.epoch(number, report(0, 2, 0.2, 0.2))
                reasons.append(driver._stops._reasons[number])
        assert number == 5
        assert reasons[0] == reasons[1]

    def test_the_history_races_along(self, sweep: Callable[..., Sweep]):
        curve = sweep()
        for number, scores in enumerate(self.SCORES):
            curve.remember(number, *scores, lr=0.001 * (1 + number), optimizer="adam")
        with curve.driver() as driver:
            number = handed_out(driver).number
            assert not driver.epoch(number, report(0, 2, 0.2, 0.2))
            driver.finished(number, Outcome("stopped", (0.2,)))
        assert "chance to beat trial 4" in curve.trial(5).user_attrs["reason"]

    def test_without_it_nothing_is_stopped(self, sweep: Callable[..., Sweep]):
        curve = sweep("run_cap=9", NO_RACE)
        with curve.driver() as driver:
            for scores in self.SCORES:
                driver.finished(handed_out(driver).number, completed(*scores))
            assert driver.epoch(handed_out(driver).number, report(0, 2, 0.2, 0.2))


class TestReportsThatComeTwice:
    """A worker that resumes from a checkpoint tells its last epochs again."""

    def test_the_end_of_an_earlier_fold_decides_nothing_and_is_told_once(
        self, sweep: Callable[..., Sweep]
    ):
        curve = sweep("run_cap=9")
        with curve.driver() as driver:
            slow = handed_out(driver).number
            assert driver.epoch(slow, report(0, 2, 0.2, 0.2))
            assert driver.epoch(slow, report(1, 1, 0.2, 0.2))
            for scores in TestFoldRace.SCORES:  # now it would be stopped
                driver.finished(handed_out(driver).number, completed(*scores))
            assert driver.epoch(slow, report(0, 2, 0.2))
            assert driver.epoch(slow, report(0, 2, 0.2, 0.2))
        told = [event for event in curve.told(FoldFinished) if event.number == slow]
        assert told == [FoldFinished(slow, 0, 3, 0.2)]

    def test_a_trial_that_was_told_to_stop_is_told_so_again(self, sweep: Callable[..., Sweep]):
        curve = sweep(MEDIAN)
        with curve.driver() as driver:
            handed_out(driver)
            for step_report in (report(0, 1, 0.5), report(0, 2, 0.1)):
                driver.epoch(0, step_report)
            driver.finished(0, completed(0.5, 0.5, 0.5))
            handed_out(driver)
            assert not driver.epoch(1, report(0, 1, 0.4))
            # its worker died before it could leave; from the next epoch on it would do well
            assert not driver.epoch(1, report(0, 1, 0.4))
            assert not driver.epoch(1, report(0, 2, 0.9))
            driver.finished(1, Outcome("stopped"))
        assert curve.trial(1).intermediate_values == {1: 0.4}

    def test_a_restarted_driver_stops_a_trial_whose_last_report_had_to_stop_it(
        self, sweep: Callable[..., Sweep]
    ):
        curve = sweep(MEDIAN)
        with curve.mortal() as driver:
            handed_out(driver)
            for step_report in (report(0, 1, 0.5), report(0, 2, 0.1)):
                driver.epoch(0, step_report)
            driver.finished(0, completed(0.5, 0.5, 0.5))
            handed_out(driver)
            assert not driver.epoch(1, report(0, 1, 0.4))
            handed_out(driver)  # the report is recorded; the driver dies, its answer is lost
        with curve.driver() as driver:
            again = handed_out(driver)
            assert (again.number, again.reported) == (1, 1)
            assert not driver.epoch(1, report(0, 1, 0.4))
            driver.finished(1, Outcome("stopped"))
        assert curve.trial(1).state == TrialState.PRUNED
        assert curve.trial(1).intermediate_values == {1: 0.4}
