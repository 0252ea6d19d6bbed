"""A stored sweep as a notebook looks at it."""

import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import foldsweep
from foldsweep.stored import Sweep
from sweeps import cli
from sweeps.cli.predict import predict
from sweeps.errors import NothingCompletedError
from tests.foldsweep.conftest import BAD, GOOD, Trained
from tests.sweeps.trained import write_people
from trainer.errors import DataError
from trainer.training.oof import read_oof
from trainer.training.result import RESULT

pytestmark = pytest.mark.usefixtures("_here")


def command(*arguments: object) -> int:
    """The exit code of `sweeps ARGUMENTS` in this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["sweeps", *map(str, arguments)])
        patch.setattr("signal.signal", lambda *_: None)
        with pytest.raises(SystemExit) as ended:
            cli.main()
    return int(ended.value.code or 0)


@pytest.fixture
def sweep(trained: Trained) -> Sweep:
    return trained.open()


@pytest.fixture
def copied(trained: Trained, tmp_path: Path) -> Path:
    """A runs folder with a copy of the sweep, which a test may change."""
    return Path(shutil.copytree(trained.runs, tmp_path / "copied"))


def test_the_trials_are_a_row_each_with_pruned_ones_and_all_parameters(sweep: Sweep):
    trials = sweep.trials
    assert trials["trial"].to_list() == [0, 1, 2]
    assert trials["state"].to_list() == ["completed", "completed", "pruned"]
    assert trials["lr"].to_list() == [point["lr"] for point in (*GOOD, BAD)]
    assert trials["folds"].to_list() == [2, 2, 1]
    assert trials["score"].isna().to_list() == [False, False, True]
    assert trials.loc[2, "reason"].startswith("fold race: ")


@pytest.mark.parametrize("table", ["trials", "folds", "epochs"])
def test_the_tables_are_those_that_the_command_exports(
    trained: Trained, sweep: Sweep, tmp_path: Path, table: str
):
    path = tmp_path / "table.parquet"
    assert command("export", "people", f"--{table}", path, "--runs", trained.runs) == 0
    pd.testing.assert_frame_equal(getattr(sweep, table), pd.read_parquet(path))


class TestOutOfFold:
    def test_a_complete_trial_has_a_row_for_each_image(self, trained: Trained, sweep: Sweep):
        found = sweep.oof(1)
        folds = sweep._files().folds()
        directory = trained.runs / "people" / "trial-0001"
        assert (found.trial, found.folds) == (1, (0, 1))
        assert found.probs_NK.shape == (64, 4)
        assert np.array_equal(found.probs_NK, read_oof(directory, folds))
        assert np.allclose(found.probs_NK.sum(axis=1), 1)
        assert np.array_equal(found.labels_N, folds.manifest.labels_N)
        assert np.array_equal(found.fold_N, folds.fold_N)
        assert np.array_equal(found.rows_N, np.arange(64))
        assert found.classes == ("dark / day", "dark / night", "light / day", "light / night")
        assert all(Path(path).is_file() for path in found.paths)
        assert repr(found) == "OutOfFold(trial=1, folds=(0, 1): 64 images, 4 classes)"

    def test_a_pruned_trial_has_the_rows_of_its_finished_folds_and_no_others(self, sweep: Sweep):
        found, whole = sweep.oof(2), sweep.oof(0)
        assert found.folds == (0,)
        assert np.array_equal(found.rows_N, np.flatnonzero(whole.fold_N == 0))
        assert 0 < len(found.rows_N) < 64
        assert np.isfinite(found.probs_NK).all()
        assert found.probs_NK.shape == (len(found.rows_N), 4)
        assert np.array_equal(found.labels_N, whole.labels_N[found.rows_N])
        assert found.paths == tuple(whole.paths[row] for row in found.rows_N)
        assert set(found.fold_N) == {0}

    def test_a_trial_without_a_finished_fold_has_none(self, copied: Path):
        (copied / "people" / "trial-0002" / "fold-0" / RESULT).unlink()
        with pytest.raises(
            foldsweep.InputError,
            match=r"^trial 2 of sweep 'people' has no out-of-fold predictions: none of its folds "
            r"is finished\. The column `folds` of the trials counts those that are$",
        ):
            foldsweep.open("people", runs=copied).oof(2)

    def test_a_complete_trial_must_have_all_of_its_files(self, copied: Path):
        (copied / "people" / "trial-0000" / "fold-1" / "oof.npz").unlink()
        with pytest.raises(DataError, match=r"fold-1/oof\.npz: missing"):
            foldsweep.open("people", runs=copied).oof(0)

    def test_a_result_that_was_taken_over_has_the_predictions_of_the_trained_trial(
        self, trained: Trained, copied: Path, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setenv("SWEEPS_CACHE", str(trained.folder / "cache"))
        space = {**trained.space, "name": "again", "run_cap": 1, "start_with": GOOD[:1]}
        again = foldsweep.run(
            {**space, "warm_start": "people"}, runs=copied, local=True, silent=True
        )
        (taken,) = again.trials.query("of_sweep == 'people' and of_trial == 1")["trial"]
        there = foldsweep.open("people", runs=copied).oof(1)
        assert np.array_equal(again.oof(taken).probs_NK, there.probs_NK)


@pytest.mark.parametrize("number", [3, -1])
@pytest.mark.parametrize("ask", [Sweep.oof, Sweep.config], ids=["oof", "config"])
def test_an_unknown_trial_is_named_with_those_that_exist(
    sweep: Sweep, ask: Callable[[Sweep, int], object], number: int
):
    with pytest.raises(
        foldsweep.InputError,
        match=rf"^trial {number}: sweep 'people' has no such trial, they are numbered 0 to 2$",
    ):
        ask(sweep, number)


class TestConfig:
    def test_the_configuration_of_a_trial_trains_the_same_bits(
        self, trained: Trained, sweep: Sweep, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setenv("SWEEPS_CACHE", str(trained.folder / "cache"))
        config = sweep.config(1)
        assert config["name"] == "people-trial-1"
        assert config["parameters"]["lr"] == {"value": 0.0003}
        again = foldsweep.run(config, local=True, silent=True)
        assert again.trials["score"].to_list() == [sweep.trials.loc[1, "score"]]
        assert again.oof(0).probs_NK.tobytes() == sweep.oof(1).probs_NK.tobytes()

    def test_it_warns_of_what_stands_in_the_way(self, untrained: dict[str, Any]):
        untrained["parameters"]["checkpoint"] = {"value": "best"}
        sweep = foldsweep.run(untrained, trials=1, local=True, silent=True)
        with pytest.warns(UserWarning, match="^checkpoint: best chooses among all folds"):
            assert sweep.config(0)["parameters"]["checkpoint"] == {"value": "best"}


class TestBest:
    def test_the_best_trials_with_what_to_expect_of_them(self, sweep: Sweep):
        best = sweep.best()
        scores = sweep.trials["score"].dropna()
        assert [row.number for row in best.trials] == scores.sort_values(
            ascending=False
        ).index.to_list()
        assert best.choice is not None
        assert best.trials[0].expected is not None
        assert [row.number for row in sweep.best(1).trials] == [best.trials[0].number]
        quick = sweep.best(fast=True)
        assert (quick.choice, quick.trials[0].score) == (None, best.trials[0].score)

    @pytest.mark.parametrize(
        ("options", "text"),
        [
            ({"topk": 0}, "topk and max_members must be at least 1"),
            ({"max_members": 0}, "topk and max_members must be at least 1"),
            ({"rule": "luck"}, "rule='luck': expected one of 'best', 'one_se'"),
        ],
    )
    def test_other_options_are_refused(self, sweep: Sweep, options: dict[str, Any], text: str):
        with pytest.raises(foldsweep.InputError, match=f"^{re.escape(text)}$"):
            sweep.best(**options)

    def test_there_is_none_before_a_trial_completed(self, failing: dict[str, Any]):
        with pytest.raises(NothingCompletedError):
            foldsweep.run(failing, trials=1, local=True, silent=True)
        with pytest.raises(
            NothingCompletedError,
            match=r"^sweep 'people' has no completed trial yet \(0 pruned, 1 failed\)\. `sweeps st",
        ):
            foldsweep.open("people").best()


class TestShownInANotebook:
    def test_a_sweep_is_its_state_and_its_best_trials(self, sweep: Sweep):
        shown = sweep._repr_html_()
        assert shown.startswith(
            "<p>people: finished, 2 completed, 1 pruned, 0 failed, 0 running</p><table>"
        )
        assert shown.count("<tr>") == 3
        assert "<th>lr</th></tr>" in shown
        assert repr(sweep) == "<foldsweep.Sweep 'people'>"

    def test_without_its_files_a_sweep_says_so_and_has_its_trials(self, copied: Path):
        moved = foldsweep.open("people", runs=copied)
        shutil.rmtree(copied / "people")
        assert moved.trials["state"].to_list() == ["completed", "completed", "pruned"]
        shown = moved._repr_html_()
        assert shown.startswith(
            "<p>people: finished, 2 completed, 1 pruned, 0 failed, 0 running<br>"
        )
        assert "folds.npz" in shown
        for ask in (lambda: moved.oof(0), lambda: moved.config(0), lambda: moved.folds):
            with pytest.raises(
                foldsweep.InputError, match=r"has no files of it\. Give the --runs folder"
            ):
                ask()


class TestOpen:
    def test_by_its_name_or_its_file_or_as_the_latest(self, trained: Trained, tmp_path: Path):
        (tmp_path / "space.yaml").write_text("name: people\n")
        for name in ("people", "space.yaml", None):
            assert foldsweep.open(name, runs=trained.runs).name == "people"

    def test_an_unknown_name_is_refused_as_by_the_command(self, trained: Trained):
        with pytest.raises(
            foldsweep.InputError,
            match=r"^no sweep 'poeple' in this storage\. Did you mean 'people'\? `sweeps list`",
        ):
            foldsweep.open("poeple", runs=trained.runs)

    def test_all_sweeps_of_a_storage_the_latest_at_the_end(
        self, untrained: dict[str, Any], tmp_path: Path
    ):
        assert foldsweep.sweeps() == []
        for name, trials in (("one", 1), ("two", 1), ("one", 2)):
            foldsweep.run(untrained, name=name, trials=trials, local=True, silent=True)
        assert [sweep.name for sweep in foldsweep.sweeps()] == ["two", "one"]
        with pytest.raises(foldsweep.InputError, match="no sweeps stored here yet"):
            foldsweep.sweeps(storage=f"sqlite:///{tmp_path}/nowhere.db")


def test_a_sweep_is_read_anew_each_time_wherever_the_notebook_has_gone(
    untrained: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    sweep = foldsweep.run(untrained, trials=1, local=True, silent=True)
    assert (len(sweep.trials), sweep.status().completed) == (1, 1)
    foldsweep.run(untrained, trials=2, local=True, silent=True)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert (len(sweep.trials), sweep.status().completed) == (2, 2)
    assert sweep.config(0)["name"] == "people-trial-0"
    assert not (tmp_path / "elsewhere" / "runs").exists()


class TestPredict:
    @pytest.fixture
    def new(self, tmp_path: Path) -> Path:
        write_people(tmp_path / "new", persons=4, seed=1)
        return tmp_path / "new" / "train.csv"

    def test_the_submission_is_that_of_the_command(
        self, trained: Trained, sweep: Sweep, new: Path, capsys: pytest.CaptureFixture[str]
    ):
        done = sweep.predict(new, out="ours.csv", trial=0, probabilities=True, tta="flip")
        assert (done.images, done.rows, done.bad) == (16, 16, {})
        assert re.search(r"^\d\d:\d\d:\d\d  predicting: \d+ of \d+$", capsys.readouterr().out, re.M)
        options = ["--trial", 0, "--probabilities", "--tta", "flip", "--runs", trained.runs]
        assert command("predict", "people", "--source", new, "--out", "theirs.csv", *options) == 0
        assert Path("ours.csv").read_bytes() == Path("theirs.csv").read_bytes()
        capsys.readouterr()
        Path("list.csv").write_bytes(new.read_bytes())
        done = sweep.predict("list.csv", folder="new", out="quiet.csv", silent=True)
        assert (done.images, done.bad) == (16, {})
        assert capsys.readouterr() == ("", "")

    @pytest.mark.parametrize(
        ("option", "allowed"),
        [
            ("tta", "None, 'none', 'flip', 'crops', 'flip_crops'"),
            ("ids", "None, 'template', 'images'"),
            ("codes", "None, 'names', 'index', 'probability'"),
            ("device", "'auto', 'cpu', 'cuda'"),
        ],
    )
    def test_an_option_with_another_value_is_refused(
        self, sweep: Sweep, new: Path, option: str, allowed: str
    ):
        with pytest.raises(
            foldsweep.InputError, match=f"^{option}='warp': expected one of {re.escape(allowed)}$"
        ):
            sweep.predict(new, out="x.csv", **{option: "warp"})

    def test_it_has_the_options_of_the_command(self, options_of: Callable[[object], set[str]]):
        elsewhere = {"sweep", "storage", "runs", "plain"}
        command_only = {"others", "address", "skip_bad"}
        assert options_of(predict) - elsewhere - command_only == options_of(Sweep.predict) - {
            "silent"
        }


def test_the_report_is_a_page_where_the_user_wants_it(copied: Path, tmp_path: Path):
    sweep = foldsweep.open("people", runs=copied)
    assert sweep.report() == copied / "people" / "report.html"
    page = sweep.report("pages/people.html")
    assert page == Path("pages/people.html")
    assert "<title>people" in page.read_text()
    with pytest.raises(
        foldsweep.InputError, match=r"^out=pages: a folder\. Give the name of a file, e\.g\. rep"
    ):
        sweep.report("pages")
