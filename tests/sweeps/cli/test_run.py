"""`sweeps run --local`: real trainings of a tiny network,
stand-ins where they are not the point.
"""

import json
import re
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import FrozenTrial, TrialState

from sweeps import cli
from sweeps.errors import LeaseLostError
from sweeps.results.view import find_sweep
from sweeps.running.local import run_local
from sweeps.running.messages import Assignment, Outcome, RunTrial, TrialReporter
from sweeps.study.lease import Lease, Times, find_holder
from sweeps.study.recorder import Recorder
from sweeps.study.storage import open_storage
from sweeps.upkeep.retention import Retention
from tests.sweeps.cli.conftest import Ended
from tests.sweeps.running.curve_sweep import report
from tests.sweeps.study.waiting import until
from trainer.errors import DataError

END = """\
files      runs/tiny
more       sweeps best tiny --topk 10
alone      sweeps export tiny --trial {best} > trial.yaml
pictures   sweeps dashboard
"""


def trials() -> list[FrozenTrial]:
    return find_sweep(open_storage("sqlite:///runs/sweeps.db"), "tiny").trials()


def events(ended: Ended) -> list[str]:
    """The plain lines without time of day, seconds and scores."""
    lines = [re.sub(r"^\d\d:\d\d:\d\d  ", "", line) for line in ended.err.splitlines()]
    lines = [re.sub(r"(?<!=)\b\d\.\d{4}", "S", re.sub(r"\d+\.\d s", "T s", line)) for line in lines]
    return [line for line in lines if not line.startswith("reading images")]


@pytest.fixture
def instead(monkeypatch: pytest.MonkeyPatch) -> Callable[[RunTrial], None]:
    """Evaluate trials by something else than training."""
    return lambda trial: monkeypatch.setattr(run_local, "__kwdefaults__", {"trial": trial})


