"""One fold run: what it leaves, and that an interruption changes not one bit of it."""

import csv
import dataclasses
import itertools
import json
import logging
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

from tests.trainer.conftest import paper_manifest, squares
from trainer import fit
from trainer.backbone import build_backbone, normalisation
from trainer.checkpoint import load_weights, save_weights
from trainer.config import TrainConfig
from trainer.data.batches import Batches
from trainer.data.folds import make_folds
from trainer.data.images import Decoded
from trainer.errors import CheckpointError, ConfigError, NonFiniteLossError
from trainer.fit import Ended, FoldResult, pick_device, read_result, run_fold, stops_early
from trainer.metrics import METRICS, score_fold
from trainer.optimizers import OPTIMIZERS
from trainer.predict import predict
from trainer.reporter import EpochReport, SilentReporter
from trainer.schedules import SCHEDULES

CPU = torch.device("cpu")
NEVER = math.inf
STEPS = 6  # per epoch: 24 training images in batches of 4


class Watcher:
    """A reporter that notes every report and poll, and asks for what a test wants."""

    def __init__(
        self,
        *,
        interrupt: Callable[["Watcher"], bool] = lambda watcher: False,
        stop_at: float = NEVER,
        at_epoch: Callable[[EpochReport], object] = lambda report: None,
    ) -> None:
        self.reports: list[EpochReport] = []
        self.polls = 0
        self._interrupt, self._stop_at, self._at_epoch = interrupt, stop_at, at_epoch

    def epoch(self, report: EpochReport) -> bool:
        self.reports.append(report)
        self._at_epoch(report)
        return report.epoch < self._stop_at

    def interrupted(self) -> bool:
        self.polls += 1
        return self._interrupt(self)

    @property
    def epochs(self) -> list[int]:
        return [report.epoch for report in self.reports]


def after_an_epoch(watcher: Watcher) -> bool:
    return bool(watcher.reports)


@pytest.fixture
def train(toy, tmp_path):
    """Run fold 0 of the toy data in `tmp_path / name`."""
    images, folds = toy

    def run(config: TrainConfig, name: str = "fold-0", **changes: object) -> FoldResult | Ended:
        settings = {"fold": 0, "reporter": SilentReporter(), "device": CPU, "threads": 1, **changes}
        own_folds = settings.pop("folds", folds)
        return run_fold(config, images, own_folds, directory=tmp_path / name, **settings)

    return run


@pytest.fixture
def steps(monkeypatch):
    """One entry per optimizer step taken."""
    taken: list[int] = []
    build = fit.build_optimizer

    def counted(*args: object, **settings: object) -> torch.optim.Optimizer:
        optimizer = build(*args, **settings)
        optimizer.register_step_post_hook(lambda *_: taken.append(len(taken) + 1))
        return optimizer

    monkeypatch.setattr(fit, "build_optimizer", counted)
    return taken


def files(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir()) if directory.exists() else []


def curve(directory: Path) -> list[dict[str, str]]:
    """The rows of curve.csv as written, without the time they took."""
    with (directory / "curve.csv").open() as file:
        return [{key: text for key, text in row.items() if key != "seconds"} for row in csv.DictReader(file)]


def bits(directory: Path) -> dict[str, object]:
    """Everything that a finished fold run leaves, except how long it took."""
    with np.load(directory / "oof.npz") as oof:
        arrays = {name: (oof[name].dtype.str, oof[name].shape, oof[name].tobytes()) for name in sorted(oof.files)}
    result = json.loads((directory / "result.json").read_text())
    del result["seconds"]
    weights = (directory / "model.safetensors").read_bytes()
    return {"files": files(directory), "oof": arrays, "result": result, "curve": curve(directory), "weights": weights}


DONE = ["curve.csv", "model.safetensors", "oof.npz", "result.json"]

# what a finished fold run leaves


def test_a_finished_fold_run_leaves_four_whole_files_and_no_checkpoint(train, tiny, tmp_path):
    train(tiny(), checkpoint_every_s=0)
    assert files(tmp_path / "fold-0") == DONE


def test_the_result_is_what_the_file_holds(train, tiny, toy, tmp_path):
    config = tiny()
    result = train(config, fold=1)
    assert json.loads((tmp_path / "fold-0" / "result.json").read_text()) == dataclasses.asdict(result)
    assert (result.fold, result.epochs, result.device, result.threads) == (1, 3, "cpu", 1)
    assert (result.config_hash, result.folds_hash) == (config.fingerprint(), toy[1].hash)
    assert set(result.metrics) == set(METRICS)
    assert result.seconds > 0


