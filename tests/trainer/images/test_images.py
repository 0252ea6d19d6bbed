"""Pixels for rows: the same bits from the cache and decoded per batch,
with sums that equal numpy's.
"""

import concurrent.futures
import threading
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes import manifest_of
from tests.trainer.conftest import squares
from trainer.data.folds import make_folds
from trainer.errors import DataError
from trainer.images import images
from trainer.images.decode import decode
from trainer.images.images import BATCHES_AHEAD, ChannelSums, Decoded, Rows, Streamed, image_sums
from trainer.images.manifest import Manifest
from trainer.images.preprocessing import Preprocessing
from trainer.training.fit import FoldResult, run_fold
from trainer.training.fold_setup import FoldSetup
from trainer.training.reporter import SilentReporter

N = 12
HOW = Preprocessing((8, 10))
ROWS = np.arange(N)


@pytest.fixture
def manifest(photos) -> Manifest:
    """12 real images of 16 x 16."""
    return manifest_of(photos(N))


@pytest.fixture(scope="module")
def both(tmp_path_factory) -> tuple[Streamed, Decoded]:
    """The same 12 images, decoded per batch and decoded before."""
    from PIL import Image

    folder = tmp_path_factory.mktemp("both")
    images_NHWC, labels_N = squares(N, side=16)
    for row, image_HWC in enumerate(images_NHWC):
        Image.fromarray(image_HWC).save(folder / f"{row}.png")
    manifest = Manifest(
        root=folder,
        paths=tuple(f"{row}.png" for row in range(N)),
        labels_N=labels_N,
        classes=("a", "b", "c"),
        lines=(0,) * N,
    )
    return Streamed(manifest, HOW, threads=3), Decoded(decoded(manifest))


def decoded(manifest: Manifest) -> np.ndarray:
    files = (manifest.file(row).read_bytes() for row in range(len(manifest)))
    return np.stack([decode(data, HOW, reading=manifest.reading) for data in files])


# the same pixels from both


@given(batches=st.lists(st.lists(st.integers(0, N - 1), min_size=1, max_size=9), max_size=7))
def test_streamed_batches_are_the_decoded_ones_to_the_bit(both, batches):
    rows = [np.array(batch) for batch in batches]
    streamed, kept = ([*source.batches(rows)] for source in both)
    assert len(streamed) == len(kept) == len(rows)
    for one, other in zip(streamed, kept, strict=True):
        assert one.dtype == other.dtype == np.uint8
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("threads", [1, 2, 16])
def test_the_number_of_threads_changes_no_pixel(manifest, threads):
    (images_NHWC,) = Streamed(manifest, HOW, threads=threads).batches([ROWS])
    np.testing.assert_array_equal(images_NHWC, decoded(manifest))


def test_both_know_their_size_and_their_number(both):
    assert [(source.size_HW, len(source)) for source in both] == [((8, 10), N)] * 2


def test_only_decoded_images_may_be_held_in_memory(both):
    assert [source.resident_bytes for source in both] == [None, N * 8 * 10 * 3]


def test_the_box_of_each_row_is_cut_out(manifest):
    boxes_N4 = np.array([[row, 2, row + 4, 10] for row in range(N)], dtype=np.int32)
    boxed = Manifest(**{**vars(manifest), "boxes_N4": boxes_N4})
    (images_NHWC,) = Streamed(boxed, Preprocessing((8, 4), crop="box"), threads=2).batches([ROWS])
    full_NHWC = squares(N, side=16)[0]
    for row in range(N):
        np.testing.assert_array_equal(images_NHWC[row], full_NHWC[row, 2:10, row : row + 4])


