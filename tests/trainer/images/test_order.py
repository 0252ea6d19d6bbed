"""The order of an epoch."""

import numpy as np
import pytest
import torch

from trainer.images.order import epoch_rows

LABELS_N = np.array([0] * 50 + [1] * 5 + [2] * 1 + [3] * 4 + [0] * 40)
TRAIN_ROWS = np.arange(3, 56)  # class 3 is held out


@pytest.mark.parametrize("sampling", ["shuffled", "balanced"])
def test_the_same_seed_gives_the_same_order_and_another_one_another(sampling):
    first, again, other = (
        epoch_rows(TRAIN_ROWS, LABELS_N, sampling=sampling, seed=seed) for seed in (1, 1, 2)
    )
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert first.dtype == np.int64


def test_shuffled_is_torchs_permutation_and_every_row_once():
    rows = epoch_rows(TRAIN_ROWS, LABELS_N, sampling="shuffled", seed=5)
    order = torch.randperm(len(TRAIN_ROWS), generator=torch.Generator().manual_seed(5))
    assert np.array_equal(rows, TRAIN_ROWS[order.numpy()])
    assert np.array_equal(np.sort(rows), TRAIN_ROWS)


def test_balanced_draws_as_many_of_the_training_rows():
    rows = epoch_rows(TRAIN_ROWS, LABELS_N, sampling="balanced", seed=5)
    assert len(rows) == len(TRAIN_ROWS)
    assert set(rows) <= set(TRAIN_ROWS)


def test_balanced_draws_each_class_equally_often_and_each_of_its_images():
    rows = np.concatenate(
        [epoch_rows(TRAIN_ROWS, LABELS_N, sampling="balanced", seed=seed) for seed in range(400)]
    )
    share_K = np.bincount(LABELS_N[rows], minlength=4) / len(rows)
    assert share_K == pytest.approx([1 / 3, 1 / 3, 1 / 3, 0], abs=0.012)  # 0.0032 standard error
    of_class_1 = np.bincount(rows, minlength=60)[50:55]
    assert of_class_1 / of_class_1.sum() == pytest.approx([0.2] * 5, abs=0.02)


def test_balanced_does_not_need_rows_in_class_order():
    mixed = np.random.default_rng(0).permutation(TRAIN_ROWS)
    rows = epoch_rows(mixed, LABELS_N, sampling="balanced", seed=0)
    assert set(rows) <= set(mixed)


@pytest.mark.parametrize("sampling", ["shuffled", "balanced"])
def test_one_image_is_an_epoch(sampling):
    assert epoch_rows(np.array([4]), LABELS_N, sampling=sampling, seed=0).tolist() == [4]
