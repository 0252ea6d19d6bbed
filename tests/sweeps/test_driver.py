"""The driver on a real SQLite storage: what it hands out, stops, records and tells."""

import concurrent.futures
import statistics
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.exceptions import StorageInternalError
from optuna.trial import FrozenTrial, TrialState

from sweeps.driver import Driver, Next
from sweeps.errors import InfrastructureError, LeaseLostError
from sweeps.events import Event, FoldFinished, Notice, Running, Snapshot, TrialEnded, TrialStarted
from sweeps.local import run_local
from sweeps.messages import STOP_FILE, Assignment, Outcome, TrialReport, TrialReporter
from sweeps.sampling import propose
from sweeps.spec import SweepSpec
from sweeps.spec_reader import read_spec
from sweeps.study import Recorder, StoredSweep
from tests.fakes import BEST_LR, CURVE_SPACE, PENALTY, TroubledStorage, curve_score, curve_trial, hasty_storage
from trainer.seeds import derive

GRID = (
    "method=grid",
    "parameters.lr={values: [0.003, 0.1, 0.00003]}",
    "parameters.optimizer={value: adam}",
)
MEDIAN = "early_terminate={type: median, startup_trials: 1, warmup_epochs: 0}"


class Sweep:
    """A stored sweep over CURVE_SPACE, and drivers for it."""

    def __init__(self, folder: Path, *settings: str) -> None:
        (folder / "curve.yaml").write_text(CURVE_SPACE)
        self.spec: SweepSpec = read_spec(folder / "curve.yaml", settings=settings)
        self.folder = folder
        self.storage = TroubledStorage(hasty_storage(folder))
        self.stored = StoredSweep.create(self.storage, self.spec, identity="an identity")  # type: ignore[arg-type]
        self.events: list[Event] = []

    def driver(self, **options: Any) -> Driver:
        given = {"directory": self.folder, "device": "cpu", "listener": self.events.append, "clock": lambda: 0.0}
        return Driver(self.spec, self.stored, **{**given, "trial_cap": self.spec.trial_cap, **options})

    def trial(self, number: int) -> FrozenTrial:
        return self.stored.trials()[number]

    def writes(self, method: str) -> int:
        return sum(name == method for name, _ in self.storage.written)


@pytest.fixture
def sweep(tmp_path: Path) -> Callable[..., Sweep]:
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
        step=2 * fold + epoch, value=value, fold=fold, epoch=epoch, epochs=2, fold_scores=tuple(fold_scores)
    )


def completed(*scores: float) -> Outcome:
    return Outcome("completed", scores)


def test_a_sweep_of_200_trials_finds_the_known_best_point_and_beats_chance(sweep: Callable[..., Sweep]):
    curve = sweep("run_cap=200", "parameters.epochs={value: 1}")
    with curve.driver() as driver:
        run_local(driver, trial=curve_trial)
    trials = curve.stored.trials()
    best = max(trials, key=lambda trial: trial.values[0])
    assert best.params["optimizer"] == "adam"
    assert BEST_LR / 1.5 < best.params["lr"] < BEST_LR * 1.5
    decades = [10 ** (-5 + 4 * step / 99) for step in range(100)]
    # what random search draws from: every optimizer and every decade as often
    by_chance = [curve_score(lr=lr, optimizer=name, fold=1, epoch=1) for lr in decades for name in PENALTY]
    assert len(trials) == 200
    assert statistics.median(trial.values[0] for trial in trials) > statistics.median(by_chance) + 0.05


def test_a_trial_is_handed_out_with_everything_a_worker_needs(sweep: Callable[..., Sweep]):
    curve = sweep(*GRID, "resources.cpu=2")
    with curve.driver(device="cuda") as driver:
        assert handed_out(driver) == Assignment(
            number=0,
            values={"lr": 0.003, "optimizer": "adam", "epochs": 2, "seed": derive(1, "trial", 0)},
            sweep_directory=str(curve.folder),
            metric="f1",
            max_epochs=2,
            device="cuda",
            threads=2,
        )


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
    sweep: Callable[..., Sweep], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, weights: str, handed: str
):
    monkeypatch.chdir(tmp_path)
    with sweep(*GRID, f"parameters.weights={{value: {weights}}}").driver() as driver:
        assert handed_out(driver).values["weights"] == handed.format(here=tmp_path)