def test_the_oof_covers_the_held_out_rows_and_gives_the_metrics(train, tiny, toy, tmp_path):
    result = train(tiny(), fold=2)
    with np.load(tmp_path / "fold-0" / "oof.npz", allow_pickle=False) as oof:
        np.testing.assert_array_equal(oof["rows"], toy[1].valid_rows(2))
        np.testing.assert_allclose(oof["probs"].sum(axis=1), 1, atol=1e-6)
        assert score_fold(oof["probs"], toy[1].manifest.labels_N[oof["rows"]]) == result.metrics


def test_the_weights_give_the_oof_again(train, tiny, toy, tmp_path):
    config = tiny(dropout=0.5)
    train(config)
    model = build_backbone(config, n_classes=3)
    load_weights(tmp_path / "fold-0" / "model.safetensors", model)
    mean, std = normalisation(config)
    batches = Batches(toy[0], toy[1].manifest.labels_N, device=CPU, mean=mean, std=std)
    with np.load(tmp_path / "fold-0" / "oof.npz") as oof:
        probs_NK = predict(model.to(memory_format=torch.channels_last), batches, oof["rows"], batch_size=8)
        np.testing.assert_array_equal(probs_NK, oof["probs"])


def test_the_score_is_that_of_the_last_epoch_and_not_of_the_best(train, tiny, monkeypatch):
    monkeypatch.setattr(fit, "lr_at", lambda config, *, step, steps_per_epoch: 5.0 if step >= 2 * STEPS else 1e-3)
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
    assert list(rows[0]) == ["epoch", "f1", "accuracy", "loss", "train_loss", "lr", "seconds"]
    for row, report in zip(rows, watcher.reports, strict=True):
        assert {key: float(text) for key, text in row.items()} == {"epoch": report.epoch, **report.metrics}


def test_every_epoch_is_reported_once_and_in_order(train, tiny):
    watcher = Watcher()
    train(tiny(), fold=1, reporter=watcher)
    assert [(report.fold, report.epoch, report.epochs) for report in watcher.reports] == [
        (1, 1, 3),
        (1, 2, 3),
        (1, 3, 3),
    ]
    assert all(math.isfinite(value) for report in watcher.reports for value in report.metrics.values())


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
    wrong = dataclasses.replace(folds, manifest=dataclasses.replace(folds.manifest, labels_N=labels_N))
    right_result, wrong_result = train(tiny(), "right"), train(tiny(), "wrong", folds=wrong)
    assert (tmp_path / "right/model.safetensors").read_bytes() == (tmp_path / "wrong/model.safetensors").read_bytes()
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


@pytest.mark.parametrize("change", [{"seed": 1}, {"dropout": 0.5}, {"lr": 2e-2}, {"loss": "focal"}, {"batch_size": 6}])
def test_another_configuration_gives_other_weights(train, tiny, tmp_path, change):
    train(tiny(epochs=1), "a")
    train(tiny(epochs=1, **change), "b")
    assert bits(tmp_path / "a")["weights"] != bits(tmp_path / "b")["weights"]


def test_folds_start_from_different_weights(train, tiny, tmp_path):
    config = tiny(epochs=1, lr=1e-9, weight_decay=0)
    for fold in (0, 1):
        train(config, str(fold), fold=fold)
    weights = [safetensors.torch.load_file(tmp_path / str(fold) / "model.safetensors") for fold in (0, 1)]
    assert not torch.allclose(weights[0]["fc.weight"], weights[1]["fc.weight"], atol=1e-3)


# interrupted and continued


def finish_with_interruptions(train: Callable[..., FoldResult | Ended], config: TrainConfig) -> list[Watcher]:
    """Interrupt after every epoch and continue in a new call until there is a result."""
    watchers = []
    for _ in range(config.epochs):
        watchers.append(Watcher(interrupt=after_an_epoch))
        ended = train(config, "continued", reporter=watchers[-1])
        if ended is not Ended.INTERRUPTED:
            return watchers
        torch.manual_seed(len(watchers))  # another process draws other numbers
    raise AssertionError("never finished")


