"""From options to a clean manifest: one pass over the files, and nothing is ever decoded twice."""

import collections
import io
import multiprocessing
import os
import shutil
import signal
from multiprocessing.synchronize import Event
from pathlib import Path
from types import SimpleNamespace

import filelock
import numpy as np
import pytest
from PIL import Image, ImageFilter

from trainer.cache_folder import default_cache_folder
from trainer.data import scan
from trainer.data.data_set import DataSet, ReadOptions, read_data_set
from trainer.data.options import DataOptions
from trainer.errors import DataError
from trainer.images import cache, images, parallel
from trainer.images.cache import RECORD, open_images, pool_of
from trainer.images.decode import decode, decode_all, fingerprint
from trainer.images.images import Decoded, Streamed
from trainer.images.manifest import Manifest
from trainer.images.preprocessing import Preprocessing, Reading

N = 12
HOW = Preprocessing((8, 8))
OTHER = Preprocessing((4, 6), resize_mode="fit")
BOXED = Preprocessing((4, 4), crop="box")
BOX = ("left", "top", "right", "bottom")


class Work:
    """What was decoded, as file content, and what was decoded only to be compared or proven whole."""

    def __init__(self) -> None:
        self.decodes: collections.Counter[bytes] = collections.Counter()
        self.fingerprints: collections.Counter[bytes] = collections.Counter()

    def clear(self) -> None:
        self.decodes.clear()
        self.fingerprints.clear()

    @property
    def nothing(self) -> bool:
        return not self.decodes and not self.fingerprints


@pytest.fixture(autouse=True)
def work(monkeypatch) -> Work:
    done = Work()

    def all_decoded(data, wanted, **options):
        if wanted:
            done.decodes[data] += len(wanted)
        return decode_all(data, wanted, **options)

    def one_decoded(data, how, **options):
        done.decodes[data] += 1
        return decode(data, how, **options)

    def hashed(data, **options):
        done.fingerprints[data] += 1
        return fingerprint(data, **options)

    monkeypatch.setattr(scan, "decode_all", all_decoded)
    monkeypatch.setattr(scan, "fingerprint", hashed)
    monkeypatch.setattr(images, "decode", one_decoded)
    return done


@pytest.fixture
def source(photos, work) -> Path:
    """The CSV of 12 images of 16 x 16, none of them decoded."""
    return photos(N)


def read(source: Path, *choices: Preprocessing, **options: object) -> DataSet:
    return read_data_set(
        DataOptions(source=str(source), **options), read=ReadOptions(choices=choices)
    )


def pixels(manifest: Manifest, how: Preprocessing) -> np.ndarray:
    found = open_images(manifest, how, threads=2)
    assert isinstance(found, Decoded)
    return found.take(np.arange(len(manifest)))


def expected(manifest: Manifest, how: Preprocessing) -> np.ndarray:
    files = [manifest.file(row).read_bytes() for row in range(len(manifest))]
    return np.stack(
        [
            decode(data, how, reading=manifest.reading, box=manifest.box(n))
            for n, data in enumerate(files)
        ]
    )


def png(pixels_HWC: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels_HWC).save(buffer, format="PNG")
    return buffer.getvalue()


# one pass


def test_one_pass_makes_the_manifest_and_decodes_every_choice(source, work):
    found = read(source, HOW, OTHER)
    assert sorted(work.decodes.values()) == [2] * N
    work.clear()
    for how in (HOW, OTHER):
        np.testing.assert_array_equal(pixels(found.manifest, how), expected(found.manifest, how))
    assert work.nothing


def test_the_manifest_names_every_row_with_its_line_class_and_content(source):
    manifest = read(source).manifest
    assert manifest.paths == tuple(f"{row}.png" for row in range(N))
    assert manifest.lines == tuple(range(2, N + 2))
    assert [manifest.classes[label] for label in manifest.labels_N] == ["a", "b", "c"] * 4
    assert len(set(manifest.digests_N.tolist())) == N
    assert (manifest.groups, manifest.boxes_N4) == (None, None)


