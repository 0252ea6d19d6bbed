"""One trial on its worker: real trainings of a tiny network on 60 images."""

import dataclasses
import errno
import json
import re
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sweeps.running import trial
from sweeps.running.messages import Assignment, Outcome, TrialReport
from sweeps.running.trial import run_trial
from tests.fakes import manifest_of, write_photos
from trainer.data.data_set import read_data_set
from trainer.data.folds import load_folds, make_folds, save_folds
from trainer.data.options import DataOptions
from trainer.images.cache import find_images
from trainer.images.preprocessing import Preprocessing
from trainer.training.fold_setup import FoldSetup
from trainer.training.memory import used_bytes
from trainer.training.result import FoldResult

VALUES = {
    "backbone": "test_efficientnet",
    "weights": "none",
    "resize": 16,
    "batch_size": 10,
    "epochs": 2,
    "lr": 0.01,
    "seed": 5,
}


class Listener:
    """Keeps the reports of epochs and of folds; stops, interrupts or loses the trial when told to."""

    def __init__(
        self,
        *,
        stop_at: int = 0,
        interrupt_at: int = 0,
        lost_at: int = 0,
        stop_after_fold: int | None = None,
    ) -> None:
        self.reports: list[TrialReport] = []
        self.folds: list[TrialReport] = []
        self._stop_at, self._interrupt_at, self._lost_at = stop_at, interrupt_at, lost_at
        self._stop_after_fold = stop_after_fold

    def report(self, report: TrialReport) -> bool:
        if report.fold_finished:
            self.folds.append(report)
            return report.fold != self._stop_after_fold
        self.reports.append(report)
        return len(self.reports) != self._stop_at

    def owns(self) -> bool:
        return not 0 < self._lost_at <= len(self.reports)

    def interrupted(self) -> bool:
        return 0 < self._interrupt_at <= len(self.reports)

    @property
    def steps(self) -> list[int]:
        return [report.step for report in self.reports]


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SWEEPS_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def assignment(tmp_path: Path) -> Callable[..., Assignment]:
    """A trial of a sweep with two folds over 60 images in three classes."""
    folds = make_folds(manifest_of(write_photos(tmp_path / "photos")), k=2, seed=0)
    save_folds(folds, tmp_path / "runs" / "toy" / "folds.npz")

    def make(*, metric: str = "f1", **values: Any) -> Assignment:
        return Assignment(
            number=3,
            values={**VALUES, **values},
            sweep_directory=str(tmp_path / "runs" / "toy"),
            metric=metric,
            max_epochs=4,  # another trial of the space trains longer
            device="cpu",
            threads=1,
        )

    return make


def result(assignment: Assignment, fold: int) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(
        (assignment.files.directory / f"fold-{fold}" / "result.json").read_text()
    )
    return loaded


def test_every_epoch_of_every_fold_is_reported_with_the_mean_over_folds(
    assignment: Callable[..., Assignment],
):
    given, listener = assignment(metric="accuracy"), Listener()
    outcome = run_trial(given, listener)
    assert outcome.state == "completed"
    first, second = (result(given, fold)["metrics"]["accuracy"] for fold in range(2))
    assert outcome.fold_scores == (first, second)
    assert listener.steps == [1, 2, 5, 6]  # fold x E + epoch, E = 4
    assert [(r.fold, r.epoch, r.epochs, r.fold_scores) for r in listener.reports] == [
        (0, 1, 2, ()),
        (0, 2, 2, ()),
        (1, 1, 2, (first,)),
        (1, 2, 2, (first,)),
    ]
    curves = [
        np.loadtxt(
            given.files.directory / f"fold-{fold}" / "curve.csv",
            delimiter=",",
            skiprows=1,
            usecols=2,
        )
        for fold in range(2)
    ]
    with (given.files.directory / "fold-0" / "curve.csv").open() as file:
        assert file.readline().split(",")[2] == "accuracy"
    values = [*curves[0], *(statistics.fmean([first, value]) for value in curves[1])]
    assert [r.value for r in listener.reports] == pytest.approx(values, abs=1e-12)


