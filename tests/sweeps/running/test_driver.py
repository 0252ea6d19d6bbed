"""The driver on a real SQLite storage: what it hands out, stops, records and tells."""

import collections
import concurrent.futures
import contextlib
import copy
import dataclasses
import itertools
import json
import math
import shutil
import statistics
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage, InMemoryStorage
from optuna.trial import FrozenTrial, TrialState, create_trial

from sweeps.errors import InfrastructureError, LeaseLostError
from sweeps.paths import SweepFiles
from sweeps.running.asking import MOST_REPEATS, Next
from sweeps.running.driver import Driver, Plan, open_driver
from sweeps.running.events import (
    Event,
    FoldFinished,
    Notice,
    Running,
    Snapshot,
    TrialEnded,
    TrialStarted,
)
from sweeps.running.local import run_local
from sweeps.running.messages import Assignment, Outcome, RunTrial, Share, TrialReport, TrialReporter
from sweeps.search.history import history
from sweeps.search.sampling import propose
from sweeps.space.spec import SweepSpec
from sweeps.space.spec_reader import read_spec
from sweeps.study.recorder import Recorder
from sweeps.study.stored_sweep import StoredSweep
from sweeps.upkeep.retry import add_retry
from tests.fakes import (
    BEST_LR,
    CURVE_SPACE,
    PENALTY,
    TroubledStorage,
    curve_score,
    curve_trial,
    hasty_storage,
)
from trainer.seeds import derive

GRID = (
    "method=grid",
    "parameters.lr={values: [0.003, 0.1, 0.00003]}",
    "parameters.optimizer={value: adam}",
)
NO_RACE = "folds.race=false"
MEDIAN = "early_terminate={type: median, startup_trials: 1, warmup_epochs: 0, keep_at_least: 0}"
# three points by chance
THREE = (
    "method=random",
    "run_cap=100",
    "parameters.optimizer={value: adam}",
    "parameters.lr={values: [0.003, 0.1, 0.3]}",
)


class Sweep:
    """A stored sweep over CURVE_SPACE, and drivers for it."""

    def __init__(self, folder: Path, *settings: str, storage: BaseStorage | None = None) -> None:
        (folder / "curve.yaml").write_text(CURVE_SPACE)
        self.spec: SweepSpec = read_spec(folder / "curve.yaml", settings=settings)
        self.folder = folder
        self.storage = TroubledStorage(storage or hasty_storage(folder))
        self.stored = StoredSweep.create(self.storage, self.spec, identity="an identity")  # type: ignore[arg-type]
        self.events: list[Event] = []

    def driver(self, **options: Any) -> Driver:
        share = Share(
            **{
                name: options.pop(name)
                for name in ("device", "gpu", "threads", "streamed")
                if name in options
            }
        )
        plan = Plan(
            self.spec, SweepFiles(self.folder), share, options.pop("trial_cap", self.spec.trial_cap)
        )
        return open_driver(
            plan, self.stored, **{"listener": self.events.append, "clock": lambda: 0.0, **options}
        )

    def trial(self, number: int) -> FrozenTrial:
        return self.stored.trials()[number]

    def writes(self, method: str) -> int:
        return sum(name == method for name, _ in self.storage.written)

    def spent(self) -> tuple[float, float]:
        """Seconds and GPU-seconds, as stored."""
        record = self.stored.record()
        return record.elapsed_s, record.gpu_s

    def told(self, kind: type[Event]) -> list[Any]:
        """The events of one kind."""
        return [event for event in self.events if isinstance(event, kind)]

    def remember(self, number: int, *scores: float, **params: Any) -> None:
        """Add a finished trial of the sweep `other`, as `warm_start` does; one score stands for three equal ones."""
        fold_scores = list(scores) if len(scores) > 1 else [*scores] * 3
        kinds = {
            "lr": FloatDistribution(1e-5, 1.0),
            "optimizer": CategoricalDistribution(("adam", "adamw", "sgd")),
        }
        trained = create_trial(
            value=statistics.fmean(fold_scores),
            params=params,
            distributions={name: kinds[name] for name in params},
            user_attrs={"fold_scores": fold_scores},
        )
        trained.number = number
        (fitting,) = history(
            self.spec.space, [trained], source="other", source_space=self.spec.space
        )
        self.stored.add(fitting)

    @contextlib.contextmanager
    def mortal(self, death: "Death | None" = None, **options: Any) -> Iterator[Driver]:
        """A driver that is killed, not left."""
        death = death or Death()
        entered = threading.Event()
        driver = self.driver(fence=lambda: death() if entered.is_set() else None, **options)
        driver.__enter__()
        entered.set()
        try:
            yield driver
        finally:
            death.come()
            driver._closed.set()
            driver._recorder.close()  # its thread ends; death lets nothing through

    def grown(self, *settings: str) -> "Sweep":
        """The same stored sweep with another search space, as after `--update`."""
        other = copy.copy(self)
        other.spec = read_spec(self.folder / "curve.yaml", settings=settings)
        other.stored = self.stored.update_spec(other.spec.fixed_part())
        return other


