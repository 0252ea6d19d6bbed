"""A training on all images."""

import dataclasses
import json
import math

import numpy as np
import pytest
import safetensors.torch
import torch

from tests.trainer.conftest import CPU, STEPS, Watcher, after_an_epoch, curve, files, squares
from trainer.data.folds import ALWAYS_TRAINED, HOLDOUT
from trainer.errors import CheckpointError, NonFiniteLossError
from trainer.images.images import Decoded
from trainer.model.checkpoint import load_weights, read_header
from trainer.model.network import build_network
from trainer.seeds import derive
from trainer.training import epochs
from trainer.training.fit import Ended, run_fold, run_refit
from trainer.training.fold_setup import FoldSetup
from trainer.training.from_setup import heads_of
from trainer.training.refit import RefitSetup
from trainer.training.refit_result import read_refit, refit_models
from trainer.training.reporter import SilentReporter
from trainer.training.result import WEIGHTS

DONE = ["curve.csv", "model.safetensors", "result.json"]


@pytest.fixture
def setup(tiny, toy, tmp_path):
    """A refit of the toy data, with some of its setup changed."""

    def make(name="refit-0", *, changes=None, **about):
        config = tiny(**(changes or {}))
        values = {
            "config": config,
            "images": [toy[0]] * len(config.views),
            "folds": toy[1],
            "directory": tmp_path / name,
            "device": CPU,
            "threads": 1,
            "number": 0,
            "epochs": config.epochs,
        }
        return RefitSetup(**{**values, **about})

    return make


def refit(setup, reporter=None, **settings):
    return run_refit(setup, reporter or SilentReporter(), **settings)


def weights(setup):
    return (setup.directory / WEIGHTS).read_bytes()


# what is trained


def test_every_image_is_trained_on_and_nothing_is_scored(setup, toy, monkeypatch):
    monkeypatch.setattr(epochs, "predict", lambda *_, **__: pytest.fail("scored"))
    watcher = Watcher()
    made = setup()
    result = refit(made, watcher)
    assert made.train_rows.tolist() == list(range(36))
    assert (result.images, result.epochs) == (36, 3)
    assert [(report.fold, report.epoch, report.epochs) for report in watcher.reports] == [
        (-1, 1, 3),
        (-1, 2, 3),
        (-1, 3, 3),
    ]
    assert set(watcher.reports[0].metrics) == {"train_loss", "lr", "seconds"}
    assert files(made.directory) == DONE


def test_an_epoch_has_the_steps_of_all_images(setup, steps):
    refit(setup(epochs=2))
    assert len(steps) == 2 * 36 // 4 > 2 * STEPS


def test_the_schedule_is_planned_over_the_epochs_of_the_configuration(setup):
    made = setup(epochs=2, changes={"epochs": 4, "scheduler": "cosine", "lr": 0.01})
    refit(made)
    last = float(curve(made.directory)[-1]["lr"])
    assert last == pytest.approx(0.01 * (1 + math.cos(math.pi * 17 / 36)) / 2)


def test_it_equals_a_fold_run_on_the_same_rows(setup, tiny, toy, tmp_path, monkeypatch):
    """With nothing held out, and one seed: the same weights to the bit."""
    changes = {"ema": 0.9, "flip": 0.5, "normalise": "dataset", "dropout": 0.2}
    all_trained = dataclasses.replace(toy[1], fold_N=np.where(toy[1].fold_N == 0, 0, -1))
    made = setup(changes=changes, folds=all_trained)
    rows_N = all_trained.train_rows(0)
    fold = FoldSetup(
        config=tiny(**changes),
        images=[toy[0]],
        folds=all_trained,
        fold=0,
        directory=tmp_path / "fold-0",
        device=CPU,
        threads=1,
    )
    monkeypatch.setattr(RefitSetup, "train_rows", rows_N)
    monkeypatch.setattr(RefitSetup, "seed", fold.seed)
    run_fold(fold, SilentReporter())
    result = refit(made)
    saved = [safetensors.torch.load_file(made.directory / WEIGHTS) for made in (made, fold)]
    assert all(torch.equal(saved[0][name], saved[1][name]) for name in saved[1])
    headers = [read_header(made.directory / WEIGHTS) for made in (made, fold)]
    assert [header.pop("fold") for header in headers] == ["null", "0"]
    assert headers[0] == headers[1]
    found = json.loads((fold.directory / "result.json").read_text())
    assert (found["mean"], found["std"]) == (result.mean, result.std)