def test_a_completed_trial_leaves_the_directory_of_the_design(
    assignment: Callable[..., Assignment],
):
    given = assignment(epochs=1)
    run_trial(given, Listener())
    directory = given.files.directory
    assert directory.name == "trial-0003"
    files = sorted(
        path.relative_to(directory).as_posix() for path in directory.rglob("*") if path.is_file()
    )
    assert files == [
        "config.json",
        *(
            f"fold-{k}/{name}"
            for k in range(2)
            for name in ("curve.csv", "model.safetensors", "oof.npz", "result.json")
        ),
    ]
    config = json.loads((directory / "config.json").read_text())
    assert {key: config[key] for key in VALUES} == {**VALUES, "epochs": 1}
    assert config["optimizer"] == "adamw"  # defaults are written out


def test_every_image_is_predicted_exactly_once(assignment: Callable[..., Assignment]):
    given = assignment(epochs=1)
    run_trial(given, Listener())
    parts = [np.load(given.files.directory / f"fold-{fold}" / "oof.npz") for fold in range(2)]
    rows_N = np.concatenate([part["rows"] for part in parts])
    probs_NK = np.concatenate([part["probs"] for part in parts])
    assert sorted(rows_N) == list(range(60))
    assert probs_NK.shape == (60, 3)
    np.testing.assert_allclose(probs_NK.sum(axis=1), 1, atol=1e-5)


def test_finished_folds_are_not_trained_again(
    assignment: Callable[..., Assignment], monkeypatch: pytest.MonkeyPatch
):
    given = assignment(epochs=1)
    first = run_trial(given, Listener())
    written = {path: path.stat().st_mtime_ns for path in given.files.directory.rglob("result.json")}
    given, again = dataclasses.replace(given, reported=5), Listener()
    assert run_trial(given, again) == first
    assert (again.steps, again.folds) == ([5], [])
    (given.files.directory / "fold-1" / "result.json").unlink()
    again = Listener()
    assert (
        run_trial(dataclasses.replace(given, reported=1), again) == first
    )  # the same fold again, to the bit
    assert again.steps == [1, 5]
    assert again.reports[1].fold_scores == first.fold_scores[:1]
    kept = given.files.directory / "fold-0" / "result.json"
    assert kept.stat().st_mtime_ns == written[kept]


def test_a_stopped_trial_tells_the_folds_it_finished(assignment: Callable[..., Assignment]):
    given, listener = assignment(), Listener(stop_at=3)
    outcome = run_trial(given, listener)
    assert outcome == Outcome("stopped", (result(given, 0)["metrics"]["f1"],))
    assert listener.steps == [1, 2, 5]
    assert list(given.files.directory.rglob("last.ckpt")) == []


def test_epochs_that_the_driver_never_heard_of_are_told_again_as_they_were(
    assignment: Callable[..., Assignment],
):
    """The driver was killed with reports in its queue; the folds are on disk."""
    given, first, again = assignment(), Listener(), Listener()
    ended = run_trial(given, first)
    assert run_trial(dataclasses.replace(given, reported=2), again) == ended
    assert again.reports == first.reports[1:]  # the last that it knows of is told for its answer
    assert again.folds == first.folds


def test_epochs_of_a_checkpoint_that_the_driver_never_heard_of_are_told_again(
    assignment: Callable[..., Assignment],
):
    given, left, again = assignment(), Listener(interrupt_at=3), Listener()
    run_trial(given, left)
    ended = run_trial(given, again)
    assert again.reports[:3] == left.reports
    assert again.steps == [1, 2, 5, 6]
    assert ended.state == "completed"


def test_a_trial_that_should_have_been_stopped_is_stopped_by_what_is_told_again(
    assignment: Callable[..., Assignment],
):
    given = assignment()
    run_trial(given, Listener(interrupt_at=3))
    assert run_trial(given, Listener(stop_at=2)).state == "stopped"
    assert run_trial(given, Listener(stop_at=3)).state == "stopped"
    assert list(given.files.directory.rglob("last.ckpt")) == []


