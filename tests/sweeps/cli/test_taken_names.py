"""A name whose sweep has begun: what may change, what is refused, what the checks say of it."""

import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from sweeps.paths import SweepFiles
from sweeps.results.view import find_sweep
from sweeps.running.local import run_local
from sweeps.running.messages import Assignment, Outcome, RunTrial, TrialReporter
from sweeps.study.records import REPLACED
from sweeps.study.storage import open_storage
from sweeps.study.stored_sweep import StoredSweep
from tests.sweeps.cli.conftest import Ended

FAILED = Outcome("failed", reason="out of luck")
EPOCHS = ("--set", "parameters.epochs.value=2")
FINISHED_FOLD = ("oof.npz", "curve.csv", "result.json", "model.safetensors")


@pytest.fixture
def instead(monkeypatch: pytest.MonkeyPatch) -> Callable[[RunTrial], None]:
    """Evaluate trials by something else than training."""
    return lambda trial: monkeypatch.setattr(run_local, "__kwdefaults__", {"trial": trial})


@pytest.fixture
def begun(
    sweeps: Callable[..., Ended], space: Callable[..., Path], instead: Callable[[RunTrial], None]
) -> Path:
    """The file of a sweep with one failed trial."""
    instead(lambda assignment, reporter: FAILED)
    path = space()
    assert sweeps("run", path, "--local", "--trials", 1).code == 1
    return path


def stored() -> StoredSweep:
    return find_sweep(open_storage("sqlite:///runs/sweeps.db"), "tiny")


def complete(assignment: Assignment, reporter: TrialReporter) -> Outcome:
    return Outcome("completed", (0.5, 0.75))


class TestStartingOver:
    def test_without_a_completed_trial_a_sweep_may_change_freely(
        self, sweeps: Callable[..., Ended], begun: Path, instead: Callable[[RunTrial], None]
    ):
        first = stored()
        instead(complete)
        ended = sweeps("run", begun, "--local", *EPOCHS, "--set", "folds.seed=1")
        assert ended.code == 0
        assert (
            "sweep 'tiny' starts over, because no trial had completed and this changed: "
            "folds.seed: was 42, is 1; parameters.epochs.value: was 1, is 2 (1 trial is dropped)"
        ) in ended.err
        now = stored()
        assert now.uuid != first.uuid
        assert [trial.number for trial in now.trials()] == [0, 1]
        assert {path.name for path in Path("runs").iterdir()} == {"sweeps.db", "tiny"}
        assert "starts over" in Path("runs/tiny/sweep.log").read_text()

    def test_a_repaired_function_of_the_users_starts_over(
        self, sweeps: Callable[..., Ended], space: Callable[..., Path]
    ):
        code = "def kappa(probs_NK, labels_N, classes):\n    return {}\n"
        Path("my_task.py").write_text(code.format("float(1 / (len(labels_N) != 30))"))
        path = space(("valid/f1", "my_task.py:kappa"), ("run_cap: 2", "run_cap: 1"))
        assert sweeps("run", path, "--local").code == 1
        Path("my_task.py").write_text(code.format("float(probs_NK.max())"))
        ended = sweeps("run", path, "--local")
        assert ended.code == 0, ended.err
        assert "because no trial had completed and this changed: my_task.py" in ended.err

    def test_corrected_data_start_over(
        self, sweeps: Callable[..., Ended], space: Callable[..., Path], rows: list[str], instead
    ):
        Path("all.csv").write_text("\n".join(rows))
        path = space(("photos/train.csv", "all.csv, allow_outside: true"))
        instead(lambda assignment, reporter: FAILED)
        assert sweeps("run", path, "--local").code == 1
        Path("all.csv").write_text("\n".join(rows[:-3]))
        instead(complete)
        ended = sweeps("run", path, "--local")
        assert ended.code == 0, ended.err
        assert "this changed: images, labels or folds of all.csv (2 trials are dropped)" in (
            ended.err
        )
        assert "57 images" in ended.err

    def test_finished_folds_and_the_page_of_the_check_are_kept(
        self, sweeps: Callable[..., Ended], begun: Path, instead: Callable[[RunTrial], None]
    ):
        uuid = stored().uuid
        assert sweeps("check", begun).code == 0
        page = Path("runs/tiny/check/check.html").read_text()
        fold = Path("runs/tiny/trial-0000/fold-1")
        fold.mkdir(parents=True)
        for name in FINISHED_FOLD:
            (fold / name).touch()
        instead(complete)
        ended = sweeps("run", begun, "--local", *EPOCHS)
        kept = Path.cwd() / f"runs/.replaced-tiny-{uuid[:8]}"
        assert f"(1 trial is dropped; 1 finished fold is kept in {kept})" in ended.err, ended.err
        assert (kept / "trial-0000/fold-1/oof.npz").is_file()
        assert Path("runs/tiny/check/check.html").read_text() == page

    def test_a_completed_trial_ends_the_freedom(
        self, sweeps: Callable[..., Ended], begun: Path, instead: Callable[[RunTrial], None]
    ):
        instead(complete)
        assert sweeps("run", begun, "--local").code == 0
        ended = sweeps("run", begun, "--local", *EPOCHS)
        assert ended.code == 2
        assert "changed since it began" in ended.err
        assert len(stored().trials()) == 2

    @pytest.mark.parametrize("moved", [False, True])
    def test_a_driver_that_died_while_it_started_over_is_followed(
        self, sweeps: Callable[..., Ended], begun: Path, moved: bool, instead
    ):
        first = stored()
        first.set_attribute(REPLACED, True)
        if moved:
            Path("runs/tiny").rename(f"runs/.replaced-tiny-{first.uuid[:8]}")
        assert sweeps("check", begun, *EPOCHS).code == 0
        instead(complete)
        ended = sweeps("run", begun, "--local", *EPOCHS)
        assert ended.code == 0, ended.err
        assert (
            "sweep 'tiny' starts over, because no trial had completed (1 trial is dropped)"
            in ended.err
        )
        assert stored().uuid != first.uuid
        assert not list(Path("runs").glob(".replaced-*"))


