"""Batches: normalised as timm does, in an order that only the seed decides."""

import itertools
import threading
from collections.abc import Iterable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tests.trainer.conftest import squares
from trainer.data.batches import Batch, Batches, copied, steps_per_epoch
from trainer.data.images import Decoded, Streamed
from trainer.data.manifest import Manifest
from trainer.data.preprocessing import Preprocessing

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CPU = torch.device("cpu")
N = 23
IMAGES_NHWC, LABELS_N = squares(N, side=8)
ROWS = np.arange(N)


@pytest.fixture(scope="module")
def batches() -> Batches:
    """23 images whose labels are their own row numbers."""
    return Batches(Decoded(IMAGES_NHWC), ROWS.astype(np.int64), device=CPU, mean=MEAN, std=STD)


def rows_of(epoch: Iterable[Batch]) -> list[list[int]]:
    return [labels_B.tolist() for _, labels_B in epoch]


def flat(epoch: Iterable[Batch]) -> list[int]:
    return list(itertools.chain.from_iterable(rows_of(epoch)))


def test_images_are_normalised_as_the_plain_formula_says(batches):
    rows = torch.tensor([5, 0, 5])
    images_BCHW, labels_B = batches.take(rows)
    expected = (IMAGES_NHWC[rows].astype(np.float64) / 255 - MEAN) / STD
    np.testing.assert_allclose(images_BCHW.permute(0, 2, 3, 1).numpy(), expected, atol=1e-5)
    assert images_BCHW.dtype == torch.float32
    assert labels_B.tolist() == [5, 0, 5]


def test_images_lie_channels_last_in_memory(batches):
    assert batches.take(torch.tensor([1, 2]))[0].is_contiguous(memory_format=torch.channels_last)


def test_the_source_is_never_written_to(batches):
    before = IMAGES_NHWC.copy()
    for images_BCHW, _ in batches.in_order(ROWS, batch_size=4):
        images_BCHW.zero_()
    np.testing.assert_array_equal(IMAGES_NHWC, before)


def test_a_batch_is_the_same_bits_twice(batches):
    rows = torch.tensor([3, 1])
    assert torch.equal(batches.take(rows)[0], batches.take(rows)[0])


@given(n=st.integers(1, N), batch_size=st.integers(2, 30), seed=st.integers(0, 2**63 - 1))
def test_an_epoch_is_whole_batches_without_a_repeated_row(batches, n, batch_size, seed):
    epoch = rows_of(batches.shuffled(ROWS[:n], batch_size=batch_size, seed=seed))
    assert len(epoch) == steps_per_epoch(n, batch_size)
    assert {len(batch) for batch in epoch} == {min(n, batch_size)}
    rows = list(itertools.chain.from_iterable(epoch))
    assert len(set(rows)) == len(rows)
    assert set(rows) <= set(range(n))


@given(n=st.integers(1, N), batch_size=st.integers(2, 30))
def test_in_order_gives_every_row_once_and_in_order(batches, n, batch_size):
    rows_N = ROWS[::-1][:n].copy()
    assert flat(batches.in_order(rows_N, batch_size=batch_size)) == rows_N.tolist()


def test_the_seed_alone_decides_the_order(batches):
    def epoch(seed: int) -> list[list[int]]:
        return rows_of(batches.shuffled(ROWS, batch_size=4, seed=seed))

    torch.manual_seed(1)
    first = epoch(7)
    torch.manual_seed(2)
    assert epoch(7) == first
    assert epoch(8) != first


def test_shuffling_leaves_the_global_generator_alone(batches):
    before = torch.get_rng_state()
    rows_of(batches.shuffled(ROWS, batch_size=4, seed=7))
    assert torch.equal(torch.get_rng_state(), before)


def test_the_remainder_is_another_one_each_epoch(batches):
    left_out = {
        tuple(sorted(set(ROWS.tolist()) - set(flat(batches.shuffled(ROWS, batch_size=4, seed=seed)))))
        for seed in range(10)
    }
    assert len(left_out) > 1
    assert {len(rows) for rows in left_out} == {3}


