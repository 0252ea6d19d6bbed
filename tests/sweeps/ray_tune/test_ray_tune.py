"""What stands between the driver and Ray Tune, as far as it needs no running Ray."""

import dataclasses
import errno
import json
import os
import pickle
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from optuna.trial import TrialState
from ray.tune.schedulers import TrialScheduler
from ray.tune.search import Searcher

from sweeps.paths import SweepFiles
from sweeps.ray_tune import worker
from sweeps.ray_tune.registry import DRIVERS
from sweeps.ray_tune.scheduler import DriverScheduler
from sweeps.ray_tune.searcher import DriverSearcher
from sweeps.ray_tune.worker import CHECK_EVERY_S, OUTCOME, TuneReporter, evaluate
from sweeps.running.attempt import Attempt
from sweeps.running.driver import Driver
from sweeps.running.messages import Assignment, Outcome, Share, TrialReport, TrialReporter
from sweeps.running.plan import Plan
from sweeps.running.take_over import open_driver
from sweeps.space.spec_reader import read_spec
from sweeps.study.stored_sweep import StoredSweep
from tests.fakes import CURVE_SPACE, TroubledStorage, curve_trial, hasty_storage

MEDIAN = "early_terminate={type: median, startup_trials: 1, keep_at_least: 0}"


@pytest.fixture
def driver(tmp_path: Path) -> Iterator[Driver]:
    """A sweep of two trials, registered as Tune's shells find it."""
    (tmp_path / "curve.yaml").write_text(CURVE_SPACE)
    spec = read_spec(tmp_path / "curve.yaml", settings=[MEDIAN])
    storage = TroubledStorage(hasty_storage(tmp_path))
    stored = StoredSweep.create(storage, spec, identity="an identity")  # type: ignore[arg-type]
    with open_driver(Plan(spec, SweepFiles(tmp_path), Share(), 2), stored) as driver:
        DRIVERS["key"] = driver
        yield driver
        del DRIVERS["key"]


def state(driver: Driver, number: int) -> TrialState:
    return TrialState(driver._mirror[number].state)


def suggested(searcher: DriverSearcher, trial_id: str) -> dict[str, Any]:
    while (answer := searcher.suggest(trial_id)) is None:
        threading.Event().wait(0.005)
    assert isinstance(answer, dict), answer
    return answer


class TestSearcher:
    def test_passes_the_drivers_trials_on(self, driver: Driver):
        searcher = DriverSearcher("key")
        config = suggested(searcher, "a1b2")
        assert Assignment(**config["assignment"]).number == 0
        assert suggested(searcher, "c3d4")["assignment"]["number"] == 1
        assert searcher.suggest("e5f6") == Searcher.FINISHED

    def test_asks_again_while_a_start_is_not_recorded(self, driver: Driver):
        driver._recorder._storage.open.clear()  # type: ignore[attr-defined]
        searcher = DriverSearcher("key")
        assert searcher.suggest("a1b2") is None
        driver._recorder._storage.open.set()  # type: ignore[attr-defined]
        assert suggested(searcher, "a1b2")["assignment"]["number"] == 0

    @pytest.mark.parametrize(
        ("result", "error", "expected"),
        [
            (
                {OUTCOME: tuple(dataclasses.asdict(Outcome("completed", (0.1, 0.2, 0.3))).items())},
                False,
                "COMPLETE",
            ),
            (
                {OUTCOME: tuple(dataclasses.asdict(Outcome("failed", reason="x")).items())},
                False,
                "FAIL",
            ),
            (
                {"fold_scores": (0.1,), "step": 3},
                False,
                "PRUNED",
            ),  # stopped by the scheduler: its last report
            (None, True, "WAITING"),  # Ray gave up
            (None, False, "PRUNED"),
        ],
    )
    def test_tells_the_driver_how_a_trial_ended(
        self, driver: Driver, result: dict[str, Any] | None, error: bool, expected: str
    ):
        searcher = DriverSearcher("key")
        suggested(searcher, "a1b2")
        searcher.on_trial_complete("a1b2", result, error)
        assert state(driver, 0).name == expected
        searcher.on_trial_complete("a1b2", result, error)  # Tune may say it twice

    def test_where_ray_keeps_no_worker_going_the_sweep_ends_and_the_trial_is_not_to_blame(
        self, driver: Driver
    ):
        searcher = DriverSearcher("key")
        suggested(searcher, "a1b2")
        searcher.on_trial_complete("a1b2", None, error=True)
        assert driver.stopping
        assert driver.failure is not None
        assert driver.failure.exit_code == 3
        assert "Ray cannot keep a worker for trial 0 going" in str(driver.failure)

    def test_a_trial_without_outcome_is_interrupted_while_the_driver_stops(self, driver: Driver):
        searcher = DriverSearcher("key")
        suggested(searcher, "a1b2")
        driver.stop()
        searcher.on_trial_complete("a1b2", {"fold_scores": ()})
        assert state(driver, 0) == TrialState.WAITING

    def test_a_trial_it_never_suggested_is_not_ours(self, driver: Driver):
        DriverSearcher("key").on_trial_complete("zzzz", None, error=True)
        assert (driver.snapshot().failed, driver.failure) == (0, None)

    def test_pickles_with_what_it_knows_and_leaves_metric_and_state_to_the_driver(
        self, driver: Driver
    ):
        searcher = DriverSearcher("key")
        suggested(searcher, "a1b2")
        copy = pickle.loads(pickle.dumps(searcher))
        assert copy.set_search_properties(None, None, {})
        copy.set_state(copy.get_state())
        copy.save("nowhere")
        copy.restore("nowhere")
        copy.on_trial_complete(
            "a1b2", {OUTCOME: tuple(dataclasses.asdict(Outcome("failed", reason="x")).items())}
        )
        assert state(driver, 0) == TrialState.FAIL


