"""Reading the files: each once, decoded once per choice, and again only when it changed."""

import collections
import contextlib
import hashlib
import io
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.trainer.conftest import squares
from trainer.cache_folder import default_cache_folder
from trainer.data import scan
from trainer.data.cleaning import REPAIRS, FileFacts
from trainer.data.options import DataOptions
from trainer.data.scan import scan_files
from trainer.data.sources import read_table
from trainer.data.table import Table
from trainer.errors import DataError
from trainer.images.cache import pool_of
from trainer.images.decode import decode, decode_all, fingerprint
from trainer.images.pool import PoolWriter
from trainer.images.preprocessing import Preprocessing, Reading

N = 12
NAMES = [f"{row}.png" for row in range(N)]
CHOICES = (Preprocessing((8, 8)), Preprocessing((4, 6), resize_mode="fit"))
BOXED = Preprocessing((4, 4), crop="box")
READING = Reading()


class Work:
    """What was done to which file, by its name."""

    def __init__(self) -> None:
        self.reads: collections.Counter[str] = collections.Counter()
        self.decodes: collections.Counter[bytes] = collections.Counter()
        self.fingerprints: collections.Counter[bytes] = collections.Counter()

    def clear(self) -> None:
        for counter in (self.reads, self.decodes, self.fingerprints):
            counter.clear()

    def names_read(self) -> list[str]:
        return sorted(self.reads.elements(), key=lambda name: int(name.split(".")[0]))


@pytest.fixture
def work(monkeypatch) -> Work:
    done = Work()
    plain = Path.read_bytes

    def read_bytes(file: Path) -> bytes:
        if file.suffix != ".csv":
            done.reads[file.name] += 1
        return plain(file)

    def decoding(data, wanted, **options):
        if wanted:
            done.decodes[data] += len(wanted)
        return decode_all(data, wanted, **options)

    def hashing(data, **options):
        done.fingerprints[data] += 1
        return fingerprint(data, **options)

    monkeypatch.setattr(Path, "read_bytes", read_bytes)
    monkeypatch.setattr(scan, "decode_all", decoding)
    monkeypatch.setattr(scan, "fingerprint", hashing)
    return done


@pytest.fixture
def source(photos, work) -> Path:
    """The CSV of 12 images of 16 x 16, of which nothing is known."""
    return photos(N)


def scanned(source: Path, choices: tuple[Preprocessing, ...] = (), **options: object) -> FileFacts:
    """Scan with fresh pools for the choices."""
    boxes = {"box": ("left", "top", "right", "bottom")} if BOXED in choices else {}
    table = read_table(DataOptions(source=str(source), **boxes))
    reading = options.pop("reading", READING)
    with contextlib.ExitStack() as stack:
        writers = [
            stack.enter_context(PoolWriter(pool_of(table.root, how, reading=reading)))
            for how in choices
        ]
        return scan_files(table, reading=reading, writers=writers, **options)


def assert_same(facts: FileFacts, other: FileFacts) -> None:
    assert facts.errors == other.errors
    for name in ("sizes_N2", "traits_N", "digests_N"):
        np.testing.assert_array_equal(getattr(facts, name), getattr(other, name))


def digest(file: Path) -> bytes:
    with file.open("rb") as stream:
        return hashlib.sha256(stream.read()).digest()[:16]


def png(pixels_HWC: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels_HWC).save(buffer, format="PNG")
    return buffer.getvalue()


# one pass


def test_every_file_is_read_once_and_decoded_once_per_choice(source, work):
    scanned(source, CHOICES)
    assert work.names_read() == NAMES
    assert sorted(work.decodes.values()) == [2] * N
    assert not work.fingerprints


def test_without_a_choice_every_file_is_decoded_once_all_the_same(source, work):
    scanned(source)
    assert work.names_read() == NAMES
    assert sorted(work.fingerprints.values()) == [1] * N
    assert not work.decodes