class Death:
    """Lets a number of writes through. What a driver writes later never reaches the storage, as after kill -9."""

    def __init__(self, writes: float = math.inf) -> None:
        self._left = writes
        self.has_come = False

    def __call__(self) -> None:
        self._left -= 1
        if self._left < 0 or self.has_come:
            self.come()
            raise LeaseLostError("killed")

    def come(self) -> None:
        self.has_come = True


@pytest.fixture
def sweep(tmp_path: Path, sqlite_template: Path) -> Callable[..., Sweep]:
    shutil.copy(sqlite_template, tmp_path / "sweeps.db")
    return lambda *settings: Sweep(tmp_path, *settings)


def handed_out(driver: Driver) -> Assignment:
    """The next trial, asked for until its start is recorded."""
    for _ in range(2000):
        answer = driver.next()
        if answer is not Next.WAIT:
            assert isinstance(answer, Assignment)
            return answer
        threading.Event().wait(0.005)
    raise AssertionError("the driver never handed out a trial")


def report(fold: int, epoch: int, value: float, *fold_scores: float) -> TrialReport:
    """A report of a space with two epochs."""
    return TrialReport(
        step=2 * fold + epoch,
        value=value,
        fold=fold,
        epoch=epoch,
        epochs=2,
        fold_scores=tuple(fold_scores),
    )


def completed(*scores: float) -> Outcome:
    return Outcome("completed", scores)


def ending_after(count: int, driver: Driver, outcome: Outcome) -> RunTrial:
    """Trials that all end like this; more than `count` of them end the sweep as Ctrl-C does."""
    left = iter(range(count))

    def trial(assignment: Assignment, reporter: TrialReporter) -> Outcome:
        if next(left, None) is None:
            driver.stop()
        return outcome

    return trial


def table(trials: Iterable[FrozenTrial]) -> list[tuple[Any, ...]]:
    """All that a sweep says of its trials, except whether they were interrupted."""
    return [
        (
            trial.number,
            trial.state,
            trial.params,
            trial.values,
            trial.intermediate_values,
            {key: value for key, value in trial.user_attrs.items() if key != "interrupted"},
        )
        for trial in trials
    ]


def test_a_sweep_of_120_trials_finds_the_known_best_point_and_beats_chance(
    sweep: Callable[..., Sweep],
):
    curve = sweep("run_cap=120", "parameters.epochs={value: 1}", NO_RACE)
    with curve.driver() as driver:
        run_local(driver, trial=curve_trial)
    trials = curve.stored.trials()
    best = max(trials, key=lambda trial: trial.values[0])
    assert best.params["optimizer"] == "adam"
    assert BEST_LR / 1.5 < best.params["lr"] < BEST_LR * 1.5
    decades = [10 ** (-5 + 4 * step / 99) for step in range(100)]
    # what random search draws from: every optimizer and every decade as often
    by_chance = [
        curve_score(lr=lr, optimizer=name, fold=1, epoch=1) for lr in decades for name in PENALTY
    ]
    assert len(trials) == 120
    assert (
        statistics.median(trial.values[0] for trial in trials) > statistics.median(by_chance) + 0.05
    )


