"""Which trial comes next: once each, within the cap, never what was tried before."""

import collections
import concurrent.futures
import dataclasses
import json
import math
import threading
from collections.abc import Callable
from pathlib import Path

import optuna
import pytest
from optuna.storages import InMemoryStorage
from optuna.trial import TrialState

from sweeps.running.asking import Next
from sweeps.running.events import Notice, TrialEnded, TrialStarted
from sweeps.running.local import run_local
from sweeps.running.messages import Assignment, Outcome, TrialReporter
from sweeps.search.sampling import propose
from sweeps.upkeep.retry import add_retry
from tests.fakes import BEST_LR, curve_score, curve_trial
from tests.sweeps.running.curve_sweep import (
    GRID,
    NO_RACE,
    THREE,
    Sweep,
    completed,
    ending_after,
    handed_out,
    report,
)
from trainer.seeds import derive


class TestHandingOut:
    def test_a_trial_is_recorded_before_it_is_handed_out(self, sweep: Callable[..., Sweep]):
        curve = sweep()
        with curve.driver() as driver:
            assignment = handed_out(driver)
            stored = curve.trial(0)
        assert stored.state == TrialState.RUNNING
        assert {**stored.params, "epochs": 2, "seed": derive(1)} == assignment.values

    def test_a_storage_that_is_slow_is_waited_for_once_and_then_asked_about(
        self, sweep: Callable[..., Sweep], monkeypatch: pytest.MonkeyPatch
    ):
        waits: list[float | None] = []
        result = concurrent.futures.Future.result

        def watched(self: concurrent.futures.Future[None], timeout: float | None = None) -> None:
            waits.append(timeout)
            return result(self, timeout)

        curve = sweep()
        with curve.driver() as driver:
            curve.storage.open.clear()
            with monkeypatch.context() as patch:
                patch.setattr(concurrent.futures.Future, "result", watched)
                assert [driver.next(), driver.next(), driver.next()] == [Next.WAIT] * 3
            assert waits == [0.25, 0.0, 0.0]
            assert driver.snapshot().running == ()
            curve.storage.open.set()
            assert handed_out(driver).number == 0
            assert handed_out(driver).number == 1
        assert len(curve.stored.trials()) == 2  # asking again asked for the same trial

    def test_two_threads_are_never_handed_the_same_trial(self, sweep: Callable[..., Sweep]):
        curve = sweep("run_cap=8")
        barrier = threading.Barrier(2)

        def ask() -> list[int]:
            numbers = []
            for _ in range(4):
                barrier.wait(timeout=60)
                numbers.append(handed_out(driver).number)
            return numbers

        with curve.driver() as driver, concurrent.futures.ThreadPoolExecutor(2) as pool:
            first = pool.submit(ask)
            second = pool.submit(ask)
            assert sorted(first.result() + second.result()) == list(range(8))

    def test_run_cap_ends_the_sweep(self, sweep: Callable[..., Sweep]):
        curve = sweep("run_cap=2")
        with curve.driver() as driver:
            assert not driver.done
            assert [handed_out(driver).number, handed_out(driver).number] == [0, 1]
            assert driver.next() is Next.FINISHED
            assert not driver.done  # two are running
            driver.finished(0, completed(0.1, 0.2, 0.3))
            driver.finished(1, Outcome("failed", reason="out of luck"))
            assert driver.done
            assert driver.next() is Next.FINISHED

    def test_earlier_trials_count_towards_the_cap(self, sweep: Callable[..., Sweep]):
        curve = sweep("run_cap=2")
        for _ in range(2):
            with curve.driver() as driver:
                run_local(driver, trial=curve_trial)
        with curve.driver(trial_cap=3) as driver:
            run_local(driver, trial=curve_trial)
        assert [event.number for event in curve.events if isinstance(event, TrialStarted)] == [
            0,
            1,
            2,
        ]

    def test_a_grid_ends_with_its_last_point(self, sweep: Callable[..., Sweep]):
        curve = sweep(*GRID, "run_cap=100")
        with curve.driver() as driver:
            run_local(driver, trial=curve_trial)
        assert [trial.params for trial in curve.stored.trials()] == [
            {"lr": 0.003},
            {"lr": 0.1},
            {"lr": 0.00003},
        ]

    def test_without_a_cap_there_is_always_a_next_trial(self, sweep: Callable[..., Sweep]):
        curve = sweep()
        with curve.driver(trial_cap=None) as driver:
            assert [handed_out(driver).number for _ in range(4)] == [0, 1, 2, 3]
            assert not driver.done
            assert driver.snapshot().eta_s is None

    def test_a_sweep_that_stops_and_goes_on_proposes_what_an_undisturbed_one_does(
        self, tmp_path: Path
    ):
        (tmp_path / "whole").mkdir()
        (tmp_path / "parts").mkdir()
        whole, parts = (
            Sweep(tmp_path / name, "run_cap=14", storage=InMemoryStorage())
            for name in ("whole", "parts")
        )
        with whole.driver() as driver:
            run_local(driver, trial=curve_trial)
        for cap in (5, 12, 14):
            with parts.driver(trial_cap=cap) as driver:
                run_local(driver, trial=curve_trial)
        assert [t.params for t in parts.stored.trials()] == [
            t.params for t in whole.stored.trials()
        ]