class TestScheduler:
    def test_passes_reports_on_and_the_answer_back(self, driver: Driver):
        searcher = DriverSearcher("key")
        scheduler = pickle.loads(pickle.dumps(DriverScheduler("key")))

        def told(config: dict[str, Any], *, step: int, value: float) -> str:
            report = TrialReport(step=step, value=value, fold=0, epoch=step, epochs=2)
            result = {
                **dataclasses.asdict(report),
                "training_iteration": 1,
                "pid": 1,
            }  # Tune adds its own keys
            answer = scheduler.on_trial_result(None, SimpleNamespace(config=config), result)
            assert isinstance(answer, str)
            return answer

        good = suggested(searcher, "good")
        assert [told(good, step=step, value=0.8) for step in (1, 2)] == [
            TrialScheduler.CONTINUE
        ] * 2
        searcher.on_trial_complete(
            "good",
            {OUTCOME: tuple(dataclasses.asdict(Outcome("completed", (0.8, 0.8, 0.8))).items())},
        )
        poor = suggested(searcher, "poor")
        assert told(poor, step=1, value=0.1) == TrialScheduler.CONTINUE
        assert told(poor, step=2, value=0.1) == TrialScheduler.STOP
        assert driver._mirror[1].intermediate_values == {1: 0.1, 2: 0.1}