def test_only_the_rows_given_are_used(batches):
    rows_N = np.array([20, 2, 11, 5])
    assert sorted(flat(batches.shuffled(rows_N, batch_size=2, seed=0))) == [2, 5, 11, 20]


@pytest.mark.parametrize(("images", "batch_size", "steps"), [(1, 4, 1), (3, 4, 1), (4, 4, 1), (7, 4, 1), (8, 4, 2)])
def test_steps_are_whole_batches_and_at_least_one(images, batch_size, steps):
    assert steps_per_epoch(images, batch_size) == steps


# decoded per batch


@pytest.fixture(scope="module")
def both(tmp_path_factory) -> tuple[Batches, Batches]:
    """The same 23 images, decoded per batch and decoded before."""
    folder = tmp_path_factory.mktemp("both")
    for row, image_HWC in enumerate(IMAGES_NHWC):
        Image.fromarray(image_HWC).save(folder / f"{row}.png")
    manifest = Manifest(
        root=folder,
        paths=tuple(f"{row}.png" for row in range(N)),
        labels_N=LABELS_N,
        classes=("a", "b", "c"),
        lines=(0,) * N,
    )
    streamed = Streamed(manifest, Preprocessing((8, 8)), threads=3)
    sources = (streamed, Decoded(IMAGES_NHWC))
    first, second = (Batches(source, LABELS_N, device=CPU, mean=MEAN, std=STD) for source in sources)
    return first, second


def assert_equal(streamed: Iterable[Batch], kept: Iterable[Batch]) -> None:
    for (images_BCHW, labels_B), (expected_BCHW, expected_B) in zip(streamed, kept, strict=True):
        assert torch.equal(images_BCHW, expected_BCHW)
        assert images_BCHW.stride() == expected_BCHW.stride()
        assert torch.equal(labels_B, expected_B)


@given(n=st.integers(1, N), batch_size=st.integers(2, 30), seed=st.integers(0, 2**63 - 1))
def test_streamed_epochs_are_those_of_decoded_images_to_the_bit(both, n, batch_size, seed):
    streamed, kept = both
    rows_N = ROWS[::-1][:n].copy()
    assert_equal(*(source.shuffled(rows_N, batch_size=batch_size, seed=seed) for source in (streamed, kept)))
    assert_equal(*(source.in_order(rows_N, batch_size=batch_size) for source in (streamed, kept)))


def test_single_rows_of_streamed_images_can_be_taken(both):
    rows = torch.tensor([5, 0, 5])
    assert_equal(*([source.take(rows)] for source in both))


def test_an_epoch_given_up_stops_the_threads_that_decode_ahead(both):
    before = set(threading.enumerate())
    epoch = both[0].shuffled(ROWS, batch_size=2, seed=0)
    next(epoch)
    assert set(threading.enumerate()) > before
    del epoch
    assert set(threading.enumerate()) == before


def test_nothing_but_the_batch_is_copied(monkeypatch):
    taken = []
    plain = Decoded.take
    monkeypatch.setattr(Decoded, "take", lambda source, rows: (taken.append(rows.tolist()), plain(source, rows))[1])
    source = Batches(Decoded(IMAGES_NHWC), LABELS_N, device=CPU, mean=MEAN, std=STD)
    assert taken == []
    for count, _ in enumerate(source.in_order(ROWS, batch_size=5), start=1):
        assert len(taken) == count
    assert taken == [ROWS[start : start + 5].tolist() for start in range(0, N, 5)]


def test_what_is_copied_to_a_device_is_every_image_in_order(monkeypatch):
    monkeypatch.setattr("trainer.data.batches.COPIED_AT_ONCE", 5)
    copy_NHWC = copied(Decoded(IMAGES_NHWC), N, CPU)
    np.testing.assert_array_equal(copy_NHWC.numpy(), IMAGES_NHWC)