def test_the_pools_hold_what_decoding_each_file_gives(source):
    scanned(source, CHOICES)
    for how in CHOICES:
        keys_N = np.array([digest(source.parent / name) for name in NAMES], dtype="V16")
        images = pool_of(source.parent, how, reading=READING).open(keys_N)
        for row, name in enumerate(NAMES):
            expected = decode((source.parent / name).read_bytes(), how, reading=READING)
            np.testing.assert_array_equal(images.take(np.array([row]))[0], expected)


def test_facts_are_those_of_each_file(source):
    Image.fromarray(squares(1, side=16)[0][0][:7, :9]).convert("RGBA").save(source.parent / "3.png")
    (source.parent / "5.png").write_bytes(b"")
    facts = scanned(source, fingerprints=True)
    assert (
        facts.sizes_N2.tolist()
        == [[16, 16]] * 3 + [[7, 9]] + [[16, 16]] + [[0, 0]] + [[16, 16]] * 6
    )
    assert [row for row in range(N) if facts.traits_N[row]] == [3]
    assert facts.traits_N[3] == 1 << list(REPAIRS).index("alpha")
    assert [key.item() for key in facts.digests_N] == [
        digest(source.parent / name) for name in NAMES
    ]
    assert list(facts.errors) == [5]
    assert "empty" in facts.errors[5]
    for row in (0, 11):
        expected = fingerprint((source.parent / NAMES[row]).read_bytes(), reading=READING)
        np.testing.assert_array_equal(facts.fingerprints_N4[row], expected)


def test_rows_of_one_file_share_its_facts_and_one_reading(source, work):
    source.write_text("path,label\n1.png,a\n0.png,b\n1.png,c\n")
    facts = scanned(source, CHOICES)
    assert work.names_read() == ["0.png", "1.png"]
    assert facts.digests_N[0] == facts.digests_N[2] != facts.digests_N[1]


def test_rows_without_a_path_have_no_facts(source, work):
    source.write_text("path,label\n1.png,a\n,b\n0.png,c\n")
    facts = scanned(source, CHOICES)
    assert facts.sizes_N2.tolist() == [[16, 16], [0, 0], [16, 16]]
    assert facts.errors == {}


def test_progress_counts_every_file_that_is_read(source):
    seen: list[tuple[int, int]] = []
    scanned(source, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(number, N) for number in range(1, N + 1)]
    seen.clear()
    os.utime(source.parent / "4.png", ns=(1, 1))
    scanned(source, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(1, 1)]


# what is remembered


@pytest.mark.parametrize("choices", [(), CHOICES])
def test_unchanged_files_are_not_read_again(source, work, choices):
    first = scanned(source, choices)
    work.clear()
    assert_same(scanned(source, choices), first)
    assert_same(scanned(source), first)
    assert not work.reads


def test_new_labels_read_nothing(source, work):
    scanned(source, CHOICES)
    work.clear()
    source.write_text(source.read_text().replace(",a\n", ",z\n"))
    scanned(source, CHOICES)
    assert not work.reads


def _touch(file: Path) -> None:
    os.utime(file, ns=(1, 1))


def _change(file: Path) -> None:
    file.write_bytes(png(np.full((16, 16, 3), 9, np.uint8)))
    os.utime(file, ns=(1, 1))


def _grow(file: Path) -> None:
    """By a byte, within one tick of the clock."""
    stat = file.stat()
    with file.open("ab") as stream:
        stream.write(b"\0")
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))


@pytest.mark.parametrize(("alter", "decoded"), [(_touch, 0), (_change, 2), (_grow, 2)])
def test_a_touched_changed_or_grown_file_is_read_again_alone_and_decoded_if_its_content_is_new(
    source, work, alter, decoded
):
    first = scanned(source, CHOICES)
    alter(source.parent / "5.png")
    work.clear()
    facts = scanned(source, CHOICES)
    assert work.names_read() == ["5.png"]
    assert work.decodes.total() == decoded
    assert np.flatnonzero(facts.digests_N != first.digests_N).tolist() == ([5] if decoded else [])
    work.clear()
    scanned(source, CHOICES)
    assert not work.reads