def test_a_finished_fold_is_told_before_the_next_begins_and_can_end_the_trial(
    assignment: Callable[..., Assignment],
):
    given, listener = assignment(), Listener(stop_after_fold=0)
    outcome = run_trial(given, listener)
    score = result(given, 0)["metrics"]["f1"]
    assert outcome == Outcome("stopped", (score,))
    assert listener.steps == [1, 2]
    assert listener.folds == [
        TrialReport(step=2, value=score, fold=0, epoch=2, epochs=2, fold_scores=(score,))
    ]
    assert not (given.files.directory / "fold-1").exists()


def test_the_last_fold_is_told_by_the_outcome(assignment: Callable[..., Assignment]):
    listener = Listener()
    run_trial(assignment(epochs=1), listener)
    assert [report.fold for report in listener.folds] == [0]


def test_a_fold_whose_answer_is_known_is_not_told_again(assignment: Callable[..., Assignment]):
    given, listener = assignment(), Listener(stop_after_fold=0)
    run_trial(given, Listener())
    assert run_trial(dataclasses.replace(given, reported=5), listener).state == "completed"


@pytest.mark.parametrize("epoch", [1, 2])
def test_a_process_whose_trial_another_one_took_over_writes_nothing(
    epoch: int, assignment: Callable[..., Assignment]
):
    given = assignment(checkpoint="last")
    outcome = run_trial(given, Listener(lost_at=epoch, interrupt_at=epoch))
    assert outcome == Outcome("interrupted")
    assert [path.name for path in given.files.directory.rglob("*") if path.is_file()] == [
        "config.json"
    ]


def test_a_full_disk_interrupts_the_trial_and_leaves_no_half_file(
    assignment: Callable[..., Assignment], monkeypatch: pytest.MonkeyPatch
):
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "model.safetensors")

    given = assignment()
    with monkeypatch.context() as patch:
        patch.setattr("trainer.training.scoring.save_weights", full)
        outcome = run_trial(given, Listener())
    assert outcome.state == "no_space"
    assert "No space left on device" in outcome.reason
    assert not list(given.files.directory.rglob("result.json"))
    assert not list(given.files.directory.rglob("*.tmp"))
    assert run_trial(given, Listener()).state == "completed"


def test_an_interrupted_trial_goes_on_where_it_left_and_ends_the_same(
    assignment: Callable[..., Assignment],
):
    given = assignment()
    left, rest = Listener(interrupt_at=3), Listener()
    outcome = run_trial(given, left)
    assert outcome == Outcome("interrupted", (result(given, 0)["metrics"]["f1"],))
    assert (given.files.directory / "fold-1" / "last.ckpt").is_file()
    ended = run_trial(dataclasses.replace(given, reported=5), rest)
    assert (left.steps, rest.steps) == ([1, 2, 5], [5, 6])
    undisturbed = dataclasses.replace(given, number=4)
    assert run_trial(undisturbed, Listener()) == ended
    assert ended.state == "completed"


def test_a_trial_that_is_interrupted_before_its_first_step_reports_nothing(
    assignment: Callable[..., Assignment],
):
    class Gone(Listener):
        def interrupted(self) -> bool:
            return True

    listener = Gone()
    assert run_trial(assignment(), listener) == Outcome("interrupted")
    assert listener.reports == []


# --- the user's own metric


AGREEMENT = """
def agreement(probs_NK, labels_N, classes):
    return float((probs_NK.argmax(axis=1) == labels_N).mean()) + 10 * len(classes)
"""


@pytest.fixture
def own(assignment: Callable[..., Assignment]) -> Callable[..., Assignment]:
    """A trial that is scored by a function in the sweep's code folder."""

    def make(code: str = AGREEMENT, **values: Any) -> Assignment:
        given = assignment(metric="metric", **values)
        given = dataclasses.replace(
            given, values={**given.values, "metric": "my_task.py:agreement"}
        )
        (Path(given.sweep_directory) / "code").mkdir(exist_ok=True)
        (Path(given.sweep_directory) / "code" / "my_task.py").write_text(code)
        return given

    return make


