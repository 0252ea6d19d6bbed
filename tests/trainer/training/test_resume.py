"""Interrupted after every epoch and continued,
a fold run equals an uninterrupted one bit for bit.
"""

import math

import numpy as np
import pytest

from tests.trainer.conftest import (
    Watcher,
    after_an_epoch,
    bits,
    files,
    finish_with_interruptions,
    squares,
)
from trainer.config import AUGMENTERS, MIXERS
from trainer.images.images import Decoded
from trainer.learning.optimizers import OPTIMIZERS
from trainer.learning.schedules import SCHEDULES
from trainer.training.fit import Ended

AUGMENTED = dict.fromkeys(AUGMENTERS, 0.5)
OF_TIMM = ("nadamw", "adan")  # moments of another kind, and the gradients of the step before
OWN = {"metric": "my_task.py:hits", "monitor": "metric", "loss": "my_task.py:squares"}
OWN_CODE = """
def hits(probs_NK, labels_N, classes):
    return (probs_NK.argmax(axis=1) == labels_N).mean()

def squares(logits_BK, targets_BK):
    return (logits_BK.softmax(dim=1) - targets_BK).square().sum(dim=1).mean()
"""
SCHEDULED = {
    "none": {},
    "step": {"step_epochs": 1},
    "multistep": {"milestones": [0.5, 2]},
    "exponential": {"epoch_gamma": 0.5},
    "cosine": {"warmup_epochs": 0.5, "restart_epochs": 1, "restart_factor": 1.5, "min_lr": 1e-4},
    "one_cycle": {"rise": 0.4},
    "cyclic": {"base_lr": 1e-3},
    "plateau": {"plateau_patience": 1, "min_delta": 100},
    "two_stage": {"second_gap": 0.0, "second_epoch": 2, "second_lr": 1e-4},
}
CHOICES = {
    "ema": {"ema": 0.9},
    "ema and accumulation": {"ema": 0.9, "accumulation": 2, "clip_norm": 0.5},
    "clip_norm": {"clip_norm": 0.1, "optimizer": "sgd"},
    "layer_decay": {"layer_decay": 0.7, "head_lr_factor": 10.0},
    "every augmentation": AUGMENTED,
    "mixing in every way": {**dict.fromkeys(MIXERS, 0.25), "flip": 0.5},
    "balanced sampling": {"sampling": "balanced", "class_weights": "balanced"},
    "unfreezing": {"freeze": "backbone", "unfreeze_epoch": 2, "optimizer": "sgd"},
    "unfreezing a part": {"freeze": "up_to:layer2", "unfreeze_epoch": 3, "optimizer": "madgrad"},
    "features": {"freeze": "backbone", "tta": "flip"},
    "features, averaged": {"freeze": "backbone", "ema": 0.9, "checkpoint": "fold_best"},
    "mixture": {"loss": "mixture", "loss_mix": {"soft_f1": 0.4, "focal": 0.6}},
    "effective_number": {"class_weights": "effective_number", "loss": "focal"},
    "best": {"checkpoint": "best"},
    "fold_best": {"checkpoint": "fold_best", "monitor": "f1"},
    "fold_best, averaged": {"checkpoint": "fold_best", "ema": 0.9},
    "flip_crops": {"tta": "flip_crops", "flip_vertical": 0.5},
    "the head's norm": {"head_norm": True, "pooling": "avgmax"},
    "normalise: dataset": {"normalise": "dataset"},
}


@pytest.fixture
def continues(train, tiny, tmp_path):
    """Train once without and once with interruptions, and compare everything;
    the result's `epochs`.
    """

    def compare(changes: dict[str, object], **settings: object) -> int:
        config = tiny(**{"dropout": 0.3, "weight_decay": 0.01, **changes})
        whole = Watcher()
        train(config, "whole", reporter=whole, **settings)
        watchers = finish_with_interruptions(train, config, **settings)
        assert [watcher.epochs for watcher in watchers] == [[epoch] for epoch in whole.epochs]
        assert bits(tmp_path / "continued") == bits(tmp_path / "whole")
        return len(whole.epochs)

    return compare


@pytest.mark.parametrize("optimizer", [*OPTIMIZERS, *OF_TIMM])
def test_every_optimizer_continues_to_the_bit(continues, optimizer):
    assert continues({"optimizer": optimizer, "scheduler": "one_cycle", "momentum": 0.8}) == 3


@pytest.mark.parametrize("scheduler", SCHEDULES)
def test_every_scheduler_continues_to_the_bit(continues, scheduler):
    assert continues({"scheduler": scheduler, **SCHEDULED[scheduler]}) == 3


@pytest.mark.parametrize("loss", ["cross_entropy", "label_smoothing", "focal", "soft_f1"])
def test_every_loss_continues_to_the_bit(continues, loss):
    assert continues({"loss": loss, "epochs": 2}) == 2