def test_a_trial_is_handed_out_with_everything_a_worker_needs(sweep: Callable[..., Sweep]):
    curve = sweep(*GRID, "retries=5")
    with curve.driver(device="cuda", threads=2, streamed=("16x16-stretch",)) as driver:
        given = handed_out(driver)
        assert handed_out(driver).driver == given.driver
    assert given == Assignment(
        number=0,
        values={"lr": 0.003, "optimizer": "adam", "epochs": 2, "seed": derive(1, "trial", 0)},
        sweep_directory=str(curve.folder),
        metric="f1",
        max_epochs=2,
        device="cuda",
        threads=2,
        streamed=("16x16-stretch",),
        driver=given.driver,
        retries=5,
        reported=0,
    )
    with curve.driver() as driver:
        assert handed_out(driver).driver not in ("", given.driver)


def test_a_metric_of_the_users_own_is_handed_out_with_its_direction(sweep: Callable[..., Sweep]):
    curve = sweep(*GRID, "metric={name: my_task.py:kappa, goal: minimize}")
    with curve.driver() as driver:
        given = handed_out(driver)
    assert given.metric == "metric"
    assert given.values == {
        "lr": 0.003,
        "optimizer": "adam",
        "epochs": 2,
        "seed": derive(1, "trial", 0),
        "metric": "my_task.py:kappa",
        "metric_goal": "minimize",
    }


@pytest.mark.parametrize(
    ("weights", "handed"),
    [
        ("none", "none"),
        ("pretrained", "pretrained"),
        ("weights/mine.safetensors", "{here}/weights/mine.safetensors"),
        ("/data/mine.pt", "/data/mine.pt"),
    ],
)
def test_a_worker_finds_local_weights_from_any_folder(
    sweep: Callable[..., Sweep],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    weights: str,
    handed: str,
):
    monkeypatch.chdir(tmp_path)
    with sweep(*GRID, f"parameters.weights={{value: {weights}}}").driver() as driver:
        assert handed_out(driver).values["weights"] == handed.format(here=tmp_path)


def test_entries_of_mappings_are_handed_out_dotted(sweep: Callable[..., Sweep]):
    with sweep(
        *GRID,
        "parameters.loss={value: mixture}",
        "parameters.loss_mix={parameters: {focal: {value: 0.6}}}",
    ).driver() as driver:
        assert handed_out(driver).values["loss_mix.focal"] == 0.6


def test_notes_of_a_trial_are_recorded_however_it_ended(sweep: Callable[..., Sweep]):
    curve = sweep(*GRID)
    with curve.driver() as driver:
        for outcome in (
            Outcome("completed", (0.1, 0.2, 0.3), notes=("split", "hot")),
            Outcome("stopped", (0.1,), notes=("split",)),
            Outcome("failed", reason="x", notes=("split",)),
        ):
            driver.finished(handed_out(driver).number, outcome)
    assert [trial.user_attrs["notes"] for trial in curve.stored.trials()] == [
        ["split", "hot"],
        ["split"],
        ["split"],
    ]


def test_a_trial_without_notes_costs_no_write(sweep: Callable[..., Sweep]):
    curve = sweep(*GRID)
    with curve.driver() as driver:
        driver.finished(handed_out(driver).number, completed(0.1, 0.2, 0.3))
    assert "notes" not in curve.trial(0).user_attrs


