"""Losses against torch and closed forms."""

import dataclasses
from collections.abc import Sequence
from typing import get_args

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from sklearn.metrics import f1_score
from sklearn.utils.class_weight import compute_class_weight

from tests.trainer.conftest import paper_manifest
from trainer.config import TrainConfig
from trainer.errors import ConfigError
from trainer.fields.objective import LossName
from trainer.learning.losses import LOSSES, Loss, build_loss, class_weights
from trainer.model.heads import Heads

ALL = {
    "cross_entropy": {},
    "focal": {},
    "label_smoothing": {},
    "mixture": {"loss_mix": {"soft_f1": 0.4, "focal": 0.6}},
    "soft_f1": {},
}
EVERY_LOSS = pytest.mark.parametrize("name", ALL)
WEIGHTED = pytest.mark.parametrize("name", ["cross_entropy", "focal", "label_smoothing"])
COUNTS_K = np.array([30, 3, 0, 12, 1])
LABELS_N = np.repeat(np.arange(5), COUNTS_K)
CPU = torch.device("cpu")


def loss_of(
    name: str,
    *,
    labels_N: np.ndarray = LABELS_N,
    k: int = 5,
    own: Loss | None = None,
    **changes: object,
) -> Loss:
    config = TrainConfig(loss=name, **{**ALL.get(name, {}), **changes})
    loss = build_loss(config, Heads.joint(k), labels_N=labels_N, device=CPU, user_loss=own)
    return lambda logits_BK, targets_BK: loss([logits_BK], targets_BK)


@pytest.fixture
def batch() -> tuple[torch.Tensor, torch.Tensor]:
    """Logits, and hard targets."""
    generator = torch.Generator().manual_seed(0)
    labels_B = torch.randint(0, 5, (16,), generator=generator)
    return torch.randn(16, 5, generator=generator) * 3, F.one_hot(labels_B, 5).float()


@pytest.fixture
def mixed(batch) -> tuple[torch.Tensor, torch.Tensor]:
    """The same with targets of mixed images."""
    logits_BK, targets_BK = batch
    share_B1 = torch.rand(16, 1, generator=torch.Generator().manual_seed(1))
    return logits_BK, targets_BK * share_B1 + targets_BK.roll(1, dims=0) * (1 - share_B1)


def test_every_name_of_the_configuration_has_a_loss():
    assert set(LOSSES) == set(get_args(LossName)) == set(ALL)


def test_cross_entropy_is_torchs(batch, mixed):
    assert torch.equal(loss_of("cross_entropy")(*mixed), F.cross_entropy(*mixed))
    expected = F.cross_entropy(batch[0], batch[1].argmax(dim=1))
    torch.testing.assert_close(loss_of("cross_entropy")(*batch), expected)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.7])
def test_label_smoothing_spreads_its_share_over_all_classes(mixed, smoothing):
    logits_BK, targets_BK = mixed
    smooth_BK = targets_BK * (1 - smoothing) + smoothing / 5
    expected = -(smooth_BK * logits_BK.log_softmax(dim=1)).sum(dim=1).mean()
    torch.testing.assert_close(loss_of("label_smoothing", smoothing=smoothing)(*mixed), expected)


def test_label_smoothing_of_one_label_is_torchs(batch):
    expected = F.cross_entropy(batch[0], batch[1].argmax(dim=1), label_smoothing=0.2)
    torch.testing.assert_close(loss_of("label_smoothing", smoothing=0.2)(*batch), expected)


@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0, 5.0])
def test_focal_equals_its_closed_form(mixed, gamma):
    p_BK = mixed[0].double().softmax(dim=1)
    expected = (mixed[1] * (1 - p_BK) ** gamma * -p_BK.log()).sum(dim=1).mean().float()
    torch.testing.assert_close(loss_of("focal", focal_gamma=gamma)(*mixed), expected)


def test_focal_with_gamma_zero_is_cross_entropy(mixed):
    torch.testing.assert_close(loss_of("focal", focal_gamma=0)(*mixed), F.cross_entropy(*mixed))


