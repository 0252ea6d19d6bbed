"""The decoded cache: right pixels, built once, shared, and never half written."""

import multiprocessing
import os
import re
import shutil
from multiprocessing.synchronize import Event
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from trainer.data import cache
from trainer.data.cache import content_digest, decode, default_cache_folder, open_cache
from trainer.data.manifest import Manifest, read_manifest
from trainer.errors import DataError

GRADIENT_HWC = np.stack(np.broadcast_arrays(np.arange(16)[:, None] * 16, np.arange(16) * 16, 7), axis=2).astype(
    np.uint8
)


@pytest.fixture
def manifest(photos) -> Manifest:
    """12 real images of 16 x 16."""
    return read_manifest(photos())


def build(manifest: Manifest, size_HW: tuple[int, int] = (8, 8)) -> np.ndarray:
    return open_cache(manifest, size_HW=size_HW, digest=content_digest(manifest))


def cached(pattern: str = "*") -> list[str]:
    """Names in the cache folder, without locks."""
    return sorted(path.name for path in default_cache_folder().glob(pattern) if path.suffix != ".lock")


# decoding


@pytest.mark.parametrize(
    ("name", "mode", "tolerance"),
    [
        ("rgb.png", "RGB", 0),
        ("rgba.png", "RGBA", 0),
        ("palette.png", "P", 0),
        ("palette.gif", "P", 0),
        ("photo.jpg", "RGB", 40),
        ("print.jpg", "CMYK", 24),
        ("photo.webp", "RGB", 24),
        ("picture.bmp", "RGB", 0),
        ("scan.tif", "RGB", 0),
    ],
)
def test_every_kind_of_colour_image_becomes_rgb(tmp_path, name, mode, tolerance):
    blocks_HWC = np.repeat(np.repeat(GRADIENT_HWC[::4, ::4], 4, axis=0), 4, axis=1)  # 16 colours: fits any palette
    image = Image.fromarray(blocks_HWC)
    (image.quantize(16, dither=Image.Dither.NONE) if mode == "P" else image.convert(mode)).save(tmp_path / name)
    pixels = decode(tmp_path / name, (16, 16))
    assert pixels.shape == (16, 16, 3)
    assert pixels.dtype == np.uint8
    assert np.abs(pixels.astype(int) - blocks_HWC).max() <= tolerance


@pytest.mark.parametrize("mode", ["L", "LA", "1"])
def test_grey_becomes_three_equal_channels(tmp_path, mode):
    Image.fromarray(GRADIENT_HWC).convert(mode).save(tmp_path / "grey.png")
    pixels = decode(tmp_path / "grey.png", (16, 16))
    assert (pixels == pixels[:, :, :1]).all()
    assert pixels.std() > 0