def oof(assignment: Assignment, fold: int) -> tuple[Any, Any]:
    with np.load(assignment.files.directory / f"fold-{fold}" / "oof.npz") as file:
        return file["rows"], file["probs"]


def right(assignment: Assignment, fold: int) -> float:
    """The share of the held-out images that are predicted right."""
    rows_N, probs_NK = oof(assignment, fold)
    labels_N = load_folds(Path(assignment.sweep_directory) / "folds.npz").manifest.labels_N
    return float((probs_NK.argmax(axis=1) == labels_N[rows_N]).mean())


class TestOwnMetric:
    def test_it_is_the_score_of_every_report_and_fold(self, own: Callable[..., Assignment]):
        given, listener = own(), Listener()
        outcome = run_trial(given, listener)
        assert outcome.state == "completed"
        assert outcome.fold_scores == pytest.approx([30 + right(given, fold) for fold in range(2)])
        assert listener.reports[1].value == outcome.fold_scores[0]
        assert result(given, 0)["metrics"]["metric"] == outcome.fold_scores[0]
        assert result(given, 0)["metrics"]["accuracy"] == pytest.approx(outcome.fold_scores[0] - 30)

    def test_a_mistake_in_it_fails_the_trial_with_its_line(self, own: Callable[..., Assignment]):
        outcome = run_trial(own("def agreement(*_):\n    return [][1]\n"), Listener())
        assert (outcome.state, outcome.fold_scores) == ("failed", ())
        assert outcome.reason == "my_task.py:agreement, line 2: IndexError: list index out of range"

    def test_with_another_file_it_is_another_trial(self, own: Callable[..., Assignment]):
        first = run_trial(own(epochs=1), Listener())
        again = Listener()
        changed = run_trial(own(AGREEMENT.replace("10 *", "20 *"), epochs=1), again)
        assert again.steps == [1, 5]
        assert changed.fold_scores == pytest.approx([score + 30 for score in first.fold_scores])

    def test_a_file_that_is_not_there_fails_the_trial(self, own: Callable[..., Assignment]):
        given = own()
        file = Path(given.sweep_directory) / "code" / "my_task.py"
        file.unlink()
        assert (
            run_trial(given, Listener()).reason == f"my_task.py:agreement: there is no file {file}."
        )


# --- one common epoch


def curve(assignment: Assignment, fold: int, name: str) -> list[float]:
    path = assignment.files.directory / f"fold-{fold}" / "curve.csv"
    names = path.read_text().splitlines()[0].split(",")
    column = np.loadtxt(path, delimiter=",", skiprows=1, usecols=names.index(name), ndmin=1)
    return [float(value) for value in column]


COMMON = {"checkpoint": "best", "epochs": 4, "optimizer": "sgd", "lr": 0.05, "scheduler": "none"}


class TestCommonEpoch:
    """checkpoint: best."""

    def test_all_folds_are_scored_by_the_epoch_that_is_best_on_average(
        self, assignment: Callable[..., Assignment]
    ):
        given = assignment(**COMMON)
        outcome = run_trial(given, Listener())
        curves = [curve(given, fold, "f1") for fold in range(2)]
        epoch = int(np.argmax(np.mean(curves, axis=0)))
        assert outcome.fold_scores == tuple(values[epoch] for values in curves)
        for fold in range(2):
            found = result(given, fold)
            assert (found["scored_epoch"], found["epochs"], found["biased"]) == (
                epoch + 1,
                4,
                False,
            )
            assert found["metrics"]["f1"] == curves[fold][epoch]
            assert found["metrics"]["accuracy"] == pytest.approx(right(given, fold))
        assert sorted(path.name for path in Path(given.files.directory, "fold-0").iterdir()) == [
            "curve.csv", "model.safetensors", "oof.npz", "result.json",
        ]  # fmt: skip

    def test_the_goal_of_an_own_metric_decides_which_is_best(self, own: Callable[..., Assignment]):
        chosen = []
        for number, (goal, best) in enumerate((("maximize", np.argmax), ("minimize", np.argmin))):
            given = dataclasses.replace(own(metric_goal=goal, **COMMON), number=number)
            run_trial(given, Listener())
            mean = np.mean([curve(given, fold, "metric") for fold in range(2)], axis=0)
            assert (
                result(given, 0)["scored_epoch"]
                == result(given, 1)["scored_epoch"]
                == int(best(mean)) + 1
            )
            chosen.append(int(best(mean)))
        assert chosen[0] != chosen[1]

    def test_an_interrupted_trial_ends_the_same(self, assignment: Callable[..., Assignment]):
        given = assignment(**{**COMMON, "epochs": 2})
        assert run_trial(given, Listener(interrupt_at=3)).state == "interrupted"
        ended = run_trial(given, Listener())
        undisturbed = dataclasses.replace(given, number=4)
        assert run_trial(undisturbed, Listener()) == ended
        again = Listener()
        assert run_trial(dataclasses.replace(given, reported=6), again) == ended
        assert again.steps == [6]


