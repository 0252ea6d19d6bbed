"""One trial on its worker: real trainings of a tiny network on 60 images."""

import dataclasses
import errno
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import load_file

from sweeps.running import trial
from sweeps.running.messages import Assignment, Measured, Outcome, TrialReport
from sweeps.running.trial import run_trial
from tests.sweeps.running.trial_runs import VALUES, Listener, oof, result
from trainer.data.data_set import read_data_set
from trainer.data.fold_files import load_folds, save_folds
from trainer.data.folds import make_folds
from trainer.data.options import DataOptions
from trainer.images.cache import find_images
from trainer.images.preprocessing import Preprocessing
from trainer.metrics import score_fold
from trainer.training.fold_setup import FoldSetup
from trainer.training.oof import read_oof
from trainer.training.result import FoldResult, read_curve


def test_every_epoch_of_every_fold_is_reported_with_the_mean_over_folds(
    assignment: Callable[..., Assignment],
):
    given = assignment(metric="accuracy")
    listener = Listener()
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


def test_every_report_has_the_metrics_that_the_curve_has_in_the_end(
    assignment: Callable[..., Assignment],
):
    given = assignment(epochs=2)
    listener = Listener()
    before = time.time()
    run_trial(given, listener)
    assert [dict(report.metrics) for report in listener.reports] == [
        {name: value for name, value in row.items() if name != "epoch"}
        for fold in range(2)
        for row in read_curve(given.files.fold(fold))
    ]
    times = [report.time for report in listener.reports]
    assert before < times[0]
    assert times == sorted(times)


def test_finished_folds_are_not_trained_again(
    assignment: Callable[..., Assignment], monkeypatch: pytest.MonkeyPatch
):
    given = assignment(epochs=1)
    first = run_trial(given, Listener())
    written = {path: path.stat().st_mtime_ns for path in given.files.directory.rglob("result.json")}
    given = dataclasses.replace(given, reported=5)
    again = Listener()
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


def test_what_is_measured_of_a_completed_trial(assignment: Callable[..., Assignment]):
    given = assignment()
    measured = run_trial(given, Listener()).measured
    results = [result(given, fold) for fold in range(2)]
    assert measured.seconds == pytest.approx(sum(each["seconds"] for each in results), abs=1e-3)
    # two folds train two epochs on 30 images each
    assert measured.images_per_s == pytest.approx(120 / measured.seconds, abs=0.1)
    network = load_file(given.files.fold(0) / "model.safetensors")
    buffers = ("running_mean", "running_var", "num_batches_tracked")
    assert measured.parameters == sum(
        tensor.numel() for name, tensor in network.items() if not name.endswith(buffers)
    )
    folds = load_folds(given.sweep.folds_file)
    probs_NK = read_oof(given.files.directory, folds)
    assert measured.oof == pytest.approx(score_fold(probs_NK, folds.manifest.labels_N)["f1"])


def test_a_trial_that_is_not_complete_has_no_numbers(assignment: Callable[..., Assignment]):
    assert run_trial(assignment(), Listener(stop_at=3)).measured == Measured()


def test_a_fold_whose_weights_were_removed_is_finished_only_where_that_was_allowed(
    assignment: Callable[..., Assignment],
):
    given = assignment(epochs=1)
    first = run_trial(given, Listener())
    weights = [given.files.fold(fold) / "model.safetensors" for fold in range(2)]
    weights[0].unlink()
    allowed = dataclasses.replace(given, without_weights=True)
    again = Listener()
    assert run_trial(allowed, again) == first
    assert again.steps == [1, 5]  # told again from the curves
    assert not weights[0].exists()
    assert run_trial(given, Listener()) == first
    assert weights[0].exists()


def test_a_stopped_trial_tells_the_folds_it_finished(assignment: Callable[..., Assignment]):
    given = assignment()
    listener = Listener(stop_at=3)
    outcome = run_trial(given, listener)
    assert outcome == Outcome("stopped", (result(given, 0)["metrics"]["f1"],))
    assert listener.steps == [1, 2, 5]
    assert list(given.files.directory.rglob("last.ckpt")) == []


def test_epochs_that_the_driver_never_heard_of_are_told_again_as_they_were(
    assignment: Callable[..., Assignment],
):
    """The driver was killed with reports in its queue; the folds are on disk."""
    given = assignment()
    first = Listener()
    again = Listener()
    ended = run_trial(given, first)
    assert run_trial(dataclasses.replace(given, reported=2), again) == ended
    assert again.reports == first.reports[1:]  # the last that it knows of is told for its answer
    assert again.folds == first.folds


def test_epochs_of_a_checkpoint_that_the_driver_never_heard_of_are_told_again(
    assignment: Callable[..., Assignment],
):
    given = assignment()
    left = Listener(interrupt_at=3)
    again = Listener()
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
    given = assignment()
    listener = Listener(stop_after_fold=0)
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
    given = assignment()
    listener = Listener(stop_after_fold=0)
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
    def full(*_: object, **__: object) -> None:
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
    left = Listener(interrupt_at=3)
    rest = Listener()
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


# --- what a fold run hands on


class TestWhatFoldsLeave:
    @pytest.fixture
    def folds(self, monkeypatch: pytest.MonkeyPatch) -> list[FoldSetup]:
        """What each fold run was given; the first one says
        that its batches did not fit into memory.
        """
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

    @pytest.mark.parametrize("every_epoch", [True, False])
    def test_folds_know_whether_every_epoch_decides(
        self, assignment: Callable[..., Assignment], folds: list[FoldSetup], every_epoch: bool
    ):
        given = dataclasses.replace(assignment(epochs=1), every_epoch=every_epoch)
        run_trial(given, Listener())
        assert [setup.every_epoch for setup in folds] == [every_epoch] * 2

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
    """Label columns colour and side, a box around the left half:
    the trial reads every image in two ways.
    """
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