def test_sixteen_bit_grey_keeps_its_levels(tmp_path):
    levels_HW = (np.arange(256).reshape(16, 16) * 257).astype(np.uint16)
    Image.fromarray(levels_HW).save(tmp_path / "deep.png")
    np.testing.assert_array_equal(decode(tmp_path / "deep.png", (16, 16))[:, :, 0], levels_HW // 257)


def test_a_transparent_palette_image_decodes_without_a_warning(tmp_path):
    image = Image.fromarray(GRADIENT_HWC).quantize(16)
    image.save(tmp_path / "clear.png", transparency=bytes([0] * 8 + [255] * 8))
    assert decode(tmp_path / "clear.png", (16, 16)).shape == (16, 16, 3)


def test_shrinking_averages_areas(tmp_path):
    Image.fromarray(GRADIENT_HWC).save(tmp_path / "image.png")
    means_HWC = GRADIENT_HWC.reshape(8, 2, 4, 4, 3).mean(axis=(1, 3))
    assert np.abs(decode(tmp_path / "image.png", (8, 4)) - means_HWC).max() <= 0.5


def test_the_height_comes_first(tmp_path):
    Image.fromarray(GRADIENT_HWC).save(tmp_path / "image.png")
    assert decode(tmp_path / "image.png", (8, 24)).shape == (8, 24, 3)


@pytest.mark.parametrize("size_HW", [(32, 32), (8, 32), (32, 8)])
def test_enlarging_stays_between_the_neighbours(tmp_path, size_HW):
    Image.fromarray(GRADIENT_HWC).save(tmp_path / "image.png")
    pixels = decode(tmp_path / "image.png", size_HW)
    assert (np.diff(pixels[:, :, 0].astype(int), axis=0) >= 0).all()
    assert (np.diff(pixels[:, :, 1].astype(int), axis=1) >= 0).all()
    assert (pixels[:, :, 2] == 7).all()


def test_an_image_of_the_right_size_keeps_its_pixels(tmp_path):
    Image.fromarray(GRADIENT_HWC).save(tmp_path / "image.png")
    np.testing.assert_array_equal(decode(tmp_path / "image.png", (16, 16)), GRADIENT_HWC)


# building


def test_the_cache_holds_every_image_in_manifest_order(manifest):
    images_NHWC = build(manifest, (8, 10))
    assert images_NHWC.shape == (12, 8, 10, 3)
    assert images_NHWC.dtype == np.uint8
    for row in range(12):
        np.testing.assert_array_equal(images_NHWC[row], decode(manifest.file(row), (8, 10)))


def test_more_images_than_are_decoded_at_once_keep_their_order(manifest, monkeypatch):
    monkeypatch.setattr(cache, "DECODED_AHEAD", 5)
    images_NHWC = build(manifest)
    for row in range(12):
        np.testing.assert_array_equal(images_NHWC[row], decode(manifest.file(row), (8, 8)))


def test_the_file_is_an_ordinary_npy_file(manifest):
    images_NHWC = build(manifest)
    (name,) = cached("*.npy")
    np.testing.assert_array_equal(np.load(default_cache_folder() / name), images_NHWC)


def test_nothing_but_the_cache_the_digests_and_a_lock_is_left(manifest):
    build(manifest)
    assert [re.sub(r"[0-9a-f]{24}", "HASH", name) for name in cached()] == ["HASH-8x8-v1.npy", "digests-HASH.npz"]


def test_progress_counts_every_image_once(manifest):
    seen = []
    open_cache(manifest, size_HW=(8, 8), digest="d", progress=lambda done, total: seen.append((done, total)))
    assert seen == [(number, 12) for number in range(13)]


def test_the_second_open_decodes_nothing(manifest, monkeypatch):
    first = build(manifest)
    monkeypatch.setattr(cache, "decode", lambda *_: pytest.fail("decoded again"))
    np.testing.assert_array_equal(build(manifest), first)


def test_another_size_is_another_file(manifest):
    build(manifest, (8, 8))
    build(manifest, (8, 16))
    build(manifest, (16, 8))
    assert len(cached("*.npy")) == 3


def test_writing_to_the_images_reaches_neither_the_file_nor_another_reader(manifest):
    first, second = build(manifest), build(manifest)
    assert isinstance(first, np.memmap)
    before = second.copy()
    first[:] = 0
    np.testing.assert_array_equal(second, before)
    np.testing.assert_array_equal(build(manifest), before)
    assert before.any()


def test_readers_map_one_file_and_copy_nothing(manifest):
    first, second = build(manifest), build(manifest)
    assert os.path.samefile(first.filename, second.filename)
    assert len(cached("*.npy")) == 1


def test_a_cache_deleted_while_in_use_stays_readable_and_is_built_again(manifest):
    first = build(manifest)
    before = first.copy()
    shutil.rmtree(default_cache_folder())
    np.testing.assert_array_equal(first, before)
    np.testing.assert_array_equal(build(manifest), before)


# what cannot be read


def test_an_unreadable_image_is_named_with_its_line_and_nothing_is_half_written(manifest):
    whole = manifest.file(4).read_bytes()
    manifest.file(4).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(
        DataError,
        match=rf"^{manifest.root}: 1 of 12 images cannot be read; replace or remove them\n"
        r"  line 6: 4.png \(.*(truncated|broken).*\)$",
    ):
        build(manifest)
    assert cached("*.npy") == cached(".*") == []
    manifest.file(4).write_bytes(whole)
    assert build(manifest).shape == (12, 8, 8, 3)


def test_all_unreadable_images_are_counted_and_the_first_ones_named(manifest):
    manifest.file(0).write_text("no image")
    manifest.file(1).write_bytes(b"")
    for row in range(2, 11):
        manifest.file(row).write_bytes(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(
        DataError, match=r"11 of 12 images cannot be read(.|\n)*\n  line 11: 9.png (.|\n)*\n  and 1 more$"
    ):
        build(manifest)


def test_a_text_file_named_png_is_named(manifest):
    manifest.file(7).write_text("path,label\n")
    with pytest.raises(
        DataError, match=r"1 of 12 images cannot be read.*\n  line 9: 7.png \(cannot identify image file"
    ):
        build(manifest)


@pytest.mark.parametrize("error", [MemoryError, KeyboardInterrupt])
def test_a_build_that_dies_leaves_no_cache(manifest, monkeypatch, error):
    def dies(file: Path, size_HW: tuple[int, int]) -> np.ndarray:
        if file == manifest.file(6):
            raise error("in the middle")
        return decode(file, size_HW)

    monkeypatch.setattr(cache, "decode", dies)
    with pytest.raises(error, match="in the middle"):
        build(manifest)
    assert cached("*.npy") == cached(".*") == []


# two processes at once


def _build_and_log(manifest: Manifest, log: Path, ready: Event, go: Event) -> None:
    """In a child: build the cache, a line per decoded image; the first image waits for the other child."""
    plain = cache.decode

    def logged(file: Path, size_HW: tuple[int, int]) -> np.ndarray:
        with log.open("a") as stream:
            stream.write(f"{os.getpid()} {file.name}\n")
        ready.set()
        assert go.wait(60)
        return plain(file, size_HW)

    cache.decode = logged
    np.save(log.with_name(f"seen-{os.getpid()}.npy"), open_cache(manifest, size_HW=(8, 8), digest="both"))


def _arrive_late(manifest: Manifest, log: Path, ready: Event, go: Event) -> None:
    """In a child: ask for the cache that the other child is building just now."""
    assert ready.wait(60)
    plain = Path.is_file

    def checked(path: Path) -> bool:
        answer = plain(path)
        if path.suffix == ".npy":  # the other one may end only after this one has seen that there is no cache
            go.set()
        return answer

    Path.is_file = checked
    _build_and_log(manifest, log, ready, go)


def test_two_processes_that_ask_at_once_build_once(manifest, tmp_path):
    context = multiprocessing.get_context("spawn")
    ready, go, log = context.Event(), context.Event(), tmp_path / "decoded.log"
    children = [
        context.Process(target=target, args=(manifest, log, ready, go)) for target in (_build_and_log, _arrive_late)
    ]
    for child in children:
        child.start()
    for child in children:
        child.join(120)
    assert [child.exitcode for child in children] == [0, 0]
    decoded = [line.split() for line in log.read_text().splitlines()]
    assert sorted(name for _, name in decoded) == sorted(manifest.paths)
    assert {process for process, _ in decoded} == {str(children[0].pid)}
    first, second = (np.load(tmp_path / f"seen-{child.pid}.npy") for child in children)
    np.testing.assert_array_equal(first, second)


# the digest of the content


@pytest.fixture
def files_read(monkeypatch):
    """Names of the files whose bytes were read for a digest."""
    read = []
    plain = cache._file_digest
    monkeypatch.setattr(cache, "_file_digest", lambda file: (read.append(file.name), plain(file))[1])
    return read


def test_unchanged_files_are_not_read_again(manifest, files_read):
    first = content_digest(manifest)
    assert sorted(files_read) == sorted(manifest.paths)
    files_read.clear()
    assert content_digest(manifest) == first
    assert files_read == []


def test_only_a_changed_file_is_read_again_and_changes_the_digest(manifest, files_read):
    first = content_digest(manifest)
    files_read.clear()
    shutil.copyfile(manifest.file(0), manifest.file(1))
    os.utime(manifest.file(1), ns=(1, 1))
    assert content_digest(manifest) != first
    assert files_read == ["1.png"]


def test_a_touched_file_is_read_again_and_keeps_the_digest(manifest, files_read):
    first = content_digest(manifest)
    files_read.clear()
    os.utime(manifest.file(5), ns=(1, 1))
    assert content_digest(manifest) == first
    assert files_read == ["5.png"]


def test_a_file_that_grew_within_one_tick_of_the_clock_is_noticed(manifest):
    first = content_digest(manifest)
    stat = manifest.file(3).stat()
    with manifest.file(3).open("ab") as file:
        file.write(b"\0")
    os.utime(manifest.file(3), ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert content_digest(manifest) != first


def test_the_digest_belongs_to_the_content_and_not_to_the_place(manifest, tmp_path):
    shutil.copytree(manifest.root, tmp_path / "moved")
    assert content_digest(read_manifest(tmp_path / "moved" / "train.csv")) == content_digest(manifest)


def test_the_digest_depends_on_the_order(manifest):
    swapped = Manifest(
        root=manifest.root,
        paths=manifest.paths[::-1],
        labels_N=manifest.labels_N[::-1],
        classes=manifest.classes,
        lines=manifest.lines[::-1],
    )
    assert content_digest(swapped) != content_digest(manifest)


def test_new_labels_keep_the_digest_so_that_relabelling_decodes_nothing(manifest):
    source = manifest.root / "train.csv"
    source.write_text(source.read_text().replace(",a\n", ",z\n"))
    assert content_digest(read_manifest(source)) == content_digest(manifest)


def test_a_vanished_image_is_named(manifest):
    manifest.file(2).unlink()
    message = rf"^{re.escape(str(manifest.file(2)))}: the image cannot be read \(No such file or directory\)$"
    with pytest.raises(DataError, match=message):
        content_digest(manifest)


def test_a_changed_image_gets_a_new_cache(manifest):
    before = build(manifest)
    shutil.copyfile(manifest.file(0), manifest.file(1))
    after = build(manifest)
    np.testing.assert_array_equal(after[1], before[0])
    assert len(cached("*.npy")) == 2


# the folder


def test_the_folder_comes_from_the_environment_and_else_lies_at_home(monkeypatch, tmp_path):
    assert default_cache_folder() == tmp_path / "cache"
    monkeypatch.setenv("SWEEPS_CACHE", "")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_cache_folder() == tmp_path / ".cache" / "foldsweep"


def test_a_relative_folder_is_made_absolute(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SWEEPS_CACHE", "here")
    assert default_cache_folder() == tmp_path / "here"


def test_a_folder_given_wins(manifest, tmp_path):
    digest = content_digest(manifest, folder=tmp_path / "own")
    open_cache(manifest, size_HW=(8, 8), digest=digest, folder=tmp_path / "own")
    assert len(list((tmp_path / "own").glob("*.np[yz]"))) == 2
    assert not default_cache_folder().exists()


def test_a_folder_that_cannot_be_written_is_refused_with_what_to_set(manifest, monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("SWEEPS_CACHE", str(tmp_path / "file" / "cache"))
    message = f"{tmp_path}/file/cache: the cache folder cannot be written. Set $SWEEPS_CACHE to one that can"
    for ask in (lambda: content_digest(manifest), lambda: open_cache(manifest, size_HW=(8, 8), digest="d")):
        with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
            ask()


def test_a_folder_without_write_permission_is_refused(manifest, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # the tests may run as root, who may write anywhere
    with pytest.raises(DataError, match=r"cache: the cache folder cannot be written. Set \$SWEEPS_CACHE"):
        content_digest(manifest)