def test_entries_of_mappings_are_handed_out_dotted(sweep: Callable[..., Sweep]):
    with sweep(
        *GRID, "parameters.loss={value: mixture}", "parameters.loss_mix={parameters: {focal: {value: 0.6}}}"
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
    assert [trial.user_attrs["notes"] for trial in curve.stored.trials()] == [["split", "hot"], ["split"], ["split"]]


def test_a_trial_without_notes_costs_no_write(sweep: Callable[..., Sweep]):
    curve = sweep(*GRID)
    with curve.driver() as driver:
        driver.finished(handed_out(driver).number, completed(0.1, 0.2, 0.3))
    assert "notes" not in curve.trial(0).user_attrs


def test_events_of_a_sweep_in_order(sweep: Callable[..., Sweep]):
    curve = sweep(*GRID, MEDIAN)
    trials: list[Callable[[Assignment, TrialReporter], Outcome]] = [
        curve_trial,
        lambda assignment, reporter: Outcome("failed", reason="out of luck", traceback="Traceback ..."),
        curve_trial,
    ]
    with curve.driver() as driver:
        run_local(driver, trial=lambda assignment, reporter: trials[assignment.number](assignment, reporter))
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
    curve = sweep("run_cap=12", "early_terminate={type: median, startup_trials: 2, warmup_epochs: 0}")

    def trial(assignment: Assignment, reporter: TrialReporter) -> Outcome:
        if assignment.number == 3:
            reporter.report(report(0, 1, 0.25))
            return Outcome("failed", reason="out of luck", traceback="Traceback ...")
        return curve_trial(assignment, reporter)

    with curve.driver() as driver:
        run_local(driver, trial=trial)

    def told(trial: FrozenTrial) -> tuple[Any, ...]:
        return trial.number, trial.state, trial.params, trial.values, trial.intermediate_values, trial.user_attrs

    stored = [told(trial) for trial in curve.stored.trials()]
    assert stored == [told(trial) for trial in driver._study.trials]
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
        assert [event.number for event in curve.events if isinstance(event, TrialStarted)] == [0, 1, 2]

    def test_a_grid_ends_with_its_last_point(self, sweep: Callable[..., Sweep]):
        curve = sweep(*GRID, "run_cap=100")
        with curve.driver() as driver:
            run_local(driver, trial=curve_trial)
        assert [trial.params for trial in curve.stored.trials()] == [{"lr": 0.003}, {"lr": 0.1}, {"lr": 0.00003}]

    def test_without_a_cap_there_is_always_a_next_trial(self, sweep: Callable[..., Sweep]):
        curve = sweep()
        with curve.driver(trial_cap=None) as driver:
            assert [handed_out(driver).number for _ in range(4)] == [0, 1, 2, 3]
            assert not driver.done
            assert driver.snapshot().eta_s is None

    def test_a_sweep_that_stops_and_goes_on_proposes_what_an_undisturbed_one_does(self, tmp_path: Path):
        (tmp_path / "whole").mkdir()
        (tmp_path / "parts").mkdir()
        whole, parts = (Sweep(tmp_path / name, "run_cap=14") for name in ("whole", "parts"))
        with whole.driver() as driver:
            run_local(driver, trial=curve_trial)
        for cap in (5, 12, 14):
            with parts.driver(trial_cap=cap) as driver:
                run_local(driver, trial=curve_trial)
        assert [t.params for t in parts.stored.trials()] == [t.params for t in whole.stored.trials()]


class TestReports:
    def test_a_report_is_recorded_and_shown(self, sweep: Callable[..., Sweep]):
        curve = sweep()
        with curve.driver() as driver:
            handed_out(driver)
            assert driver.snapshot().running == (Running(0, fold=0, epoch=0, epochs=2, value=None),)
            assert driver.epoch(0, report(0, 2, 0.5))
            assert driver.snapshot().running == (Running(0, fold=0, epoch=2, epochs=2, value=0.5),)
        assert curve.trial(0).intermediate_values == {2: 0.5}

    def test_a_known_step_decides_nothing_and_is_not_written_twice(self, sweep: Callable[..., Sweep]):
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

    def test_a_fold_is_told_once_when_the_next_one_begins(self, sweep: Callable[..., Sweep]):
        curve = sweep()
        with curve.driver() as driver:
            handed_out(driver)
            for fold, epoch, scores in ((0, 1, ()), (0, 2, ()), (1, 1, (0.5,)), (1, 2, (0.5,)), (2, 1, (0.5, 0.6))):
                driver.epoch(0, report(fold, epoch, 0.5, *scores))
            folds = [event for event in curve.events if isinstance(event, FoldFinished)]
        assert folds == [FoldFinished(0, 0, 3, 0.5), FoldFinished(0, 1, 3, 0.6)]

    def test_a_trial_that_does_not_run_is_told_to_stop(self, sweep: Callable[..., Sweep]):
        curve = sweep()
        with curve.driver() as driver:
            assert not driver.epoch(7, report(0, 1, 0.5))
            handed_out(driver)
            driver.finished(0, completed(0.5, 0.5, 0.5))
            assert not driver.epoch(0, report(0, 1, 0.5))
            driver.finished(0, Outcome("failed", reason="told twice"))
        assert curve.trial(0).state == TrialState.COMPLETE

    def test_a_poor_trial_is_pruned_with_its_reason_its_reports_and_no_value(self, sweep: Callable[..., Sweep]):
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

    def test_a_pruned_trial_keeps_the_scores_of_its_finished_folds(self, sweep: Callable[..., Sweep]):
        curve = sweep("early_terminate={type: median, startup_trials: 1, warmup_epochs: 2}")
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
    def test_a_trial_that_was_stopped_just_before_ctrl_c_is_pruned_and_not_continued(self, sweep: Callable[..., Sweep]):
        curve = sweep("early_terminate={type: median, startup_trials: 1, warmup_epochs: 0}")
        with curve.driver() as driver:
            handed_out(driver)
            driver.epoch(0, report(0, 1, 0.8))
            driver.finished(0, completed(0.8, 0.8, 0.8))
            handed_out(driver)
            assert not driver.epoch(1, report(0, 1, 0.1))
            driver.stop()
            driver.finished(1, Outcome("interrupted"))
        assert curve.trial(1).state == TrialState.PRUNED

    def test_a_completed_trial_has_the_mean_of_its_folds_as_score(self, sweep: Callable[..., Sweep]):
        curve = sweep()
        with curve.driver() as driver:
            handed_out(driver)
            driver.finished(0, completed(0.5, 0.6, 0.8))
        trial = curve.trial(0)
        assert (trial.state, trial.values) == (TrialState.COMPLETE, [pytest.approx(0.6333333)])
        assert trial.user_attrs == {"fold_scores": [0.5, 0.6, 0.8]}

    def test_a_failed_trial_keeps_reason_and_traceback_counts_and_the_sweep_goes_on(self, sweep: Callable[..., Sweep]):
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
                eta_s=7 * 40.0,  # seven of ten are left, the two that tell took 30 and 50 s, one at a time
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
    def test_stop_asks_running_trials_to_leave_and_starts_nothing_more(self, sweep: Callable[..., Sweep]):
        curve = sweep()
        stop_file = curve.folder / STOP_FILE
        with curve.driver() as driver:
            handed_out(driver)
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

    def test_a_trial_that_was_asked_for_but_not_handed_out_is_continued_too(self, sweep: Callable[..., Sweep]):
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

    def test_interrupted_trials_come_first_with_their_number_parameters_and_reports(self, sweep: Callable[..., Sweep]):
        curve = sweep("run_cap=4")
        with curve.driver() as driver:
            first, second = handed_out(driver), handed_out(driver)
            driver.epoch(0, report(0, 1, 0.5))
            driver.stop()
        before = [(trial.params, trial.intermediate_values) for trial in curve.stored.trials()]
        curve.events.clear()
        with curve.driver() as driver:
            assert driver.snapshot().interrupted == 2
            assert [handed_out(driver), handed_out(driver)] == [first, second]
            assert driver.snapshot().interrupted == 0
            assert [trial.state for trial in curve.stored.trials()] == [TrialState.RUNNING] * 2
            assert handed_out(driver).number == 2
            assert driver.epoch(0, report(0, 1, 0.5))
            driver.finished(0, completed(0.5, 0.5, 0.5))
        assert [(trial.params, trial.intermediate_values) for trial in curve.stored.trials()][:2] == before
        assert curve.trial(0).state == TrialState.COMPLETE
        assert [e.continued for e in curve.events if isinstance(e, TrialStarted)] == [True, True, False]

    def test_trials_of_a_dead_driver_are_recovered_with_a_notice(self, sweep: Callable[..., Sweep]):
        curve = sweep()
        study = optuna.create_study(direction="maximize")
        dead = Recorder(curve.stored, on_failed=lambda error: pytest.fail(str(error)))
        for number in range(2):
            dead.start(propose(study, curve.spec, number=number))
        dead.report(1, 1, 0.5)
        dead.close()  # no end was recorded
        (curve.folder / STOP_FILE).touch()
        with curve.driver() as driver:
            assert curve.events == [Notice("the last driver died; trials to be continued: 0, 1")]
            assert not (curve.folder / STOP_FILE).exists()  # or every trial would leave at once
            assert [handed_out(driver).number for _ in range(3)] == [0, 1, 2]
        assert curve.trial(1).intermediate_values == {1: 0.5}
        assert curve.trial(1).user_attrs == {"interrupted": True}


class TestBudget:
    def test_time_that_is_used_up_ends_the_sweep_but_is_no_interruption(self, sweep: Callable[..., Sweep]):
        curve, told = sweep("budget.hours=1e-9"), threading.Event()

        def listener(event: Event) -> None:
            curve.events.append(event)
            if isinstance(event, Notice):
                told.set()

        with curve.driver(listener=listener) as driver:
            assert told.wait(timeout=60)
            assert driver.next() is Next.FINISHED
            assert (driver.done, driver.stopping, driver.interrupted) == (True, True, False)
        assert curve.events == [Notice("the budget of 1e-09 hours is used up")]

    def test_time_counts_over_all_drivers(self, sweep: Callable[..., Sweep]):
        now = [500.0]
        curve = sweep()
        for seconds in (100.0, 50.0):
            with curve.driver(clock=lambda: now[0]) as driver:
                now[0] += seconds
                assert driver.snapshot().elapsed_s == seconds
        assert curve.stored.elapsed_s() == 150.0

    def test_time_is_recorded_while_the_sweep_goes_on(self, sweep: Callable[..., Sweep]):
        now = [500.0]
        curve = sweep()
        with curve.driver(clock=lambda: now[0]) as driver:
            handed_out(driver)
            now[0] += 61
            driver.finished(0, completed(0.5, 0.5, 0.5))
            handed_out(driver)  # its start is recorded after that time
            assert curve.stored.elapsed_s() == 61.0

    def test_a_sweep_without_time_left_starts_no_trial(
        self, sweep: Callable[..., Sweep], monkeypatch: pytest.MonkeyPatch
    ):
        now = [0.0]
        curve = sweep("budget.hours=1")
        with curve.driver(clock=lambda: now[0]) as driver:
            now[0] += 3601
        monkeypatch.setattr(threading.Timer, "start", lambda timer: None)  # the timer comes too late
        monkeypatch.setattr(threading.Timer, "cancel", lambda timer: None)
        with curve.driver() as driver:
            assert driver.next() is Next.FINISHED
        assert curve.stored.trials() == []


class TestStorageTrouble:
    def test_a_storage_that_is_gone_ends_the_sweep_with_exit_code_3(self, sweep: Callable[..., Sweep]):
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
        assert [trial.state for trial in curve.stored.trials()] == [TrialState.COMPLETE, TrialState.RUNNING]
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
