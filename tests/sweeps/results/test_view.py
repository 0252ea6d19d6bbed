import dataclasses
import json
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from optuna.distributions import FloatDistribution
from optuna.storages import RDBStorage
from optuna.study import StudyDirection
from optuna.trial import TrialState, create_trial

from sweeps.cli.best import best as print_best
from sweeps.errors import InputError
from sweeps.paths import SweepFiles
from sweeps.preparing.data import cut_sweep
from sweeps.preparing.opening import begin
from sweeps.results.leaderboard import leaderboard
from sweeps.results.summary import Left, failures, notes, summarise
from sweeps.results.view import SweepView, find_sweep, names, sweep_files
from sweeps.space.spec import SweepSpec
from sweeps.study.holder import Holder
from sweeps.study.lease import Lease
from sweeps.study.records import (
    BUDGET,
    CAP,
    DRIVEN,
    ELAPSED,
    FOLD_SCORES,
    GPU_SECONDS,
    NOTES,
    REASON,
    RETRY_OF,
    TAKEN_FROM,
)
from sweeps.study.stored_sweep import StoredSweep
from trainer.data.folds import Folds
from trainer.metrics import log_loss, score_fold

Make = Callable[..., SweepSpec]


# --- a stored sweep


class Stored:
    """A sweep whose trials are fabricated: rows in the storage,
    and OOF files on disk unless nobody reads them.
    """

    def __init__(
        self, storage: RDBStorage, spec: SweepSpec, runs: Path, *, with_files: bool = True
    ) -> None:
        self.spec, self.runs, self.files, self.with_files = (
            spec,
            runs,
            SweepFiles.of(runs, spec.name),
            with_files,
        )
        self.sweep = StoredSweep.create(storage, spec, identity="a")
        if with_files:
            cut = cut_sweep(spec, self.files)
            self.folds: Folds = cut.folds
            begin(self.files, spec, cut, identity="a", storage_url="sqlite://")

    def add(
        self, state: TrialState, *, fold_scores: list[float] | None = None, **attributes: Any
    ) -> int:
        """One trial; a completed one with its OOF, drawn from its number."""
        number = len(self.sweep.trials())
        if fold_scores is not None:
            attributes[FOLD_SCORES] = fold_scores
            if self.with_files:
                self._write_oof(number)
        trial = create_trial(
            state=state,
            value=None if fold_scores is None else statistics.fmean(fold_scores),
            params={"lr": 0.5**number},
            distributions={"lr": FloatDistribution(1e-9, 1)},
            user_attrs=attributes,
        )
        self.sweep.storage.create_new_trial(self.sweep.study_id, template_trial=trial)
        return number

    @property
    def view(self) -> SweepView:
        return SweepView.read(self.sweep)

    def probs(self, number: int) -> np.ndarray:
        raw_NK = np.random.default_rng(number).random(
            (len(self.folds.manifest), 3), dtype=np.float32
        )
        return raw_NK / raw_NK.sum(axis=1, keepdims=True)

    def _write_oof(self, number: int) -> None:
        for fold in range(self.folds.k):
            rows = self.folds.valid_rows(fold)
            path = self.files.directory / f"trial-{number:04d}" / f"fold-{fold}" / "oof.npz"
            path.parent.mkdir(parents=True)
            np.savez(path, rows=rows, probs=self.probs(number)[rows])


def five_trials(stored: Stored) -> Stored:
    """Completed with 0.5, pruned, completed with 0.75, failed, interrupted."""
    stored.add(TrialState.COMPLETE, fold_scores=[0.25, 0.75])
    stored.add(TrialState.PRUNED, **{REASON: "median rule"})
    stored.add(TrialState.COMPLETE, fold_scores=[0.7, 0.8])
    stored.add(TrialState.FAIL, **{REASON: "CUDA out of memory"})
    stored.add(TrialState.WAITING)
    return stored


@pytest.fixture
def stored(sqlite_storage: RDBStorage, make_spec: Make, images: Path, tmp_path: Path) -> Stored:
    """A sweep of five trials with their files."""
    return five_trials(Stored(sqlite_storage, make_spec(), tmp_path / "runs"))