def test_a_fold_run_on_streamed_images_equals_one_on_decoded_images_to_the_bit(
    manifest, tiny, tmp_path
):
    config = tiny(resize="8x10", normalise="dataset", epochs=2)
    folds = make_folds(manifest, k=3, seed=0)
    for name, source in (
        ("streamed", Streamed(manifest, HOW, threads=2)),
        ("decoded", Decoded(decoded(manifest))),
    ):
        setup = FoldSetup(
            config=config,
            images=[source],
            folds=folds,
            fold=0,
            directory=tmp_path / name,
            device=torch.device("cpu"),
            threads=1,
        )
        result = run_fold(setup, SilentReporter())
        assert isinstance(result, FoldResult)
    weights, more = (
        (tmp_path / name / "model.safetensors").read_bytes() for name in ("streamed", "decoded")
    )
    assert weights == more
    first, second = (
        np.load(tmp_path / name / "oof.npz")["probs"] for name in ("streamed", "decoded")
    )
    np.testing.assert_array_equal(first, second)


# decoded images


def test_slots_say_where_an_image_lies(both):
    images_MHWC = both[1].take(ROWS)
    slots_N = np.array([7, 0, 7])
    source = Decoded(images_MHWC, slots_N=slots_N)
    assert len(source) == 3
    assert source.resident_bytes == 3 * 8 * 10 * 3
    np.testing.assert_array_equal(source.take(np.array([2, 1, 0])), images_MHWC[[7, 0, 7]])


def test_what_is_taken_is_a_copy():
    images_NHWC = squares(4, side=8)[0]
    before = images_NHWC.copy()
    (taken,) = Decoded(images_NHWC).batches([np.arange(4)])
    taken[:] = 0
    np.testing.assert_array_equal(images_NHWC, before)


# decoding ahead


def test_a_bounded_number_of_batches_is_decoded_ahead(manifest):
    asked: list[int] = []

    def rows() -> Iterator[Rows]:
        for row in range(N):
            asked.append(row)
            yield np.array([row])

    for taken, _ in enumerate(Streamed(manifest, HOW, threads=2).batches(rows()), start=1):
        assert len(asked) == min(N, taken + BATCHES_AHEAD)


def test_nothing_is_decoded_before_the_first_batch_is_asked_for(manifest, monkeypatch):
    monkeypatch.setattr(images, "decode", lambda *_, **__: pytest.fail("decoded"))
    before = set(threading.enumerate())
    Streamed(manifest, HOW, threads=2).batches([ROWS])
    assert set(threading.enumerate()) == before


def test_an_abandoned_epoch_stops_its_threads_and_leaves_what_has_not_begun(manifest, monkeypatch):
    begun = []
    go = threading.Event()

    def gated(*args, **options):
        begun.append(args)
        assert len(begun) <= 4 or go.wait(60)
        return decode(*args, **options)

    class Executor(concurrent.futures.ThreadPoolExecutor):
        def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
            super().shutdown(wait=False, cancel_futures=cancel_futures)
            go.set()  # the image in work ends only after the others are cancelled
            super().shutdown(wait)

    monkeypatch.setattr(images, "decode", gated)
    monkeypatch.setattr(images.concurrent.futures, "ThreadPoolExecutor", Executor)
    before = set(threading.enumerate())
    epoch = Streamed(manifest, HOW, threads=1).batches([ROWS[:4], ROWS[4:8], ROWS[8:]])
    next(epoch)
    assert len(set(threading.enumerate()) - before) == 1
    epoch.close()
    assert set(threading.enumerate()) == before
    assert len(begun) in (4, 5)


# files that change meanwhile


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda file: file.unlink(), "No such file or directory"),
        (lambda file: file.write_bytes(b""), "empty"),
        (lambda file: file.write_bytes(file.read_bytes()[:-40]), "truncated|broken|cut"),
    ],
    ids=["vanished", "emptied", "truncated"],
)
def test_a_file_that_cannot_be_read_any_more_is_named_with_its_line(manifest, spoil, why):
    source = Streamed(manifest, HOW, threads=2)
    spoil(manifest.file(7))
    before = set(threading.enumerate())
    epoch = source.batches([ROWS[:4], ROWS[4:]])
    assert len(next(epoch)) == 4
    with pytest.raises(
        DataError, match=rf"^line 9: 7\.png cannot be read any more \(.*({why}).*\)$"
    ):
        next(epoch)
    assert set(threading.enumerate()) == before


