"""The two files of a pool: right pixels, never half an image, two processes, a full disk."""

import errno
import logging
import multiprocessing
import os
import re
import resource
import signal
from multiprocessing.connection import Connection

import filelock
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.trainer.images.pools import (
    IMAGE_BYTES,
    IMAGES_NHWC,
    KEYS,
    KEYS_N,
    SMALL,
    N,
    all_of,
    fill,
    pixels,
)
from trainer.errors import DataError
from trainer.images import pool as pool_file
from trainer.images.images import Decoded
from trainer.images.pool import RECORD, Pool, PoolWriter
from trainer.images.preprocessing import Preprocessing


@pytest.fixture
def pool(tmp_path) -> Pool:
    """An empty pool for images of 4 x 6."""
    return Pool(tmp_path / "pools" / "one.pixels", SMALL)


# a pool


def test_a_pool_gives_the_images_back_in_the_order_asked_for(pool):
    fill(pool)
    rows = [11, 0, 5, 5]
    np.testing.assert_array_equal(pixels(pool, rows), IMAGES_NHWC[rows])


def test_a_pool_that_lacks_one_image_gives_none(pool):
    assert pool.open(KEYS_N[:1]) is None
    fill(pool, range(5))
    assert pool.open(KEYS_N[:6]) is None
    assert pool.open(KEYS_N[:5]) is not None


def test_a_pool_that_is_filled_in_turns_keeps_everything(pool):
    for row in (3, 1, 2, 0):
        fill(pool, [row])
    np.testing.assert_array_equal(pixels(pool, range(4)), IMAGES_NHWC[:4])
    assert len(pool.records()) == 4


def test_an_image_is_added_once(pool):
    fill(pool, [2, 2, 0])
    fill(pool, [0, 2])
    assert pool.records()["key"].tolist() == [KEYS[2], KEYS[0]]
    assert pool.pixels.stat().st_size == 2 * IMAGE_BYTES


def test_a_writer_lacks_what_it_has_not_been_given(pool):
    fill(pool, [0])
    with PoolWriter(pool) as writer:
        assert [writer.lacks(key) for key in KEYS[:3]] == [False, True, True]
        writer.add(KEYS[1], IMAGES_NHWC[1])
        assert [writer.lacks(key) for key in KEYS[:3]] == [False, False, True]


def test_the_sums_beside_the_pixels_are_those_of_the_pixels(pool):
    fill(pool)
    rows = np.array([3, 9])
    kept = pool.open(KEYS_N).channel_sums(rows)
    assert kept.mean_std() == Decoded(IMAGES_NHWC).channel_sums(rows).mean_std()


def test_a_pool_that_grows_does_not_disturb_who_has_mapped_it(pool):
    fill(pool, range(5))
    before = pool.open(KEYS_N[:5])
    fill(pool, range(5, N))
    np.testing.assert_array_equal(all_of(before), IMAGES_NHWC[:5])
    assert len(before) == 5


def test_writing_to_what_was_taken_reaches_neither_the_file_nor_another_reader(pool):
    fill(pool)
    first, second = (pool.open(KEYS_N) for _ in range(2))
    first.take(np.arange(N))[:] = 0
    for source in (first, second, pool.open(KEYS_N)):
        np.testing.assert_array_equal(all_of(source), IMAGES_NHWC)


# never half an image


def test_pixels_are_on_the_disk_before_their_record_is_written(pool, monkeypatch):
    states = []
    plain = os.fsync

    def watched(descriptor: int) -> None:
        plain(descriptor)
        synced = "pixels" if os.path.samestat(os.fstat(descriptor), pool.pixels.stat()) else "index"
        sizes = (
            pool.pixels.stat().st_size / IMAGE_BYTES,
            pool.index.stat().st_size / RECORD.itemsize,
        )
        states.append((synced, *sizes))

    monkeypatch.setattr(pool_file.os, "fsync", watched)
    monkeypatch.setattr(pool_file, "FLUSH_BYTES", 2 * IMAGE_BYTES)
    fill(pool, range(5))
    assert states == [
        ("pixels", 2, 0),
        ("index", 2, 2),
        ("pixels", 4, 2),
        ("index", 4, 4),
        ("pixels", 5, 4),
        ("index", 5, 5),
    ]