@pytest.fixture
def reported(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What a worker reports to Tune."""
    results: list[dict[str, Any]] = []
    monkeypatch.setattr(worker, "tune", SimpleNamespace(report=results.append))
    return results


@pytest.fixture
def nodes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Ray's living nodes; this process is on the first."""
    alive = ["here", "there"]
    context = SimpleNamespace(get_node_id=lambda: alive[0])
    known = ("here", "there", "lost")
    ray = SimpleNamespace(
        get_runtime_context=lambda: context,
        nodes=lambda: [{"NodeID": node, "Alive": node in alive} for node in known],
    )
    monkeypatch.setattr(worker, "ray", ray)
    return alive


def reporter_in(folder: Path) -> TuneReporter:
    assignment = Assignment(0, {}, str(folder), "f1", 2, "cpu", 1, driver="d")
    return TuneReporter(assignment, Attempt.begin(assignment.files, driver="d"))


class TestReporter:
    def test_looks_at_the_stop_file_at_most_every_half_second(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        now = [1000.0]
        monkeypatch.setattr(worker, "time", SimpleNamespace(monotonic=lambda: now[0]))
        reporter = reporter_in(tmp_path)
        assert not reporter.interrupted()
        SweepFiles(tmp_path).stop("another").touch()  # is for the trials of another driver
        now[0] += CHECK_EVERY_S * 1.1
        assert not reporter.interrupted()
        SweepFiles(tmp_path).stop("d").touch()
        now[0] += CHECK_EVERY_S * 0.9
        assert not reporter.interrupted()
        now[0] += CHECK_EVERY_S * 0.2
        assert reporter.interrupted()
        SweepFiles(tmp_path).stop("d").unlink()
        now[0] += 10
        assert reporter.interrupted()  # it does not change its mind half-way

    def test_a_trial_may_be_asked_alone_to_stop(self, tmp_path: Path):
        reporter = reporter_in(tmp_path)
        SweepFiles(tmp_path).trial(0).stop("d").touch()
        assert reporter.interrupted()

    def test_reports_as_a_mapping(self, tmp_path: Path, reported: list[dict[str, Any]]):
        report = TrialReport(step=1, value=0.5, fold=0, epoch=1, epochs=2)
        assert reporter_in(tmp_path).report(report)
        assert reported == [dataclasses.asdict(report)]

    def test_a_trial_that_another_process_began_is_left(self, tmp_path: Path):
        reporter = reporter_in(tmp_path)
        assert reporter.owns()
        Attempt.begin(SweepFiles(tmp_path).trial(0), driver="another")
        assert not reporter.owns()
        assert reporter.interrupted()


@pytest.mark.usefixtures("nodes")
class TestEvaluate:
    @pytest.fixture
    def config(self, tmp_path: Path) -> dict[str, Any]:
        return {
            "assignment": {
                "number": 0,
                "values": {"lr": 0.003, "optimizer": "adam", "epochs": 2, "seed": 1},
                "sweep_directory": str(tmp_path),
                "metric": "f1",
                "max_epochs": 2,
                "device": "cpu",
                "threads": 1,
                "driver": "d",
                "retries": 1,
            }
        }

    def test_the_last_result_is_the_outcome(
        self, config: dict[str, Any], reported: list[dict[str, Any]]
    ):
        evaluate(config, run_trial=curve_trial)
        *reports, last = reported
        assert [result["step"] for result in reports] == [
            1,
            2,
            2,
            3,
            4,
            4,
            5,
            6,
        ]  # two of them tell a fold's end
        assert last["done"] is True
        assert Outcome(**dict(last[OUTCOME])) == Outcome(
            "completed", pytest.approx((0.655, 0.675, 0.695))
        )

    def test_tunes_order_to_leave_waits_until_the_trial_has_tidied_up(
        self, config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
    ):
        results: list[dict[str, Any]] = []
        answers: list[bool] = []

        def leave(result: dict[str, Any]) -> None:
            results.append(result)
            if len(results) == 1:
                raise SystemExit

        def trial(assignment: Assignment, reporter: TrialReporter) -> Outcome:
            answers.append(
                reporter.report(TrialReport(step=1, value=0.5, fold=0, epoch=1, epochs=2))
            )
            return Outcome("stopped")

        monkeypatch.setattr(worker, "tune", SimpleNamespace(report=leave))
        with pytest.raises(SystemExit):
            evaluate(config, run_trial=trial)
        assert (answers, len(results)) == ([False], 1)

    def test_a_trial_is_a_training_unless_told_otherwise(
        self,
        config: dict[str, Any],
        reported: list[dict[str, Any]],
        monkeypatch: pytest.MonkeyPatch,
    ):
        seen: list[int] = []

        def trial(assignment: Assignment, reporter: TrialReporter) -> Outcome:
            seen.append(assignment.number)
            return Outcome("failed", reason="x")

        monkeypatch.setattr("sweeps.running.trial.run_trial", trial)
        evaluate(config, run_trial=None)
        assert seen == [0]
        assert len(reported) == 1

    def test_a_process_that_a_trial_left_memory_in_takes_no_other(
        self,
        config: dict[str, Any],
        reported: list[dict[str, Any]],
        monkeypatch: pytest.MonkeyPatch,
    ):
        class Exited(BaseException):
            pass

        def leave(code: int) -> None:
            raise Exited(code)

        taken: list[int] = []

        def trial(assignment: Assignment, reporter: TrialReporter) -> Outcome:
            taken.append(assignment.number)
            return Outcome("completed", (0.5,), leftover_bytes=0 if len(taken) == 1 else 2**30)

        monkeypatch.setattr(worker, "leaked_bytes", 0)
        monkeypatch.setattr("os._exit", leave)
        evaluate(config, run_trial=trial)
        evaluate(config, run_trial=trial)  # it leaves memory behind and is reported as ever
        assert [dict(result[OUTCOME])["state"] for result in reported] == ["completed", "completed"]
        with pytest.raises(Exited, match="1"):
            evaluate(config, run_trial=trial)
        assert len(taken) == 2

    def test_a_trial_whose_processes_keep_dying_fails_with_the_last_lines_of_its_log(
        self, config: dict[str, Any], reported: list[dict[str, Any]]
    ):
        assignment = Assignment(**config["assignment"])
        for _ in range(2):
            Attempt.begin(assignment.files, driver="d", node="here")
        (assignment.files.log).write_text("loading\nCUDA error: an illegal memory access\n")
        evaluate(config, run_trial=curve_trial)
        (last,) = reported
        outcome = Outcome(**dict(last[OUTCOME]))
        assert (outcome.state, outcome.fold_scores) == ("failed", ())
        assert outcome.reason == (
            "its worker process died 2 times (out of memory?); last line of worker.log: "
            "CUDA error: an illegal memory access"
        )
        assert outcome.traceback == "loading\nCUDA error: an illegal memory access"

    def test_a_process_that_died_without_a_word_is_said_to_have(
        self, config: dict[str, Any], reported: list[dict[str, Any]]
    ):
        config["assignment"]["retries"] = 0
        Attempt.begin(Assignment(**config["assignment"]).files, driver="d", node="here")
        evaluate(config, run_trial=curve_trial)
        reason = dict(reported[0][OUTCOME])["reason"]
        assert (
            reason
            == "its worker process died once (out of memory?); last line of worker.log is empty"
        )

    @pytest.mark.parametrize("driver", ["d", "a killed one"])
    def test_a_trial_that_died_with_nothing_beside_it_is_not_tried_again(
        self, config: dict[str, Any], reported: list[dict[str, Any]], driver: str
    ):
        config["assignment"] |= {"retries": 5, "alone": True}
        files = Assignment(**config["assignment"]).files
        Attempt.begin(files, driver=driver, alone=True)
        evaluate(config, run_trial=curve_trial)
        outcome = Outcome(**dict(reported[0][OUTCOME]))
        assert outcome.state == "failed"
        assert outcome.reason == (
            "the machine, the driver or the worker died once while this trial ran, the last time "
            "with nothing beside it, and the trial got no further (out of memory?); last line of "
            "worker.log is empty"
        )

    def test_a_worker_says_in_its_attempt_whether_something_runs_beside_it(
        self, config: dict[str, Any], reported: list[dict[str, Any]]
    ):
        config["assignment"]["alone"] = True
        evaluate(config, run_trial=curve_trial)
        files = Assignment(**config["assignment"]).files
        assert json.loads(files.attempt.read_text())["alone"] is True

    @pytest.mark.parametrize(("driver", "node"), [("d", "lost"), ("a killed one", "here")])
    def test_deaths_with_a_node_or_a_driver_are_not_counted(
        self, config: dict[str, Any], reported: list[dict[str, Any]], driver: str, node: str
    ):
        for _ in range(5):
            directory = Assignment(**config["assignment"]).files
            Attempt.begin(directory, driver=driver, node=node, is_alive=lambda node: node != "lost")
        evaluate(config, run_trial=curve_trial)
        assert dict(reported[-1][OUTCOME])["state"] == "completed"

    def test_what_a_trial_and_its_libraries_print_is_in_its_log(
        self, config: dict[str, Any], reported: list[dict[str, Any]]
    ):
        def trial(assignment: Assignment, reporter: TrialReporter) -> Outcome:
            os.write(1, b"from C, out\n")
            os.write(2, b"from C, err\n")
            return Outcome("failed", reason="x")

        evaluate(config, run_trial=trial)
        evaluate(config, run_trial=trial)
        log = Assignment(**config["assignment"]).files.log
        assert log.read_text() == "from C, out\nfrom C, err\n" * 2

    @pytest.mark.parametrize("what", ["begin", "end"])
    def test_a_full_disk_beside_the_training_is_told_as_one_or_costs_nothing(
        self,
        config: dict[str, Any],
        reported: list[dict[str, Any]],
        monkeypatch: pytest.MonkeyPatch,
        what: str,
    ):
        def full(*_: object, **__: object) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(Attempt, what, full)
        evaluate(config, run_trial=curve_trial)
        outcome = dict(reported[-1][OUTCOME])
        assert outcome["state"] == ("no_space" if what == "begin" else "completed")

    def test_any_other_error_beside_the_training_is_rays_to_tell_and_in_the_log(
        self, config: dict[str, Any]
    ):
        def broken(assignment: Assignment, reporter: TrialReporter) -> Outcome:
            raise ImportError("no module named foldsweep")

        with pytest.raises(ImportError, match="no module"):
            evaluate(config, run_trial=broken)
        log = Assignment(**config["assignment"]).files.log
        assert log.read_text().endswith("ImportError: no module named foldsweep\n")

    def test_a_node_that_does_not_see_the_sweep_takes_no_trial(self, config: dict[str, Any]):
        config["assignment"]["sweep_directory"] += "/elsewhere"
        with pytest.raises(FileNotFoundError, match="elsewhere: not visible on"):
            evaluate(config, run_trial=curve_trial)
        assert not Path(config["assignment"]["sweep_directory"]).exists()

    def test_so_does_one_that_was_stopped(
        self, config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
    ):
        def leave(result: dict[str, Any]) -> None:
            raise SystemExit

        def trial(assignment: Assignment, reporter: TrialReporter) -> Outcome:
            reporter.report(TrialReport(step=1, value=0.5, fold=0, epoch=1, epochs=2))
            return Outcome("stopped", leftover_bytes=2**30)

        monkeypatch.setattr(worker, "leaked_bytes", 0)
        monkeypatch.setattr(worker, "tune", SimpleNamespace(report=leave))
        with pytest.raises(SystemExit):
            evaluate(config, run_trial=trial)
        assert worker.leaked_bytes == 2**30