def test_a_file_whose_content_changed_is_not_taken_for_the_one_that_was_read(manifest):
    source = Streamed(manifest, HOW, threads=2)
    manifest.file(7).write_bytes(manifest.file(0).read_bytes())
    with pytest.raises(
        DataError, match=r"^line 9: 7\.png cannot be read any more \(.*changed.*\)$"
    ):
        list(source.batches([ROWS]))


# sums


def plain_mean_std(images_NHWC: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    values = images_NHWC.astype(np.float64) / 255
    return values.mean(axis=(0, 1, 2)), values.std(axis=(0, 1, 2))


def test_mean_and_std_equal_those_of_numpy_in_double_precision(both):
    rows = np.array([9, 2, 2, 5])
    expected = plain_mean_std(both[1].take(rows))
    for source in both:
        np.testing.assert_allclose(source.channel_sums(rows).mean_std(), expected, rtol=1e-12)


def test_streamed_and_decoded_images_have_the_same_sums_to_the_bit(both):
    streamed, kept = (source.channel_sums(ROWS) for source in both)
    assert streamed.mean_std() == kept.mean_std()
    assert streamed.pixels == kept.pixels == N * 80


def test_the_order_of_the_rows_changes_no_bit_of_the_mean(both):
    for source in both:
        assert (
            source.channel_sums(ROWS[::-1].copy()).mean_std()
            == source.channel_sums(ROWS).mean_std()
        )


def test_sums_that_are_given_are_used_at_the_slots():
    images_MHWC = squares(6, side=8)[0]
    sums = [image_sums(image_HWC) for image_HWC in images_MHWC]
    slots_N = np.array([4, 1, 5])
    source = Decoded(
        images_MHWC,
        slots_N=slots_N,
        sums_MC=np.array([total for total, _ in sums]),
        squares_MC=np.array([squared for _, squared in sums]),
    )
    for own in (source, Decoded(images_MHWC, slots_N=slots_N)):
        measured = own.channel_sums(np.array([0, 2])).mean_std()
        np.testing.assert_allclose(measured, plain_mean_std(images_MHWC[[4, 5]]), rtol=1e-12)


def test_a_mean_is_of_the_same_even_sample_decoded_or_not(both, monkeypatch):
    """`cache_gb` may change while a sweep goes on; the normalisation must not."""
    monkeypatch.setattr(images, "SAMPLED", 4)
    count = []
    monkeypatch.setattr(
        images, "decode", lambda *args, **options: (count.append(1), decode(*args, **options))[1]
    )
    streamed, kept = both
    assert streamed.channel_sums(ROWS).mean_std() == kept.channel_sums(ROWS).mean_std()
    assert (
        kept.channel_sums(ROWS).mean_std() == kept.channel_sums(np.array([0, 3, 7, 11])).mean_std()
    )
    assert len(count) == 4


@pytest.mark.parametrize("value", [0, 1, 128, 255])
def test_sums_of_one_colour_are_exact(value):
    image_HWC = np.full((300, 400, 3), value, dtype=np.uint8)
    total_C, squares_C = image_sums(image_HWC)
    assert total_C.tolist() == [120_000 * value] * 3
    assert squares_C.tolist() == [120_000 * value**2] * 3


def test_channels_are_not_mixed():
    image_HWC = np.zeros((4, 5, 3), dtype=np.uint8)
    image_HWC[..., 1], image_HWC[..., 2] = 2, 255
    total_C, squares_C = image_sums(image_HWC)
    assert (total_C.tolist(), squares_C.tolist()) == ([0, 40, 5_100], [0, 80, 1_300_500])


def test_a_channel_without_variation_does_not_divide_by_zero():
    sums = ChannelSums(np.array([0.0, 255.0, 510.0]), np.array([0.0, 65_025.0, 130_050.0]), 2)
    assert sums.mean_std() == ((0.0, 0.5, 1.0), (1e-3, 0.5, 1e-3))


def test_rounding_below_zero_is_no_nan():
    mean, std = ChannelSums(np.full(3, 255.0 * 3), np.full(3, 255.0**2 * 3 - 1e-9), 3).mean_std()
    assert mean == (1.0, 1.0, 1.0)
    assert std == (1e-3, 1e-3, 1e-3)
