"""One trial on its worker: real trainings of a tiny network on 60 images."""

import dataclasses
import json
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sweeps import trial
from sweeps.messages import Assignment, Outcome, TrialReport
from sweeps.trial import run_trial
from tests.fakes import manifest_of, write_photos
from trainer.data.folds import make_folds, save_folds

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
    """Keeps the reports; stops or interrupts when told to."""

    def __init__(self, *, stop_at: int = 0, interrupt_at: int = 0) -> None:
        self.reports: list[TrialReport] = []
        self._stop_at, self._interrupt_at = stop_at, interrupt_at

    def report(self, report: TrialReport) -> bool:
        self.reports.append(report)
        return len(self.reports) != self._stop_at

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
    loaded: dict[str, Any] = json.loads((Path(assignment.directory) / f"fold-{fold}" / "result.json").read_text())
    return loaded


def test_every_epoch_of_every_fold_is_reported_with_the_mean_over_folds(assignment: Callable[..., Assignment]):
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
        np.loadtxt(Path(given.directory) / f"fold-{fold}" / "curve.csv", delimiter=",", skiprows=1, usecols=2)
        for fold in range(2)
    ]
    with (Path(given.directory) / "fold-0" / "curve.csv").open() as file:
        assert file.readline().split(",")[2] == "accuracy"
    values = [*curves[0], *(statistics.fmean([first, value]) for value in curves[1])]
    assert [r.value for r in listener.reports] == pytest.approx(values, abs=1e-12)


def test_a_completed_trial_leaves_the_directory_of_the_design(assignment: Callable[..., Assignment]):
    given = assignment(epochs=1)
    run_trial(given, Listener())
    directory = Path(given.directory)
    assert directory.name == "trial-0003"
    files = sorted(path.relative_to(directory).as_posix() for path in directory.rglob("*") if path.is_file())
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
    parts = [np.load(Path(given.directory) / f"fold-{fold}" / "oof.npz") for fold in range(2)]
    rows_N = np.concatenate([part["rows"] for part in parts])
    probs_NK = np.concatenate([part["probs"] for part in parts])
    assert sorted(rows_N) == list(range(60))
    assert probs_NK.shape == (60, 3)
    np.testing.assert_allclose(probs_NK.sum(axis=1), 1, atol=1e-5)


def test_finished_folds_are_not_trained_again(assignment: Callable[..., Assignment], monkeypatch: pytest.MonkeyPatch):
    given = assignment(epochs=1)
    first = run_trial(given, Listener())
    written = {path: path.stat().st_mtime_ns for path in Path(given.directory).rglob("result.json")}
    again = Listener()
    assert run_trial(given, again) == first
    assert again.reports == []
    (Path(given.directory) / "fold-1" / "result.json").unlink()
    assert run_trial(given, again) == first  # the same fold again, to the bit
    assert again.steps == [5]
    assert again.reports[0].fold_scores == first.fold_scores[:1]
    kept = Path(given.directory) / "fold-0" / "result.json"
    assert kept.stat().st_mtime_ns == written[kept]


def test_a_stopped_trial_tells_the_folds_it_finished(assignment: Callable[..., Assignment]):
    given, listener = assignment(), Listener(stop_at=3)
    outcome = run_trial(given, listener)
    assert outcome == Outcome("stopped", (result(given, 0)["metrics"]["f1"],))
    assert listener.steps == [1, 2, 5]
    assert list(Path(given.directory).rglob("last.ckpt")) == []


def test_an_interrupted_trial_goes_on_where_it_left_and_ends_the_same(assignment: Callable[..., Assignment]):
    given = assignment()
    left, rest = Listener(interrupt_at=3), Listener()
    outcome = run_trial(given, left)
    assert outcome == Outcome("interrupted", (result(given, 0)["metrics"]["f1"],))
    assert (Path(given.directory) / "fold-1" / "last.ckpt").is_file()
    ended = run_trial(given, rest)
    assert (left.steps, rest.steps) == ([1, 2, 5], [6])
    undisturbed = dataclasses.replace(given, number=4)
    assert run_trial(undisturbed, Listener()) == ended
    assert ended.state == "completed"


