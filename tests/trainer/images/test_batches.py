"""Batches: normalised as timm does, whole and in the order of their rows,
from memory or decoded ahead.
"""

import gc
import itertools
import threading
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor

from tests.trainer.conftest import squares
from trainer.images import batches as module
from trainer.images.batches import (
    Batches,
    copied,
    even_batches,
    on_device,
    resident_bytes,
    split,
    steps_per_epoch,
    unit,
)
from trainer.images.images import Decoded, Streamed
from trainer.images.manifest import Manifest
from trainer.images.preprocessing import Preprocessing

MEAN_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CPU = torch.device("cpu")
N = 23
IMAGES_NHWC, LABELS_N = squares(N, side=8)
ROWS = np.arange(N)


@pytest.fixture(scope="module")
def batches() -> Batches:
    return Batches(Decoded(IMAGES_NHWC), device=CPU, mean_std=MEAN_STD)


def pixels(source: Batches, rows: list[int]) -> Tensor:
    (batch,) = source.pixels([np.array(rows)])
    return batch


def expected(rows: list[int]) -> np.ndarray:
    """(B, H, W, 3) by the plain formula."""
    mean, std = MEAN_STD
    return (IMAGES_NHWC[rows].astype(np.float64) / 255 - mean) / std


def test_pixels_are_those_of_the_rows(batches):
    np.testing.assert_array_equal(pixels(batches, [5, 0, 5]).numpy(), IMAGES_NHWC[[5, 0, 5]])


def test_images_are_normalised_as_the_plain_formula_says(batches):
    images_BCHW = batches.normalised(pixels(batches, [5, 0, 5]))
    np.testing.assert_allclose(
        images_BCHW.permute(0, 2, 3, 1).numpy(), expected([5, 0, 5]), atol=1e-5
    )
    assert images_BCHW.dtype == torch.float32


def test_images_of_0_to_1_are_normalised_by_the_same_formula(batches):
    images_BCHW = unit(pixels(batches, [5, 0]))
    assert 0 <= images_BCHW.min() <= images_BCHW.max() <= 1
    images_BCHW = batches.normalised_unit(images_BCHW)
    np.testing.assert_allclose(images_BCHW.permute(0, 2, 3, 1).numpy(), expected([5, 0]), atol=1e-5)


def test_images_that_do_not_lie_channels_last_are_normalised_too(batches):
    images_BCHW = batches.normalised_unit(unit(pixels(batches, [5, 0])).contiguous())
    np.testing.assert_allclose(images_BCHW.permute(0, 2, 3, 1).numpy(), expected([5, 0]), atol=1e-5)


def test_images_of_another_size_are_normalised_too(batches):
    images_BCHW = batches.normalised_unit(torch.full((2, 3, 5, 4), 0.5))
    mean, std = MEAN_STD
    np.testing.assert_allclose(
        images_BCHW[0, :, 2, 1], (0.5 - np.array(mean)) / np.array(std), atol=1e-6
    )


@pytest.mark.parametrize(
    "normalised", [lambda b, p: b.normalised(p), lambda b, p: b.normalised_unit(unit(p))]
)
def test_images_lie_channels_last_in_memory(batches, normalised):
    images_BCHW = normalised(batches, pixels(batches, [1, 2]))
    assert images_BCHW.is_contiguous(memory_format=torch.channels_last)


def test_the_source_is_never_written_to(batches):
    before = IMAGES_NHWC.copy()
    for batch in batches.pixels(split(ROWS, batch_size=4)):
        batches.normalised(batch).zero_()
        batches.normalised_unit(unit(batch)).zero_()
        batch.zero_()
    np.testing.assert_array_equal(IMAGES_NHWC, before)


def test_a_batch_is_the_same_bits_twice(batches):
    first, second = (batches.normalised(pixels(batches, [3, 1])) for _ in range(2))
    assert torch.equal(first, second)


@given(n=st.integers(1, N), batch_size=st.integers(1, 30))
def test_even_batches_have_every_row_once_and_in_order_and_differ_by_one_image(n, batch_size):
    rows_N = ROWS[::-1][:n].copy()
    found = [batch.tolist() for batch in even_batches(rows_N, batch_size=batch_size)]
    assert len(found) == steps_per_epoch(n, batch_size)
    assert list(itertools.chain.from_iterable(found)) == rows_N.tolist()
    sizes = [len(batch) for batch in found]
    assert max(sizes) - min(sizes) <= 1
    assert max(sizes) <= max(batch_size, 3 if batch_size == 2 else 0)
    assert min(sizes) >= min(2, batch_size, n)  # batch norm cannot train on a single image


@given(n=st.integers(1, N), batch_size=st.integers(1, 30))
def test_a_split_has_every_row_once_and_in_order(n, batch_size):
    rows_N = ROWS[::-1][:n].copy()
    found = [batch.tolist() for batch in split(rows_N, batch_size=batch_size)]
    assert list(itertools.chain.from_iterable(found)) == rows_N.tolist()
    assert {len(batch) for batch in found[:-1]} <= {batch_size}