# --- what a fold run hands on


class TestWhatFoldsLeave:
    @pytest.fixture
    def folds(self, monkeypatch: pytest.MonkeyPatch) -> list[FoldSetup]:
        """What each fold run was given; the first one says that its batches did not fit into memory."""
        given: list[FoldSetup] = []
        run_fold = trial.run_fold

        def split(setup: FoldSetup, *args: Any) -> Any:
            given.append(setup)
            ended = run_fold(setup, *args)
            if setup.fold == 0 and isinstance(ended, FoldResult):
                return dataclasses.replace(
                    ended, accumulation=5, notes=["out of memory", "out of memory", "hot"]
                )
            return (
                dataclasses.replace(ended, notes=["hot"])
                if isinstance(ended, FoldResult)
                else ended
            )

        monkeypatch.setattr(trial, "run_fold", split)
        return given

    def test_later_folds_begin_with_the_parts_that_fitted(
        self, assignment: Callable[..., Assignment], folds: list[FoldSetup]
    ):
        run_trial(assignment(epochs=1), Listener())
        assert [setup.parts for setup in folds] == [1, 5]

    def test_notes_are_those_of_all_folds_each_once(
        self, assignment: Callable[..., Assignment], folds: list[FoldSetup]
    ):
        assert run_trial(assignment(epochs=1), Listener()).notes == ("out of memory", "hot")
        assert run_trial(assignment(epochs=2), Listener(stop_at=3)).notes == (
            "out of memory",
            "hot",
        )

    def test_a_failed_trial_keeps_its_notes(
        self, assignment: Callable[..., Assignment], folds: list[FoldSetup]
    ):
        class Breaking(Listener):
            def report(self, report: TrialReport) -> bool:
                if report.fold == 1:
                    raise RuntimeError("x")
                return super().report(report)

        outcome = run_trial(assignment(epochs=1), Breaking())
        assert (outcome.state, outcome.reason, outcome.notes) == (
            "failed",
            "RuntimeError: x",
            ("out of memory", "hot"),
        )