def test_progress_tells_what_is_done_and_how_far(photos, tmp_path):
    source = photos(N, folder=tmp_path / "large enough to be compared", side=48)
    seen: list[tuple[str, int, int]] = []
    read_data_set(
        DataOptions(source=str(source), group="near_duplicates"),
        read=ReadOptions(
            choices=(HOW,), progress=lambda what, done, total: seen.append((what, done, total))
        ),
    )
    assert seen[:N] == [("reading images", number, N) for number in range(1, N + 1)]
    assert {what for what, _, _ in seen[N:]} == {"comparing images"}
    assert seen[-1] == ("comparing images", N, N)


def test_tiny_and_flat_images_have_no_near_duplicates(photos, tmp_path):
    """A fingerprint has 17 x 16 cells: in 32 pixels it sees nothing, and all flat pictures are one to it."""
    tiny = photos(N, folder=tmp_path / "tiny", side=32)
    flat = photos(N, folder=tmp_path / "flat", side=64)
    for number in range(N):
        Image.new("RGB", (64, 64), (number, 2 * number, 90)).save(flat.parent / f"{number}.png")
        Image.new("RGB", (32, 32), (number, 2 * number, 90)).save(tiny.parent / f"{number}.png")
    for source in (tiny, flat):
        found = read_data_set(DataOptions(source=str(source), group="near_duplicates"))
        assert len(set(found.manifest.groups)) == N


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
    """In a child: records reach the disk every third image; decoding the 31st of 40 ends in SIGKILL."""
    cache.FLUSH_BYTES = 3 * 8 * 8 * 3
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
    child.join(120)
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
    """In a child: read the data set, a line per decoded image; the first image waits for the other child."""

    def logged(data, wanted, **options):
        if wanted:
            with log.open("a") as stream:
                stream.write(f"{os.getpid()} {len(wanted)}\n")
        ready.set()
        assert go.wait(60)
        return decode_all(data, wanted, **options)

    scan.decode_all = logged
    manifest = read(source, OTHER, HOW).manifest
    np.save(log.with_name(f"seen-{os.getpid()}.npy"), pixels(manifest, HOW))


def _arrive_late(source: Path, log: Path, ready: Event, go: Event) -> None:
    """In a child: ask for what the other child is decoding just now."""
    assert ready.wait(60)
    plain = filelock.FileLock.acquire

    def acquire(lock, *args, **options):
        go.set()  # the other one may go on only now that this one has come too late
        return plain(lock, *args, **options)

    filelock.FileLock.acquire = acquire
    _read_and_log(source, log, ready, go)


def test_two_processes_that_read_at_once_decode_once(source, tmp_path):
    context = multiprocessing.get_context("spawn")
    ready, go, log = context.Event(), context.Event(), tmp_path / "decoded.log"
    children = [
        context.Process(target=target, args=(source, log, ready, go))
        for target in (_read_and_log, _arrive_late)
    ]
    for child in children:
        child.start()
    for child in children:
        child.join(120)
    assert [child.exitcode for child in children] == [0, 0]
    assert log.read_text().splitlines() == [f"{children[0].pid} 2"] * N
    first, second = (np.load(tmp_path / f"seen-{child.pid}.npy") for child in children)
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(first, expected(read(source).manifest, HOW))


# boxes


def write_boxes(source: Path, rows: list[tuple[str, int, int, int, int]]) -> None:
    lines = [
        ",".join(map(str, (name, "ab"[number % 2], *box)))
        for number, (name, *box) in enumerate(rows)
    ]
    source.write_text("\n".join([",".join(("path", "label", *BOX)), *lines]) + "\n")


def test_two_boxes_of_one_file_are_two_images(source):
    write_boxes(source, [("0.png", 0, 0, 8, 8), ("0.png", 4, 4, 12, 12), ("1.png", 0, 0, 8, 8)])
    manifest = read(source, BOXED, HOW, box=BOX).manifest
    np.testing.assert_array_equal(pixels(manifest, BOXED), expected(manifest, BOXED))
    assert (pixels(manifest, BOXED)[0] != pixels(manifest, BOXED)[1]).any()
    np.testing.assert_array_equal(pixels(manifest, HOW)[0], pixels(manifest, HOW)[1])