class TestRepeatedConfigurations:
    def test_one_that_was_evaluated_is_not_trained_again_and_does_not_count_towards_the_cap(
        self, sweep: Callable[..., Sweep]
    ):
        curve = sweep(*THREE, "run_cap=3", NO_RACE)
        trained: list[int] = []

        def trial(assignment: Assignment, reporter: TrialReporter) -> Outcome:
            trained.append(assignment.number)
            outcome = curve_trial(assignment, reporter)
            return dataclasses.replace(outcome, notes=("split",))

        with curve.driver() as driver:
            run_local(driver, trial=trial)
        trials = curve.stored.trials()
        taken = [t for t in trials if t.number not in trained]
        assert sorted(trials[number].params["lr"] for number in trained) == [0.003, 0.1, 0.3]
        assert taken
        for one in taken:
            source = trials[one.user_attrs["taken_from"]["trial"]]
            assert source.number in trained
            assert (one.params, one.values) == (source.params, source.values)
            assert one.intermediate_values == source.intermediate_values
            assert one.user_attrs == {
                **source.user_attrs,  # fold scores and notes
                "taken_from": {"sweep": "curve", "trial": source.number, "repeats": source.number},
                "reason": f"the result of trial {source.number}, which has the same parameters",
            }
            assert (
                TrialEnded(
                    one.number,
                    "completed",
                    one.values[0],
                    one.user_attrs["reason"],
                    best=False,
                    seconds=0.0,
                )
                in curve.events
            )
        last = driver.snapshot()
        assert (last.completed, last.repeats, last.cap) == (len(trials), len(taken), 3)
        assert curve.told(Notice) == []  # it ended by its cap

    def test_a_cap_that_repeats_used_up_in_part_lets_a_continued_sweep_train_the_rest(
        self, sweep: Callable[..., Sweep]
    ):
        curve = sweep(*THREE, NO_RACE)
        for cap in (1, 2, 3):
            with curve.driver(trial_cap=cap) as driver:
                run_local(driver, trial=curve_trial)
            own = [t for t in curve.stored.trials() if "taken_from" not in t.user_attrs]
            assert len(own) == cap

    @pytest.mark.parametrize("sampler", ["tpe", "gp", "cmaes", "nsgaii", "random", "qmc"])
    def test_a_small_space_ends_with_each_point_trained_once_whatever_the_sampler_repeats(
        self, sweep: Callable[..., Sweep], sampler: str
    ):
        points = "parameters.lr={values: [0.0001, 0.003, 0.01, 0.1]}"
        curve = sweep("method=custom", f"sampler={sampler}", "run_cap=100", points, NO_RACE)
        with curve.driver() as driver:
            run_local(driver, trial=curve_trial)
        own = [t for t in curve.stored.trials() if "taken_from" not in t.user_attrs]
        trained = collections.Counter(tuple(sorted(t.params.items())) for t in own)
        assert (len(trained), max(trained.values())) == (12, 1)
        assert curve.told(Notice) == [Notice("every point of the search space has been tried")]
        assert driver.snapshot().cap == 12

    def test_a_tiny_space_ends_without_a_cap_when_every_point_was_tried(
        self, sweep: Callable[..., Sweep]
    ):
        curve = sweep(*THREE)
        with curve.driver(trial_cap=None) as driver:
            run_local(driver, trial=curve_trial)
            assert driver.done
        own = [t for t in curve.stored.trials() if "taken_from" not in t.user_attrs]
        assert sorted(t.params["lr"] for t in own) == [0.003, 0.1, 0.3]
        assert curve.told(Notice) == [Notice("every point of the search space has been tried")]
        before = len(curve.stored.trials())
        with curve.driver(trial_cap=None) as driver:  # and adds nothing when it is run again
            run_local(driver, trial=curve_trial)
        assert len(curve.stored.trials()) == before

    def test_points_that_fail_are_not_tried_for_ever(self, sweep: Callable[..., Sweep]):
        curve = sweep(*THREE)
        with curve.driver(trial_cap=None) as driver:
            fail = ending_after(20, driver, Outcome("failed"))

            def trial(assignment: Assignment, reporter: TrialReporter) -> Outcome:
                # each for another reason: equal failures in a row end a sweep before
                reason = f"bad luck {chr(ord('a') + assignment.number)}"
                return dataclasses.replace(fail(assignment, reporter), reason=reason)

            run_local(driver, trial=trial)
        states = collections.Counter(t.params["lr"] for t in curve.stored.trials())
        assert (len(states), driver.interrupted) == (3, False)

    def test_nothing_is_asked_for_while_the_last_point_is_being_tried(
        self, sweep: Callable[..., Sweep]
    ):
        curve = sweep(*THREE, NO_RACE)
        with curve.driver(trial_cap=None) as driver:
            points = set()
            while len(points) < 3:
                given = handed_out(driver)
                points.add(given.values["lr"])
                if len(points) < 3:
                    driver.finished(given.number, completed(0.5, 0.5, 0.5))
            assert [driver.next() for _ in range(3)] == [Next.FINISHED] * 3
            assert not driver.done
            driver.finished(given.number, completed(0.5, 0.5, 0.5))
            assert driver.done
        assert curve.stored.trials()[-1].number == given.number

    def test_a_sampler_that_only_repeats_itself_ends_the_sweep(
        self, sweep: Callable[..., Sweep], monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setattr("sweeps.running.asking.MOST_REPEATS", 25)
        point = "parameters.lr={values: [0.003, 0.1], probabilities: [1.0, 0.0]}"
        curve = sweep("method=random", "parameters.optimizer={value: adam}", point, NO_RACE)
        with curve.driver(trial_cap=None) as driver:
            run_local(driver, trial=curve_trial)
            assert driver.done
        assert len(curve.stored.trials()) == 1 + 25
        (notice,) = curve.told(Notice)
        assert notice.text == ("the last 25 proposals had all been tried before: nothing new comes")

    def test_a_pruned_result_is_taken_over_as_pruned(self, sweep: Callable[..., Sweep]):
        curve = sweep(*THREE)
        with curve.driver() as driver:
            first = handed_out(driver).number
            driver.epoch(first, report(0, 2, 0.1))
            driver.finished(first, Outcome("stopped", (0.1,)))
            run_local(driver, trial=curve_trial)
        taken = [
            t
            for t in curve.stored.trials()
            if t.user_attrs.get("taken_from", {}).get("trial") == first
        ]
        assert {t.state for t in taken} == {TrialState.PRUNED}
        assert all((t.values, t.user_attrs["fold_scores"]) == ([0.1], [0.1]) for t in taken)
        told = [e for e in curve.told(TrialEnded) if e.number in {t.number for t in taken}]
        assert {(event.state, event.score) for event in told} == {("pruned", None)}

    def test_a_point_of_the_history_is_not_trained_again(self, sweep: Callable[..., Sweep]):
        curve = sweep(*THREE, "run_cap=6", NO_RACE)
        for number, lr in enumerate((0.003, 0.1, 0.3)):
            curve.remember(number, 0.5, lr=lr)
        with curve.driver() as driver:
            run_local(
                driver, trial=lambda assignment, reporter: pytest.fail("it was trained again")
            )
            assert driver.done
        for trial in curve.stored.trials()[3:]:
            assert trial.user_attrs["taken_from"]["sweep"] == "other"
            assert trial.user_attrs["fold_scores"] == [0.5, 0.5, 0.5]


class TestRetries:
    def test_a_retry_has_the_seed_of_its_root_and_does_not_count_towards_the_cap(
        self, sweep: Callable[..., Sweep]
    ):
        curve = sweep("run_cap=2")
        with curve.driver() as driver:
            for _ in range(2):
                given = handed_out(driver)
                driver.finished(given.number, Outcome("failed", reason="out of luck"))
            assert driver.next() is Next.FINISHED
        failed = curve.trial(1)
        for number in (2, 3):  # a retry, and a retry of the retry
            assert add_retry(curve.stored, failed) == number
            with curve.driver() as driver:
                again = handed_out(driver)
                assert (again.number, again.values) == (number, given.values)
                assert again.values["seed"] == derive(1)
                driver.finished(number, Outcome("failed", reason="out of luck again"))
                assert driver.next() is Next.FINISHED
            failed = curve.trial(number)
        with curve.driver(trial_cap=3) as driver:
            assert handed_out(driver).values["seed"] == derive(1)


class TestGrowth:
    def test_points_to_start_with_come_first_and_once_over_all_drivers(
        self, sweep: Callable[..., Sweep]
    ):
        curve = sweep(
            "start_with=[{lr: 0.003, optimizer: adam}, {lr: 0.1}, {lr: 0.05}]", "run_cap=5"
        )
        given = []
        with curve.driver() as driver:
            given.append(handed_out(driver))
            driver.finished(0, completed(0.5, 0.5, 0.5))
            given.append(handed_out(driver))
        with curve.mortal() as driver:
            assert handed_out(driver).values == given[1].values
            given.append(handed_out(driver))
        with curve.driver() as driver:
            run_local(driver, trial=curve_trial)
        assert (given[0].values["lr"], given[0].values["optimizer"]) == (0.003, "adam")
        assert [trial.params["lr"] for trial in curve.stored.trials()][:3] == [0.003, 0.1, 0.05]
        starts = [
            json.loads(t.user_attrs["start_point"])
            for t in curve.stored.trials()
            if "start_point" in t.user_attrs
        ]
        assert starts == [{"lr": 0.003, "optimizer": "adam"}, {"lr": 0.1}, {"lr": 0.05}]

    def test_a_widened_range_goes_on_with_what_was_learned(self, sweep: Callable[..., Sweep]):
        curve = sweep(
            "run_cap=12",
            "parameters.lr={distribution: log_uniform_values, min: 1e-5, max: 1e-4}",
            NO_RACE,
        )
        with curve.driver() as driver:
            run_local(driver, trial=curve_trial)
        before = [(t.params, t.distributions, t.values) for t in curve.stored.trials()]
        wider = curve.grown("run_cap=20", NO_RACE)  # up to 0.1
        with wider.driver() as driver:
            run_local(driver, trial=curve_trial)
        trials = wider.stored.trials()
        assert [(t.params, t.distributions, t.values) for t in trials[:12]] == before
        assert len(trials) == 20
        learned = [t.params["lr"] for t in trials[12:]]
        assert max(learned) > 1e-4
        # what no model proposes is drawn from the law alone, whatever has been learned
        drawn = curve.grown("run_cap=20", "method=random", NO_RACE)
        study = optuna.create_study(direction="maximize")
        for number in range(20):
            propose(study, drawn.spec, number=number)
        assert learned != [t.params["lr"] for t in study.trials[12:]]

    def test_another_sweeps_trials_do_not_count_but_are_not_tried_again(
        self, sweep: Callable[..., Sweep]
    ):
        curve = sweep(*GRID)
        curve.remember(4, 0.9, lr=0.1)
        with curve.driver() as driver:
            assert driver.snapshot().completed == 0
            run_local(driver, trial=curve_trial)
            last = driver.snapshot()
        assert [trial.params["lr"] for trial in curve.stored.trials()] == [0.1, 0.003, 0.00003]
        assert (last.completed, last.best_number) == (2, 1)
        assert [event.number for event in curve.told(TrialStarted)] == [1, 2]

    def test_a_model_learns_from_another_sweeps_trials(self, tmp_path: Path):
        proposed = []
        for name, trials in (("alone", 0), ("warm", 12)):
            (tmp_path / name).mkdir()
            curve = Sweep(tmp_path / name, "parameters.optimizer={value: adam}")
            for number in range(trials):
                lr = 10 ** (-5 + number / 3)
                curve.remember(number, curve_score(lr=lr, optimizer="adam", fold=1, epoch=2), lr=lr)
            with curve.driver() as driver:
                proposed.append(abs(math.log10(handed_out(driver).values["lr"] / BEST_LR)))
        assert proposed[1] < 0.5 < proposed[0]
