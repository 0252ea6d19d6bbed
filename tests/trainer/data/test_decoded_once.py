"""Nothing is ever decoded twice: whatever changed, died, or ran at the same time."""

import multiprocessing
import os
import shutil
import signal
from multiprocessing.synchronize import Event
from pathlib import Path

import filelock
import numpy as np
import pytest

from tests.trainer.data.data_sets import HOW, OTHER, N, expected, pixels, png, read
from trainer.data import scan
from trainer.images import parallel, pool
from trainer.images.cache import pool_of
from trainer.images.decode import decode_all
from trainer.images.pool import RECORD
from trainer.images.preprocessing import Reading

pytestmark = pytest.mark.usefixtures("work")


# nothing is decoded twice


def test_the_second_reading_decodes_nothing(source, work):
    read(source, HOW, OTHER)
    work.clear()
    read(source, HOW, OTHER)
    assert work.nothing


def test_a_data_set_that_moved_is_not_decoded_again(source, work, tmp_path):
    read(source, HOW, OTHER)
    work.clear()
    source.parent.rename(tmp_path / "moved")
    manifest = read(tmp_path / "moved" / "train.csv", HOW, OTHER).manifest
    assert work.nothing
    for how in (HOW, OTHER):
        np.testing.assert_array_equal(pixels(manifest, how), expected(manifest, how))
    assert work.nothing


def test_another_data_set_with_some_of_the_files_decodes_the_others_alone(source, work, tmp_path):
    read(source, HOW)
    work.clear()
    new = tmp_path / "new"
    new.mkdir()
    for row in range(6):
        shutil.copyfile(source.parent / f"{row}.png", new / f"copy-{row}.png")
    (new / "own.png").write_bytes(png(np.full((16, 16, 3), 9, np.uint8)))
    (new / "train.csv").write_text(
        "path,label\nown.png,a\n" + "".join(f"copy-{row}.png,{'ab'[row % 2]}\n" for row in range(6))
    )
    manifest = read(new / "train.csv", HOW).manifest
    assert list(work.decodes) == [(new / "own.png").read_bytes()]
    np.testing.assert_array_equal(pixels(manifest, HOW), expected(manifest, HOW))


def test_the_same_files_below_another_root_are_not_decoded_again(source, work):
    read(source, HOW)
    work.clear()
    above = source.parent.parent / "all.csv"
    above.write_text(
        "path,label\n" + "".join(f"photos/{row}.png,{'abc'[row % 3]}\n" for row in range(N))
    )
    manifest = read(above, HOW).manifest
    assert manifest.root != source.parent
    assert work.nothing
    np.testing.assert_array_equal(pixels(manifest, HOW), expected(manifest, HOW))


def test_an_identical_file_is_not_decoded_again(source, work):
    read(source, HOW)
    work.clear()
    shutil.copyfile(source.parent / "0.png", source.parent / "again.png")
    with source.open("a") as file:
        file.write("again.png,a\n")
    manifest = read(source, HOW).manifest
    assert not work.decodes
    np.testing.assert_array_equal(pixels(manifest, HOW)[-1], pixels(manifest, HOW)[0])
    assert len(pool_of(manifest.root, HOW, reading=manifest.reading).records()) == N


def test_new_labels_decode_nothing(source, work):
    read(source, HOW)
    work.clear()
    source.write_text(source.read_text().replace(",a\n", ",z\n"))
    assert read(source, HOW).manifest.classes == ("b", "c", "z")
    assert work.nothing


def test_changed_content_is_decoded_again_and_nothing_else_is(source, work):
    read(source, HOW, OTHER)
    work.clear()
    (source.parent / "4.png").write_bytes(png(np.full((16, 16, 3), 9, np.uint8)))
    manifest = read(source, HOW, OTHER).manifest
    assert work.decodes == {(source.parent / "4.png").read_bytes(): 2}
    np.testing.assert_array_equal(pixels(manifest, HOW), expected(manifest, HOW))


def test_content_that_comes_back_is_still_there(source, work):
    read(source, HOW)
    whole = (source.parent / "4.png").read_bytes()
    (source.parent / "4.png").write_bytes(png(np.full((16, 16, 3), 9, np.uint8)))
    read(source, HOW)
    (source.parent / "4.png").write_bytes(whole)
    work.clear()
    read(source, HOW)
    assert not work.decodes