def test_a_corrected_box_decodes_its_own_row_alone(source, work):
    boxes = [(f"{row}.png", 0, 0, 8, 8) for row in range(N)]
    write_boxes(source, boxes)
    read(source, BOXED, HOW, box=BOX)
    work.clear()
    write_boxes(source, [*boxes[:5], ("5.png", 1, 0, 8, 9), *boxes[6:]])
    manifest = read(source, BOXED, HOW, box=BOX).manifest
    assert work.decodes == {(source.parent / "5.png").read_bytes(): 1}
    np.testing.assert_array_equal(pixels(manifest, BOXED), expected(manifest, BOXED))


def test_boxes_cut_at_the_edge_are_decoded_as_they_are_kept(source, work):
    write_boxes(
        source,
        [
            ("0.png", -3, 2, 8, 8),
            ("1.png", 4, 4, 99, 12),
            ("2.png", 0, 0, 8, 8),
            ("3.png", 1, 1, 9, 9),
        ],
    )
    manifest = read(source, BOXED, box=BOX, bad_boxes="clip").manifest
    assert manifest.boxes_N4[:2].tolist() == [[0, 2, 8, 8], [4, 4, 16, 12]]
    work.clear()
    np.testing.assert_array_equal(pixels(manifest, BOXED), expected(manifest, BOXED))
    assert work.nothing


def test_cutting_boxes_out_needs_to_know_where_they_are(source):
    with pytest.raises(
        DataError,
        match=r"crop: box needs the columns of the box: data\.box: \[left, top, right, bot",
    ):
        read(source, BOXED)


# what does not fit


def test_what_does_not_fit_is_left_to_be_streamed(source, work):
    gigabytes = N * 4 * 6 * 3 / 1e9
    found = read(source, HOW, OTHER, cache_gb=gigabytes)
    assert (found.plan.kept, found.plan.streamed) == ((OTHER,), (HOW,))
    assert found.plan.sizes_bytes == {OTHER.key: N * 72}
    assert sorted(work.decodes.values()) == [1] * N
    assert len(list(default_cache_folder().glob("decoded/*/*.pixels"))) == 1
    streamed = [how.key for how in found.plan.streamed]
    assert isinstance(open_images(found.manifest, HOW, streamed=streamed, threads=1), Streamed)
    assert isinstance(open_images(found.manifest, OTHER, streamed=streamed, threads=1), Decoded)


def test_with_no_room_at_all_everything_is_streamed(source, work):
    found = read(source, HOW, OTHER, cache_gb=0)
    assert (found.plan.kept, found.plan.streamed) == ((), (HOW, OTHER))
    assert not work.decodes


def test_pools_of_other_data_make_room(source, photos, tmp_path):
    gigabytes = 1.5 * N * 192 / 1e9
    read(source, HOW, cache_gb=gigabytes)
    other = photos(N, folder=tmp_path / "other", side=18)
    read(other, HOW, cache_gb=gigabytes)
    (left,) = default_cache_folder().glob("decoded/*/*.pixels")
    assert left == pool_of(other.parent, HOW, reading=Reading()).pixels


def test_a_disk_that_is_too_small_is_refused_before_anything_is_decoded(source, work, monkeypatch):
    monkeypatch.setattr(
        cache.shutil, "disk_usage", lambda folder: SimpleNamespace(free=cache.SPARE_BYTES + 100)
    )
    with pytest.raises(
        DataError,
        match=r"cache: decoded images need 0\.0 GB more, and the disk has 0\.0 GB to spare",
    ):
        read(source, HOW)
    assert work.nothing