def test_content_that_is_decoded_already_is_not_decoded_to_prove_it_whole(source, work):
    scanned(source, CHOICES)
    _touch(source.parent / "5.png")
    shutil.copyfile(source.parent / "0.png", source.parent / "12.png")
    with source.open("a") as file:
        file.write("12.png,a\n")
    work.clear()
    scanned(source, CHOICES)
    assert work.names_read() == ["5.png", "12.png"]
    assert not work.decodes
    assert not work.fingerprints


def test_new_rows_are_read_alone_and_the_others_stay_known(source, work):
    whole = source.read_text()
    source.write_text("".join(whole.splitlines(keepends=True)[:9]))
    scanned(source, CHOICES)
    work.clear()
    source.write_text(whole)
    scanned(source, CHOICES)
    assert work.names_read() == NAMES[8:]
    source.write_text("".join(whole.splitlines(keepends=True)[:3]))
    _touch(source.parent / "0.png")
    scanned(source, CHOICES)
    source.write_text(whole)
    work.clear()
    scanned(source, CHOICES)
    assert not work.reads


def test_a_new_choice_reads_each_file_again_and_decodes_it_for_that_choice_alone(source, work):
    scanned(source, CHOICES[:1])
    work.clear()
    scanned(source, CHOICES)
    assert work.names_read() == NAMES
    assert sorted(work.decodes.values()) == [1] * N
    assert not work.fingerprints


def test_fingerprints_are_computed_once_when_they_are_asked_for(source, work):
    scanned(source, CHOICES)
    work.clear()
    first = scanned(source, CHOICES, fingerprints=True)
    assert sorted(work.fingerprints.values()) == [1] * N
    assert not work.decodes
    work.clear()
    again = scanned(source, CHOICES, fingerprints=True)
    assert not work.reads
    np.testing.assert_array_equal(again.fingerprints_N4, first.fingerprints_N4)
    assert scanned(source, CHOICES).fingerprints_N4 is None


def test_a_fingerprint_that_is_known_survives_a_new_choice(source, work):
    first = scanned(source, fingerprints=True)
    work.clear()
    scanned(source, CHOICES)
    again = scanned(source, CHOICES, fingerprints=True)
    assert not work.fingerprints
    np.testing.assert_array_equal(again.fingerprints_N4, first.fingerprints_N4)


def test_another_limit_or_colour_judges_the_files_anew(source, work):
    assert scanned(source).errors == {}
    work.clear()
    assert len(scanned(source, reading=Reading(max_pixels=255)).errors) == N
    assert scanned(source).errors == {}
    assert work.names_read() == NAMES


@pytest.mark.parametrize("content", [b"", b"garbage", b"PK\x03\x04 half an archive"])
def test_a_damaged_memory_is_no_memory(source, work, content):
    first = scanned(source)
    (memory,) = (default_cache_folder() / "files").glob("*.npz")
    memory.write_bytes(content)
    work.clear()
    assert_same(scanned(source), first)
    assert work.names_read() == NAMES


