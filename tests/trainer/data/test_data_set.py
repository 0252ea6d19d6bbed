"""From options to a clean manifest in one pass over the files: boxes, room,
rows that cannot be used.
"""

from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from tests.trainer.data.data_sets import (
    BOX,
    BOXED,
    HOW,
    OTHER,
    N,
    expected,
    pixels,
    read,
    write_boxes,
)
from trainer.cache_folder import default_cache_folder
from trainer.data.cleaning import Rejected
from trainer.data.data_set import ReadOptions, read_data_set
from trainer.data.options import DataOptions
from trainer.errors import DataError
from trainer.images import cache
from trainer.images.cache import open_images, pool_of
from trainer.images.images import Decoded, Streamed
from trainer.images.preprocessing import Reading

pytestmark = pytest.mark.usefixtures("work")


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


def test_nothing_is_told_of_images_that_are_too_small_to_be_compared(photos, tmp_path):
    source = photos(N, folder=tmp_path / "small", side=16)
    told: set[str] = set()
    read_data_set(
        DataOptions(source=str(source), group="near_duplicates"),
        read=ReadOptions(progress=lambda what, done, total: told.add(what)),
    )
    assert told == {"reading images"}


def test_tiny_and_flat_images_have_no_near_duplicates(photos, tmp_path):
    """A fingerprint has 17 x 16 cells: in 32 pixels it sees nothing,
    and all flat pictures are one to it.
    """
    tiny = photos(N, folder=tmp_path / "tiny", side=32)
    flat = photos(N, folder=tmp_path / "flat", side=64)
    for number in range(N):
        Image.new("RGB", (64, 64), (number, 2 * number, 90)).save(flat.parent / f"{number}.png")
        Image.new("RGB", (32, 32), (number, 2 * number, 90)).save(tiny.parent / f"{number}.png")
    for source in (tiny, flat):
        found = read_data_set(DataOptions(source=str(source), group="near_duplicates"))
        assert len(set(found.manifest.groups)) == N


# boxes


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


def test_a_missing_image_is_a_rejected_row_and_the_others_are_read(source, tmp_path):
    (tmp_path / "photos" / "4.png").unlink()
    found = read(source, HOW, OTHER)
    assert found.manifest.paths == tuple(f"{row}.png" for row in range(N) if row != 4)
    assert found.rejected == [Rejected(6, "4.png", "missing", "there is no such file")]
    assert found.rows == N


def test_missing_and_unreadable_images_count_together(source, tmp_path):
    (tmp_path / "photos" / "4.png").unlink()
    (tmp_path / "photos" / "5.png").write_text("no image")
    with pytest.raises(
        DataError,
        match=r"2 of 12 rows cannot be used \((1 missing, 1 unreadable|1 unreadable, 1 missing)\)",
    ):
        read(source)


def test_corrections_may_name_images_as_the_table_does(tmp_path, photos):
    source = photos(N)
    text = source.read_text().replace(".png", "").replace("path", "id")
    source.write_text(text)
    corrections = tmp_path / "corrections.csv"
    corrections.write_text("path,label\n3,b\n4.png,c\n")
    found = read(source, image="id", suffix=".png", corrections=str(corrections))
    assert found.repairs == {"labels corrected": 2}