def test_the_statistics_of_batch_norms_are_measured_anew(setup, networks):
    """At the end they are those of all images, whatever the few steps made of them."""
    made = setup(changes={"lr": 1e-9, "epochs": 1, "batch_size": 36})
    refit(made)
    network = build_network(made.config, heads_of(made.config, made.folds), code=None)
    load_weights(made.directory / WEIGHTS, network)
    images = made.images[0].take(np.arange(36)) / 255
    result = read_refit(made.directory)
    assert result is not None
    views = torch.from_numpy((images - result.mean) / result.std).float().permute(0, 3, 1, 2)
    with torch.no_grad():
        in_eval = network.eval()([views])[0]
        in_train = network.train()([views])[0]
    torch.testing.assert_close(in_eval, in_train, rtol=0.1, atol=0.05)


def test_it_learns(setup, toy):
    made = setup(changes={"epochs": 6})
    refit(made)
    network = build_network(made.config, heads_of(made.config, made.folds), code=None)
    load_weights(made.directory / WEIGHTS, network)
    result = read_refit(made.directory)
    images_NHWC, labels_N = squares(60, side=16, seed=5)
    views = torch.from_numpy((images_NHWC / 255 - result.mean) / result.std).float()
    with torch.no_grad():
        logits_NK = network.eval()([views.permute(0, 3, 1, 2)])[0]
    assert (logits_NK.argmax(dim=1).numpy() == labels_N).mean() > 0.9


def test_the_number_decides_every_random_draw(setup):
    first, second = setup("a", number=0), setup("b", number=1)
    assert (first.seed, second.seed) == (derive(0, "refit", 0), derive(0, "refit", 1))
    refit(first)
    refit(second)
    assert weights(first) != weights(second)
    again = setup("c", number=0)
    refit(again)
    assert weights(again) == weights(first)


@pytest.mark.parametrize(("with_holdout", "images"), [(False, 30), (True, 36)])
def test_the_holdout_is_trained_on_only_if_asked(setup, toy, with_holdout, images):
    fold_N = np.concatenate([np.full(6, HOLDOUT), np.full(6, ALWAYS_TRAINED), np.arange(24) % 2])
    folds = dataclasses.replace(toy[1], fold_N=fold_N, k=2)
    result = refit(setup(folds=folds, with_holdout=with_holdout, epochs=1))
    assert result.images == images


@pytest.mark.parametrize(
    "changes",
    [
        {"freeze": "backbone", "tta": "flip"},  # trained on features
        {"ema": 0.9, "flip": 0.5, "class_weights": "balanced", "sampling": "balanced"},
    ],
)
def test_other_choices_work_without_a_held_out_fold(setup, changes):
    made = setup(changes=changes)
    assert 0 < refit(made).train_loss < 3
    assert files(made.directory) == DONE


def test_two_views_and_separate_heads(setup, people):
    more = Decoded(squares(36, side=16, seed=1)[0])
    changes = {"heads": "separate", "head_crops": {"tone": "box"}}
    made = setup(changes=changes, folds=people[1], images=[people[0], more])
    refit(made)
    saved = safetensors.torch.load_file(made.directory / WEIGHTS)
    assert {len(saved[f"heads.{head}.linear.bias"]) for head in (0, 1)} == {2}


# interruption