@pytest.fixture
def rows(sqlite_storage: RDBStorage, make_spec: Make, tmp_path: Path) -> Stored:
    """The same five trials in the storage alone: to cut the data takes longer than all the rest."""
    return five_trials(Stored(sqlite_storage, make_spec(), tmp_path / "runs", with_files=False))


NOT_CHOSEN = {"seconds": None, "chance": None, "estimate": None, "ci95": None}


def test_best_is_the_documented_json_key_by_key(stored: Stored) -> None:
    def oof(number: int) -> float:
        return score_fold(stored.probs(number), stored.folds.manifest.labels_N)["f1"]

    result = leaderboard(stored.view, runs=stored.runs, topk=5).as_json()
    assert list(result) == [
        "sweep", "metric", "goal", "completed", "pruned", "failed", "taken_over", "history",
        "trials", "ensemble", "choice",
    ]  # fmt: skip
    assert result == {
        "sweep": "toy",
        "metric": "valid/f1",
        "goal": "maximize",
        "completed": 2,
        "pruned": 1,
        "failed": 1,
        "taken_over": 0,
        "history": 0,
        "trials": [
            {
                "number": 2,
                "score": 0.75,
                "fold_scores": [0.7, 0.8],
                "std": pytest.approx(0.1 / np.sqrt(2)),  # ddof 1
                "oof_score": oof(2),
                "params": {"lr": 0.25},
                "directory": str(stored.runs / "toy" / "trial-0002"),
                "taken_from": None,
                **NOT_CHOSEN,
            },
            {
                "number": 0,
                "score": 0.5,
                "fold_scores": [0.25, 0.75],
                "std": pytest.approx(0.5 / np.sqrt(2)),
                "oof_score": oof(0),
                "params": {"lr": 1.0},
                "directory": str(stored.runs / "toy" / "trial-0000"),
                "taken_from": None,
                **NOT_CHOSEN,
            },
        ],
        "ensemble": None,
        "choice": None,
    }
    assert list(result["trials"][0]) == [
        "number", "score", "fold_scores", "std", "oof_score", "params", "directory", "taken_from",
        *NOT_CHOSEN,
    ]  # fmt: skip
    assert json.loads(json.dumps(result, allow_nan=False)) == result