def test_events_of_a_sweep_in_order(sweep: Callable[..., Sweep]):
    curve = sweep(*GRID, MEDIAN)
    trials: list[Callable[[Assignment, TrialReporter], Outcome]] = [
        curve_trial,
        lambda assignment, reporter: Outcome(
            "failed", reason="out of luck", traceback="Traceback ..."
        ),
        curve_trial,
    ]
    with curve.driver() as driver:
        run_local(
            driver,
            trial=lambda assignment, reporter: trials[assignment.number](assignment, reporter),
        )
    assert curve.events == [
        TrialStarted(0, {"lr": 0.003}, continued=False),
        FoldFinished(0, 0, 3, pytest.approx(0.655)),
        FoldFinished(0, 1, 3, pytest.approx(0.675)),
        FoldFinished(0, 2, 3, pytest.approx(0.695)),
        TrialEnded(0, "completed", pytest.approx(0.675), "", best=True, seconds=0.0),
        TrialStarted(1, {"lr": 0.1}, continued=False),
        TrialEnded(1, "failed", None, "out of luck", best=False, seconds=0.0),
        TrialStarted(2, {"lr": 0.00003}, continued=False),
        TrialEnded(
            2,
            "pruned",
            None,
            "median rule: at fold 1, epoch 1 worse than half of the completed trials",
            best=False,
            seconds=0.0,
        ),
    ]


def test_the_stored_study_is_the_one_that_was_decided_from(sweep: Callable[..., Sweep]):
    curve = sweep(
        "run_cap=12",
        "early_terminate={type: median, startup_trials: 2, warmup_epochs: 0, keep_at_least: 0}",
    )

    def trial(assignment: Assignment, reporter: TrialReporter) -> Outcome:
        if assignment.number == 3:
            reporter.report(report(0, 1, 0.25))
            return Outcome("failed", reason="out of luck", traceback="Traceback ...")
        return curve_trial(assignment, reporter)

    with curve.driver() as driver:
        run_local(driver, trial=trial)

    stored = table(curve.stored.trials())
    assert stored == table(driver._mirror.trials())
    states = [state for _, state, *_ in stored]
    assert {TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL} == set(states)
    assert len(states) == 12


class TestHandingOut:
    def test_a_trial_is_recorded_before_it_is_handed_out(self, sweep: Callable[..., Sweep]):
        curve = sweep()
        with curve.driver() as driver:
            assignment = handed_out(driver)
            stored = curve.trial(0)
        assert stored.state == TrialState.RUNNING
        assert {**stored.params, "epochs": 2, "seed": derive(1, "trial", 0)} == assignment.values

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
            first, second = pool.submit(ask), pool.submit(ask)
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