@pytest.mark.parametrize("mixer", MIXERS)
def test_every_way_of_mixing_continues_to_the_bit(continues, mixer):
    assert continues({mixer: 0.8, "epochs": 2}) == 2


# those that share a piece of state with one that is tried always
ALIKE = (
    "ema",
    "clip_norm",
    "layer_decay",
    "unfreezing",
    "features, averaged",
    "mixture",
    "effective_number",
    "fold_best",
    "fold_best, averaged",
    "the head's norm",
    "normalise: dataset",
)


@pytest.mark.parametrize(
    "choice",
    [pytest.param(name, marks=pytest.mark.slow if name in ALIKE else ()) for name in CHOICES],
)
def test_every_other_choice_continues_to_the_bit(continues, choice):
    assert continues(CHOICES[choice]) == 3


@pytest.mark.parametrize("backbone", ["test_efficientnet", "test_vit", "test_nfnet"])
def test_other_families_continue_to_the_bit(continues, backbone):
    assert continues({"backbone": backbone, "epochs": 2}) == 2


@pytest.mark.parametrize("extra", [{}, {"head_crops": {"tone": "box"}, "cutmix": 0.5, "flip": 0.5}])
def test_separate_heads_continue_to_the_bit(continues, people, extra):
    more = Decoded(squares(36, side=16, seed=1)[0])
    views = [people[0], more][: 1 + bool(extra)]
    assert (
        continues(
            {"heads": "separate", "head_weights": {"time": 2.0}, **extra},
            folds=people[1],
            images=views,
        )
        == 3
    )


def test_progressive_resize_continues_to_the_bit(continues, toy):
    images = Decoded(squares(36, side=64)[0])
    changes = {
        "resize": 64,
        "progressive": 0.5,
        "progressive_epochs": 2,
        "flip": 0.5,
        "cutmix": 0.5,
    }
    assert continues(changes, images=images) == 3


def test_own_functions_continue_to_the_bit(continues, tmp_path):
    (tmp_path / "my_task.py").write_text(OWN_CODE)
    assert continues({**OWN, "patience": 3, "checkpoint": "fold_best"}, code=tmp_path) == 3


# two stages


@pytest.mark.parametrize(
    "extra", [{}, {"ema": 0.9, "optimizer": "sgd"}, {"optimizer": "radam", "checkpoint": "best"}]
)
@pytest.mark.parametrize("epoch", [2, 3])
def test_going_back_in_the_middle_continues_to_the_bit(continues, tmp_path, widening, epoch, extra):
    widening(epoch)
    config = {
        "scheduler": "two_stage",
        "second_gap": 5.0,
        "second_lr": 1e-4,
        "epochs": 5,
        "lr": 1e-3,
        **extra,
    }
    assert continues(config) == 5
    rates = [float(row["lr"]) for row in bits(tmp_path / "whole")["curve"]]
    np.testing.assert_allclose(rates, [1e-3] * epoch + [1e-4] * (5 - epoch))


def test_patience_of_the_second_stage_counts_the_epochs_before_an_interruption(continues, widening):
    widening(2)
    config = {
        "scheduler": "two_stage",
        "second_gap": 5.0,
        "second_lr": 1e-4,
        "patience": 2,
        "min_delta": 100,
    }
    assert continues({**config, "epochs": 9}) == 4


# early stopping, and crashes


def test_early_stopping_counts_the_epochs_before_an_interruption(continues):
    assert continues({"epochs": 9, "patience": 2, "min_delta": 100}) == 3


def test_kept_epochs_of_a_crash_are_made_again(train, tiny, tmp_path):
    """The epoch after the last checkpoint was kept already."""
    config = tiny(checkpoint="fold_best", monitor="loss")

    def crash(report) -> None:
        if report.epoch == 3:
            raise MemoryError("too little")

    train(config, "whole")
    train(config, "continued", reporter=Watcher(interrupt=after_an_epoch))
    with pytest.raises(MemoryError, match="too little"):
        train(config, "continued", reporter=Watcher(at_epoch=crash), checkpoint_every_s=math.inf)
    train(config, "continued")
    assert bits(tmp_path / "continued") == bits(tmp_path / "whole")


def test_an_interrupted_fold_run_keeps_the_epochs_that_may_score_it(train, tiny, tmp_path):
    assert (
        train(tiny(checkpoint="best"), reporter=Watcher(interrupt=after_an_epoch))
        is Ended.INTERRUPTED
    )
    assert files(tmp_path / "fold-0") == ["epochs", "last.ckpt"]
    assert files(tmp_path / "fold-0" / "epochs") == ["0001.npz", "0001.safetensors"]


def test_a_fold_run_stopped_for_good_leaves_no_kept_epochs(train, tiny, tmp_path):
    assert (
        train(tiny(checkpoint="best"), reporter=Watcher(stop_at=2), checkpoint_every_s=0)
        is Ended.STOPPED
    )
    assert files(tmp_path / "fold-0") == []