@pytest.mark.parametrize(
    ("images", "batch_size", "steps"),
    [(1, 4, 1), (3, 4, 1), (4, 4, 1), (5, 4, 2), (8, 4, 2), (9, 4, 3), (5, 2, 2), (3, 1, 3)],
)
def test_steps_are_as_many_as_all_images_need_and_at_least_one(images, batch_size, steps):
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
    sources = Streamed(manifest, Preprocessing((8, 8)), threads=3), Decoded(IMAGES_NHWC)
    first, second = (Batches(source, device=CPU, mean_std=MEAN_STD) for source in sources)
    return first, second


@given(n=st.integers(1, N), batch_size=st.integers(1, 30))
def test_streamed_batches_are_those_of_decoded_images_to_the_bit(both, n, batch_size):
    rows_N = ROWS[::-1][:n].copy()
    streamed, kept = (source.pixels(split(rows_N, batch_size=batch_size)) for source in both)
    for found, wanted in zip(streamed, kept, strict=True):
        assert torch.equal(found, wanted)
        assert found.stride() == wanted.stride()


def test_batches_given_up_stop_the_threads_that_decode_ahead(both):
    before = set(threading.enumerate())
    batches = both[0].pixels(split(ROWS, batch_size=2))
    next(batches)
    assert set(threading.enumerate()) > before
    del batches
    assert set(threading.enumerate()) == before


def test_decoding_ahead_asks_for_rows_ahead(both):
    asked: list[int] = []

    def rows() -> Iterator[np.ndarray]:
        for batch in split(ROWS, batch_size=2):
            asked.append(len(asked))
            yield batch

    next(both[0].pixels(rows()))
    assert 1 < len(asked) < 6


def test_nothing_but_the_batch_is_copied(monkeypatch):
    taken = []
    plain = Decoded.take
    monkeypatch.setattr(
        Decoded, "take", lambda source, rows: (taken.append(rows.tolist()), plain(source, rows))[1]
    )
    source = Batches(Decoded(IMAGES_NHWC), device=CPU, mean_std=MEAN_STD)
    assert taken == []
    for count, _ in enumerate(source.pixels(split(ROWS, batch_size=5)), start=1):
        assert len(taken) == count
    assert taken == [ROWS[start : start + 5].tolist() for start in range(0, N, 5)]


# in device memory


def test_what_is_copied_to_a_device_is_every_image_in_order(monkeypatch):
    monkeypatch.setattr(module, "COPIED_AT_ONCE", 5)
    np.testing.assert_array_equal(copied(Decoded(IMAGES_NHWC), CPU).numpy(), IMAGES_NHWC)


class Gpu:
    """A device whose memory is the host's: what is decided
    by its free bytes can be tried without one.
    """

    type = "cuda"

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, free_bytes: int) -> None:
        self.copies = 0
        self.free_bytes = free_bytes
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (self.left, free_bytes))
        monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 0)
        monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 0)
        monkeypatch.setattr(module, "copied", self.copied)

    @property
    def left(self) -> int:
        return self.free_bytes - resident_bytes()

    def copied(self, images: Decoded, device: object) -> Tensor:
        self.copies += 1
        return copied(images, CPU)


def sources(count: int) -> list[Decoded]:
    return [Decoded(IMAGES_NHWC) for _ in range(count)]


@pytest.fixture(autouse=True)
def _nothing_resident() -> Iterator[None]:
    yield
    module._RESIDENT.clear()


def test_a_data_set_is_copied_to_a_device_once_for_all_fold_runs(monkeypatch):
    gpu, (images,) = Gpu(monkeypatch, free_bytes=10**9), sources(1)
    first = on_device(images, gpu)
    second = on_device(images, gpu)
    assert first is second
    assert gpu.copies == 1
    assert resident_bytes() == IMAGES_NHWC.nbytes


def test_a_data_set_that_takes_more_than_half_of_what_is_free_stays_in_host_memory(monkeypatch):
    (images,) = sources(1)
    assert on_device(images, Gpu(monkeypatch, free_bytes=2 * IMAGES_NHWC.nbytes)) is None
    assert on_device(images, Gpu(monkeypatch, free_bytes=2 * IMAGES_NHWC.nbytes + 1)) is not None


def test_data_sets_of_earlier_trials_make_room(monkeypatch):
    gpu, (old, new) = Gpu(monkeypatch, free_bytes=int(2.5 * IMAGES_NHWC.nbytes)), sources(2)
    on_device(old, gpu)
    assert on_device(new, gpu) is not None
    assert resident_bytes() == IMAGES_NHWC.nbytes


def test_a_data_set_leaves_device_memory_with_its_source(monkeypatch):
    gpu, (images,) = Gpu(monkeypatch, free_bytes=10**9), sources(1)
    on_device(images, gpu)
    del images
    gc.collect()
    assert resident_bytes() == 0


def test_images_that_are_decoded_per_batch_do_not_go_there(monkeypatch, both):
    assert on_device(both[0]._images, Gpu(monkeypatch, free_bytes=10**9)) is None


def test_on_the_cpu_images_stay_where_they_are():
    assert on_device(Decoded(IMAGES_NHWC), CPU) is None