def test_focal_counts_easy_images_less(batch):
    losses = [loss_of("focal", focal_gamma=gamma)(*batch).item() for gamma in (0, 1, 2, 4)]
    assert losses == sorted(losses, reverse=True)


def test_soft_f1_is_one_minus_the_mean_f1_of_soft_counts(mixed):
    p_BK = mixed[0].double().softmax(dim=1)
    t_BK = mixed[1].double()
    f1 = []
    for p_B, t_B in zip(p_BK.T, t_BK.T, strict=True):
        tp = (p_B * t_B).sum()
        fp = (p_B * (1 - t_B)).sum()
        fn = ((1 - p_B) * t_B).sum()
        precision = tp / (tp + fp)
        recall = tp / (tp + fn)
        f1.append((2 * precision * recall / (precision + recall)).item())
    assert loss_of("soft_f1")(*mixed).item() == pytest.approx(1 - np.mean(f1), abs=1e-6)


def test_soft_f1_of_certain_predictions_is_one_minus_macro_f1(batch):
    predicted_B = torch.arange(16) % 5
    expected = 1 - f1_score(
        batch[1].argmax(dim=1), predicted_B, labels=range(5), average="macro", zero_division=0
    )
    assert loss_of("soft_f1")(F.one_hot(predicted_B, 5) * 100.0, batch[1]).item() == pytest.approx(
        expected, abs=1e-6
    )


def test_a_class_that_the_batch_lacks_counts_zero_in_soft_f1():
    targets_BK = torch.eye(5)[[0, 1]]
    assert loss_of("soft_f1")(targets_BK * 100, targets_BK).item() == pytest.approx(3 / 5, abs=1e-6)


def test_a_mixture_is_the_sum_of_its_losses_with_the_weights_as_given(mixed):
    loss = loss_of("mixture", loss_mix={"soft_f1": 0.4, "focal": 6, "cross_entropy": 0})
    expected = 0.4 * loss_of("soft_f1")(*mixed) + 6 * loss_of("focal")(*mixed)
    torch.testing.assert_close(loss(*mixed), expected)


@pytest.mark.parametrize("class_weights", ["none", "balanced"])
def test_a_function_of_the_users_own_gets_logits_and_targets_as_they_are(mixed, class_weights):
    seen = []

    def own(logits_BK, targets_BK):
        seen.append((logits_BK, targets_BK))
        return logits_BK.mean()

    loss = loss_of("my_task.py:own", own=own, class_weights=class_weights)
    assert torch.equal(loss(*mixed), mixed[0].mean())
    assert torch.equal(seen[0][0], mixed[0])
    assert seen[0][1] is mixed[1]


def test_balanced_weights_are_scikit_learns():
    weights_K = class_weights(TrainConfig(class_weights="balanced"), COUNTS_K)
    expected = compute_class_weight("balanced", classes=np.array([0, 1, 3, 4]), y=LABELS_N)
    assert weights_K[[0, 1, 3, 4]] == pytest.approx(expected)
    assert weights_K[2] == 0


@pytest.mark.parametrize("beta", [0.0, 0.9, 0.9999, 1 - 1e-12])
def test_effective_number_weights_are_those_of_their_paper(beta):
    weights_K = class_weights(
        TrainConfig(class_weights="effective_number", effective_beta=beta), COUNTS_K
    )
    n = COUNTS_K[[0, 1, 3, 4]].astype(float)
    effective = np.array(
        [sum(beta**i for i in range(int(count))) for count in n]
    )  # (1 - beta^n) / (1 - beta)
    expected = 1 / effective
    assert weights_K[[0, 1, 3, 4]] / weights_K[0] == pytest.approx(expected / expected[0], rel=1e-3)
    assert weights_K[2] == 0


@pytest.mark.parametrize("kind", ["balanced", "effective_number"])
def test_the_mean_weight_of_the_images_trained_on_is_one(kind):
    assert class_weights(TrainConfig(class_weights=kind), COUNTS_K)[
        LABELS_N
    ].mean() == pytest.approx(1)