def test_a_trial_that_is_interrupted_before_its_first_step_reports_nothing(assignment: Callable[..., Assignment]):
    class Gone(Listener):
        def interrupted(self) -> bool:
            return True

    listener = Gone()
    assert run_trial(assignment(), listener) == Outcome("interrupted")
    assert listener.reports == []


class TestFailures:
    @pytest.mark.parametrize(
        ("values", "reason"),
        [
            (
                {"scheduler": "cyclic", "base_lr": 0.1},
                "configuration: cyclic needs base_lr <= lr, got base_lr=0.1 and lr=0.01",
            ),
            ({"lr": 0.0}, "lr: Input should be greater than 0"),
            ({"warmup": 1}, "warmup: Extra inputs are not permitted"),
        ],
        ids=["choices that do not fit", "out of bounds", "unknown"],
    )
    def test_a_configuration_that_cannot_be_fails_with_one_line(
        self, assignment: Callable[..., Assignment], values: dict[str, Any], reason: str
    ):
        given = assignment(**values)
        outcome = run_trial(given, Listener())
        assert (outcome.state, outcome.fold_scores, outcome.reason) == ("failed", (), reason)
        assert not Path(given.directory).exists()

    def test_a_loss_that_becomes_nan_fails_with_where_and_what_to_do(self, assignment: Callable[..., Assignment]):
        given = assignment(optimizer="sgd", lr=10.0, momentum=0.99, scheduler="none", epochs=4, batch_size=4)
        outcome = run_trial(given, Listener())
        assert outcome.state == "failed"
        where, _, rest = outcome.reason.partition(": ")
        assert where.startswith("fold 0, epoch ")
        what, _, advice = rest.partition(" (lr=10, optimizer=sgd, backbone=test_efficientnet). ")
        assert what in ("the training loss is nan", "the training loss is inf")
        assert advice == "A lower lr or a warm-up usually helps"
        assert "NonFiniteLossError" in outcome.traceback

    def test_an_exception_of_our_own_fails_with_its_traceback_and_the_finished_folds(
        self, assignment: Callable[..., Assignment], monkeypatch: pytest.MonkeyPatch
    ):
        run_fold = trial.run_fold

        def broken(*args: Any, fold: int, **options: Any) -> Any:
            if fold == 1:
                raise KeyError("batch\nof lines")
            return run_fold(*args, fold=fold, **options)

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
        assert run_trial(assignment(), Listener()).reason == "ValueError: no message"

    def test_a_damaged_checkpoint_fails_with_one_line(self, assignment: Callable[..., Assignment]):
        given = assignment(epochs=1)
        checkpoint = Path(given.directory) / "fold-0" / "last.ckpt"
        checkpoint.parent.mkdir(parents=True)
        checkpoint.write_bytes(b"not a checkpoint at all")
        outcome = run_trial(given, Listener())
        assert outcome.state == "failed"
        assert outcome.reason.startswith(f"{checkpoint}: the checkpoint is damaged")
        assert "\n" not in outcome.reason

    def test_missing_folds_fail_with_their_path(self, assignment: Callable[..., Assignment], tmp_path: Path):
        given = dataclasses.replace(assignment(), sweep_directory=str(tmp_path / "elsewhere"))
        assert run_trial(given, Listener()).reason == f"{tmp_path}/elsewhere/folds.npz: no such folds file"

    @pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt])
    def test_the_order_to_leave_passes(self, assignment: Callable[..., Assignment], error: type[BaseException]):
        """Ray ends a worker's trial by raising SystemExit out of a report."""

        class Leaving(Listener):
            def report(self, report: TrialReport) -> bool:
                raise error

        with pytest.raises(error):
            run_trial(assignment(), Leaving())
