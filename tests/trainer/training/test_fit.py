"""One fold run: what it leaves, how it ends, and what goes wrong."""

import csv
import dataclasses
import json
import logging
import math
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

from tests.trainer.conftest import (
    CPU,
    DONE,
    NEVER,
    STEPS,
    Watcher,
    after_an_epoch,
    bits,
    files,
    oof,
    paper_manifest,
    predicted,
    squares,
)
from trainer.data.folds import make_folds
from trainer.errors import CheckpointError, ConfigError
from trainer.images.images import Decoded
from trainer.metrics import METRICS, score_fold
from trainer.model.checkpoint import save_weights
from trainer.training import epochs, scoring
from trainer.training.fit import Ended, pick_device
from trainer.training.reporter import EpochReport, SilentReporter
from trainer.training.result import FoldResult, read_result

# what a finished fold run leaves


def test_a_finished_fold_run_leaves_four_whole_files_and_no_checkpoint(train, tiny, tmp_path):
    train(tiny(), checkpoint_every_s=0)
    assert files(tmp_path / "fold-0") == DONE


def test_the_result_is_what_the_file_holds(train, tiny, toy, tmp_path):
    config = tiny()
    result = train(config, fold=1)
    assert json.loads((tmp_path / "fold-0" / "result.json").read_text()) == dataclasses.asdict(
        result
    )
    assert (result.fold, result.epochs, result.device, result.threads) == (1, 3, "cpu", 1)
    assert (result.config_hash, result.folds_hash) == (config.fingerprint(), toy[1].hash)
    assert set(result.metrics) == set(METRICS)
    assert result.seconds > 0


def test_the_oof_covers_the_held_out_rows_and_gives_the_metrics(train, tiny, toy, tmp_path):
    result = train(tiny(), fold=2)
    with np.load(tmp_path / "fold-0" / "oof.npz", allow_pickle=False) as file:
        np.testing.assert_array_equal(file["rows"], toy[1].valid_rows(2))
        np.testing.assert_allclose(file["probs"].sum(axis=1), 1, atol=1e-6)
        scores = score_fold(file["probs"], toy[1].manifest.labels_N[file["rows"]])
    assert {**scores, "loss": result.metrics["loss"]} == result.metrics


def test_the_weights_give_the_oof_again(train, tiny, toy, tmp_path):
    config = tiny(dropout=0.5, normalise="dataset")
    train(config)
    probs_NK = predicted(config, tmp_path / "fold-0", [toy[0]], toy[1])
    np.testing.assert_allclose(oof(tmp_path / "fold-0"), probs_NK, atol=1e-6)


def test_the_score_is_that_of_the_last_epoch_and_not_of_the_best(train, tiny, monkeypatch):
    monkeypatch.setattr(
        epochs, "lr_at", lambda config, *, step, **_: 5.0 if step >= 2 * STEPS else 1e-3
    )
    watcher = Watcher()
    result = train(tiny(), reporter=watcher)
    losses = [report.metrics["loss"] for report in watcher.reports]
    assert min(losses) < losses[-1]
    assert result.metrics == {name: watcher.reports[-1].metrics[name] for name in METRICS}