def test_a_cache_folder_that_cannot_be_written_is_refused(source, monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("SWEEPS_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(
        DataError,
        match=r"file/cache: the cache folder cannot be written\. Set \$SWEEPS_CACHE to one",
    ):
        read(source, HOW)


# near-duplicates


@pytest.fixture
def shots(tmp_path, work) -> Path:
    """Three scenes, of which three, two and one shots were taken, in the order s0 s1 s0 s1 s0 s2; s0's last is a b."""
    folder = tmp_path / "shots"
    folder.mkdir()
    rng = np.random.default_rng(3)
    scenes = [
        Image.fromarray(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8)).resize(
            (96, 96), Image.Resampling.BICUBIC
        )
        for _ in range(3)
    ]
    lines = ["path,label\n"]
    for number, (scene, label) in enumerate(zip((0, 1, 0, 1, 0, 2), "aaaabb", strict=True)):
        shot = scenes[scene].filter(ImageFilter.GaussianBlur(0.4 * number / 5))
        shot.save(folder / f"{number}.jpg", quality=95 - 5 * number)
        lines.append(f"{number}.jpg,{label}\n")
    (folder / "train.csv").write_text("".join(lines))
    return folder / "train.csv"


def test_near_duplicates_are_grouped_and_named_by_their_first_image(shots):
    manifest = read(shots, group="near_duplicates").manifest
    assert manifest.groups == ("0.jpg", "1.jpg", "0.jpg", "1.jpg", "0.jpg", "5.jpg")


def test_clusters_are_looked_for_only_if_somebody_wants_them(shots, work):
    assert read(shots, HOW).clusters_N is None
    assert not work.fingerprints
    found = read_data_set(
        DataOptions(source=str(shots)), read=ReadOptions(choices=(HOW,), fingerprints=True)
    )
    assert found.clusters_N.tolist() == [0, 1, 0, 1, 0, 5]
    assert found.manifest.groups is None


def test_one_image_per_cluster_and_class_is_kept_and_the_others_are_listed(shots):
    found = read(shots, HOW, keep="one_per_cluster")
    assert found.manifest.paths == ("0.jpg", "1.jpg", "4.jpg", "5.jpg")
    assert found.manifest.lines == (2, 3, 6, 7)
    assert [found.manifest.classes[label] for label in found.manifest.labels_N] == [
        "a",
        "a",
        "b",
        "b",
    ]
    assert [(entry.line, entry.path, entry.reason, entry.detail) for entry in found.rejected] == [
        (4, "2.jpg", "near duplicate", "line 2: 0.jpg stands for it"),
        (5, "3.jpg", "near duplicate", "line 3: 1.jpg stands for it"),
    ]
    assert found.rows == 6
    assert len(found.sizes_N2) == len(found.clusters_N) == 4
    np.testing.assert_array_equal(pixels(found.manifest, HOW), expected(found.manifest, HOW))


def test_only_the_kept_images_are_planned_for_and_decoded(shots, work):
    """Two million frames of which one in twenty is kept must not be decoded all, nor be said not to fit."""
    room_gb = 4 * HOW.size_HW[0] * HOW.size_HW[1] * 3 / 1e9
    found = read(shots, HOW, keep="one_per_cluster", cache_gb=room_gb)
    assert found.plan.kept == (HOW,)
    assert sum(work.decodes.values()) == found.to_decode == 4
    assert read(shots, keep="one_per_cluster").to_decode == 4  # as `sweeps check` asks


def test_only_kept_images_count_as_repaired(shots):
    for number in range(5):
        with Image.open(shots.parent / f"{number}.jpg") as image:
            grey = image.convert("L")
        grey.save(shots.parent / f"{number}.jpg")
    assert read(shots).repairs == {"greyscale turned to RGB": 5}
    found = read(shots, keep="one_per_cluster")
    assert found.repairs == {"greyscale turned to RGB": len(found.manifest) - 1}


def test_all_boxes_of_a_photo_that_is_kept_are_kept(shots):
    rows = "0.jpg,a,0,0,40,40\n0.jpg,a,40,40,90,90\n2.jpg,a,0,0,40,40\n5.jpg,b,0,0,9,9\n"
    shots.write_text("path,label,l,t,r,b\n" + rows)
    found = read(shots, keep="one_per_cluster", box=["l", "t", "r", "b"])
    assert [found.manifest.paths.count(name) for name in ("0.jpg", "2.jpg", "5.jpg")] in (
        [2, 0, 1],
        [0, 1, 1],
    )