def test_added_rows_are_decoded_alone(source, work):
    lines = source.read_text().splitlines(keepends=True)
    source.write_text("".join(lines[:9]))
    read(source, HOW)
    work.clear()
    source.write_text("".join(lines))
    manifest = read(source, HOW).manifest
    assert work.decodes == {(source.parent / f"{row}.png").read_bytes(): 1 for row in range(8, N)}
    np.testing.assert_array_equal(pixels(manifest, HOW), expected(manifest, HOW))


# ends in the middle


@pytest.mark.parametrize("error", [MemoryError, KeyboardInterrupt])
def test_a_reading_that_dies_goes_on_where_it_stopped(source, work, monkeypatch, error):
    with monkeypatch.context() as patched:

        def dies(data, wanted, **options):
            if data == (source.parent / "7.png").read_bytes():
                raise error("in the middle")
            return decode_all(data, wanted, **options)

        patched.setattr(scan, "decode_all", dies)
        with pytest.raises(error, match="in the middle"):
            read(source, HOW)
    assert len(pool_of(source.parent, HOW, reading=Reading()).records()) == 7
    manifest = read(source, HOW).manifest
    assert work.decodes == {(source.parent / f"{row}.png").read_bytes(): 1 for row in range(7, N)}
    np.testing.assert_array_equal(pixels(manifest, HOW), expected(manifest, HOW))


def _read_until_killed(source: Path) -> None:
    """In a child: records reach the disk every third image;
    decoding the 31st of 40 ends in SIGKILL.
    """
    pool.FLUSH_BYTES = 3 * 8 * 8 * 3
    parallel.cores = lambda: 1  # so that decoding is only a few images ahead of writing
    count = 0

    def decodes(data, wanted, **options):
        nonlocal count
        count += 1
        if count == 31:
            os.kill(os.getpid(), signal.SIGKILL)
        return decode_all(data, wanted, **options)

    scan.decode_all = decodes
    read(source, HOW)


def test_a_killed_process_leaves_whole_images_and_the_next_one_decodes_the_rest(
    photos, work, tmp_path
):
    source = photos(40, folder=tmp_path / "forty")
    child = multiprocessing.get_context("spawn").Process(target=_read_until_killed, args=(source,))
    child.start()
    child.join(280)
    assert child.exitcode == -signal.SIGKILL
    pool = pool_of(source.parent, HOW, reading=Reading())
    there = len(pool.records())
    assert there == pool.index.stat().st_size / RECORD.itemsize
    assert 21 <= there <= 30
    manifest = read(source, HOW).manifest
    assert work.decodes == {
        (source.parent / f"{row}.png").read_bytes(): 1 for row in range(there, 40)
    }
    np.testing.assert_array_equal(pixels(manifest, HOW), expected(manifest, HOW))
    assert len(pool.records()) == 40


# two processes at once


def _read_and_log(source: Path, log: Path, ready: Event, go: Event) -> None:
    """In a child: read the data set, a line per decoded image;
    the first image waits for the other child.
    """

    def logged(data, wanted, **options):
        if wanted:
            with log.open("a") as stream:
                stream.write(f"{os.getpid()} {len(wanted)}\n")
        ready.set()
        assert go.wait(280)
        return decode_all(data, wanted, **options)

    scan.decode_all = logged
    manifest = read(source, OTHER, HOW).manifest
    np.save(log.with_name(f"seen-{os.getpid()}.npy"), pixels(manifest, HOW))


def _arrive_late(source: Path, log: Path, ready: Event, go: Event) -> None:
    """In a child: ask for what the other child is decoding just now."""
    assert ready.wait(280)
    plain = filelock.FileLock.acquire

    def acquire(lock, *args, **options):
        go.set()  # the other one may go on only now that this one has come too late
        return plain(lock, *args, **options)

    filelock.FileLock.acquire = acquire
    _read_and_log(source, log, ready, go)


def test_two_processes_that_read_at_once_decode_once(source, tmp_path):
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    go = context.Event()
    log = tmp_path / "decoded.log"
    children = [
        context.Process(target=target, args=(source, log, ready, go))
        for target in (_read_and_log, _arrive_late)
    ]
    for child in children:
        child.start()
    for child in children:
        child.join(280)
    assert [child.exitcode for child in children] == [0, 0]
    assert log.read_text().splitlines() == [f"{children[0].pid} 2"] * N
    first, second = (np.load(tmp_path / f"seen-{child.pid}.npy") for child in children)
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(first, expected(read(source).manifest, HOW))