def test_no_class_weights_are_none():
    assert class_weights(TrainConfig(), COUNTS_K) is None


@WEIGHTED
@pytest.mark.parametrize("kind", ["balanced", "effective_number"])
def test_a_weighted_loss_is_the_mean_over_images_of_the_weighted_sum_over_classes(
    mixed, name, kind
):
    weights_K = torch.from_numpy(class_weights(TrainConfig(class_weights=kind), COUNTS_K))
    log_p_BK = mixed[0].double().log_softmax(dim=1)
    share_BK = mixed[1] * 0.9 + 0.1 / 5 if name == "label_smoothing" else mixed[1]
    easy_BK = (1 - log_p_BK.exp()) ** 2 if name == "focal" else 1
    expected = (weights_K * share_BK * easy_BK * -log_p_BK).sum(dim=1).mean().float()
    torch.testing.assert_close(loss_of(name, class_weights=kind)(*mixed), expected)


def test_weighted_cross_entropy_is_torchs_for_probabilities(mixed):
    weights_K = torch.from_numpy(
        class_weights(TrainConfig(class_weights="balanced"), COUNTS_K)
    ).float()
    expected = F.cross_entropy(*mixed, weight=weights_K)
    assert torch.equal(loss_of("cross_entropy", class_weights="balanced")(*mixed), expected)


def test_class_weights_reach_into_a_mixture_but_not_soft_f1(mixed):
    weighted = {"class_weights": "balanced"}
    assert torch.equal(loss_of("soft_f1", **weighted)(*mixed), loss_of("soft_f1")(*mixed))
    expected = 0.4 * loss_of("soft_f1")(*mixed) + 0.6 * loss_of("focal", **weighted)(*mixed)
    torch.testing.assert_close(loss_of("mixture", **weighted)(*mixed), expected)


@WEIGHTED
@pytest.mark.parametrize("kind", ["none", "balanced"])
def test_equal_parts_of_a_batch_have_the_whole_batchs_loss_as_their_mean(mixed, name, kind):
    loss = loss_of(name, class_weights=kind)
    parts = [loss(*part) for part in zip(mixed[0].chunk(4), mixed[1].chunk(4), strict=True)]
    torch.testing.assert_close(torch.stack(parts).mean(), loss(*mixed))


@EVERY_LOSS
def test_the_loss_of_one_image_has_a_gradient(name, mixed):
    logits_BK = mixed[0][:1].clone().requires_grad_()
    loss = loss_of(name)(logits_BK, mixed[1][:1])
    loss.backward()
    assert loss.shape == ()
    assert logits_BK.grad.abs().sum() > 0


@EVERY_LOSS
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("gamma", [0.0, 0.3, 2.0])
def test_the_gradient_is_finite_where_the_prediction_is_certain(name, dtype, gamma):
    logits_BK = torch.tensor([[100.0, -100, -100, 0, 0]] * 4, dtype=dtype, requires_grad=True)
    targets_BK = torch.eye(5)[[0, 1, 3, 0]]
    targets_BK[3] = torch.tensor([0.5, 0.5, 0, 0, 0])
    loss = loss_of(name, focal_gamma=gamma)(logits_BK, targets_BK)
    loss.backward()
    assert loss.isfinite()
    assert loss.dtype == torch.float32
    assert logits_BK.grad.isfinite().all()


@EVERY_LOSS
def test_a_loss_is_computed_in_float32_whatever_the_network_computes_in(mixed, name):
    logits_BK = mixed[0].bfloat16()
    targets_BK = mixed[1]
    assert torch.equal(
        loss_of(name)(logits_BK, targets_BK), loss_of(name)(logits_BK.float(), targets_BK)
    )


@EVERY_LOSS
def test_a_loss_gives_the_same_bits_twice(mixed, name):
    assert torch.equal(loss_of(name)(*mixed), loss_of(name)(*mixed))