class TestLeftover:
    """256 MB of a tensor that is never written take no memory of this machine."""

    @pytest.fixture(params=["a trial that ends", "a trial that fails"])
    def hoarding(
        self, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
    ) -> list[torch.Tensor]:
        hoard: list[torch.Tensor] = []
        run_fold = trial.run_fold

        def keep(*args: Any, **options: Any) -> Any:
            hoard.append(torch.empty(128 * 2**20, dtype=torch.uint8))
            if request.param == "a trial that fails":
                raise ValueError
            return run_fold(*args, **options)

        monkeypatch.setattr(trial, "run_fold", keep)
        return hoard

    def test_what_a_trial_left_in_memory_is_told(
        self, assignment: Callable[..., Assignment], hoarding: list[torch.Tensor]
    ):
        outcome = run_trial(assignment(epochs=1), Listener())
        kept = len(hoarding) * 128 * 2**20
        assert kept <= outcome.leftover_bytes < kept + 2**20
        hoarding.clear()

    def test_a_trial_gives_back_what_it_used_however_it_ends(
        self, assignment: Callable[..., Assignment]
    ):
        class Breaking(Listener):
            def report(self, report: TrialReport) -> bool:
                raise RuntimeError("x")

        device, given = (
            torch.device("cpu"),
            assignment(epochs=1, optimizer="madgrad", ema=0.9, checkpoint="best"),
        )
        run_trial(given, Listener())  # what is kept for all trials of a worker
        before = used_bytes(device)
        for number, listener, state in ((4, Listener(), "completed"), (5, Breaking(), "failed")):
            outcome = run_trial(dataclasses.replace(given, number=number), listener)
            assert (outcome.state, outcome.leftover_bytes) == (state, 0)
            assert used_bytes(device) <= before * 1.01


# --- weights, labels and crops


def test_local_weights_are_read_from_their_path(assignment: Callable[..., Assignment]):
    first = assignment(epochs=1)
    run_trial(first, Listener())
    weights = first.files.directory / "fold-0" / "model.safetensors"
    second = dataclasses.replace(assignment(epochs=1, weights=str(weights)), number=4)
    assert run_trial(second, Listener()).state == "completed"
    assert result(second, 0)["metrics"]["log_loss"] != result(first, 0)["metrics"]["log_loss"]
    weights.unlink()
    gone = run_trial(dataclasses.replace(second, number=5), Listener())
    assert (
        gone.reason
        == f"weights: there is no file {weights}. Name an existing file, pretrained or none"
    )


def test_each_head_may_see_its_own_crop(assignment: Callable[..., Assignment], tmp_path: Path):
    """Label columns colour and side, a box around the left half: the trial reads every image in two ways."""
    given = assignment(
        epochs=1,
        heads="separate",
        **{"head_crops.label": "box", "head_weights.side": 2.0, "loss_mix.focal": 1.0},
    )
    lines = (tmp_path / "photos" / "train.csv").read_text().splitlines()[1:]
    rows = [f"{line},{'ab'[at % 2]},0,0,8,16" for at, line in enumerate(lines)]
    both = tmp_path / "photos" / "both.csv"
    both.write_text("\n".join(["path,label,side,left,top,right,bottom", *rows]) + "\n")
    options = DataOptions(
        source=str(both), label=["label", "side"], box=["left", "top", "right", "bottom"]
    )
    folds = make_folds(read_data_set(options).manifest, k=2, seed=0)
    sweep = tmp_path / "runs" / "heads"
    save_folds(folds, sweep / "folds.npz")
    given = dataclasses.replace(given, sweep_directory=str(sweep))
    outcome = run_trial(given, Listener())
    assert (outcome.state, outcome.reason) == ("completed", "")
    assert json.loads((given.files.directory / "config.json").read_text())["head_crops"] == {
        "label": "box"
    }
    _, probs_NK = oof(given, 0)
    assert probs_NK.shape[1] == 6  # the joint classes
    for how in (Preprocessing((16, 16)), Preprocessing((16, 16), crop="box")):
        assert find_images(folds.manifest, how) is not None