@pytest.mark.parametrize(
    ("optimizer", "scheduler", "loss"),
    [
        (optimizer, scheduler, loss)
        for (optimizer, scheduler), loss in zip(
            itertools.product(OPTIMIZERS, SCHEDULES),
            itertools.cycle(["cross_entropy", "focal", "label_smoothing"]),
            strict=False,
        )
    ],
)
def test_interrupted_after_every_epoch_equals_uninterrupted_to_the_bit(
    train, tiny, tmp_path, optimizer, scheduler, loss
):
    config = tiny(
        optimizer=optimizer,
        scheduler=scheduler,
        loss=loss,
        dropout=0.3,
        weight_decay=0.01,
        warmup_epochs=0.5,
        step_epochs=1,
        base_lr=1e-3,
    )
    train(config, "whole")
    watchers = finish_with_interruptions(train, config)
    assert [watcher.epochs for watcher in watchers] == [[1], [2], [3]]
    assert bits(tmp_path / "continued") == bits(tmp_path / "whole")


@pytest.mark.parametrize("backbone", ["test_efficientnet", "test_vit", "test_nfnet"])
def test_other_families_continue_to_the_bit(train, tiny, tmp_path, backbone):
    config = tiny(backbone=backbone, dropout=0.3)
    train(config, "whole")
    assert len(finish_with_interruptions(train, config)) == 3
    assert bits(tmp_path / "continued") == bits(tmp_path / "whole")


def test_early_stopping_counts_the_epochs_before_an_interruption(train, tiny, tmp_path):
    config = tiny(epochs=9, patience=2, min_delta=100)
    train(config, "whole")
    watchers = finish_with_interruptions(train, config)
    assert [watcher.epochs for watcher in watchers] == [[1], [2], [3]]
    assert bits(tmp_path / "continued") == bits(tmp_path / "whole")


def test_an_interrupted_fold_run_leaves_its_checkpoint_and_nothing_else(train, tiny, tmp_path):
    assert train(tiny(), reporter=Watcher(interrupt=after_an_epoch)) is Ended.INTERRUPTED
    assert files(tmp_path / "fold-0") == ["last.ckpt"]


def test_an_interruption_in_the_first_epoch_stops_at_once_and_needs_no_checkpoint(train, tiny, tmp_path, steps):
    watcher = Watcher(interrupt=lambda watcher: len(steps) >= 2)
    assert train(tiny(), reporter=watcher) is Ended.INTERRUPTED
    assert (len(steps), watcher.polls, watcher.epochs) == (2, 3, [])
    assert files(tmp_path / "fold-0") == []
    train(tiny())
    train(tiny(), "whole")
    assert bits(tmp_path / "fold-0") == bits(tmp_path / "whole")


def test_an_interruption_before_the_first_step_takes_none(train, tiny, steps):
    assert train(tiny(), reporter=Watcher(interrupt=lambda watcher: True)) is Ended.INTERRUPTED
    assert steps == []


def test_an_interruption_stops_at_once_when_the_start_of_its_epoch_is_on_disk(train, tiny, tmp_path, steps):
    watcher = Watcher(interrupt=lambda watcher: len(steps) >= STEPS + 2)
    assert train(tiny(dropout=0.3), reporter=watcher, checkpoint_every_s=0) is Ended.INTERRUPTED
    assert (len(steps), watcher.epochs) == (STEPS + 2, [1])
    train(tiny(dropout=0.3))
    train(tiny(dropout=0.3), "whole")
    assert bits(tmp_path / "fold-0") == bits(tmp_path / "whole")