def test_a_memory_cut_anywhere_is_no_memory(source):
    first = scanned(source)
    (memory,) = (default_cache_folder() / "files").glob("*.npz")
    whole = memory.read_bytes()
    for end in range(0, len(whole), len(whole) // 7):
        memory.write_bytes(whole[:end])
        assert_same(scanned(source), first)


def test_what_was_learned_before_an_end_in_the_middle_is_remembered(source, work, monkeypatch):
    monkeypatch.setattr(scan, "SAVE_EVERY_S", -1)

    def dies(done: int, total: int) -> None:
        if done == 8:
            raise KeyboardInterrupt("in the middle")

    with pytest.raises(KeyboardInterrupt, match="in the middle"):
        scanned(source, CHOICES, progress=dies)
    work.clear()
    scanned(source, CHOICES)
    assert work.names_read() == NAMES[7:]
    assert sorted(work.decodes.values()) == [2] * 4


# files that cannot be used


def test_unreadable_files_are_facts_and_are_not_read_again_until_they_change(source, work):
    whole = (source.parent / "4.png").read_bytes()
    (source.parent / "4.png").write_bytes(whole[: len(whole) // 2])
    (source.parent / "7.png").write_text("path,label\n")
    first = scanned(source, CHOICES)
    assert list(first.errors) == [4, 7]
    work.clear()
    again = scanned(source, CHOICES, fingerprints=False)
    assert again.errors == first.errors
    assert not work.reads
    (source.parent / "4.png").write_bytes(whole)
    assert list(scanned(source, CHOICES).errors) == [7]
    assert list(scanned(source, CHOICES, fingerprints=True).errors) == [7]


def test_a_file_that_broke_is_noticed(source):
    scanned(source, CHOICES)
    (source.parent / "2.png").write_bytes(b"")
    assert list(scanned(source, CHOICES).errors) == [2]


def test_an_unreadable_file_reaches_no_pool(source):
    (source.parent / "4.png").write_bytes((source.parent / "4.png").read_bytes()[:-40])
    scanned(source, CHOICES)
    for how in CHOICES:
        assert len(pool_of(source.parent, how, reading=READING).records()) == N - 1


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_file_that_vanishes_meanwhile_is_named(source, monkeypatch, when):
    table = read_table(DataOptions(source=str(source)))
    gone = source.parent / "2.png"
    if when == "before":
        gone.unlink()
    else:
        plain = scan._stat
        monkeypatch.setattr(
            scan, "_stat", lambda file: (plain(file), gone.unlink(missing_ok=True))[0]
        )
        table = Table(
            **{
                **vars(table),
                "paths": ["2.png"] + [name for name in table.paths if name != "2.png"],
            }
        )
    with pytest.raises(
        DataError,
        match=rf"^{re.escape(str(gone))}: the image cannot be read \(No such file or directory\)$",
    ):
        scan_files(table, reading=READING)


# boxes


def write_boxes(source: Path, rows: list[tuple[str, int, int, int, int]]) -> None:
    lines = [
        ",".join(map(str, (name, "ab"[number % 2], *box)))
        for number, (name, *box) in enumerate(rows)
    ]
    source.write_text("\n".join(["path,label,left,top,right,bottom", *lines]) + "\n")


def test_two_boxes_of_one_file_are_decoded_from_one_reading(source, work):
    write_boxes(source, [("0.png", 0, 0, 8, 8), ("0.png", 4, 4, 12, 12), ("1.png", 0, 0, 8, 8)])
    scanned(source, (BOXED, CHOICES[0]))
    assert work.names_read() == ["0.png", "1.png"]
    assert sorted(work.decodes.values()) == [2, 3]
    assert len(pool_of(source.parent, BOXED, reading=READING).records()) == 3


def test_a_corrected_box_decodes_its_own_row_alone(source, work):
    write_boxes(source, [("0.png", 0, 0, 8, 8), ("0.png", 4, 4, 12, 12), ("1.png", 0, 0, 8, 8)])
    scanned(source, (BOXED, CHOICES[0]))
    work.clear()
    write_boxes(source, [("0.png", 0, 0, 8, 8), ("0.png", 4, 4, 12, 13), ("1.png", 0, 0, 8, 8)])
    scanned(source, (BOXED, CHOICES[0]))
    assert work.names_read() == ["0.png"]
    assert work.decodes.total() == 1
    work.clear()
    scanned(source, (BOXED, CHOICES[0]))
    assert not work.reads


def test_a_box_that_cannot_be_used_is_not_decoded_and_a_clipped_one_is(source, work):
    write_boxes(source, [("0.png", 0, 0, 8, 8), ("1.png", 4, 4, 99, 12), ("2.png", 8, 8, 8, 12)])
    scanned(source, (BOXED,))
    assert len(pool_of(source.parent, BOXED, reading=READING).records()) == 1
    work.clear()
    scanned(source, (BOXED,))
    assert not work.reads
    scanned(source, (BOXED,), clip_boxes=True)
    assert work.names_read() == ["1.png"]
    assert len(pool_of(source.parent, BOXED, reading=READING).records()) == 2