@given(pixel_bytes=st.integers(0, 5 * IMAGE_BYTES), index_bytes=st.integers(0, 5 * RECORD.itemsize))
def test_files_that_end_anywhere_show_whole_images_only_and_are_completed(
    tmp_path_factory, pixel_bytes, index_bytes
):
    pool = Pool(tmp_path_factory.mktemp("torn") / "one.pixels", SMALL)
    fill(pool, range(5))
    os.truncate(pool.pixels, pixel_bytes)
    os.truncate(pool.index, index_bytes)
    whole = min(pixel_bytes // IMAGE_BYTES, index_bytes // RECORD.itemsize)
    if whole:
        np.testing.assert_array_equal(pixels(pool, range(whole)), IMAGES_NHWC[:whole])
    assert whole == 5 or pool.open(KEYS_N[: whole + 1]) is None
    with PoolWriter(pool) as writer:
        assert [writer.lacks(key) for key in KEYS[:5]] == [row >= whole for row in range(5)]
        writer.add(KEYS[7], IMAGES_NHWC[7])
    fill(pool)
    np.testing.assert_array_equal(pixels(pool), IMAGES_NHWC)
    assert pool.pixels.stat().st_size == N * IMAGE_BYTES
    assert pool.index.stat().st_size == N * RECORD.itemsize


@pytest.mark.parametrize(
    "garbage", [b"\x01", b"\x05" * 7, b"\xff" * RECORD.itemsize, b"\0" * (3 * RECORD.itemsize + 1)]
)
def test_garbage_behind_the_records_is_not_believed_and_is_cut_off(pool, garbage):
    fill(pool, range(3))
    with pool.index.open("ab") as file:
        file.write(garbage)
    assert pool.records()["key"].tolist() == KEYS[:3]
    fill(pool)
    np.testing.assert_array_equal(pixels(pool), IMAGES_NHWC)
    assert pool.records()["key"].tolist() == KEYS


def test_pixels_without_a_record_are_written_over(pool):
    fill(pool, range(3))
    with pool.pixels.open("ab") as file:
        file.write(b"\xee" * (2 * IMAGE_BYTES + 5))
    fill(pool)
    np.testing.assert_array_equal(pixels(pool), IMAGES_NHWC)


@pytest.mark.parametrize("suffix", [".pixels", ".index"])
def test_a_pool_that_lost_one_of_its_files_is_empty(pool, suffix):
    fill(pool)
    pool.pixels.with_suffix(suffix).unlink()
    assert len(pool.records()) == 0
    assert pool.open(KEYS_N[:1]) is None
    fill(pool)
    np.testing.assert_array_equal(pixels(pool), IMAGES_NHWC)


def test_a_pool_built_anew_beside_a_reader_leaves_the_reader_its_pixels(pool):
    fill(pool)
    before = pool.open(KEYS_N)
    pool.index.unlink()  # removing it was killed between its two files
    fill(pool, reversed(range(N)))
    np.testing.assert_array_equal(all_of(before), IMAGES_NHWC)
    np.testing.assert_array_equal(pixels(pool), IMAGES_NHWC)


@pytest.mark.parametrize("error", [MemoryError, KeyboardInterrupt])
def test_a_writer_that_dies_keeps_what_it_was_given(pool, error):
    def rows():
        yield 0
        raise error("in the middle")

    with pytest.raises(error, match="in the middle"):
        fill(pool, rows())
    assert pool.records()["key"].tolist() == KEYS[:1]
    fill(pool)
    np.testing.assert_array_equal(pixels(pool), IMAGES_NHWC)


def _write_until_killed(pool: Pool) -> None:
    """In a child: flush after every third image and die by SIGKILL with the eighth half written."""
    pool_file.FLUSH_BYTES = 3 * IMAGE_BYTES
    with PoolWriter(pool) as writer:
        for row in range(7):
            writer.add(KEYS[row], IMAGES_NHWC[row])
        writer._pixels.write(IMAGES_NHWC[7].tobytes()[:50])
        writer._pixels.flush()
        os.kill(os.getpid(), signal.SIGKILL)


def test_a_killed_writer_leaves_whole_images_and_no_lock(pool):
    child = multiprocessing.get_context("spawn").Process(target=_write_until_killed, args=(pool,))
    child.start()
    child.join(280)
    assert child.exitcode == -signal.SIGKILL
    assert pool.records()["key"].tolist() == KEYS[:6]
    assert pool.pixels.stat().st_size == 7 * IMAGE_BYTES + 50
    np.testing.assert_array_equal(pixels(pool, range(6)), IMAGES_NHWC[:6])
    fill(pool)
    np.testing.assert_array_equal(pixels(pool), IMAGES_NHWC)


# two processes


def test_a_user_is_told_what_is_waited_for(pool, monkeypatch):
    monkeypatch.setattr(pool_file, "PATIENCE_S", 0)
    fill(pool, range(3))
    held = filelock.FileLock(pool.pixels.with_suffix(".lock"))
    held.acquire()
    told: list[str] = []

    class Release(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            told.append(record.getMessage())
            held.release()  # the other process is done

    handler = Release()
    pool_file.logger.addHandler(handler)
    try:
        fill(pool)
    finally:
        pool_file.logger.removeHandler(handler)
    assert told == [
        f"another process decodes the same images ({pool.pixels.with_suffix('.lock')}); "
        "waiting for it"
    ]
    np.testing.assert_array_equal(pixels(pool), IMAGES_NHWC)


def test_an_image_of_another_data_set_is_found_and_copied(pool):
    other = Pool(pool.pixels.with_name("other.pixels"), SMALL)
    fill(other, range(5))
    with PoolWriter(pool) as writer:
        assert writer.lacks(KEYS[3])
        np.testing.assert_array_equal(writer.elsewhere(KEYS[3]), IMAGES_NHWC[3])
        assert writer.elsewhere(KEYS[7]) is None


# a full disk


class FullDisk:
    """A file whose bytes stay in a buffer until the disk has no room for them; as Python's own."""

    def __init__(self, file, *, room: int) -> None:
        self._file = file
        self._room = room
        self._waiting = b""

    def write(self, data: bytes) -> int:
        self._waiting += data
        return len(data)

    def flush(self) -> None:
        now, self._waiting = self._waiting[: self._room], self._waiting[self._room :]
        self._file.write(now)
        self._file.flush()
        self._room -= len(now)
        if self._waiting:
            raise OSError(errno.ENOSPC, "No space left on device")

    def fileno(self) -> int:
        return self._file.fileno()


@pytest.mark.parametrize("full", ["_pixels", "_index"])
def test_a_full_disk_is_named_and_what_was_written_before_stays(pool, monkeypatch, full):
    monkeypatch.setattr(pool_file, "FLUSH_BYTES", 2 * IMAGE_BYTES)
    message = (
        f"{pool.pixels}: decoded images cannot be written (the disk is full). "
        "Make room, or set $SWEEPS_CACHE to another disk"
    )
    room = {"_pixels": 5 * IMAGE_BYTES + 7, "_index": 4 * RECORD.itemsize + 9}[full]
    plain = PoolWriter.__enter__

    def enter(writer: PoolWriter) -> PoolWriter:
        plain(writer)
        setattr(writer, full, FullDisk(getattr(writer, full), room=room))
        return writer

    with monkeypatch.context() as patched:
        patched.setattr(PoolWriter, "__enter__", enter)
        with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
            fill(pool)
    assert pool.records()["key"].tolist() == KEYS[:4]
    fill(pool)
    np.testing.assert_array_equal(pixels(pool), IMAGES_NHWC)


def _write_beyond_the_limit(pool: Pool, answer: Connection) -> None:
    """In a child: the file may hold three images of 3 kB;
    what does not fit stays in Python's own buffer of it.
    """
    limit = 3 * pool.image_bytes + 700
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before))
    writer = PoolWriter(pool)
    try:
        with writer:
            for row in range(N):
                writer.add(KEYS[row], np.zeros((*pool.how.size_HW, 3), np.uint8))
        answer.send("no error")
    except DataError as error:
        answer.send((str(error), writer._lock.is_locked))
    except OSError as error:
        answer.send((repr(error), writer._lock.is_locked))
    resource.setrlimit(
        resource.RLIMIT_FSIZE, (before, before)
    )  # coverage writes its file at the end of the process


def test_a_real_file_that_cannot_grow_is_named_and_its_lock_is_free(tmp_path):
    pool = Pool(tmp_path / "one.pixels", Preprocessing((32, 32)))
    context = multiprocessing.get_context("spawn")
    mine, theirs = context.Pipe()
    child = context.Process(target=_write_beyond_the_limit, args=(pool, theirs))
    child.start()
    child.join(280)
    assert child.exitcode == 0
    text, locked = mine.recv()
    assert re.fullmatch(
        rf"{pool.pixels}: decoded images cannot be written \(.*File too large\)\. "
        r"Make room, or set \$SWEEPS_CACHE to another disk",
        text,
    )
    assert not locked
    records = pool.records()
    assert records["key"].tolist() == KEYS[: len(records)]
