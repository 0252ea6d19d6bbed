"""The driver on a real SQLite storage: what it hands out, records and tells."""

import errno
import statistics
from collections.abc import Callable
from pathlib import Path

import pytest
from optuna.artifacts import get_all_artifact_meta
from optuna.trial import TrialState

from sweeps.paths import SweepFiles
from sweeps.running import ending
from sweeps.running.asking import Next
from sweeps.running.events import (
    Event,
    FoldFinished,
    Leader,
    Running,
    Snapshot,
    TrialEnded,
    TrialStarted,
)
from sweeps.running.local import run_local
from sweeps.running.messages import Assignment, Measured, Outcome, TrialReporter
from tests.fakes import BEST_LR, PENALTY, curve_score, curve_trial
from tests.sweeps.running.curve_sweep import (
    GRID,
    MEDIAN,
    NO_RACE,
    Sweep,
    completed,
    handed_out,
    report,
    table,
)
from trainer.seeds import derive


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


@pytest.mark.parametrize(
    ("rule", "decides"),
    [
        ("{type: none}", False),
        ("{type: wilcoxon}", False),
        ("{type: median}", True),
        ("{type: hyperband, min_iter: 1}", True),
        ("{type: threshold, lower: 0.1}", True),
    ],
)
def test_a_worker_is_told_whether_a_rule_looks_at_every_epoch(
    sweep: Callable[..., Sweep], rule: str, decides: bool
):
    with sweep(*GRID, f"early_terminate={rule}").driver() as driver:
        assert handed_out(driver).every_epoch is decides


def test_a_trial_is_handed_out_with_everything_a_worker_needs(sweep: Callable[..., Sweep]):
    curve = sweep(*GRID, "retries=5")
    with curve.driver(device="cuda", threads=2, streamed=("16x16-stretch",)) as driver:
        given = handed_out(driver)
        assert handed_out(driver).driver == given.driver
    assert given == Assignment(
        number=0,
        values={"lr": 0.003, "optimizer": "adam", "epochs": 2, "seed": derive(1)},
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
        "seed": derive(1),
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
    assert curve.milestones() == [
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


@pytest.mark.parametrize("error", [BrokenPipeError(32, "Broken pipe"), KeyError("a bug")])
def test_what_a_listener_raises_ends_nothing(sweep: Callable[..., Sweep], error: Exception):
    def listener(event: Event) -> None:
        raise error

    curve = sweep(*GRID)
    with curve.driver(listener=listener) as driver:
        run_local(driver, trial=curve_trial)
        assert driver.done
    assert driver.failure is None
    assert {trial.state for trial in curve.stored.trials()} == {TrialState.COMPLETE}


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
        assert trial.user_attrs == {
            "fold_scores": [0.5, 0.6, 0.8],
            "std": pytest.approx(0.152752523),
            "worst_fold": 0.5,
        }

    def test_what_the_worker_measured_is_stored_as_numbers_and_what_it_does_not_know_is_absent(
        self, sweep: Callable[..., Sweep]
    ):
        curve = sweep("metric={name: valid/loss, goal: minimize}")
        measured = Measured(oof=0.625, seconds=12.5, parameters=300)
        with curve.driver() as driver:
            handed_out(driver)
            driver.finished(0, Outcome("completed", (0.5, 0.75, 0.625), measured=measured))
            handed_out(driver)
            driver.finished(1, Outcome("stopped", (0.5,), measured=measured))
        assert curve.trial(0).user_attrs == {
            "fold_scores": [0.5, 0.75, 0.625],
            "std": 0.125,
            "worst_fold": 0.75,
            "oof": 0.625,
            "seconds": 12.5,
            "parameters": 300,
        }
        assert curve.trial(1).user_attrs == {"fold_scores": [0.5], "reason": "stopped"}

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
        assert trial.user_attrs == {"reason": "KeyError: 'x'"}
        assert SweepFiles(curve.folder).trial(0).error.read_text() == "Traceback ..."
        (artifact,) = get_all_artifact_meta(trial, storage=curve.storage)
        assert (artifact.filename, artifact.mimetype) == ("error.txt", "text/plain")

    def test_a_traceback_that_a_full_disk_refuses_is_left_out_and_the_end_is_stored(
        self,
        sweep: Callable[..., Sweep],
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ):
        def full(path: Path) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(ending, "atomic_write", full)
        curve = sweep("run_cap=2")
        with curve.driver() as driver:
            handed_out(driver)
            driver.finished(0, Outcome("failed", reason="KeyError: 'x'", traceback="Traceback ..."))
            assert handed_out(driver).number == 1
        assert driver.failure is None
        assert curve.trial(0).state == TrialState.FAIL
        assert curve.trial(0).user_attrs == {"reason": "KeyError: 'x'"}
        assert not SweepFiles(curve.folder).trial(0).error.exists()
        assert [line for line in caplog.messages if line.startswith("trial 0")] == [
            "trial 0: files of its end are missing ([Errno 28] No space left on device)"
        ]

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
        curve = sweep("run_cap=10", "folds.finish=0")
        with curve.driver(clock=lambda: now[0]) as driver:
            for _ in range(4):
                handed_out(driver)
            now[0] += 30
            driver.finished(0, completed(0.5, 0.5, 0.5))
            now[0] += 20
            driver.finished(1, Outcome("stopped", (0.1,)))
            now[0] += 5
            driver.finished(2, Outcome("failed", reason="out of luck"))
            trial_0, trial_3 = (curve.trial(number) for number in (0, 3))
            last = curve.told(TrialEnded)[-1]
            now_shown = driver.snapshot()
            assert now_shown == Snapshot(
                completed=1,
                pruned=1,
                failed=1,
                interrupted=0,
                repeats=0,
                finishes=0,
                running=(Running(3, 0, 0, 2, None, params=trial_3.params, doing="starting"),),
                cap=10,
                k=3,
                best_score=0.5,
                best_number=0,
                elapsed_s=55.0,
                # seven of ten are left, the two that tell took 30 and 50 s, one at a time
                eta_s=7 * 40.0,
                spent_s=55.0,
                leaders=(Leader(0, 0.5, 0.0, None, trial_0.params),),
                last=(now_shown.last[0], last),
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