def contents(folder: Path) -> dict[Path, bytes]:
    """All files of a sweep but its log."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path: path.read_bytes() for path in files if path.name != "sweep.log"}


def test_a_sweep_ends_with_its_leaderboard_and_where_to_look_next(
    sweeps: Callable[..., Ended], space: Callable[..., Path]
):
    ended = sweeps("run", space(), "--local")
    assert ended.code == 0
    (best, _) = sorted(trials(), key=lambda trial: (-trial.values[0], trial.number))
    assert ended.err.endswith(END.format(best=best.number))
    assert ended.out == sweeps("best", "--topk", 3).out
    assert ended.out.startswith("tiny: 2 completed, 0 pruned, 0 failed\nall  optimizer=adamw\n")
    first = trials()[0]
    assert events(ended)[:5] == [
        "60 images, 3 classes, 2 folds; no row rejected",
        f"trial 0 started  optimizer={first.params['optimizer']}  lr={first.params['lr']:.3g}",
        "trial 0 fold 1/2 scored S",
        "trial 0 fold 2/2 scored S",
        "trial 0 completed S (best so far) after T s  "
        "[1 completed, 0 pruned, 0 running, 0 failed of 2; best S ± S (trial 0)]",
    ]
    assert [trial.state for trial in trials()] == [TrialState.COMPLETE] * 2
    folder = Path("runs/tiny")
    assert {path.name for path in folder.iterdir()} == {
        "sweep.json",
        "sweep.log",
        "spec.yaml",
        "folds.npz",
        "manifest.csv",
        "labels.json",
        "rejected.csv",
        "choices",
        "cut.json",
        "trial-0000",
        "trial-0001",
    }
    assert not list(Path("runs").rglob("*.tmp"))


def test_a_sweep_whose_ensemble_cannot_be_chosen_has_ended_well_all_the_same(
    sweeps: Callable[..., Ended], space: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
):
    def damaged(*_: object, **__: object) -> None:
        raise DataError("oof.npz: not readable")

    monkeypatch.setattr("sweeps.results.choice.find_candidates", damaged)
    ended = sweeps("run", space(), "--local", "--trials", 1)
    assert ended.code == 0
    assert "warning: no ensemble was chosen: oof.npz: not readable\n" in ended.err
    assert ended.out.startswith("tiny: 1 completed, 0 pruned, 0 failed\n")


def test_a_sweep_is_continued_to_a_new_total(
    sweeps: Callable[..., Ended], space: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
):
    path = space()
    assert sweeps("run", path, "--local", "--trials", 1).code == 0
    before = Path("runs/tiny/trial-0000/fold-0/result.json").stat().st_mtime_ns
    assert sweeps("run", path, "--local").code == 0  # run_cap: 2
    monkeypatch.setattr(
        "sweeps.ray_tune.cluster.ray_cluster", lambda address: pytest.fail("Ray was started")
    )
    again = sweeps("run", path)
    assert again == Ended(
        0, "", "all trials are done already; more with --trials or a larger run_cap\n"
    )
    assert sweeps("run", path, "--local", "--trials", 3, "--plain").code == 0
    assert [trial.state for trial in trials()] == [TrialState.COMPLETE] * 3
    assert Path("runs/tiny/trial-0000/fold-0/result.json").stat().st_mtime_ns == before


def test_notices_of_the_search_space_are_said_first(
    sweeps: Callable[..., Ended], space: Callable[..., Path]
):
    ended = sweeps(
        "run", space(("name: tiny", "name: tiny\nproject: mine")), "--local", "--trials", 1
    )
    assert ended.err.splitlines()[0] == "note: not used here: project"


class TestWhatIsSaidOfTheData:
    """Before GPU time is spent on them."""

    def test_how_many_rows_are_rejected_and_where_it_stands_why(
        self, sweeps: Callable[..., Ended], space: Callable[..., Path]
    ):
        path = space(("photos/train.csv", "all.csv, allow_outside: true"))
        head, first, *rows = Path("photos/train.csv").read_text().splitlines()
        Path("all.csv").write_text(
            "\n".join([head, "photos/00.png,", *(f"photos/{row}" for row in rows)])
        )
        ended = sweeps("run", path, "--local", "--trials", 1)
        assert (ended.code, first) == (0, "00.png,red")
        assert events(ended)[0] == (
            "59 images, 3 classes, 2 folds; 1 of 60 rows rejected (1 no label), "
            "runs/tiny/rejected.csv says why"
        )
        assert Path("runs/tiny/rejected.csv").read_text() == (
            "line,path,reason,detail\n2,photos/00.png,no label,label is empty\n"
        )

    def test_a_class_that_a_fold_lacks(
        self, sweeps: Callable[..., Ended], space: Callable[..., Path]
    ):
        path = space(
            ("{k: 2}", "{column: fold}"), ("photos/train.csv", "all.csv, allow_outside: true")
        )
        lines = enumerate(Path("photos/train.csv").read_text().splitlines()[1:])
        rows = [
            f"photos/{line},{1 if 'green' in line and row > 30 else '' if row > 30 else 0}"
            for row, line in lines
        ]
        Path("all.csv").write_text("\n".join(["path,label,fold", *rows]))
        ended = sweeps("run", path, "--local", "--trials", 1)
        assert ended.code == 0
        assert "fold 1 has no image of class 'red': its F1 there is 0 for every trial" in events(
            ended
        )

    def test_choices_that_do_not_fit_into_the_cache(
        self, sweeps: Callable[..., Ended], space: Callable[..., Path]
    ):
        ended = sweeps("run", space(), "--local", "--trials", 1, "--set", "data.cache_gb=0")
        assert events(ended)[1] == (
            "16x16-stretch does not fit into data.cache_gb: decoded batch by batch, which is slower"
        )

    def test_images_that_keep_their_folds(
        self, sweeps: Callable[..., Ended], space: Callable[..., Path]
    ):
        path = space(("photos/train.csv", "all.csv, allow_outside: true"))
        source = Path("all.csv")
        head, *rows = Path("photos/train.csv").read_text().splitlines()
        source.write_text("\n".join([head, *(f"photos/{row}" for row in rows[:-3])]))
        assert sweeps("run", path, "--local", "--trials", 1).code == 0
        source.write_text("\n".join([head, *(f"photos/{row}" for row in rows[3:])]))
        other = space(
            ("photos/train.csv", "all.csv, allow_outside: true"),
            ("name: tiny", "name: second"),
            name="second.yaml",
        )
        ended = sweeps("run", other, "--local", "--trials", 1)
        assert "images keep their folds (3 images are new, 3 are gone)" in events(ended)
        # and with other data the first one is refused, nothing of it changes but its log
        before = contents(Path("runs/tiny"))
        refused = sweeps("run", path, "--local", "--trials", 2)
        assert (refused.code, refused.out) == (2, "")
        assert refused.err.splitlines()[-1] == (
            "error: the data of sweep 'tiny' changed since it began: images, "
            f"labels or folds of all.csv are not those of {Path.cwd()}/runs/tiny/folds.npz. "
            "Its trials cannot be compared with new ones: choose another name, "
            "under which unchanged images keep their folds"
        )
        assert contents(Path("runs/tiny")) == before

    def test_too_many_rejected_rows_start_nothing(
        self, sweeps: Callable[..., Ended], space: Callable[..., Path]
    ):
        path = space(("photos/train.csv", "all.csv, allow_outside: true"))
        head, *rows = Path("photos/train.csv").read_text().splitlines()
        rows = [
            f"photos/{row}" if at > 6 else f"photos/{row.split(',')[0]},"
            for at, row in enumerate(rows)
        ]
        Path("all.csv").write_text("\n".join([head, *rows]))
        ended = sweeps("run", path, "--local")
        assert (ended.code, ended.out) == (2, "")
        error = ended.err[ended.err.index("error: ") :]
        assert error.startswith(
            "error: all.csv: 7 of 60 rows cannot be used (7 no label), more than data.max_rejected "
            "(10%) allows. Repair them, or raise it; the rejected.csv of `sweeps check` lists "
            "them\n  line 2: photos/00.png (no label: label is empty)\n"
        )
        assert not Path("runs/tiny").exists()


class TestFailedTrials:
    def test_a_loss_that_becomes_nan_fails_its_trial_and_the_sweep_goes_on(
        self, sweeps: Callable[..., Ended], space: Callable[..., Path]
    ):
        path = space(
            ("method: random", "method: grid"),
            ("lr: {min: 0.001, max: 0.02}", "lr: {values: [10.0, 0.01]}"),
            ("[sgd, adamw]", "[sgd]"),
            ("value: cosine", "value: none"),
            ("batch_size: {value: 10}", "batch_size: {value: 4}\n  momentum: {value: 0.99}"),
            ("epochs: {value: 1}", "epochs: {value: 4}"),
        )
        ended = sweeps("run", path, "--local")
        assert ended.code == 0
        assert ended.out.startswith("tiny: 1 completed, 0 pruned, 1 failed\n")
        bad, good = trials()
        assert (bad.state, good.state) == (TrialState.FAIL, TrialState.COMPLETE)
        reason = bad.user_attrs["reason"]
        assert re.match(
            r"fold 0, epoch \d(, step \d+)?: the (training|validation) loss is (nan|inf) \(lr=10, "
            r"optimizer=sgd, ",
            reason,
        )
        assert reason in ended.err
        assert "Traceback" not in ended.err
        assert f"failed     trial 0: {reason}\n" in sweeps("status").out

    def test_code_that_raises_fails_its_trial_and_the_sweep_goes_on(
        self,
        sweeps: Callable[..., Ended],
        space: Callable[..., Path],
        monkeypatch: pytest.MonkeyPatch,
    ):
        from sweeps.running import trial
        from trainer.training.fold_setup import FoldSetup

        run_fold = trial.run_fold

        def broken(setup: FoldSetup, *args: Any) -> Any:
            if setup.directory.parent.name == "trial-0000":
                raise RuntimeError("out of luck")
            return run_fold(setup, *args)

        monkeypatch.setattr(trial, "run_fold", broken)
        ended = sweeps("run", space(), "--local")
        assert (ended.code, ended.out[:37]) == (0, "tiny: 1 completed, 0 pruned, 1 failed")
        assert "trial 0 failed after T s: RuntimeError: out of luck  [" in "\n".join(events(ended))
        assert "Traceback" not in ended.err
        assert trials()[0].user_attrs == {"reason": "RuntimeError: out of luck"}
        error = Path("runs/tiny/trial-0000/error.txt").read_text()
        assert error.startswith("Traceback (most recent call last):")
        assert error.endswith("RuntimeError: out of luck\n")
        lines = sweeps("status").out.splitlines()
        assert lines[-2:] == [
            "failed     trial 0: RuntimeError: out of luck",
            "traceback  runs/tiny/trial-0000/error.txt",
        ]

    def test_no_completed_trial_is_exit_code_1(
        self,
        sweeps: Callable[..., Ended],
        space: Callable[..., Path],
        instead: Callable[[RunTrial], None],
    ):
        instead(lambda assignment, reporter: Outcome("failed", reason="out of luck"))
        ended = sweeps("run", space(), "--local")
        assert (ended.code, ended.out) == (1, "")
        assert ended.err.splitlines()[-1] == (
            "error: no trial completed (0 pruned, 2 failed); `sweeps status tiny` shows the reasons"
        )


class TestLeaving:
    def test_ctrl_c_lets_the_trial_save_its_state_and_the_sweep_can_be_continued(
        self,
        sweeps: Callable[..., Ended],
        space: Callable[..., Path],
        instead: Callable[[RunTrial], None],
    ):
        def trial(assignment: Assignment, reporter: TrialReporter) -> Outcome:
            assert not reporter.interrupted()
            assert reporter.report(report(0, 1, 0.5))
            signal.raise_signal(signal.SIGINT)
            until(reporter.interrupted)
            return Outcome("interrupted")

        instead(trial)
        path = space()
        ended = sweeps("run", path, "--local")
        assert (ended.code, ended.out) == (130, "")
        assert ended.err.endswith("interrupted; `sweeps run tiny.yaml --local` continues it\n")
        (first,) = trials()
        assert (first.state, first.intermediate_values) == (TrialState.WAITING, {1: 0.5})
        assert signal.getsignal(signal.SIGTERM) is cli._leave  # as before its first trial
        assert find_holder(open_storage("sqlite:///runs/sweeps.db").engine, "tiny") is None
        instead(
            lambda assignment, reporter: Outcome(
                "failed", reason=f"trial {assignment.number} again"
            )
        )
        assert (
            f"trial 0 continued  optimizer={first.params['optimizer']}"
            in sweeps("run", path, "--local").err
        )
        assert [trial.state for trial in trials()] == [TrialState.FAIL] * 2

    def test_after_ctrl_c_the_leaderboard_so_far_is_printed(
        self,
        sweeps: Callable[..., Ended],
        space: Callable[..., Path],
        instead: Callable[[RunTrial], None],
    ):
        def trial(assignment: Assignment, reporter: TrialReporter) -> Outcome:
            if assignment.number:
                signal.raise_signal(signal.SIGINT)
                until(reporter.interrupted)
                return Outcome("interrupted")
            return Outcome("completed", (0.5, 0.75))

        instead(trial)
        ended = sweeps("run", space(), "--local")
        assert ended.code == 130
        assert ended.out.startswith("tiny: 1 completed, 0 pruned, 0 failed\n")
        assert "0.6250 ± 0.1768" in ended.out
        assert ended.err.endswith("interrupted; `sweeps run tiny.yaml --local` continues it\n")

    def test_time_that_is_used_up_is_no_interruption(
        self,
        sweeps: Callable[..., Ended],
        space: Callable[..., Path],
        instead: Callable[[RunTrial], None],
    ):
        def trial(assignment: Assignment, reporter: TrialReporter) -> Outcome:
            while not reporter.interrupted():
                pass
            return Outcome("interrupted")

        instead(trial)
        ended = sweeps("run", space(), "--local", "--hours", "1e-9")
        assert (ended.code, ended.out) == (1, "")
        assert "the budget of 1e-09 hours is used up" in ended.err
        assert ended.err.splitlines()[-1].startswith(
            "error: no trial completed (0 pruned, 0 failed)"
        )

    def test_a_full_disk_is_exit_code_3_and_the_trial_is_continued(
        self,
        sweeps: Callable[..., Ended],
        space: Callable[..., Path],
        instead: Callable[[RunTrial], None],
    ):
        instead(
            lambda assignment, reporter: Outcome(
                "no_space", reason="OSError: [Errno 28] No space left on device"
            )
        )
        path = space()
        ended = sweeps("run", path, "--local")
        assert (ended.code, ended.out) == (3, "")
        assert ended.err.splitlines()[-1] == (
            f"error: the disk of {Path.cwd()}/runs/tiny is full (OSError: "
            "[Errno 28] No space left on device). Free some space and run the same command again "
            "to continue"
        )
        assert [trial.state for trial in trials()] == [TrialState.WAITING]
        instead(lambda assignment, reporter: Outcome("failed", reason="out of luck"))
        assert "trial 0 continued" in sweeps("run", path, "--local").err
        assert [trial.state for trial in trials()] == [TrialState.FAIL] * 2

    @pytest.mark.parametrize(
        ("options", "seconds"),
        [((), 600.0), (("--db-patience", "0.5"), 30.0), (("--db-patience", "0"), 0.0)],
    )
    def test_a_silent_storage_is_waited_for_as_long_as_asked(
        self,
        sweeps: Callable[..., Ended],
        space: Callable[..., Path],
        instead: Callable[[RunTrial], None],
        monkeypatch: pytest.MonkeyPatch,
        options: tuple[str, ...],
        seconds: float,
    ):
        patience: list[float] = []
        acquire = Lease.acquire
        begin = Recorder.__init__

        def watched_lease(*args: Any, times: Times, **given: Any) -> Lease:
            patience.append(times.patience_s)
            return acquire(*args, times=times, **given)

        def watched_recorder(*args: Any, patience_s: float, **given: Any) -> None:
            patience.append(patience_s)
            begin(*args, patience_s=patience_s, **given)

        monkeypatch.setattr(Lease, "acquire", watched_lease)
        monkeypatch.setattr(Recorder, "__init__", watched_recorder)
        instead(lambda assignment, reporter: Outcome("failed", reason="out of luck"))
        sweeps("run", space(), "--local", *options)
        assert patience == [seconds, seconds]  # the lease's and the recorder's

    def test_a_lost_lease_is_exit_code_3(
        self,
        sweeps: Callable[..., Ended],
        space: Callable[..., Path],
        instead: Callable[[RunTrial], None],
        monkeypatch: pytest.MonkeyPatch,
    ):
        acquire = Lease.acquire
        lost = []

        def watched(*args: Any, on_lost: Callable[[LeaseLostError], None], **options: Any) -> Lease:
            lost.append(on_lost)
            return acquire(*args, on_lost=on_lost, **options)

        def trial(assignment: Assignment, reporter: TrialReporter) -> Outcome:
            lost[0](LeaseLostError("another driver took over sweep 'tiny'; this one stops"))
            return Outcome("interrupted" if reporter.interrupted() else "failed")

        monkeypatch.setattr(Lease, "acquire", watched)
        instead(trial)
        ended = sweeps("run", space(), "--local")
        assert (ended.code, ended.out) == (3, "")
        assert (
            ended.err.splitlines()[-1]
            == "error: another driver took over sweep 'tiny'; this one stops"
        )

    @pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
    def test_a_thread_of_the_sweep_that_a_bug_ends_is_exit_code_3(
        self,
        sweeps: Callable[..., Ended],
        space: Callable[..., Path],
        instead: Callable[[RunTrial], None],
        monkeypatch: pytest.MonkeyPatch,
    ):
        def bug(*_: object) -> None:
            raise KeyError("a bug")

        def trial(assignment: Assignment, reporter: TrialReporter) -> Outcome:
            while assignment.number == 1 and not reporter.interrupted():
                threading.Event().wait(0.01)
            return Outcome("interrupted" if assignment.number else "completed", (0.5, 0.75))

        monkeypatch.setattr(Retention, "_ended", bug)
        instead(trial)
        ended = sweeps("run", space(), "--local")
        assert (ended.code, ended.out) == (3, "")
        assert ended.err.splitlines()[-1] == (
            "error: the removal of superfluous files stopped by a bug; its traceback is above. "
            "Finished folds are on disk; run the same command again to continue"
        )

    def test_a_lease_that_is_lost_while_images_are_decoded_starts_no_trial(
        self,
        sweeps: Callable[..., Ended],
        space: Callable[..., Path],
        monkeypatch: pytest.MonkeyPatch,
    ):
        acquire = Lease.acquire

        def lost_at_once(
            *args: Any, on_lost: Callable[[LeaseLostError], None], **options: Any
        ) -> Lease:
            lease = acquire(*args, on_lost=on_lost, **options)
            on_lost(LeaseLostError("another driver took over sweep 'tiny'; this one stops"))
            return lease

        monkeypatch.setattr(Lease, "acquire", lost_at_once)
        ended = sweeps("run", space(), "--local")
        assert (ended.code, ended.out) == (3, "")
        assert (
            ended.err.splitlines()[-1]
            == "error: another driver took over sweep 'tiny'; this one stops"
        )
        assert not list(Path("runs").glob("tiny/trial-*"))


class TestAnotherSweep:
    @pytest.fixture
    def begun(
        self,
        sweeps: Callable[..., Ended],
        space: Callable[..., Path],
        instead: Callable[[RunTrial], None],
    ) -> Path:
        instead(lambda assignment, reporter: Outcome("completed", (0.5, 0.75)))
        path = space()
        sweeps("run", path, "--local", "--trials", 1)
        return path

    def test_a_changed_search_space_is_refused(self, sweeps: Callable[..., Ended], begun: Path):
        ended = sweeps(
            "run", begun, "--local", "--set", "parameters.epochs.value=2", "--set", "folds.seed=1"
        )
        assert ended == Ended(
            2,
            "",
            "error: the search space of sweep 'tiny' changed since it began, "
            "so new trials could not be compared with its old ones:\n"
            "  folds.seed: was 42, is 1\n"
            "  parameters.epochs.value: was 1, is 2\n"
            "Change it back, or give the search space another name (run_cap, budget, resources, "
            "retries, stuck_after, keep, start_with, warm_start, tracking, folds.finish and "
            "metric.target may change)\n",
        )

    def test_a_wider_range_goes_on_with_update(self, sweeps: Callable[..., Ended], begun: Path):
        wider = ("run", begun, "--local", "--set", "parameters.lr.max=0.5")
        assert sweeps(*wider) == Ended(
            2,
            "",
            "error: the search space of sweep 'tiny' grew:\n"
            "  parameters.lr.max: was 0.02, is 0.5\n"
            "Add --update to go on with the wider one\n",
        )
        assert len(trials()) == 1
        assert sweeps(*wider, "--update").code == 0
        assert len(trials()) == 2
        assert sweeps(*wider, "--update").err.startswith("all trials are done already")

    def test_its_trials_are_taken_over_once(
        self,
        sweeps: Callable[..., Ended],
        space: Callable[..., Path],
        instead: Callable[[RunTrial], None],
    ):
        assert sweeps("run", space(), "--local", "--trials", 1).code == 0
        path = space(("name: tiny", "name: second\nwarm_start: tiny"), name="second.yaml")
        instead(lambda assignment, reporter: Outcome("failed", reason="out of luck"))
        ended = sweeps("run", path, "--local", "--trials", 1)
        assert "1 finished trials of sweep 'tiny' were taken over as history" in events(ended)
        assert next(event for event in events(ended) if " started  " in event).startswith(
            "trial 1 started"
        )
        assert "were taken over" not in sweeps("run", path, "--local", "--trials", 2).err
        assert "; 1 of other sweeps as history" in sweeps("status", "second").out

    def test_another_runs_folder_is_refused(self, sweeps: Callable[..., Ended], begun: Path):
        ended = sweeps(
            "run", begun, "--local", "--runs", "other", "--storage", "sqlite:///runs/sweeps.db"
        )
        assert (ended.code, ended.out) == (2, "")
        assert ended.err == (
            "error: sweep 'tiny' is in the storage sqlite:///runs/sweeps.db, "
            f"but {Path.cwd()}/other/tiny has no files of it. Give the --runs folder it was "
            "started with, or choose another name\n"
        )

    def test_the_sweep_file_says_what_the_folder_is(self, begun: Path):
        saved = json.loads(Path("runs/tiny/sweep.json").read_text())
        assert (saved["name"], saved["storage"]) == ("tiny", "sqlite:///runs/sweeps.db")