class TestCheck:
    def test_a_name_whose_sweep_goes_on(self, sweeps: Callable[..., Ended], begun: Path):
        ended = sweeps("check", begun)
        assert ended.code == 0
        assert "note: sweep 'tiny' has begun and has 1 trial: `sweeps run` continues it\n" in (
            ended.err
        )

    def test_a_name_whose_sweep_would_start_over(self, sweeps: Callable[..., Ended], begun: Path):
        before = stored()
        ended = sweeps("check", begun, *EPOCHS)
        assert ended.code == 0
        assert (
            "note: sweep 'tiny' has begun, and this changed since: parameters.epochs.value: was 1, "
            "is 2. No trial has completed, so `sweeps run` drops its trials and starts over\n"
        ) in ended.err
        assert stored().uuid == before.uuid
        assert len(stored().trials()) == 1

    def test_a_taken_name_is_refused_and_its_page_stays(
        self, sweeps: Callable[..., Ended], space: Callable[..., Path], instead
    ):
        instead(complete)
        path = space()
        assert sweeps("check", path).code == 0
        assert sweeps("run", path, "--local").code == 0
        page = Path("runs/tiny/check/check.html").read_text()
        ended = sweeps("check", path, *EPOCHS)
        assert ended.code == 2
        assert "error: `sweeps run` would refuse this search space: the search space of sweep" in (
            ended.err
        )
        assert ended.err.endswith("A name that is free: --name tiny-2\n")
        assert "page       runs/tiny-2/check/check.html\n" in ended.err
        assert Path("runs/tiny/check/check.html").read_text() == page
        assert Path("runs/tiny-2/check/check.html").is_file()
        assert sweeps("check", path, *EPOCHS, "--name", "tiny-2").code == 0
        assert sweeps("run", path, *EPOCHS, "--name", "tiny-2", "--local").code == 0
        assert sweeps("check", path, *EPOCHS).err.endswith("--name tiny-3\n")

    def test_trials_of_another_storage_are_seen(self, sweeps: Callable[..., Ended], begun: Path):
        (Path("runs/tiny") / "trial-0000").mkdir(exist_ok=True)
        ended = sweeps("check", begun, "--storage", "sqlite:///another.db")
        assert ended.code == 2
        assert "holds the trials of a sweep that is not in the storage sqlite:///another.db" in (
            ended.err
        )
        assert not Path("another.db").exists()

    def test_a_storage_that_cannot_be_asked_is_a_warning(
        self, sweeps: Callable[..., Ended], space: Callable[..., Path]
    ):
        Path("notes.db").write_text("no database" * 100)
        ended = sweeps("check", space(), "--storage", "sqlite:///notes.db")
        assert ended.code == 0
        assert "warning: whether the name is taken is not known: --storage sqlite:///notes.db" in (
            ended.err
        )