def test_a_directory_is_named_as_the_runs_folder_was_given(
    stored: Stored, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert (
        leaderboard(stored.view, runs=Path("runs"), topk=1).as_json()["trials"][0]["directory"]
        == "runs/toy/trial-0002"
    )


@pytest.mark.parametrize(("topk", "numbers"), [(1, [2]), (2, [2, 0]), (9, [2, 0])])
def test_topk_cuts_the_list_and_not_the_counts(
    stored: Stored, topk: int, numbers: list[int]
) -> None:
    result = leaderboard(stored.view, runs=stored.runs, topk=topk).as_json()
    assert [row["number"] for row in result["trials"]] == numbers
    assert result["completed"] == 2


@pytest.mark.parametrize("metric", ["valid/loss", "valid/log_loss"])
def test_a_loss_is_best_when_it_is_lowest(
    sqlite_storage: RDBStorage, make_spec: Make, images: Path, tmp_path: Path, metric: str
) -> None:
    """What a trial minimised is not known of predictions: over all of them it is their log loss."""
    spec = make_spec(metric={"name": metric, "goal": "minimize"})
    stored = Stored(sqlite_storage, spec, tmp_path / "runs")
    for scores in ([0.5, 0.5], [0.2, 0.4], [0.9, 0.9]):
        stored.add(TrialState.COMPLETE, fold_scores=scores)
    result = leaderboard(stored.view, runs=stored.runs, topk=2).as_json()
    assert (result["metric"], result["goal"]) == (metric, "minimize")
    assert [row["number"] for row in result["trials"]] == [1, 0]
    assert result["trials"][0]["oof_score"] == log_loss(
        stored.probs(1), stored.folds.manifest.labels_N
    )
    assert summarise(stored.view).best_score == pytest.approx(0.3)


KAPPA = """
def spread(probs_NK, labels_N, classes):
    return float(probs_NK.max() - probs_NK.min()) * len(classes)
"""


def test_a_metric_of_the_users_own_is_taken_from_the_sweeps_copy_of_its_file(
    sqlite_storage: RDBStorage, make_spec: Make, images: Path, tmp_path: Path
) -> None:
    (tmp_path / "my_task.py").write_text(KAPPA)
    spec = make_spec(metric={"name": "my_task.py:spread", "goal": "minimize"})
    stored = Stored(sqlite_storage, spec, tmp_path / "runs")
    for scores in ([0.5, 0.5], [0.2, 0.4]):
        stored.add(TrialState.COMPLETE, fold_scores=scores)
    (tmp_path / "my_task.py").unlink()
    result = leaderboard(stored.view, runs=stored.runs, topk=2).as_json()
    assert (result["metric"], result["goal"]) == ("my_task.py:spread", "minimize")
    assert [(row["number"], row["oof_score"]) for row in result["trials"]] == [
        (number, float(np.ptp(stored.probs(number))) * 3) for number in (1, 0)
    ]


def test_a_sweep_of_an_own_metric_without_a_completed_trial_needs_no_file(
    sqlite_storage: RDBStorage, make_spec: Make
) -> None:
    spec = make_spec(metric={"name": "my_task.py:spread", "goal": "maximize"})
    sweep = StoredSweep.create(sqlite_storage, spec, identity="a")
    assert (
        leaderboard(SweepView.read(sweep), runs=Path("/nowhere"), topk=5).as_json()["trials"] == []
    )


def test_a_sweep_without_a_completed_trial_needs_no_files(
    sqlite_storage: RDBStorage, make_spec: Make
) -> None:
    sweep = StoredSweep.create(sqlite_storage, make_spec(), identity="a")
    result = leaderboard(SweepView.read(sweep), runs=Path("/nowhere"), topk=5).as_json()
    assert (result["trials"], result["completed"], result["ensemble"]) == ([], 0, None)


def test_a_completed_trial_without_its_files_is_named(stored: Stored) -> None:
    (stored.files.directory / "trial-0002" / "fold-1" / "oof.npz").unlink()
    found = leaderboard(stored.view, runs=stored.runs, topk=1)
    assert found.trials[0].oof_score is None
    (line,) = found.damaged
    assert line.startswith("trial 2: ")
    assert "trial-0002/fold-1/oof.npz: missing" in line


@pytest.fixture
def fixed(sqlite_storage: RDBStorage, make_spec: Make, images: Path, tmp_path: Path) -> Stored:
    """A sweep with one fixed fold: four of twelve images are held out, by a second CSV."""
    header, *rows = images.read_text().splitlines()
    images.write_text("\n".join([header, *rows[:8]]) + "\n")
    (images.parent / "valid.csv").write_text("\n".join([header, *rows[8:]]) + "\n")
    data = {"source": str(images), "valid": str(images.parent / "valid.csv")}
    stored = Stored(
        sqlite_storage, make_spec(data=data, folds={"column": "fold"}), tmp_path / "runs"
    )
    stored.add(TrialState.COMPLETE, fold_scores=[0.5])
    return stored


def test_one_fixed_fold_has_no_spread_and_is_scored_on_what_it_holds_out(fixed: Stored) -> None:
    assert fixed.folds.k == 1
    (row,) = leaderboard(fixed.view, runs=fixed.runs, topk=5).as_json()["trials"]
    assert (row["score"], row["fold_scores"], row["std"]) == (0.5, [0.5], None)
    assert (
        row["oof_score"] == score_fold(fixed.probs(0)[8:], fixed.folds.manifest.labels_N[8:])["f1"]
    )
    assert '"std": null' in json.dumps(row, allow_nan=False)


def test_best_prints_one_fixed_fold_as_json_and_as_a_table(
    fixed: Stored, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = {"storage": f"sqlite:///{tmp_path / 'sweeps.db'}", "runs": fixed.runs}
    print_best("toy", topk=5, fast=True, as_json=True, **where)
    assert json.loads(capsys.readouterr().out)["trials"][0]["std"] is None
    print_best("toy", topk=5, fast=True, as_json=False, **where)
    table = capsys.readouterr().out
    assert "0.5000" in table
    assert "0.5000 ±" not in table


def test_the_holdout_is_not_scored(
    sqlite_storage: RDBStorage, make_spec: Make, images: Path, tmp_path: Path
) -> None:
    stored = Stored(sqlite_storage, make_spec(folds={"k": 2, "holdout": 0.25}), tmp_path / "runs")
    stored.add(TrialState.COMPLETE, fold_scores=[0.5, 0.5])
    rows = stored.folds.scored_rows()
    assert len(rows) == 9
    (row,) = leaderboard(stored.view, runs=stored.runs, topk=1).as_json()["trials"]
    assert (
        row["oof_score"]
        == score_fold(stored.probs(0)[rows], stored.folds.manifest.labels_N[rows])["f1"]
    )


# --- trials that took over a result


def test_a_repeated_configuration_is_counted_and_listed_once(stored: Stored) -> None:
    stored.add(
        TrialState.COMPLETE,
        fold_scores=[0.7, 0.8],
        **{TAKEN_FROM: {"sweep": "toy", "trial": 2, "repeats": 2}},
    )
    result = leaderboard(stored.view, runs=stored.runs, topk=5).as_json()
    assert (result["completed"], result["taken_over"], result["history"]) == (3, 1, 0)
    assert [row["number"] for row in result["trials"]] == [2, 0]


def test_another_sweeps_trials_stand_on_the_leaderboard_with_their_own_files(
    stored: Stored,
) -> None:
    taken = {TAKEN_FROM: {"sweep": "older", "trial": 7}}
    number = stored.add(TrialState.COMPLETE, fold_scores=[0.9, 0.9], **taken)
    stored.add(TrialState.PRUNED, **{TAKEN_FROM: {"sweep": "older", "trial": 8}})
    theirs = stored.runs / "older" / "trial-0007"
    theirs.parent.mkdir()
    (stored.files.directory / f"trial-{number:04d}").rename(theirs)
    result = leaderboard(stored.view, runs=stored.runs, topk=2).as_json()
    assert (result["completed"], result["pruned"], result["history"], result["taken_over"]) == (
        2,
        1,
        2,
        0,
    )
    first, second = result["trials"]
    assert (first["number"], first["directory"], first["taken_from"]) == (
        5,
        str(theirs),
        taken[TAKEN_FROM],
    )
    assert (
        first["oof_score"] == score_fold(stored.probs(number), stored.folds.manifest.labels_N)["f1"]
    )
    assert second["taken_from"] is None


def test_another_sweeps_trial_whose_files_are_gone_has_no_score_over_all_predictions(
    stored: Stored,
) -> None:
    stored.add(
        TrialState.COMPLETE, fold_scores=[0.9, 0.9], **{TAKEN_FROM: {"sweep": "gone", "trial": 7}}
    )
    (row,) = leaderboard(stored.view, runs=stored.runs, topk=1).as_json()["trials"]
    assert (row["score"], row["oof_score"]) == (0.9, None)


def test_the_best_score_is_that_of_the_leaderboard_and_a_target_is_reached_by_own_trials(
    rows: Stored,
) -> None:
    def after_target(target: float) -> bool | None:
        rows.sweep.set_attribute(BUDGET, {"hours": None, "gpu_hours": None, "target": target})
        return summarise(rows.view).target_reached

    rows.add(
        TrialState.COMPLETE, fold_scores=[0.9, 0.9], **{TAKEN_FROM: {"sweep": "older", "trial": 7}}
    )
    assert [after_target(target) for target in (0.7, 0.75, 0.8)] == [True, True, False]
    assert (summarise(rows.view).best_score, summarise(rows.view).target) == (0.9, 0.8)


def test_a_target_of_a_loss_is_reached_from_above(
    sqlite_storage: RDBStorage, make_spec: Make
) -> None:
    spec = make_spec(metric={"name": "valid/log_loss", "goal": "minimize"})
    sweep = StoredSweep.create(sqlite_storage, spec, identity="a")
    sweep.add(create_trial(value=0.5, user_attrs={FOLD_SCORES: [0.5]}))
    reached = []
    for target in (0.6, 0.5, 0.4):
        sweep.set_attribute(BUDGET, {"target": target})
        reached.append(summarise(SweepView.read(sweep)).target_reached)
    assert reached == [True, True, False]


# --- what is left


def test_what_is_left_of_the_budgets(rows: Stored) -> None:
    for key, value in {CAP: 10, ELAPSED: 1800.0, GPU_SECONDS: 900.0}.items():
        rows.sweep.set_attribute(key, value)
    rows.sweep.set_attribute(BUDGET, {"hours": 2.0, "gpu_hours": 1.0, "target": None})
    # no retry, repeat or other sweep's trial uses the cap up; the interrupted one has not ended
    rows.add(TrialState.COMPLETE, fold_scores=[0.1, 0.1], **{RETRY_OF: 3})
    rows.add(
        TrialState.COMPLETE, fold_scores=[0.1, 0.1], **{TAKEN_FROM: {"sweep": "older", "trial": 7}}
    )
    rows.add(
        TrialState.COMPLETE,
        fold_scores=[0.5, 0.5],
        **{TAKEN_FROM: {"sweep": "toy", "trial": 0, "repeats": 0}},
    )
    summary = summarise(rows.view)
    assert summary.left == Left(trials=6, hours=1.5, gpu_hours=0.75)
    assert (summary.gpu_hours, summary.retried, summary.taken_over, summary.history) == (
        0.25,
        1,
        1,
        1,
    )
    assert (summary.completed, summary.failed, summary.interrupted) == (4, 1, 1)


def test_nothing_is_less_than_nothing(rows: Stored) -> None:
    for key, value in {CAP: 1, ELAPSED: 9000.0, GPU_SECONDS: 9000.0}.items():
        rows.sweep.set_attribute(key, value)
    rows.sweep.set_attribute(BUDGET, {"hours": 2.0, "gpu_hours": None, "target": None})
    assert summarise(rows.view).left == Left(trials=0, hours=0.0, gpu_hours=None)


# --- its files


def test_the_files_of_a_sweep_are_found_by_its_name(stored: Stored) -> None:
    assert sweep_files(stored.sweep, runs=stored.runs) == stored.files
    with pytest.raises(
        InputError,
        match=r"sweep 'toy' is in the storage, but .*nowhere/toy has no files of it\. Give",
    ):
        sweep_files(stored.sweep, runs=stored.runs / "nowhere")


# --- summary


def test_a_summary_counts_every_state(rows: Stored) -> None:
    rows.add(TrialState.RUNNING)
    rows.sweep.storage.set_study_user_attr(rows.sweep.study_id, CAP, 40)
    rows.sweep.storage.set_study_user_attr(rows.sweep.study_id, ELAPSED, 12.5)
    summary = summarise(rows.view)
    assert summary.started is not None
    assert dataclasses.asdict(dataclasses.replace(summary, started=None)) == {
        "sweep": "toy",
        "metric": "valid/f1",
        "goal": "maximize",
        "completed": 2,
        "pruned": 1,
        "failed": 1,
        "running": 1,
        "interrupted": 1,
        "taken_over": 0,
        "retried": 0,
        "finishes": 0,
        "history": 0,
        "run_cap": 40,
        "best_score": 0.75,
        "started": None,
        "elapsed_s": 12.5,
        "gpu_hours": 0.0,
        "left": {"trials": 36, "hours": None, "gpu_hours": None},
        "target": None,
        "target_reached": None,
        "holder": None,
        "state": "stopped",
        "broken": 0,
    }


def test_a_new_sweep_has_nothing_to_tell(sqlite_storage: RDBStorage, make_spec: Make) -> None:
    summary = summarise(
        SweepView.read(StoredSweep.create(sqlite_storage, make_spec(), identity="a"))
    )
    assert (summary.best_score, summary.started, summary.run_cap, summary.elapsed_s) == (
        None,
        None,
        None,
        0.0,
    )


def test_a_summary_names_the_driver(rows: Stored) -> None:
    lease = Lease.acquire(rows.sweep.storage.engine, "toy", on_lost=lambda error: None)
    holder = summarise(rows.view).holder
    lease.release()
    assert holder is not None
    assert summarise(rows.view).holder is None


def test_a_driver_of_this_machine_that_is_dead_drives_nothing(
    rows: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    lease = Lease.acquire(rows.sweep.storage.engine, "toy", on_lost=lambda error: None)
    monkeypatch.setattr(Holder, "is_dead_on_this_machine", lambda holder: True)
    assert summarise(rows.view).holder is None
    lease.release()


def test_notes_are_those_of_the_trials_that_have_some(rows: Stored) -> None:
    assert notes(rows.view) == {}
    number = rows.add(
        TrialState.COMPLETE, fold_scores=[0.5, 0.5], **{NOTES: ["batches were split"]}
    )
    assert notes(rows.view) == {number: ["batches were split"]}


def test_one_reading_serves_all_questions(stored: Stored) -> None:
    view = stored.view
    stored.add(TrialState.COMPLETE, fold_scores=[0.9, 0.9])
    assert (
        summarise(view).completed,
        leaderboard(view, runs=stored.runs, topk=1).as_json()["completed"],
    ) == (2, 2)


def test_failures_say_why(rows: Stored) -> None:
    assert failures(rows.view) == {3: "CUDA out of memory"}
    rows.add(TrialState.FAIL, **{REASON: "again", RETRY_OF: 3})
    rows.add(TrialState.WAITING, **{RETRY_OF: 3})
    assert failures(rows.view) == {
        3: "CUDA out of memory (repeated by trial 6)",
        5: "again (repeated by trial 6)",
    }


# --- find


@pytest.fixture
def three(sqlite_storage: RDBStorage, make_spec: Make) -> RDBStorage:
    """Sweeps a, b and c, driven last in the order c, a; b never; and a study of another program."""
    sqlite_storage.create_new_study([StudyDirection.MAXIMIZE], "theirs")
    ids = {
        name: StoredSweep.create(sqlite_storage, make_spec(name=name), identity=name).study_id
        for name in "abc"
    }
    sqlite_storage.set_study_user_attr(ids["c"], DRIVEN, 100.0)
    sqlite_storage.set_study_user_attr(ids["a"], DRIVEN, 200.0)
    return sqlite_storage


def test_the_latest_sweep_is_the_one_driven_last(three: RDBStorage) -> None:
    assert names(three) == ["b", "c", "a"]
    assert find_sweep(three, None).name == "a"


def test_a_sweep_is_found_by_its_name(three: RDBStorage) -> None:
    assert find_sweep(three, "b").uuid == "b"


def test_an_unknown_sweep_names_the_nearest(sqlite_storage: RDBStorage, make_spec: Make) -> None:
    StoredSweep.create(sqlite_storage, make_spec(), identity="a")
    with pytest.raises(InputError, match="no sweep 'toyy'") as caught:
        find_sweep(sqlite_storage, "toyy")
    assert str(caught.value) == (
        "no sweep 'toyy' in this storage. Did you mean 'toy'? `sweeps list` shows them"
    )


def test_a_study_of_another_program_is_not_found(three: RDBStorage) -> None:
    with pytest.raises(
        InputError, match=r"^no sweep 'theirs' in this storage\. `sweeps list` shows them$"
    ):
        find_sweep(three, "theirs")


@pytest.mark.parametrize("name", [None, "toy"])
def test_an_empty_storage_tells_how_to_begin(sqlite_storage: RDBStorage, name: str | None) -> None:
    with pytest.raises(InputError, match="no sweeps in this storage yet") as caught:
        find_sweep(sqlite_storage, name)
    assert str(caught.value) == (
        "no sweeps in this storage yet. `sweeps run SPACE` starts one; --storage names another "
        "place"
    )
