"""What a fold run refuses to go on with, and that it stops early."""

import math

import pytest
import torch

from tests.trainer.conftest import DONE, STEPS, curve, files
from trainer.errors import NonFiniteLossError
from trainer.images.order import epoch_rows
from trainer.learning import learner
from trainer.learning.step import Stepper
from trainer.seeds import derive
from trainer.training import epochs

# losses that are not finite


def test_a_rate_far_too_high_is_refused_with_what_to_try(train, tiny, tmp_path):
    config = tiny(backbone="test_vit", optimizer="sgd", lr=10)
    with pytest.raises(
        NonFiniteLossError,
        match=r"^fold 0, epoch \d(, step \d+)?: the (training loss|validation loss|norm of the "
        r"gradients) is (nan|inf) "
        r"\(lr=[\d.]+, optimizer=sgd, backbone=test_vit.*\)\. A lower lr or a warm-up usually "
        r"helps$",
    ):
        train(config)
    assert "result.json" not in files(tmp_path / "fold-0")


@pytest.fixture
def spoiled(monkeypatch, steps):
    """The loss of step `at` becomes `value`."""

    def spoil(at: int, value: float) -> None:
        build = epochs.loss_of

        def built(*args: object, **settings: object):
            loss = build(*args, **settings)
            return lambda logits, targets_BK: (
                loss(logits, targets_BK) * (value if len(steps) == at else 1)
            )

        monkeypatch.setattr(epochs, "loss_of", built)

    return spoil


@pytest.mark.parametrize(
    ("value", "shown"), [(math.nan, "nan"), (math.inf, "inf"), (-math.inf, "-inf")]
)
def test_a_loss_that_is_not_finite_is_named_with_step_rate_and_images(
    train, tiny, toy, spoiled, steps, value, shown
):
    config = tiny(scheduler="cosine", lr=1e-3, seed=4)
    spoiled(8, value)
    with pytest.raises(NonFiniteLossError) as caught:
        train(config)
    assert len(steps) == 8
    train_rows = toy[1].train_rows(0)
    seed = derive(derive(4, "fold", 0), "epoch", 2)
    rows_N = epoch_rows(
        train_rows, toy[1].manifest.labels_N, sampling="shuffled", seed=derive(seed, "order")
    )
    named = ", ".join(f"{row}.png" for row in rows_N[2 * 4 : 2 * 4 + 3])
    rate = 1e-3 * (1 + math.cos(math.pi * 8 / 18)) / 2
    assert str(caught.value) == (
        f"fold 0, epoch 2, step 8: the training loss is {shown} (lr={rate:.3g}, optimizer=adamw, "
        f"backbone=test_resnet, batch of 4 with {named}, ...). A lower lr or a warm-up usually "
        "helps"
    )


def test_nothing_of_a_step_with_a_loss_that_is_not_finite_is_applied(
    train, tiny, spoiled, networks, monkeypatch
):
    norms = []
    step = Stepper.step

    def watched(stepper, *args, **settings):
        (network,) = networks
        norms.append([parameter.detach().clone() for parameter in network.parameters()])
        return step(stepper, *args, **settings)

    monkeypatch.setattr(Stepper, "step", watched)
    spoiled(8, math.nan)
    with pytest.raises(NonFiniteLossError, match="step 8"):
        train(tiny(lr=1e-3, clip_norm=1.0, weight_decay=0.1))
    assert len(norms) == 9
    assert all(
        torch.equal(now, before)
        for now, before in zip(networks[0].parameters(), norms[-1], strict=True)
    )
    assert not all(
        torch.equal(now, before)
        for now, before in zip(networks[0].parameters(), norms[-2], strict=True)
    )


def test_the_checkpoint_before_the_failure_stands(train, tiny, tmp_path, spoiled):
    spoiled(8, math.nan)
    with pytest.raises(NonFiniteLossError, match="step 8"):
        train(tiny(lr=1e-3), checkpoint_every_s=0)
    assert files(tmp_path / "fold-0") == ["last.ckpt"]


def test_weights_that_the_very_last_step_ruins_are_refused(train, tiny, tmp_path, monkeypatch):
    build = learner.build_optimizer

    def ruinous(model: torch.nn.Module, *args: object, **settings: object) -> torch.optim.Optimizer:
        optimizer = build(model, *args, **settings)
        taken = []

        def ruin(*_: object) -> None:
            taken.append(1)
            if len(taken) == STEPS:
                with torch.no_grad():
                    next(model.parameters()).fill_(math.nan)

        optimizer.register_step_post_hook(ruin)
        return optimizer

    monkeypatch.setattr(learner, "build_optimizer", ruinous)
    with pytest.raises(NonFiniteLossError, match=r"^fold 0, epoch 1: the validation loss is nan"):
        train(tiny(epochs=1))
    assert files(tmp_path / "fold-0") == []


# early stopping


def test_a_fold_run_stops_early_and_says_after_how_many_epochs(train, tiny, tmp_path):
    result = train(tiny(epochs=9, patience=1, min_delta=100))
    assert result.epochs == 2
    assert len(curve(tmp_path / "fold-0")) == 2
    assert files(tmp_path / "fold-0") == DONE