class TestFailures:
    def test_a_gpu_that_is_not_there_fails_the_trial(
        self, assignment: Callable[..., Assignment], monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setattr("torch.cuda.is_available", lambda: False)
        outcome = run_trial(dataclasses.replace(assignment(), device="cuda"), Listener())
        assert (outcome.state, outcome.leftover_bytes) == ("failed", 0)
        assert (
            outcome.reason == "device cuda: torch sees no CUDA GPU on this machine. Use cpu or auto"
        )

    @pytest.mark.parametrize(
        ("values", "reason"),
        [
            (
                {"scheduler": "cyclic", "base_lr": 0.1},
                "configuration: cyclic needs base_lr <= lr, got base_lr=0.1 and lr=0.01",
            ),
            ({"lr": 0.0}, "lr: Input should be greater than 0"),
            ({"warmup": 1}, "warmup: Extra inputs are not permitted"),
            (
                {"loss": "mixture", "loss_mix.focal": -1},
                "loss_mix.focal: Input should be greater than or equal to 0",
            ),
        ],
        ids=["choices that do not fit", "out of bounds", "unknown", "an entry out of bounds"],
    )
    def test_a_configuration_that_cannot_be_fails_with_one_line(
        self, assignment: Callable[..., Assignment], values: dict[str, Any], reason: str
    ):
        given = assignment(**values)
        outcome = run_trial(given, Listener())
        assert (outcome.state, outcome.fold_scores, outcome.reason) == ("failed", (), reason)
        assert not given.files.directory.exists()

    def test_a_loss_that_becomes_nan_fails_with_where_and_what_to_do(
        self, assignment: Callable[..., Assignment]
    ):
        given = assignment(
            optimizer="sgd", lr=10.0, momentum=0.99, scheduler="none", epochs=4, batch_size=4
        )
        outcome = run_trial(given, Listener())
        assert outcome.state == "failed"
        values = r"\(lr=10, optimizer=sgd, backbone=test_efficientnet(, batch of 4 with [^)]+)?\)"
        assert re.fullmatch(
            rf"fold 0, epoch \d(, step \d+)?: the (training|validation) loss is (nan|inf) {values}\. "
            "A lower lr or a warm-up usually helps",
            outcome.reason,
        )
        assert "NonFiniteLossError" in outcome.traceback

    def test_an_exception_of_our_own_fails_with_its_traceback_and_the_finished_folds(
        self, assignment: Callable[..., Assignment], monkeypatch: pytest.MonkeyPatch
    ):
        run_fold = trial.run_fold

        def broken(setup: FoldSetup, *args: Any) -> Any:
            if setup.fold == 1:
                raise KeyError("batch\nof lines")
            return run_fold(setup, *args)

        monkeypatch.setattr(trial, "run_fold", broken)
        given = assignment(epochs=1)
        outcome = run_trial(given, Listener())
        assert outcome.state == "failed"
        assert outcome.fold_scores == (result(given, 0)["metrics"]["f1"],)
        assert outcome.reason == r"KeyError: 'batch\nof lines'"
        assert outcome.traceback.startswith("Traceback (most recent call last):")
        assert 'raise KeyError("batch\\nof lines")' in outcome.traceback

    def test_an_exception_without_words_is_named(
        self, assignment: Callable[..., Assignment], monkeypatch: pytest.MonkeyPatch
    ):
        def broken(*args: Any, **options: Any) -> Any:
            raise ValueError

        monkeypatch.setattr(trial, "run_fold", broken)
        assert run_trial(assignment(), Listener()).reason == "ValueError"

    def test_a_damaged_checkpoint_fails_with_one_line(self, assignment: Callable[..., Assignment]):
        given = assignment(epochs=1)
        checkpoint = given.files.directory / "fold-0" / "last.ckpt"
        checkpoint.parent.mkdir(parents=True)
        checkpoint.write_bytes(b"not a checkpoint at all")
        outcome = run_trial(given, Listener())
        assert outcome.state == "failed"
        assert outcome.reason.startswith(f"{checkpoint}: the checkpoint is damaged")
        assert "\n" not in outcome.reason

    def test_missing_folds_fail_with_their_path(
        self, assignment: Callable[..., Assignment], tmp_path: Path
    ):
        given = dataclasses.replace(assignment(), sweep_directory=str(tmp_path / "elsewhere"))
        assert (
            run_trial(given, Listener()).reason
            == f"{tmp_path}/elsewhere/folds.npz: no such folds file"
        )

    @pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt])
    def test_the_order_to_leave_passes(
        self, assignment: Callable[..., Assignment], error: type[BaseException]
    ):
        """Ray ends a worker's trial by raising SystemExit out of a report."""

        class Leaving(Listener):
            def report(self, report: TrialReport) -> bool:
                raise error

        with pytest.raises(error):
            run_trial(assignment(), Leaving())