def test_copies_are_one_cluster_however_small(photos, tmp_path):
    source = photos(N, folder=tmp_path / "tiny", side=32)
    shutil.copy(source.parent / "0.png", source.parent / "3.png")
    groups = read(source, group="near_duplicates").manifest.groups
    assert groups[3] == "0.png"
    assert len(set(groups)) == N - 1


def test_of_a_video_the_middle_frame_is_kept(shots):
    shots.write_text("path,label\n0.jpg,a\n2.jpg,a\n4.jpg,a\n5.jpg,b\n")
    assert read(shots, keep="one_per_cluster").manifest.paths == ("2.jpg", "5.jpg")


def test_kept_images_keep_their_boxes_groups_and_fixed_folds(shots):
    rows = [
        (0, 0, 4, "p0", ""),
        (1, 1, 5, "p1", "0"),
        (2, 2, 6, "p0", "1"),
        (3, 3, 7, "", "0"),
        (5, 5, 9, "", "1"),
    ]
    lines = [
        f"{n}.jpg,{'ab'[n % 2]},{x},{x},{end},{end},{who},{fold}\n" for n, x, end, who, fold in rows
    ]
    shots.write_text("path,label,left,top,right,bottom,person,fold\n" + "".join(lines))
    data = DataOptions(source=str(shots), box=BOX, group="person", keep="one_per_cluster")
    found = read_data_set(data, fold_column="fold", read=ReadOptions(choices=(BOXED,)))
    assert found.manifest.paths == ("0.jpg", "1.jpg", "5.jpg")
    assert found.manifest.boxes_N4[:, 0].tolist() == [0, 1, 5]
    assert found.manifest.groups == ("p0", "p1", "image 5.jpg")
    assert found.fixed_N.tolist() == [-1, 0, 1]
    np.testing.assert_array_equal(pixels(found.manifest, BOXED), expected(found.manifest, BOXED))


# rows that cannot be used


def test_rejected_rows_reach_neither_manifest_nor_choices(source):
    (source.parent / "4.png").write_bytes(b"")
    with source.open("a") as file:
        file.write("0.png,a\n")
    found = read(source, HOW, max_rejected=0.5)
    assert [(entry.line, entry.path, entry.reason) for entry in found.rejected] == [
        (6, "4.png", "unreadable"),
        (14, "0.png", "duplicate row"),
    ]
    assert found.manifest.paths == tuple(f"{row}.png" for row in range(N) if row != 4)
    np.testing.assert_array_equal(pixels(found.manifest, HOW), expected(found.manifest, HOW))


def test_too_many_rejected_rows_are_refused_unless_they_are_only_to_be_shown(source):
    for row in range(4):
        (source.parent / f"{row}.png").write_bytes(b"")
    with pytest.raises(
        DataError,
        match=r"4 of 12 rows cannot be used \(4 unreadable\), more than data\.max_rejected",
    ):
        read(source)
    found = read_data_set(DataOptions(source=str(source)), read=ReadOptions(tolerant=True))
    assert (len(found.manifest), len(found.rejected), found.rows) == (8, 4, 12)


def test_if_nothing_can_be_used_there_is_nothing_to_show(source):
    for row in range(N):
        (source.parent / f"{row}.png").write_bytes(b"")
    with pytest.raises(
        DataError, match=r"12 of 12 rows cannot be used \(12 unreadable\)(.|\n)*line 2: 0\.png"
    ):
        read_data_set(DataOptions(source=str(source)), read=ReadOptions(tolerant=True))
    with pytest.raises(DataError, match=r"none of 12 rows can be used$"):
        read(source, max_rejected=1.0)


def test_a_single_class_is_refused(source):
    source.write_text("path,label\n0.png,a\n1.png,a\n")
    with pytest.raises(
        DataError, match=r"only one class \('a'\); classification needs at least two"
    ):
        read(source)