@pytest.mark.parametrize("changes", [{"dropout": 0.3, "ema": 0.9}, {"freeze": "backbone"}])
def test_an_interrupted_refit_ends_with_the_bits_of_an_uninterrupted_one(setup, changes):
    whole = setup("whole", changes=changes)
    refit(whole)
    parts = setup("parts", changes=changes)
    for _ in range(2):
        assert refit(parts, Watcher(interrupt=after_an_epoch)) is Ended.INTERRUPTED
        assert files(parts.directory) == ["last.ckpt"]
        torch.manual_seed(1)  # another process draws other numbers
    assert refit(parts) == dataclasses.replace(
        read_refit(whole.directory), seconds=read_refit(parts.directory).seconds
    )
    assert (weights(parts), curve(parts.directory)) == (weights(whole), curve(whole.directory))
    assert files(parts.directory) == DONE


def test_a_refit_that_another_process_took_over_writes_nothing(setup):
    made = setup()
    assert refit(made, Watcher(owns=lambda watcher: not watcher.reports)) is Ended.INTERRUPTED
    assert files(made.directory) == []


def test_a_finished_refit_is_not_trained_again(setup, steps):
    made = setup()
    first = refit(made)
    taken = len(steps)
    assert refit(made) == first
    assert len(steps) == taken


@pytest.mark.parametrize(
    "other", [{"epochs": 2}, {"with_holdout": True}, {"changes": {"lr": 0.001}}, {"number": 1}]
)
def test_another_refit_replaces_the_files_of_a_finished_one(setup, other):
    first = refit(setup())
    changed = setup(**other)
    assert read_refit(changed.directory, identity=changed.identity) is None
    assert refit(changed).identity == changed.identity != first.identity


def test_a_checkpoint_of_another_refit_is_refused(setup):
    refit(setup(), Watcher(interrupt=after_an_epoch))
    with pytest.raises(CheckpointError, match=r"different: with_holdout\)\. Remove it"):
        refit(setup(with_holdout=True))


# what is refused


def test_a_loss_that_is_not_finite_names_the_refit(setup, monkeypatch):
    build = epochs.loss_of

    def spoiled(*args):
        loss = build(*args)
        return lambda logits, targets_BK: loss(logits, targets_BK) * math.nan

    monkeypatch.setattr(epochs, "loss_of", spoiled)
    with pytest.raises(
        NonFiniteLossError, match=r"^refit 2, epoch 1, step 0: the training loss is nan"
    ):
        refit(setup(number=2))


def test_weights_that_the_very_last_step_ruins_are_refused(setup, networks, monkeypatch):
    measured = epochs.Epochs._measure_statistics

    def ruin(run, epoch, **settings):
        measured(run, epoch, **settings)
        with torch.no_grad():
            networks[0].heads[0].linear.bias[1] = math.inf

    monkeypatch.setattr(epochs.Epochs, "_measure_statistics", ruin)
    made = setup()
    with pytest.raises(
        NonFiniteLossError,
        match=r"^refit 0, epoch 3: weights are NaN or infinite after the last step "
        r"\(heads\.0\.linear\.bias\)\. A lower lr or a warm-up usually helps$",
    ):
        refit(made)
    assert files(made.directory) == []


# the models of a trial


def test_only_finished_refits_are_models_in_the_order_of_their_numbers(setup, tmp_path):
    for number in (10, 2):
        refit(setup(f"refit-{number}", number=number, epochs=1))
    refit(setup("refit-3", number=3), Watcher(interrupt=after_an_epoch))
    assert refit_models(tmp_path) == [tmp_path / "refit-2", tmp_path / "refit-10"]
    refit(setup("refit-4", number=4, epochs=1, with_holdout=True))
    assert refit_models(tmp_path) == [tmp_path / "refit-2", tmp_path / "refit-10"]
    (tmp_path / "refit-2" / WEIGHTS).unlink()
    assert refit_models(tmp_path) == [tmp_path / "refit-4"]
    (tmp_path / "refit-4" / "result.json").write_text("{}")
    (tmp_path / "refit-10" / "result.json").unlink()
    assert refit_models(tmp_path) == []