class TestName:
    def test_an_option_names_the_sweep(self, sweeps: Callable[..., Ended], begun: Path):
        assert sweeps("run", begun, "--local", "--name", "12", "--trials", 1).code == 1
        assert {path.name for path in Path("runs").glob("[!a]*/")} >= {"12", "tiny"}
        assert sweeps("prepare", begun, "--name", "Chest X-ray").code == 0
        assert Path("runs/chest-x-ray/folds.npz").is_file()

    def test_a_name_that_cannot_name_a_folder(self, sweeps: Callable[..., Ended], begun: Path):
        ended = sweeps("run", begun, "--name", "/")
        assert ended.code == 2
        assert "'/' cannot name a folder" in ended.err


class TestHints:
    SECRET = "postgresql://kim:secret@localhost:1/sweeps"

    def test_the_command_that_continues_has_the_options_that_were_given(
        self, sweeps: Callable[..., Ended], space: Callable[..., Path], instead
    ):
        def trial(assignment: Assignment, reporter: TrialReporter) -> Outcome:
            signal.raise_signal(signal.SIGINT)
            return Outcome("interrupted")

        instead(trial)
        given = ("--local", "--trials", 3, "--set", "keep=2", "--set", "description='a b'")
        ended = sweeps(
            "run", space(), *given, "--runs", "else where", "--plain", "--db-patience", 2.5,
            "--track", "tensorboard", "--hours", 1, "--set", "notify.webhook='http://x/key'",
        )  # fmt: skip
        command = (
            "sweeps run tiny.yaml --runs 'else where' --trials 3 --hours 1 --set keep=2 "
            "--set 'description='\"'\"'a b'\"'\"'' --local --db-patience 2.5 --track tensorboard"
        )
        assert ended.code == 130
        assert ended.err.endswith(f"interrupted; `{command}` continues it\n")
        status = sweeps("status", "tiny", "--runs", "else where")
        assert f"driver     none: `{command}` continues it\n" in status.out
        assert "key" not in SweepFiles.of(Path("else where"), "tiny").log.read_text()

    def test_a_retry_names_the_command_that_runs_it(
        self, sweeps: Callable[..., Ended], begun: Path
    ):
        assert sweeps("retry").err == "`sweeps run tiny.yaml --trials 1 --local` runs them\n"

    def test_commands_lead_to_the_folder_that_was_given(
        self, sweeps: Callable[..., Ended], space: Callable[..., Path], instead
    ):
        instead(complete)
        ended = sweeps("run", space(), "--local", "--runs", "r", "--storage", "sqlite:///s.db")
        assert ended.err.endswith(
            "files      r/tiny\n"
            "more       sweeps best tiny --topk 10 --runs r --storage sqlite:///s.db\n"
            "alone      sweeps export tiny --trial 0 --runs r --storage sqlite:///s.db "
            "> trial.yaml\n"
            "pictures   sweeps dashboard --runs r --storage sqlite:///s.db\n"
        )
