"""Mixing against a loop over images, closed forms and timm."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from timm.data.mixup import cutmix_bbox_and_lam

from trainer.augmentation.mixing import ALONE, CUTMIX, HALF, MIXUP, ONE_CLASS, Mixing, MixPlan
from trainer.config import MIXERS, TrainConfig

LABELS_N = np.array([0, 1, 2] * 20 + [3])  # class 3 has one image
TRAIN_ROWS = np.arange(10, 61)
SIDES = st.integers(8, 21)
EVERY_WAY = {"cutmix": 0.25, "one_class_cutmix": 0.25, "half_cutmix": 0.2, "mixup": 0.2}


def mixing(
    *,
    size: str = "12x9",
    labels_N: np.ndarray = LABELS_N,
    rows: np.ndarray = TRAIN_ROWS,
    **changes: float,
) -> Mixing:
    return Mixing(TrainConfig(resize=size, **changes), labels_N, rows)


def numbered(plan: MixPlan) -> torch.Tensor:
    """Images (X, 1, H, W) whose every pixel is the image's number."""
    height, width = plan.size_HW
    return torch.arange(len(plan.rows), dtype=torch.float32)[:, None, None, None].expand(
        -1, 1, height, width
    )


def by_hand(plan: MixPlan, images_XCHW: torch.Tensor) -> torch.Tensor:
    """One image after the other, as the papers' code does."""
    result = []
    for image, (way, partner, box) in enumerate(
        zip(plan.way_B, plan.partner_B, plan.box_B4, strict=True)
    ):
        mixed_CHW = images_XCHW[image].clone()
        if way == MIXUP:
            weight = float(plan.blend_B[image])
            mixed_CHW = images_XCHW[image] * weight + images_XCHW[partner] * (1 - weight)
        elif way != ALONE:
            top, bottom, left, right = box
            mixed_CHW[:, top:bottom, left:right] = images_XCHW[partner][:, top:bottom, left:right]
        result.append(mixed_CHW)
    return torch.stack(result)


@given(height=SIDES, width=SIDES, count=st.integers(1, 12), seed=st.integers(0, 2**32 - 1))
def test_a_batch_equals_one_image_after_the_other(height, width, count, seed):
    plan = mixing(size=f"{height}x{width}", **EVERY_WAY).plan(TRAIN_ROWS[:count], seed=seed)
    images_XCHW = torch.rand(
        len(plan.rows), 3, height, width, generator=torch.Generator().manual_seed(seed)
    )
    before = images_XCHW.clone()
    torch.testing.assert_close(
        plan.images(images_XCHW), by_hand(plan, images_XCHW), rtol=0, atol=1e-6
    )
    assert torch.equal(images_XCHW, before)


@given(height=SIDES, width=SIDES, count=st.integers(2, 12), seed=st.integers(0, 2**32 - 1))
def test_the_label_mass_is_the_share_of_the_pixels(height, width, count, seed):
    plan = mixing(size=f"{height}x{width}", cutmix=0.4, half_cutmix=0.3, mixup=0.3).plan(
        TRAIN_ROWS[:count], seed=seed
    )
    # each image is a one-hot vector of its own number: the mean over pixels is the share of every
    # image
    images_XXHW = torch.eye(count)[:, :, None, None].expand(-1, -1, height, width)
    targets_BX = plan.targets(torch.eye(count))
    torch.testing.assert_close(
        targets_BX, plan.images(images_XXHW).mean(dim=(2, 3)), rtol=0, atol=1e-6
    )
    torch.testing.assert_close(targets_BX.sum(dim=1), torch.ones(count), rtol=0, atol=1e-6)


@given(count=st.integers(1, 30), seed=st.integers(0, 2**32 - 1))
def test_a_one_class_partner_is_another_training_image_of_the_class_and_the_label_stays(
    count, seed
):
    rows_B = np.random.default_rng(seed).permutation(TRAIN_ROWS[:-1])[:count]
    plan = mixing(one_class_cutmix=1).plan(rows_B, seed=seed)
    partners = plan.rows[plan.partner_B]
    assert (plan.way_B == ONE_CLASS).all()
    assert np.array_equal(plan.rows[:count], rows_B)
    assert np.array_equal(LABELS_N[partners], LABELS_N[rows_B])
    assert (partners != rows_B).all()
    assert set(partners) <= set(TRAIN_ROWS)
    assert (plan.label_B == 1).all()
    targets_XK = torch.eye(4)[torch.from_numpy(LABELS_N[plan.rows])]
    assert torch.equal(plan.targets(targets_XK), targets_XK[:count])