def test_the_curve_holds_what_was_reported(train, tiny, tmp_path):
    watcher = Watcher()
    train(tiny(), reporter=watcher)
    with (tmp_path / "fold-0" / "curve.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["epoch", *METRICS, "train_loss", "lr", "seconds"]
    for row, report in zip(rows, watcher.reports, strict=True):
        assert {key: float(text) for key, text in row.items()} == {
            "epoch": report.epoch,
            **report.metrics,
        }


def test_every_epoch_is_reported_once_and_in_order(train, tiny):
    watcher = Watcher()
    train(tiny(), fold=1, reporter=watcher)
    assert [(report.fold, report.epoch, report.epochs) for report in watcher.reports] == [
        (1, 1, 3),
        (1, 2, 3),
        (1, 3, 3),
    ]
    assert all(
        math.isfinite(value) for report in watcher.reports for value in report.metrics.values()
    )


def test_the_reported_rate_is_that_of_the_last_step(train, tiny):
    watcher = Watcher()
    train(tiny(scheduler="cyclic", base_lr=1e-3, lr=1e-2, cycle_epochs=2), reporter=watcher)
    rates = [report.metrics["lr"] for report in watcher.reports]
    assert rates == pytest.approx([1e-3 + 9e-3 * part for part in (5 / 6, 1 / 6, 5 / 6)])


def test_it_learns_a_toy_problem(train, tiny):
    watcher = Watcher()
    result = train(tiny(epochs=4), reporter=watcher)
    assert result.metrics["accuracy"] > 0.9
    assert watcher.reports[-1].metrics["train_loss"] < watcher.reports[0].metrics["train_loss"]


def test_the_held_out_labels_never_reach_the_training(train, tiny, toy, tmp_path):
    folds = toy[1]
    labels_N = folds.manifest.labels_N.copy()
    labels_N[folds.valid_rows(0)] = (labels_N[folds.valid_rows(0)] + 1) % 3
    wrong = dataclasses.replace(
        folds, manifest=dataclasses.replace(folds.manifest, labels_N=labels_N)
    )
    right_result = train(tiny(), "right")
    wrong_result = train(tiny(), "wrong", folds=wrong)
    assert (tmp_path / "right/model.safetensors").read_bytes() == (
        tmp_path / "wrong/model.safetensors"
    ).read_bytes()
    assert right_result.metrics["accuracy"] > wrong_result.metrics["accuracy"]


def test_the_images_are_never_written_to(train, tiny, toy):
    before = toy[0].take(np.arange(36))
    train(tiny(epochs=1))
    np.testing.assert_array_equal(toy[0].take(np.arange(36)), before)


# the same bits


@pytest.mark.parametrize("backbone", ["test_resnet", "test_efficientnet", "test_vit"])
def test_twice_the_same_bits(train, tiny, tmp_path, backbone):
    config = tiny(backbone=backbone, dropout=0.3, epochs=2)
    train(config, "a")
    torch.manual_seed(99)  # whatever was drawn before
    train(config, "b")
    assert bits(tmp_path / "a") == bits(tmp_path / "b")


@pytest.mark.parametrize(
    "change", [{"seed": 1}, {"dropout": 0.5}, {"lr": 2e-2}, {"loss": "focal"}, {"batch_size": 6}]
)
def test_another_configuration_gives_other_weights(train, tiny, tmp_path, change):
    train(tiny(epochs=1), "a")
    train(tiny(epochs=1, **change), "b")
    assert bits(tmp_path / "a")["weights"] != bits(tmp_path / "b")["weights"]


def test_folds_start_from_different_weights(train, tiny, tmp_path):
    config = tiny(epochs=1, lr=1e-9, weight_decay=0)
    for fold in (0, 1):
        train(config, str(fold), fold=fold)
    weights = [
        safetensors.torch.load_file(tmp_path / str(fold) / "model.safetensors") for fold in (0, 1)
    ]
    name = "heads.0.linear.weight"
    assert not torch.allclose(weights[0][name], weights[1][name], atol=1e-3)


# interrupted and continued


def test_an_interrupted_fold_run_leaves_its_checkpoint_and_nothing_else(train, tiny, tmp_path):
    assert train(tiny(), reporter=Watcher(interrupt=after_an_epoch)) is Ended.INTERRUPTED
    assert files(tmp_path / "fold-0") == ["last.ckpt"]


@pytest.mark.parametrize("scored", [{}, {"checkpoint": "fold_best"}, {"checkpoint": "best"}])
def test_an_interruption_in_the_first_epoch_stops_at_once_and_the_epoch_goes_on_later(
    train, tiny, tmp_path, steps, scored
):
    watcher = Watcher(interrupt=lambda watcher: len(steps) >= 2)
    config = tiny(dropout=0.3, **scored)
    assert train(config, reporter=watcher) is Ended.INTERRUPTED
    assert (len(steps), watcher.polls, watcher.epochs) == (2, 3, [])
    assert files(tmp_path / "fold-0") == ["last.ckpt"]
    train(config)
    assert len(steps) == 3 * STEPS
    train(config, "whole")
    assert bits(tmp_path / "fold-0") == bits(tmp_path / "whole")


def test_an_interruption_before_the_first_step_takes_none_and_writes_nothing(
    train, tiny, steps, tmp_path
):
    assert train(tiny(), reporter=Watcher(interrupt=lambda watcher: True)) is Ended.INTERRUPTED
    assert (steps, files(tmp_path / "fold-0")) == ([], [])


def test_an_interruption_stops_at_once_when_the_start_of_its_epoch_is_on_disk(
    train, tiny, tmp_path, steps
):
    watcher = Watcher(interrupt=lambda watcher: len(steps) >= STEPS + 2)
    assert train(tiny(dropout=0.3), reporter=watcher, checkpoint_every_s=0) is Ended.INTERRUPTED
    assert (len(steps), watcher.epochs) == (STEPS + 2, [1])
    train(tiny(dropout=0.3))
    train(tiny(dropout=0.3), "whole")
    assert bits(tmp_path / "fold-0") == bits(tmp_path / "whole")


def test_a_process_that_lost_the_fold_run_writes_no_checkpoint_within_an_epoch(
    train, tiny, tmp_path, steps
):
    """Another process has taken it over in the third step, and has a checkpoint of its own."""
    watcher = Watcher(owns=lambda watcher: len(steps) < 3)
    times = {"clock": lambda: float(len(steps)), "within_epoch_every_s": 2}
    seen = []
    watcher._interrupt = lambda watcher: seen.append(
        [path.stat().st_mtime_ns for path in (tmp_path / "fold-0").glob("last.ckpt")]
    )
    assert train(tiny(), reporter=watcher, **times) is Ended.INTERRUPTED
    assert len(steps) == STEPS
    before, *after = seen[2:]
    assert before != []
    assert after == [before] * len(after)


@pytest.mark.parametrize(("every", "lost"), [(1, 0), (2, 0), (5, 2)])
def test_a_long_epoch_goes_on_from_the_last_checkpoint_within_it(
    train, tiny, tmp_path, steps, every, lost
):
    """The process is killed in the last step; a checkpoint is due after every so many steps."""

    def killed(watcher: Watcher) -> bool:
        if len(steps) == 3 * STEPS - 1:
            raise KeyboardInterrupt
        return False

    config = tiny(dropout=0.3, ema=0.9, clip_norm=1.0, flip=0.5, cutmix=0.3)
    times = {"clock": lambda: float(len(steps)), "within_epoch_every_s": every}
    with pytest.raises(KeyboardInterrupt):
        train(config, reporter=Watcher(interrupt=killed), checkpoint_every_s=NEVER, **times)
    again = Watcher()
    train(config, reporter=again, checkpoint_every_s=NEVER)
    assert len(steps) == 3 * STEPS + lost
    assert again.epochs == [3]
    train(config, "whole")
    assert bits(tmp_path / "fold-0") == bits(tmp_path / "whole")


def test_a_continued_fold_run_interrupted_again_keeps_its_checkpoint(train, tiny, tmp_path, steps):
    train(tiny(), reporter=Watcher(interrupt=after_an_epoch))
    before = (tmp_path / "fold-0" / "last.ckpt").read_bytes()
    assert train(tiny(), reporter=Watcher(interrupt=lambda watcher: True)) is Ended.INTERRUPTED
    assert (tmp_path / "fold-0" / "last.ckpt").read_bytes() == before
    assert len(steps) == STEPS


def test_an_interruption_in_the_last_epoch_comes_too_late(train, tiny):
    config = tiny(epochs=2)
    ended = train(
        config,
        reporter=Watcher(interrupt=lambda watcher: len(watcher.reports) == 2),
        checkpoint_every_s=NEVER,
    )
    assert isinstance(ended, FoldResult)


def test_a_crash_continues_from_the_last_checkpoint(train, tiny, tmp_path):
    def crash(report: EpochReport) -> None:
        if report.epoch == 3:
            raise MemoryError("CUDA out of memory")

    with pytest.raises(MemoryError, match="out of memory"):
        train(tiny(), reporter=Watcher(at_epoch=crash), checkpoint_every_s=0)
    again = Watcher()
    train(tiny(), reporter=again)
    assert again.epochs == [3]
    train(tiny(), "whole")
    assert bits(tmp_path / "fold-0") == bits(tmp_path / "whole")


def test_checkpoints_are_written_no_more_often_than_asked(train, tiny, monkeypatch):
    now = [0.0]
    saved = []
    save = epochs.save_checkpoint
    monkeypatch.setattr(
        epochs,
        "save_checkpoint",
        lambda path, state, **rest: (saved.append(len(state["curve"])), save(path, state, **rest)),
    )

    def forty_seconds(report: EpochReport) -> None:
        now[0] += 40

    train(tiny(epochs=7), reporter=Watcher(at_epoch=forty_seconds), clock=lambda: now[0])
    assert saved == [2, 4, 6]


def test_checkpoints_do_not_change_the_result(train, tiny, tmp_path):
    train(tiny(dropout=0.3), "none", checkpoint_every_s=NEVER)
    train(tiny(dropout=0.3), "all", checkpoint_every_s=0)
    assert bits(tmp_path / "none") == bits(tmp_path / "all")


# stopped for good


def test_a_reporter_that_says_stop_ends_the_fold_run_and_its_checkpoint(
    train, tiny, tmp_path, steps
):
    watcher = Watcher(stop_at=2)
    assert train(tiny(), reporter=watcher, checkpoint_every_s=0) is Ended.STOPPED
    assert watcher.epochs == [1, 2]
    assert len(steps) == 2 * STEPS
    assert files(tmp_path / "fold-0") == []


def test_stop_wins_over_an_interruption_at_the_same_time(train, tiny, tmp_path):
    assert train(tiny(), reporter=Watcher(stop_at=1, interrupt=after_an_epoch)) is Ended.STOPPED
    assert files(tmp_path / "fold-0") == []


def test_stop_at_the_last_epoch_leaves_no_result(train, tiny, tmp_path):
    assert train(tiny(), reporter=Watcher(stop_at=3)) is Ended.STOPPED
    assert files(tmp_path / "fold-0") == []


# finished for ever


def test_a_finished_fold_is_never_trained_again(train, tiny, tmp_path, steps):
    first = train(tiny())
    before = bits(tmp_path / "fold-0")
    taken = len(steps)
    watcher = Watcher()
    assert train(tiny(), reporter=watcher) == first
    assert (len(steps), watcher.epochs, watcher.polls) == (taken, [], 0)
    assert bits(tmp_path / "fold-0") == before


def test_a_finished_fold_is_not_even_built_again(train, tiny, monkeypatch):
    train(tiny())
    monkeypatch.setattr(epochs, "build_network", lambda *_, **__: pytest.fail("built again"))
    assert isinstance(train(tiny()), FoldResult)


def test_a_crash_while_another_configuration_finishes_leaves_no_result_that_lies(
    train, tiny, tmp_path, monkeypatch
):
    """A result.json must never stand beside the weights and OOF of another configuration."""
    old = train(tiny(epochs=1))
    before = (tmp_path / "fold-0" / "oof.npz").read_bytes()

    def full(path: Path, model: torch.nn.Module, **_: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(scoring, "save_weights", full)
    with pytest.raises(OSError, match="No space left"):
        train(tiny(epochs=2))
    found = read_result(tmp_path / "fold-0", config_hash=old.config_hash, folds_hash=old.folds_hash)
    assert found is None or (tmp_path / "fold-0" / "oof.npz").read_bytes() == before


def test_the_result_is_written_last(train, tiny, tmp_path, monkeypatch):
    def look(path: Path, model: torch.nn.Module, **header: object) -> None:
        save_weights(path, model, **header)
        assert "result.json" not in files(tmp_path / "fold-0")
        raise OSError("No space left on device")

    monkeypatch.setattr(scoring, "save_weights", look)
    with pytest.raises(OSError, match="No space left"):
        train(tiny(), checkpoint_every_s=0)
    assert files(tmp_path / "fold-0") == ["curve.csv", "last.ckpt", "model.safetensors", "oof.npz"]
    monkeypatch.undo()
    train(tiny())
    assert files(tmp_path / "fold-0") == DONE


# whose checkpoint


def test_the_checkpoint_of_another_configuration_is_refused(train, tiny, tmp_path):
    train(tiny(), reporter=Watcher(interrupt=after_an_epoch))
    with pytest.raises(
        CheckpointError, match=r"last.ckpt: .* another fold run \(different: config\)"
    ):
        train(tiny(lr=1e-3))
    assert files(tmp_path / "fold-0") == ["last.ckpt"]


def test_the_checkpoint_of_another_fold_is_refused(train, tiny):
    train(tiny(), reporter=Watcher(interrupt=after_an_epoch))
    with pytest.raises(CheckpointError, match=r"\(different: fold\)"):
        train(tiny(), fold=1)


def test_the_checkpoint_of_other_folds_is_refused(train, tiny, toy):
    train(tiny(), reporter=Watcher(interrupt=after_an_epoch))
    with pytest.raises(CheckpointError, match=r"\(different: folds\)"):
        train(tiny(), folds=make_folds(toy[1].manifest, k=3, seed=1))


def test_another_number_of_threads_starts_again(train, tiny, tmp_path, caplog):
    train(tiny(), reporter=Watcher(interrupt=after_an_epoch), threads=2)
    watcher = Watcher()
    with caplog.at_level(logging.INFO, "trainer.training.epochs"):
        result = train(tiny(), reporter=watcher, threads=1)
    assert watcher.epochs == [1, 2, 3]
    assert result.threads == 1
    assert caplog.messages == [
        f"{tmp_path}/fold-0/last.ckpt was made with 2 threads: starting again"
    ]
    train(tiny(), "whole")
    assert bits(tmp_path / "fold-0") == bits(tmp_path / "whole")


# other data


def test_a_wrong_backbone_is_refused_before_anything_is_written(train, tiny, tmp_path):
    with pytest.raises(ConfigError, match="timm has no model 'test_resnt'"):
        train(tiny(backbone="test_resnt"))
    assert files(tmp_path / "fold-0") == []


def test_fewer_training_images_than_a_batch_make_one_step(train, tiny, steps):
    assert isinstance(train(tiny(batch_size=64, epochs=2)), FoldResult)
    assert len(steps) == 2


def test_images_need_not_be_square(train, tiny):
    images_NHWC, labels_N = squares(18, side=24)
    folds = make_folds(paper_manifest(labels_N), k=3, seed=0)
    images = Decoded(images_NHWC[:, :16].copy())
    assert isinstance(train(tiny(resize="16x24", epochs=1), images=images, folds=folds), FoldResult)


# devices and reporters


def test_auto_takes_the_gpu_where_there_is_one(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert pick_device() == pick_device("auto") == pick_device("cpu") == CPU
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert pick_device("auto") == pick_device("cuda") == torch.device("cuda")
    assert pick_device("cpu") == CPU


def test_a_gpu_that_is_not_there_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match="cuda"):
        pick_device("cuda")


def test_the_silent_reporter_always_goes_on():
    reporter = SilentReporter()
    assert reporter.epoch(EpochReport(fold=0, epoch=1, epochs=1, metrics={}))
    assert not reporter.interrupted()