@EVERY_LOSS
def test_following_the_gradient_finds_the_labels(batch, name):
    # from undecided predictions: soft F1 is bounded, so a prediction that is certain and wrong
    # hardly moves
    logits_BK = (batch[0] / 10).requires_grad_()
    targets_BK = batch[1]
    optimizer = torch.optim.SGD([logits_BK], lr=20.0)
    loss = loss_of(name)
    for _ in range(50):
        optimizer.zero_grad()
        loss(logits_BK, targets_BK).backward()
        optimizer.step()
    assert torch.equal(logits_BK.argmax(dim=1), targets_BK.argmax(dim=1))


@EVERY_LOSS
def test_a_shift_of_all_logits_changes_nothing(mixed, name):
    torch.testing.assert_close(loss_of(name)(mixed[0] + 7, mixed[1]), loss_of(name)(*mixed))


@EVERY_LOSS
def test_nan_logits_give_a_nan_loss(name):
    assert loss_of(name, k=2, labels_N=np.array([0, 1]))(
        torch.tensor([[float("nan"), 0.0]]), torch.eye(2)[:1]
    ).isnan()


# several heads

PARTS = (("m", "a"), ("m", "b"), ("n", "a"), ("n", "c"))


def column_heads() -> Heads:
    manifest = paper_manifest(np.arange(4), tuple(map(" / ".join, PARTS)))
    return Heads.separate(
        dataclasses.replace(manifest, label_columns=("mask", "age"), class_parts=PARTS)
    )


def head_batch() -> tuple[list[torch.Tensor], torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    logits = [torch.randn(8, size, generator=generator) for size in (2, 3)]
    return logits, torch.randn(8, 4, generator=generator).softmax(dim=1)


def heads_loss(labels_N: Sequence[int] = range(4), **changes: object) -> torch.Tensor:
    config = TrainConfig(heads="separate", **changes)
    return build_loss(config, column_heads(), labels_N=np.array(labels_N), device=CPU)(
        *head_batch()
    )


def each_head() -> tuple[torch.Tensor, torch.Tensor]:
    logits, targets_BK = head_batch()
    mask_B2, age_B3 = column_heads().targets(targets_BK)
    return F.cross_entropy(logits[0], mask_B2), F.cross_entropy(logits[1], age_B3)


def test_the_loss_of_several_heads_is_their_mean():
    torch.testing.assert_close(heads_loss(), sum(each_head()) / 2)


def test_head_weights_make_it_a_weighted_mean():
    mask, age = each_head()
    torch.testing.assert_close(heads_loss(head_weights={"age": 3}), (mask + 3 * age) / 4)
    torch.testing.assert_close(heads_loss(head_weights={"age": 0}), mask)


def test_a_head_without_weight_does_no_harm_when_it_is_not_finite():
    config = TrainConfig(heads="separate", head_weights={"age": 0})
    (mask_B2, age_B3), targets_BK = head_batch()
    loss = build_loss(config, column_heads(), labels_N=np.arange(4), device=CPU)
    assert loss([mask_B2, age_B3 * torch.inf], targets_BK).isfinite()


def test_class_weights_of_a_head_count_its_own_classes():
    logits, targets_BK = head_batch()
    labels_N = [0, 0, 0, 1, 2, 3]  # mask: 4 m, 2 n; age: 4 a, 1 b, 1 c
    targets = column_heads().targets(targets_BK)
    weights = [torch.tensor([6 / 8, 6 / 4]), torch.tensor([6 / 12, 2.0, 2.0])]
    expected = [F.cross_entropy(*each) for each in zip(logits, targets, weights, strict=True)]
    torch.testing.assert_close(heads_loss(labels_N, class_weights="balanced"), sum(expected) / 2)


def test_a_head_weight_for_no_column_is_refused():
    with pytest.raises(
        ConfigError, match=r"^head_weights: 'agee' is no label column\. The columns are mask, age$"
    ):
        heads_loss(head_weights={"agee": 1})


def test_heads_without_any_weight_are_refused():
    with pytest.raises(
        ConfigError, match=r"^head_weights: one of mask, age needs a weight above 0, got 0 for all$"
    ):
        heads_loss(head_weights={"mask": 0, "age": 0})