def test_every_other_image_of_the_class_becomes_a_one_class_partner_equally_often():
    plan = mixing(one_class_cutmix=1).plan(np.full(8_000, TRAIN_ROWS[4]), seed=0)
    others = [
        row
        for row in TRAIN_ROWS
        if LABELS_N[row] == LABELS_N[TRAIN_ROWS[4]] and row != TRAIN_ROWS[4]
    ]
    counts = np.bincount(plan.rows[8_000:], minlength=len(LABELS_N))[others]
    assert counts.sum() == 8_000
    assert stats.chisquare(counts).pvalue > 0.001


def test_an_image_alone_in_its_class_stays_as_it_is():
    plan = mixing(one_class_cutmix=1).plan(np.array([60, 12]), seed=0)  # row 60 is all of class 3
    assert plan.way_B.tolist() == [ALONE, ONE_CLASS]
    assert len(plan.rows) == 3
    assert torch.equal(plan.images(numbered(plan))[0], numbered(plan)[0])


@pytest.mark.parametrize("way", ["cutmix", "half_cutmix", "mixup"])
def test_the_other_partners_are_the_other_images_of_the_batch(way):
    plans = [mixing(**{way: 1}).plan(TRAIN_ROWS[:4], seed=seed) for seed in range(600)]
    assert all(len(plan.rows) == 4 for plan in plans)
    pairs = np.array([plan.partner_B for plan in plans])
    for image in range(4):
        counts = np.bincount(pairs[:, image], minlength=4)
        assert counts[image] == 0
        assert stats.chisquare(np.delete(counts, image)).pvalue > 0.001


@pytest.mark.parametrize("way", ["cutmix", "half_cutmix", "mixup"])
def test_a_batch_of_one_is_not_mixed(way):
    plan = mixing(**{way: 1}).plan(TRAIN_ROWS[:1], seed=0)
    assert plan.way_B.tolist() == [ALONE]


def test_a_batch_of_one_finds_a_one_class_partner_in_the_training_rows():
    plan = mixing(one_class_cutmix=1).plan(TRAIN_ROWS[:1], seed=0)
    assert (plan.way_B.tolist(), len(plan.rows), plan.partner_B.tolist()) == ([ONE_CLASS], 2, [1])


def test_without_mixing_the_very_input_comes_back():
    plan = mixing().plan(TRAIN_ROWS[:4], seed=0)
    images_XCHW = torch.rand(4, 3, 12, 9)
    targets_XK = torch.eye(4)
    assert plan.images(images_XCHW) is images_XCHW
    assert plan.targets(targets_XK) is targets_XK
    assert np.array_equal(plan.rows, TRAIN_ROWS[:4])


@pytest.mark.parametrize("name", MIXERS)
def test_one_probability_is_enough_to_mix(name):
    plan = mixing(**{name: 1.0}).plan(TRAIN_ROWS[:4], seed=0)
    alone = mixing().plan(TRAIN_ROWS[:4], seed=0)
    assert (plan.way_B != alone.way_B).all()
    assert len(set(alone.way_B.tolist())) == 1


def test_each_image_is_mixed_at_most_once_with_the_probabilities_given():
    plan = mixing(**EVERY_WAY).plan(np.tile(TRAIN_ROWS[:-1], 200), seed=0)
    share = np.bincount(plan.way_B, minlength=5) / len(plan.way_B)
    assert share == pytest.approx([0.25, 0.25, 0.2, 0.2, 0.1], abs=0.02)  # 0.0043 standard error
    cut = np.isin(plan.way_B, [CUTMIX, ONE_CLASS, HALF])
    assert not plan.box_B4[~cut].any()
    assert (plan.blend_B[plan.way_B != MIXUP] == 1).all()


def test_strength_differs_from_image_to_image():
    for way in ("cutmix", "mixup", "one_class_cutmix"):
        plan = mixing(size="64", mixup_alpha=1, **{way: 1}).plan(TRAIN_ROWS[:20], seed=0)
        assert len(np.unique(plan.blend_B if way == "mixup" else plan.box_B4, axis=0)) > 15


def test_images_that_are_not_mixed_keep_their_bits():
    plan = mixing(**EVERY_WAY).plan(TRAIN_ROWS[:40], seed=1)
    images_XCHW = torch.rand(len(plan.rows), 3, 12, 9)
    alone = plan.way_B == ALONE
    assert 0 < alone.sum() < 40
    assert torch.equal(
        plan.images(images_XCHW)[torch.from_numpy(alone)], images_XCHW[:40][torch.from_numpy(alone)]
    )


def kept_by_timm(alpha: float, size: int) -> list[float]:
    rng = np.random.default_rng(1)
    np.random.seed(1)
    return [cutmix_bbox_and_lam((3, size, size), rng.beta(alpha, alpha))[1] for _ in range(3_000)]


