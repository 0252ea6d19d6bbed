"""Losses against torch and closed forms."""

from typing import get_args

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention

from trainer.config import LossName, TrainConfig
from trainer.losses import LOSSES, build_loss

ALL = list(LOSSES)


@pytest.fixture
def batch() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(16, 5, generator=generator) * 3, torch.randint(0, 5, (16,), generator=generator)


def test_every_name_of_the_configuration_has_a_loss():
    assert set(LOSSES) == set(get_args(LossName))


def test_cross_entropy_is_torchs(batch):
    assert torch.equal(build_loss(TrainConfig(loss="cross_entropy"))(*batch), F.cross_entropy(*batch))


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.7])
def test_label_smoothing_spreads_its_share_over_all_classes(batch, smoothing):
    logits_BK, labels_B = batch
    target_BK = F.one_hot(labels_B, 5) * (1 - smoothing) + smoothing / 5
    expected = -(target_BK * logits_BK.log_softmax(dim=1)).sum(dim=1).mean()
    torch.testing.assert_close(build_loss(TrainConfig(loss="label_smoothing", smoothing=smoothing))(*batch), expected)


@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0, 5.0])
def test_focal_equals_its_closed_form(batch, gamma):
    logits_BK, labels_B = batch
    p_B = logits_BK.double().softmax(dim=1)[range(16), labels_B]
    expected = (-((1 - p_B) ** gamma) * p_B.log()).mean().float()
    torch.testing.assert_close(build_loss(TrainConfig(loss="focal", focal_gamma=gamma))(*batch), expected)


def test_focal_with_gamma_zero_is_cross_entropy(batch):
    torch.testing.assert_close(build_loss(TrainConfig(loss="focal", focal_gamma=0))(*batch), F.cross_entropy(*batch))


@pytest.mark.parametrize("gamma", [0.0, 0.3, 2.0])
def test_focal_has_a_finite_gradient_where_the_prediction_is_certain(gamma):
    logits_BK = torch.tensor([[200.0, 0.0], [0.0, 200.0]], requires_grad=True)
    loss = build_loss(TrainConfig(loss="focal", focal_gamma=gamma))(logits_BK, torch.tensor([0, 0]))
    loss.backward()
    assert loss.isfinite()
    assert logits_BK.grad.isfinite().all()


def test_focal_counts_easy_images_less(batch):
    losses = [build_loss(TrainConfig(loss="focal", focal_gamma=gamma))(*batch).item() for gamma in (0, 1, 2, 4)]
    assert losses == sorted(losses, reverse=True)


@pytest.mark.parametrize("name", ALL)
def test_a_loss_gives_the_same_bits_twice(batch, name):
    assert torch.equal(build_loss(TrainConfig(loss=name))(*batch), build_loss(TrainConfig(loss=name))(*batch))


@pytest.mark.parametrize("name", ALL)
def test_following_the_gradient_finds_the_labels(batch, name):
    logits_BK, labels_B = batch[0].clone().requires_grad_(), batch[1]
    optimizer, loss = torch.optim.SGD([logits_BK], lr=20.0), build_loss(TrainConfig(loss=name))
    for _ in range(50):
        optimizer.zero_grad()
        loss(logits_BK, labels_B).backward()
        optimizer.step()
    assert torch.equal(logits_BK.argmax(dim=1), labels_B)


@pytest.mark.parametrize("name", ALL)
def test_a_shift_of_all_logits_changes_nothing(batch, name):
    loss = build_loss(TrainConfig(loss=name))
    torch.testing.assert_close(loss(batch[0] + 7, batch[1]), loss(*batch))


@pytest.mark.parametrize("name", ALL)
def test_nan_logits_give_a_nan_loss(name):
    loss = build_loss(TrainConfig(loss=name))(torch.tensor([[float("nan"), 0.0]]), torch.tensor([0]))
    assert loss.isnan()