def test_an_interruption_finishes_its_epoch_when_the_start_is_not_on_disk(train, tiny, tmp_path, steps):
    watcher = Watcher(interrupt=lambda watcher: len(steps) >= STEPS + 2)
    assert train(tiny(dropout=0.3), reporter=watcher, checkpoint_every_s=NEVER) is Ended.INTERRUPTED
    assert (len(steps), watcher.epochs) == (2 * STEPS, [1, 2])
    assert files(tmp_path / "fold-0") == ["last.ckpt"]
    again = Watcher()
    train(tiny(dropout=0.3), reporter=again)
    assert again.epochs == [3]
    train(tiny(dropout=0.3), "whole")
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
        config, reporter=Watcher(interrupt=lambda watcher: len(watcher.reports) == 2), checkpoint_every_s=NEVER
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
    now, saved = [0.0], []
    save = fit.save_checkpoint
    monkeypatch.setattr(
        fit,
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


def test_a_reporter_that_says_stop_ends_the_fold_run_and_its_checkpoint(train, tiny, tmp_path, steps):
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
    before, taken = bits(tmp_path / "fold-0"), len(steps)
    watcher = Watcher()
    assert train(tiny(), reporter=watcher) == first
    assert (len(steps), watcher.epochs, watcher.polls) == (taken, [], 0)
    assert bits(tmp_path / "fold-0") == before


def test_a_finished_fold_is_not_even_built_again(train, tiny, monkeypatch):
    train(tiny())
    monkeypatch.setattr(fit, "build_backbone", lambda *_, **__: pytest.fail("built again"))
    assert isinstance(train(tiny()), FoldResult)


def test_read_result_knows_only_this_configuration_and_these_folds(train, tiny, tmp_path):
    result = train(tiny())
    known = {"config_hash": result.config_hash, "folds_hash": result.folds_hash}
    assert read_result(tmp_path / "fold-0", **known) == result
    assert read_result(tmp_path / "fold-0", **{**known, "config_hash": "other"}) is None
    assert read_result(tmp_path / "fold-0", **{**known, "folds_hash": "other"}) is None
    assert read_result(tmp_path / "nowhere", **known) is None


def test_a_crash_while_another_configuration_finishes_leaves_no_result_that_lies(train, tiny, tmp_path, monkeypatch):
    """A result.json must never stand beside the weights and OOF of another configuration."""
    old = train(tiny(epochs=1))
    oof = (tmp_path / "fold-0" / "oof.npz").read_bytes()

    def full(path: Path, model: torch.nn.Module) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(fit, "save_weights", full)
    with pytest.raises(OSError, match="No space left"):
        train(tiny(epochs=2))
    found = read_result(tmp_path / "fold-0", config_hash=old.config_hash, folds_hash=old.folds_hash)
    assert found is None or (tmp_path / "fold-0" / "oof.npz").read_bytes() == oof


def test_the_result_is_written_last(train, tiny, tmp_path, monkeypatch):
    def look(path: Path, model: torch.nn.Module) -> None:
        save_weights(path, model)
        assert "result.json" not in files(tmp_path / "fold-0")
        raise OSError("No space left on device")

    monkeypatch.setattr(fit, "save_weights", look)
    with pytest.raises(OSError, match="No space left"):
        train(tiny(), checkpoint_every_s=0)
    assert files(tmp_path / "fold-0") == ["curve.csv", "last.ckpt", "model.safetensors", "oof.npz"]
    monkeypatch.undo()
    train(tiny())
    assert files(tmp_path / "fold-0") == DONE


# whose checkpoint


def test_the_checkpoint_of_another_configuration_is_refused(train, tiny, tmp_path):
    train(tiny(), reporter=Watcher(interrupt=after_an_epoch))
    with pytest.raises(CheckpointError, match=r"last.ckpt: .* another fold run \(different: config\)"):
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
    train(tiny(), reporter=Watcher(interrupt=after_an_epoch), threads=1)
    watcher = Watcher()
    with caplog.at_level(logging.INFO, "trainer.fit"):
        result = train(tiny(), reporter=watcher, threads=2)
    assert watcher.epochs == [1, 2, 3]
    assert result.threads == 2
    assert caplog.messages == [f"{tmp_path}/fold-0/last.ckpt was made with 1 threads: starting again"]
    train(tiny(), "whole", threads=2)
    assert bits(tmp_path / "fold-0") == bits(tmp_path / "whole")


# what goes wrong


def test_a_rate_far_too_high_is_refused_with_what_to_try(train, tiny, tmp_path):
    config = tiny(backbone="test_vit", optimizer="sgd", lr=10)
    with pytest.raises(
        NonFiniteLossError,
        match=r"^fold 0, epoch \d(, step \d+)?: the (training|validation) loss is (nan|inf) "
        r"\(lr=[\d.]+, optimizer=sgd, backbone=test_vit\). A lower lr or a warm-up usually helps$",
    ):
        train(config)
    assert "result.json" not in files(tmp_path / "fold-0")


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_not_finite_takes_no_step(train, tiny, monkeypatch, steps, value):
    monkeypatch.setattr(
        fit,
        "build_loss",
        lambda config: lambda logits_BK, labels_B: logits_BK.sum() * (value if len(steps) == 8 else 1),
    )
    with pytest.raises(NonFiniteLossError, match=r"^fold 0, epoch 2, step 8: the training loss is "):
        train(tiny(lr=1e-3))
    assert len(steps) == 8


def test_the_checkpoint_before_the_failure_stands(train, tiny, tmp_path, monkeypatch, steps):
    monkeypatch.setattr(
        fit,
        "build_loss",
        lambda config: lambda logits_BK, labels_B: logits_BK.sum() * (math.nan if len(steps) == 8 else 1),
    )
    with pytest.raises(NonFiniteLossError, match="step 8"):
        train(tiny(lr=1e-3), checkpoint_every_s=0)
    assert files(tmp_path / "fold-0") == ["last.ckpt"]


def test_weights_that_the_very_last_step_ruins_are_refused(train, tiny, tmp_path, monkeypatch):
    build = fit.build_optimizer

    def ruinous(model: torch.nn.Module, *args: object, **settings: object) -> torch.optim.Optimizer:
        optimizer, taken = build(model, *args, **settings), []

        def ruin(*_: object) -> None:
            taken.append(1)
            if len(taken) == STEPS:
                with torch.no_grad():
                    next(model.parameters()).fill_(math.nan)

        optimizer.register_step_post_hook(ruin)
        return optimizer

    monkeypatch.setattr(fit, "build_optimizer", ruinous)
    with pytest.raises(NonFiniteLossError, match=r"^fold 0, epoch 1: the validation loss is nan"):
        train(tiny(epochs=1))
    assert files(tmp_path / "fold-0") == []


def test_a_wrong_backbone_is_refused_before_anything_is_written(train, tiny, tmp_path):
    with pytest.raises(ConfigError, match="timm has no model 'test_resnt'"):
        train(tiny(backbone="test_resnt"))
    assert files(tmp_path / "fold-0") == []


def test_fewer_training_images_than_a_batch_make_one_step(train, tiny, steps):
    assert isinstance(train(tiny(batch_size=64, epochs=2)), FoldResult)
    assert len(steps) == 2


def test_images_need_not_be_square(tiny, tmp_path):
    images_NHWC, labels_N = squares(18, side=24)
    folds = make_folds(paper_manifest(labels_N), k=3, seed=0)
    result = run_fold(
        tiny(resize="16x24", epochs=1),
        Decoded(images_NHWC[:, :16].copy()),
        folds,
        fold=0,
        directory=tmp_path,
        reporter=SilentReporter(),
        device=CPU,
        threads=1,
    )
    assert isinstance(result, FoldResult)


# early stopping


def rows(*losses: float) -> list[dict[str, float]]:
    return [{"epoch": epoch, "loss": loss, "f1": -loss} for epoch, loss in enumerate(losses, start=1)]


@pytest.mark.parametrize(
    ("losses", "stops"),
    [
        ((), False),
        ((1.0,), False),
        ((1.0, 1.0), False),
        ((1.0, 1.0, 1.0), True),
        ((3.0, 2.0, 1.0), False),
        ((1.0, 2.0, 0.5, 2.0), False),
        ((1.0, 2.0, 0.5, 2.0, 0.5), True),
        ((1.0, 2.0, 0.95, 0.95), True),
        ((math.nan,), False),
        ((math.nan, math.nan), True),
        ((1.0, math.nan, 0.5), False),
        ((1.0, math.nan, math.nan), True),
    ],
)
@pytest.mark.parametrize("monitor", ["loss", "f1"])
def test_patience_counts_the_epochs_since_the_last_improvement(losses, stops, monitor):
    config = TrainConfig(patience=2, min_delta=0.1, monitor=monitor)
    assert stops_early(config, rows(*losses)) is stops


def test_a_change_of_exactly_min_delta_is_no_improvement():
    assert stops_early(TrainConfig(patience=1, min_delta=0.5), rows(1.0, 0.5))
    assert not stops_early(TrainConfig(patience=1, min_delta=0.5), rows(1.0, 0.25))


def test_without_patience_nothing_stops_early():
    assert not stops_early(TrainConfig(patience=0), rows(*[1.0] * 50))


def test_a_fold_run_stops_early_and_says_after_how_many_epochs(train, tiny, tmp_path):
    result = train(tiny(epochs=9, patience=1, min_delta=100))
    assert result.epochs == 2
    assert len(curve(tmp_path / "fold-0")) == 2
    assert files(tmp_path / "fold-0") == DONE


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