class TestReports:
    def test_a_report_is_recorded_and_shown(self, sweep: Callable[..., Sweep]):
        curve = sweep()
        with curve.driver() as driver:
            handed_out(driver)
            assert driver.snapshot().running == (Running(0, fold=0, epoch=0, epochs=2, value=None),)
            assert driver.epoch(0, report(0, 2, 0.5))
            assert driver.snapshot().running == (Running(0, fold=0, epoch=2, epochs=2, value=0.5),)
        assert curve.trial(0).intermediate_values == {2: 0.5}

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

    def test_a_poor_trial_is_pruned_with_its_reason_its_reports_and_no_value(
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
            assert trial.values is None  # Optuna's own tell would make the last report its value

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


class TestEnds:
    def test_a_trial_that_was_stopped_just_before_ctrl_c_is_pruned_and_not_continued(
        self, sweep: Callable[..., Sweep]
    ):
        curve = sweep(MEDIAN)
        with curve.driver() as driver:
            handed_out(driver)
            driver.epoch(0, report(0, 1, 0.8))
            driver.finished(0, completed(0.8, 0.8, 0.8))
            handed_out(driver)
            assert not driver.epoch(1, report(0, 1, 0.1))
            driver.stop()
            driver.finished(1, Outcome("interrupted"))
        assert curve.trial(1).state == TrialState.PRUNED

    def test_a_completed_trial_has_the_mean_of_its_folds_as_score(
        self, sweep: Callable[..., Sweep]
    ):
        curve = sweep()
        with curve.driver() as driver:
            handed_out(driver)
            driver.finished(0, completed(0.5, 0.6, 0.8))
        trial = curve.trial(0)
        assert (trial.state, trial.values) == (TrialState.COMPLETE, [pytest.approx(0.6333333)])
        assert trial.user_attrs == {"fold_scores": [0.5, 0.6, 0.8]}

    def test_a_failed_trial_keeps_reason_and_traceback_counts_and_the_sweep_goes_on(
        self, sweep: Callable[..., Sweep]
    ):
        curve = sweep("run_cap=2")
        with curve.driver() as driver:
            handed_out(driver)
            driver.finished(0, Outcome("failed", reason="KeyError: 'x'", traceback="Traceback ..."))
            assert handed_out(driver).number == 1
            assert driver.next() is Next.FINISHED
            assert driver.snapshot().failed == 1
        trial = curve.trial(0)
        assert (trial.state, trial.values) == (TrialState.FAIL, None)
        assert trial.user_attrs == {"reason": "KeyError: 'x'", "traceback": "Traceback ..."}

    @pytest.mark.parametrize(
        ("metric", "expected"),
        [
            ("metric={name: valid/f1, goal: maximize}", [True, False, False, True]),
            ("metric={name: valid/loss, goal: minimize}", [True, True, False, False]),
        ],
        ids=["maximize", "minimize"],
    )
    def test_the_best_so_far_is_said_and_a_tie_is_none(
        self, sweep: Callable[..., Sweep], metric: str, expected: list[bool]
    ):
        curve = sweep(metric, "run_cap=4")
        with curve.driver() as driver:
            for number, score in enumerate((0.5, 0.25, 0.5, 0.75)):
                handed_out(driver)
                driver.finished(number, completed(score, score, score))
        ends = [event for event in curve.events if isinstance(event, TrialEnded)]
        assert [event.best for event in ends] == expected
        last = driver.snapshot()
        assert (last.best_score, last.best_number) == ((0.75, 3) if expected[3] else (0.25, 1))

    def test_a_loss_is_minimised_to_the_end(self, sweep: Callable[..., Sweep]):
        curve = sweep(*GRID, "metric={name: valid/loss, goal: minimize}", MEDIAN)
        with curve.driver() as driver:
            run_local(driver, trial=curve_trial)
        states = [trial.state for trial in curve.stored.trials()]
        assert states == [TrialState.COMPLETE, TrialState.PRUNED, TrialState.PRUNED]
        assert driver.snapshot().best_score == pytest.approx(1 - 0.675)


class TestSnapshot:
    def test_counts_best_and_time_left(self, sweep: Callable[..., Sweep]):
        now = [1000.0]
        curve = sweep("run_cap=10")
        with curve.driver(clock=lambda: now[0]) as driver:
            for _ in range(4):
                handed_out(driver)
            now[0] += 30
            driver.finished(0, completed(0.5, 0.5, 0.5))
            now[0] += 20
            driver.finished(1, Outcome("stopped", (0.1,)))
            now[0] += 5
            driver.finished(2, Outcome("failed", reason="out of luck"))
            assert driver.snapshot() == Snapshot(
                completed=1,
                pruned=1,
                failed=1,
                interrupted=0,
                running=(Running(3, 0, 0, 2, None),),
                cap=10,
                k=3,
                best_score=0.5,
                best_number=0,
                elapsed_s=55.0,
                eta_s=7
                * 40.0,  # seven of ten are left, the two that tell took 30 and 50 s, one at a time
                stopping=False,
            )
            handed_out(driver)
            assert driver.snapshot().eta_s == 7 * 40.0 / 2
            now[0] += 45
        ends = [event for event in curve.events if isinstance(event, TrialEnded)]
        assert [event.seconds for event in ends] == [30, 50, 55, 100, 45]

    def test_nothing_finished_gives_no_estimate(self, sweep: Callable[..., Sweep]):
        with sweep().driver() as driver:
            handed_out(driver)
            last = driver.snapshot()
        assert (last.eta_s, last.best_score, last.best_number) == (None, None, None)


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
            first, second = handed_out(driver), handed_out(driver)
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
            assert driver.snapshot().stopping
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


class TestRepeatedConfigurations:
    def test_one_that_was_evaluated_is_not_trained_again_and_its_result_counts(
        self, sweep: Callable[..., Sweep]
    ):
        curve = sweep(*THREE, "run_cap=4", NO_RACE)
        trained: list[int] = []

        def trial(assignment: Assignment, reporter: TrialReporter) -> Outcome:
            trained.append(assignment.number)
            outcome = curve_trial(assignment, reporter)
            return dataclasses.replace(outcome, notes=("split",))

        with curve.driver() as driver:
            run_local(driver, trial=trial)
        trials = curve.stored.trials()
        taken = [t for t in trials if t.number not in trained]
        assert (len(trials), len(taken)) == (4, 4 - len({t.params["lr"] for t in trials}))
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
        assert driver.snapshot().completed == 4

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
            run_local(
                driver, trial=ending_after(20, driver, Outcome("failed", reason="out of luck"))
            )
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

    def test_a_sampler_that_only_repeats_itself_ends_the_sweep(self, sweep: Callable[..., Sweep]):
        point = "parameters.lr={values: [0.003, 0.1], probabilities: [1.0, 0.0]}"
        curve = sweep("method=random", "parameters.optimizer={value: adam}", point, NO_RACE)
        with curve.driver(trial_cap=None) as driver:
            run_local(driver, trial=curve_trial)
            assert driver.done
        assert len(curve.stored.trials()) == 1 + MOST_REPEATS
        (notice,) = curve.told(Notice)
        assert (
            notice.text
            == f"the last {MOST_REPEATS} proposals had all been tried before: nothing new comes"
        )

    def test_a_pruned_result_is_taken_over_as_pruned(self, sweep: Callable[..., Sweep]):
        curve = sweep(*THREE)
        with curve.driver() as driver:
            first = handed_out(driver).number
            driver.finished(first, Outcome("stopped", (0.1,)))
            run_local(driver, trial=curve_trial)
        taken = [
            t
            for t in curve.stored.trials()
            if t.user_attrs.get("taken_from", {}).get("trial") == first
        ]
        assert {t.state for t in taken} == {TrialState.PRUNED}
        assert all((t.values, t.user_attrs["fold_scores"]) == (None, [0.1]) for t in taken)

    def test_a_point_of_the_history_is_not_trained_again(self, sweep: Callable[..., Sweep]):
        curve = sweep(*THREE, "run_cap=6")
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
                assert again.values["seed"] == derive(1, "trial", 1)
                driver.finished(number, Outcome("failed", reason="out of luck again"))
                assert driver.next() is Next.FINISHED
            failed = curve.trial(number)
        with curve.driver(trial_cap=3) as driver:
            assert handed_out(driver).values["seed"] == derive(1, "trial", 4)


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
            None,
            [0.2],
        )
        assert trial.intermediate_values == {1: 0.1, 2: 0.2}
        reason = trial.user_attrs["reason"]
        assert (
            reason
            == "fold race: less than 0.1 % chance to beat trial 4 (0.7267) after 1 of 3 folds"
        )
        assert raced.events[1:] == [
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
                reasons.append(driver._stop_reasons[number])
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
            "set_trial_user_attr",
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
            for _ in range(200):
                if driver.next() is Next.FINISHED:
                    break
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
        self._driver, self._death = driver, death

    def next(self) -> Assignment | Next:
        answer = Next.WAIT if self._death.has_come else self._driver.next()
        if answer is Next.WAIT and self._death.has_come:
            raise Killed
        return answer

    def __getattr__(self, name: str) -> Any:
        return getattr(self._driver, name)


class TestKilledAtAnyPoint:
    """A storage knows the first so many writes of a driver, then the driver was killed: what follows is the same.

    Nothing is left on the workers either (`curve_trial` begins each trial anew); Optuna's in-memory storage, since
    it is about which writes are there, not about how they got there.
    """

    @pytest.mark.parametrize(
        ("settings", "earlier"),
        [
            # earlier: trials that had ended before, so that the model, the race and the rules have something to say
            pytest.param(("method=random", "run_cap=7"), 5, id="random and race"),
            pytest.param(("method=bayes", "run_cap=13", MEDIAN), 10, id="tpe, race and median"),
            pytest.param(
                (*GRID, "early_terminate={type: hyperband, min_iter: 2, eta: 2, keep_at_least: 1}"),
                1,
                id="grid and hyperband",
            ),
            pytest.param((*THREE, "run_cap=5"), 0, id="points that repeat"),
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