@pytest.mark.parametrize("way", ["cutmix", "one_class_cutmix"])
@pytest.mark.parametrize("alpha", [1.0, 0.3])
def test_boxes_are_as_large_as_timms(way, alpha):
    rows_B = np.tile(TRAIN_ROWS[:-1], 60)
    plan = mixing(size="200", cutmix_alpha=alpha, **{way: 1}).plan(rows_B, seed=0)
    height_B = plan.box_B4[:, 1] - plan.box_B4[:, 0]
    width_B = plan.box_B4[:, 3] - plan.box_B4[:, 2]
    kept_B = 1 - height_B * width_B / 200**2
    assert stats.ks_2samp(kept_B, kept_by_timm(alpha, 200)).pvalue > 0.001
    if alpha == 1:
        # a side s = sqrt(u) with a uniform centre loses s^2 / 4: E (s - s^2 / 4)^2 = 1/2 - 1/5 +
        # 1/48
        assert kept_B.mean() == pytest.approx(
            1 - (1 / 2 - 1 / 5 + 1 / 48), abs=0.02
        )  # 0.005 standard error


def test_box_centres_reach_every_pixel():
    plan = mixing(size="8x12", cutmix=1, cutmix_alpha=100).plan(np.tile(TRAIN_ROWS, 40), seed=0)
    covered = np.zeros((8, 12), dtype=int)
    for top, bottom, left, right in plan.box_B4:
        covered[top:bottom, left:right] += 1
    assert covered.min() > 0
    assert (plan.box_B4 >= 0).all()
    assert (plan.box_B4 <= [8, 8, 12, 12]).all()


@pytest.mark.parametrize("width", [12, 13])
def test_half_cutmix_takes_the_left_or_the_right_half(width):
    plan = mixing(size=f"8x{width}", half_cutmix=1).plan(np.tile(TRAIN_ROWS, 10), seed=0)
    halves, counts = np.unique(plan.box_B4, axis=0, return_counts=True)
    assert halves.tolist() == [[0, 8, 0, width // 2], [0, 8, width // 2, width]]
    assert counts / counts.sum() == pytest.approx([0.5, 0.5], abs=0.08)
    left = plan.box_B4[:, 2] == 0
    assert plan.label_B[left] == pytest.approx(1 - (width // 2) / width)
    assert plan.label_B[~left] == pytest.approx((width // 2) / width)


@pytest.mark.parametrize("alpha", [0.2, 1.0, 5.0])
def test_the_weight_of_mixup_is_beta_distributed(alpha):
    plan = mixing(mixup=1, mixup_alpha=alpha).plan(np.tile(TRAIN_ROWS, 60), seed=0)
    assert stats.kstest(plan.blend_B, stats.beta(alpha, alpha).cdf).pvalue > 0.001
    assert np.array_equal(plan.label_B, plan.blend_B)


def test_the_same_seed_gives_the_same_bits_and_another_one_another_mix():
    images_XCHW = torch.rand(40, 3, 12, 9)

    def mixed(seed: int) -> tuple[np.ndarray, torch.Tensor]:
        plan = mixing(**EVERY_WAY).plan(TRAIN_ROWS[:20], seed=seed)
        return plan.rows, plan.images(images_XCHW[: len(plan.rows)])

    (rows, first), (rows_again, again), (_, other) = mixed(3), mixed(3), mixed(4)
    assert np.array_equal(rows, rows_again)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize(
    "change",
    [lambda images: images, lambda images: images.contiguous(memory_format=torch.channels_last)],
)
def test_the_memory_format_stays(change: Callable[[torch.Tensor], torch.Tensor]):
    plan = mixing(**EVERY_WAY).plan(TRAIN_ROWS[:20], seed=0)
    images_XCHW = change(torch.rand(len(plan.rows), 3, 12, 9))
    mixed_BCHW = plan.images(images_XCHW)
    assert mixed_BCHW.stride() == images_XCHW.stride()
    assert torch.equal(mixed_BCHW, plan.images(images_XCHW.contiguous()))


def test_one_plan_mixes_several_views_alike():
    plan = mixing(**EVERY_WAY).plan(TRAIN_ROWS[:20], seed=0)
    first = plan.images(numbered(plan))
    second = plan.images(numbered(plan) + 100)
    torch.testing.assert_close(second, first + 100)


def test_cut_pixels_are_the_partners_bits_in_bfloat16_too():
    plan = mixing(cutmix=1).plan(TRAIN_ROWS[:20], seed=0)
    images_XCHW = torch.rand(20, 3, 12, 9).bfloat16()
    assert torch.equal(plan.images(images_XCHW), by_hand(plan, images_XCHW))


def test_a_plan_for_another_size_has_its_boxes_there():
    plan = mixing(size="64", half_cutmix=1).plan(TRAIN_ROWS[:4], seed=0, size_HW=(10, 20))
    assert plan.box_B4[:, 1].tolist() == [10] * 4
    assert plan.images(torch.rand(4, 3, 10, 20)).shape == (4, 3, 10, 20)
    with pytest.raises(AssertionError):
        plan.images(torch.rand(4, 3, 64, 64))
