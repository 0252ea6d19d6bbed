"""The decoded cache: right pixels, built once, shared, never half written,
and no larger than allowed.
"""

import itertools
import multiprocessing
import os
import re
import shutil
from multiprocessing.connection import Connection
from pathlib import Path
from types import SimpleNamespace

import filelock
import numpy as np
import pytest

from tests.fakes import manifest_of
from tests.trainer.images.pools import (
    IMAGE_BYTES,
    IMAGES_NHWC,
    KEYS_N,
    RNG,
    SMALL,
    N,
    all_of,
    fill,
    pixels,
)
from trainer.cache_folder import default_cache_folder
from trainer.errors import DataError
from trainer.images import cache, images
from trainer.images.cache import find_images, make_room, open_images, plan_cache, pool_of
from trainer.images.decode import decode
from trainer.images.images import Decoded, Streamed
from trainer.images.manifest import DIGEST, Manifest
from trainer.images.pool import RECORD, Pool, PoolWriter, image_key
from trainer.images.preprocessing import Preprocessing, Reading

HOW = Preprocessing((8, 8))


@pytest.fixture
def manifest(photos) -> Manifest:
    """12 real images of 16 x 16, which have been read."""
    return manifest_of(photos(N))


@pytest.fixture
def pool(tmp_path) -> Pool:
    """An empty pool for images of 4 x 6."""
    return Pool(tmp_path / "pools" / "one.pixels", SMALL)


@pytest.fixture
def decodes(monkeypatch) -> list[bytes]:
    """The content of every image that is decoded after the files were read."""
    seen = []
    monkeypatch.setattr(
        images,
        "decode",
        lambda data, *rest, **options: (seen.append(data), decode(data, *rest, **options))[1],
    )
    return seen


def expected(manifest: Manifest, how: Preprocessing = HOW) -> np.ndarray:
    return np.stack(
        [
            decode(
                manifest.file(row).read_bytes(),
                how,
                reading=manifest.reading,
                box=manifest.box(row),
            )
            for row in range(len(manifest))
        ]
    )


# which pool


def test_an_image_is_known_by_its_content(manifest):
    for how in (HOW, Preprocessing((8, 8), crop="face", background="remove")):
        assert image_key(b"0123456789abcdef", how, (1, 2, 3, 4)) == b"0123456789abcdef"


def test_with_boxes_an_image_is_known_by_its_content_and_its_box():
    how = Preprocessing((8, 8), crop="box")
    digests = (b"\1" * 16, b"\2" * 16)
    boxes = ((0, 0, 4, 4), (0, 0, 4, 5), (0, 0, 260, 4))
    keys = {image_key(digest, how, box) for digest in digests for box in boxes}
    assert len(keys) == 6
    assert {len(key) for key in keys} == {16}


def test_choices_have_their_own_pools_and_name_them_readably(tmp_path):
    choices = [
        Preprocessing(size_HW, mode, crop, background)
        for size_HW in ((8, 16), (16, 8))
        for mode in ("stretch", "fit")
        for crop in ("none", "face")
        for background in ("keep", "remove")
    ]
    pools = [pool_of(tmp_path, how, reading=Reading()) for how in choices]
    assert len({pool.pixels for pool in pools}) == len(choices)
    for pool, how in zip(pools, choices, strict=True):
        assert re.fullmatch(f"{how.key}-[0-9a-f]{{8}}", pool.pixels.parent.name)


def test_the_fill_colour_decides_pixels_and_the_bomb_limit_does_not(tmp_path):
    def pixels_of(**changes: object) -> Path:
        return pool_of(tmp_path, HOW, reading=Reading(**changes)).pixels

    assert pixels_of(fill_rgb=(0, 0, 0)) != pixels_of()
    assert pixels_of(max_pixels=100) == pixels_of()


def test_weights_count_where_they_are_used_and_by_their_content(tmp_path):
    for name, content in (("a", b"one"), ("b", b"one"), ("c", b"two")):
        (tmp_path / name).write_bytes(content)

    def pixels_of(name: str, how: Preprocessing) -> Path:
        weights = str(tmp_path / name)
        return pool_of(
            tmp_path, how, reading=Reading(face_weights=weights, background_weights=weights)
        ).pixels

    for how in (Preprocessing((8, 8), crop="face"), Preprocessing((8, 8), background="remove")):
        assert pixels_of("a", how) == pixels_of("b", how) != pixels_of("c", how)
        assert pixels_of("a", how) != pool_of(tmp_path, how, reading=Reading()).pixels
    assert pixels_of("a", HOW) == pixels_of("c", HOW) == pixels_of("absent", HOW)


# opening the images of a manifest


def test_images_are_decoded_in_manifest_order_if_this_machine_does_not_have_them(manifest):
    assert find_images(manifest, HOW) is None
    source = open_images(manifest, HOW, threads=2)
    assert isinstance(source, Decoded)
    np.testing.assert_array_equal(all_of(source), expected(manifest))


def test_the_second_open_decodes_nothing(manifest, decodes):
    first = all_of(open_images(manifest, HOW, threads=2))
    assert len(decodes) == N
    decodes.clear()
    np.testing.assert_array_equal(all_of(open_images(manifest, HOW, threads=2)), first)
    assert decodes == []


def test_only_what_is_missing_is_decoded(manifest, decodes):
    open_images(manifest, HOW, threads=2)
    pool = pool_of(manifest.root, HOW, reading=manifest.reading)
    lost = pool.records()["key"].tolist()[9:]
    os.truncate(pool.index, 9 * RECORD.itemsize + 5)
    decodes.clear()
    np.testing.assert_array_equal(all_of(open_images(manifest, HOW, threads=2)), expected(manifest))
    rows = [manifest.digests_N.tolist().index(key) for key in lost]
    assert sorted(decodes) == sorted(manifest.file(row).read_bytes() for row in rows)


def test_other_choices_are_decoded_for_themselves(manifest, decodes):
    for how in (HOW, Preprocessing((8, 16)), Preprocessing((16, 8))):
        np.testing.assert_array_equal(
            all_of(open_images(manifest, how, threads=2)), expected(manifest, how)
        )
    assert len(decodes) == 3 * N


def test_a_data_set_that_moved_finds_its_images(manifest, decodes, tmp_path):
    open_images(manifest, HOW, threads=2)
    decodes.clear()
    moved = Manifest(**{**vars(manifest), "root": tmp_path / "elsewhere"})
    np.testing.assert_array_equal(all_of(open_images(moved, HOW, threads=2)), expected(manifest))
    assert decodes == []


def test_identical_files_share_their_pixels(manifest):
    shutil.copyfile(manifest.file(0), manifest.file(1))
    again = manifest_of(manifest.root / "train.csv")
    assert all_of(open_images(again, HOW, threads=2)).shape[0] == N
    assert len(pool_of(again.root, HOW, reading=again.reading).records()) == N - 1


def test_a_changed_image_is_decoded_again_and_nothing_else_is(manifest, decodes):
    before = all_of(open_images(manifest, HOW, threads=2))
    changed = decode(
        manifest.file(2).read_bytes(), Preprocessing((16, 16)), reading=manifest.reading
    )
    from PIL import Image

    Image.fromarray(255 - changed).save(manifest.file(2))
    decodes.clear()
    after = all_of(open_images(manifest_of(manifest.root / "train.csv"), HOW, threads=2))
    assert decodes == [manifest.file(2).read_bytes()]
    np.testing.assert_array_equal(np.flatnonzero((after != before).any(axis=(1, 2, 3))), [2])


def test_an_image_that_changed_after_it_was_read_is_never_kept_as_what_it_was(manifest):
    manifest.file(3).write_bytes(manifest.file(0).read_bytes())
    with pytest.raises(DataError, match=r"^line 5: 3\.png cannot be read any more"):
        open_images(manifest, HOW, threads=2)
    pool = pool_of(manifest.root, HOW, reading=manifest.reading)
    assert manifest.digests_N[3].item() not in pool.records()["key"].tolist()


def test_a_vanished_image_is_named_and_those_before_it_are_kept(manifest, decodes):
    manifest.file(5).unlink()
    with pytest.raises(
        DataError, match=r"^line 7: 5\.png cannot be read any more \(.*No such file"
    ):
        open_images(manifest, HOW, threads=2)
    assert len(pool_of(manifest.root, HOW, reading=manifest.reading).records()) == 5


def test_boxes_of_one_file_are_kept_side_by_side(manifest, decodes):
    how = Preprocessing((4, 4), crop="box")
    boxes_N4 = np.tile(np.array([[0, 0, 8, 8]], dtype=np.int32), (N, 1))
    boxed = Manifest(**{**vars(manifest), "boxes_N4": boxes_N4})
    np.testing.assert_array_equal(all_of(open_images(boxed, how, threads=2)), expected(boxed, how))
    decodes.clear()
    corrected = Manifest(
        **{
            **vars(manifest),
            "boxes_N4": np.vstack([boxes_N4[:-1], [[1, 2, 9, 12]]]).astype(np.int32),
        }
    )
    np.testing.assert_array_equal(
        all_of(open_images(corrected, how, threads=2)), expected(corrected, how)
    )
    assert decodes == [manifest.file(N - 1).read_bytes()]


def test_a_streamed_choice_is_not_kept(manifest):
    source = open_images(manifest, HOW, streamed=["4x4-stretch", HOW.key], threads=2)
    assert isinstance(source, Streamed)
    np.testing.assert_array_equal(all_of(source), expected(manifest))
    assert find_images(manifest, HOW) is None
    assert isinstance(open_images(manifest, HOW, streamed=["4x4-stretch"], threads=2), Decoded)


def test_a_cache_deleted_while_in_use_stays_readable_and_is_built_again(manifest):
    before = open_images(manifest, HOW, threads=2)
    shutil.rmtree(default_cache_folder())
    np.testing.assert_array_equal(all_of(before), expected(manifest))
    np.testing.assert_array_equal(all_of(open_images(manifest, HOW, threads=2)), expected(manifest))


# memory


def _touch_everything(pool: Pool, keys_N: np.ndarray, answer: Connection) -> None:
    """In a child: read every pixel batch by batch; send how many kB of private and
    of shared memory that took.
    """

    def resident_kb(kind: str) -> int:
        status = Path("/proc/self/status").read_text()
        return int(re.search(rf"{kind}:\s+(\d+) kB", status)[1])

    source = pool.open(keys_N)
    batches = np.arange(len(source)).reshape(-1, 8)
    assert next(source.batches(batches)).any()
    before = [resident_kb(kind) for kind in ("RssAnon", "RssFile")]
    total = sum(int(images_BHWC.sum()) for images_BHWC in source.batches(batches))
    source.channel_sums(np.arange(len(source)))
    after = [resident_kb(kind) for kind in ("RssAnon", "RssFile")]
    answer.send((total, *(end - start for start, end in zip(before, after, strict=True))))


@pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="only Linux tells private from shared memory"
)
def test_reading_the_whole_cache_takes_shared_pages_and_none_of_its_own(tmp_path):
    pool = Pool(tmp_path / "large.pixels", Preprocessing((256, 256)))
    keys_N = np.arange(160 * 2, dtype=np.uint64).view(DIGEST)
    image_HWC = RNG.integers(0, 256, (256, 256, 3), dtype=np.uint8)
    with PoolWriter(pool) as writer:
        for key in keys_N.tolist():
            writer.add(key, image_HWC)
    size_kb = 160 * 192
    context = multiprocessing.get_context("spawn")
    mine, theirs = context.Pipe()
    child = context.Process(target=_touch_everything, args=(pool, keys_N, theirs))
    child.start()
    child.join(280)
    assert child.exitcode == 0
    total, private_kb, shared_kb = mine.recv()
    assert total == 160 * int(image_HWC.sum())
    assert private_kb < size_kb / 5
    assert shared_kb > size_kb / 2


# what fits


def test_without_a_bound_every_choice_is_kept():
    choices = [Preprocessing((64, 64)), Preprocessing((32, 32))]
    plan = plan_cache(choices, images=1000, cache_gb=None)
    assert (plan.kept, plan.streamed) == (tuple(choices), ())
    assert plan.sizes_bytes == {"64x64-stretch": 12_288_000, "32x32-stretch": 3_072_000}


@pytest.mark.parametrize(
    ("cache_gb", "kept"),
    [
        (0, []),
        (0.003071, []),
        (0.003072, [32]),
        (0.015359, [32]),
        (0.01536, [64, 32]),
        (1, [64, 128, 32]),
    ],
)
def test_the_smallest_choices_are_kept_as_far_as_they_fit_and_the_rest_is_streamed(cache_gb, kept):
    choices = [Preprocessing((side, side)) for side in (64, 128, 32)]
    plan = plan_cache(choices, images=1000, cache_gb=cache_gb)
    assert [how.size_HW[0] for how in plan.kept] == kept
    assert [how.size_HW[0] for how in plan.streamed] == [
        side for side in (64, 128, 32) if side not in kept
    ]
    assert list(plan.sizes_bytes) == sorted(
        (how.key for how in plan.kept), key=lambda key: plan.sizes_bytes[key]
    )


def test_no_choices_are_no_plan():
    assert plan_cache([], images=5, cache_gb=0).sizes_bytes == {}


# least recently used


@pytest.fixture
def pools(tmp_path) -> list[Pool]:
    """Four pools of 12 images, used an hour apart, the first one longest ago."""
    made = [pool_of(tmp_path / f"data-{number}", SMALL, reading=Reading()) for number in range(4)]
    for number, pool in enumerate(made):
        fill(pool)
        os.utime(pool.index, (number * 3600, number * 3600))
    return made


def standing(pools: list[Pool]) -> list[int]:
    files = [(pool.pixels.exists(), pool.index.exists()) for pool in pools]
    assert set(files) <= {(True, True), (False, False)}
    return [number for number, (there, _) in enumerate(files) if there]


POOL_GB = N * IMAGE_BYTES / 1e9


@pytest.mark.parametrize(
    ("cache_gb", "left"),
    [
        (5 * POOL_GB, [0, 1, 2, 3]),
        (4.99 * POOL_GB, [1, 2, 3]),
        (3 * POOL_GB, [2, 3]),
        (POOL_GB, []),
    ],
)
def test_pools_used_longest_ago_go_until_the_new_images_fit(pools, tmp_path, cache_gb, left):
    new = pool_of(tmp_path / "new", SMALL, reading=Reading())
    removed = make_room([new], images=N, cache_gb=cache_gb)
    assert standing(pools) == left
    assert removed == [pools[number].pixels for number in range(4) if number not in left]


def test_pools_in_use_stay_however_old_they_are(pools):
    make_room(pools[:1], images=N, cache_gb=POOL_GB)
    assert standing(pools) == [0]


def test_what_a_pool_in_use_holds_already_need_not_fit_again(pools):
    make_room(pools[:2], images=N + 1, cache_gb=POOL_GB * 4 * 14 / 12)
    assert standing(pools) == [0, 1, 2, 3]


def test_old_images_in_a_pool_of_its_own_go_when_the_bound_is_reached(pools):
    """A data set that was exported anew leaves the old pixels behind:
    nobody asks for them any more.
    """
    assert make_room(pools[:1], images=N - 1, cache_gb=POOL_GB / 2) == [
        pools[number].pixels for number in (1, 2, 3, 0)
    ]
    assert standing(pools) == []


def test_opening_a_pool_counts_as_using_it(pools, tmp_path):
    assert pools[0].open(KEYS_N) is not None
    make_room([pool_of(tmp_path / "new", SMALL, reading=Reading())], images=N, cache_gb=2 * POOL_GB)
    assert standing(pools) == [0]


def test_a_pool_that_another_process_fills_is_not_removed(pools, tmp_path):
    new = pool_of(tmp_path / "new", SMALL, reading=Reading())
    with filelock.FileLock(pools[0].pixels.with_suffix(".lock")):
        removed = make_room([new], images=N, cache_gb=4 * POOL_GB)
    assert standing(pools) == [0, 2, 3]
    assert removed == [pools[1].pixels]


def test_pools_of_other_choices_go_too(pools, tmp_path):
    new = pool_of(tmp_path / "new", Preprocessing((6, 6)), reading=Reading())
    make_room([new], images=1, cache_gb=POOL_GB * 3.9)
    assert standing(pools) == [1, 2, 3]


def test_without_a_bound_nothing_is_removed(pools, tmp_path):
    assert (
        make_room(
            [pool_of(tmp_path / "new", SMALL, reading=Reading())], images=10**6, cache_gb=None
        )
        == []
    )
    assert standing(pools) == [0, 1, 2, 3]


def test_readers_of_a_removed_pool_go_on_and_it_can_be_built_again(pools):
    reader = pools[0].open(KEYS_N)
    os.utime(pools[0].index, (0, 0))
    make_room(pools[1:], images=N, cache_gb=3 * POOL_GB)
    assert standing(pools) == [1, 2, 3]
    np.testing.assert_array_equal(all_of(reader), IMAGES_NHWC)
    fill(pools[0], reversed(range(N)))
    np.testing.assert_array_equal(all_of(reader), IMAGES_NHWC)


def test_a_removal_that_is_killed_leaves_no_index_without_its_pixels(pools, monkeypatch):
    plain = Path.unlink
    calls = itertools.count()

    def killed(path: Path, missing_ok: bool = False) -> None:
        if next(calls) == 1:
            raise KeyboardInterrupt("in the middle")
        plain(path, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "unlink", killed)
    with pytest.raises(KeyboardInterrupt, match="in the middle"):
        make_room(pools[1:], images=N, cache_gb=3 * POOL_GB)
    assert (pools[0].index.exists(), pools[0].pixels.exists()) == (False, True)
    monkeypatch.undo()
    fill(pools[0], [5])
    np.testing.assert_array_equal(pixels(pools[0], [5]), IMAGES_NHWC[[5]])


# a disk that is too small


def free(monkeypatch: pytest.MonkeyPatch, size: float) -> None:
    monkeypatch.setattr(cache.shutil, "disk_usage", lambda folder: SimpleNamespace(free=int(size)))


def test_a_disk_that_is_too_small_is_refused_before_anything_is_decoded(tmp_path, monkeypatch):
    free(monkeypatch, cache.SPARE_BYTES + 2.04e9)
    pools = [
        pool_of(tmp_path, Preprocessing((side, side)), reading=Reading()) for side in (256, 512)
    ]
    message = (
        f"{default_cache_folder()}: decoded images need 9.8 GB more, and the disk has 2.0 GB to "
        "spare. Set $SWEEPS_CACHE to a larger disk, sample fewer or smaller resize values, "
        "or set data.cache_gb below 9.8: what does not fit is then decoded batch by batch, "
        "which is slower"
    )
    with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
        make_room(pools, images=10_000, cache_gb=None)


def test_a_disk_without_the_spare_room_has_nothing_and_not_less(tmp_path, monkeypatch):
    free(monkeypatch, 5e8)
    with pytest.raises(DataError, match=r"need 0\.2 GB more, and the disk has 0\.0 GB to spare"):
        make_room(
            [pool_of(tmp_path, Preprocessing((256, 256)), reading=Reading())],
            images=1000,
            cache_gb=None,
        )


def test_only_what_is_missing_must_fit_on_the_disk(pools, monkeypatch):
    free(monkeypatch, cache.SPARE_BYTES + 2 * IMAGE_BYTES)
    make_room(pools[:1], images=N + 2, cache_gb=None)
    with pytest.raises(DataError, match="decoded images need"):
        make_room(pools[:1], images=N + 3, cache_gb=None)


def test_a_full_disk_does_not_matter_if_nothing_is_to_be_written(pools, monkeypatch):
    free(monkeypatch, 1e6)
    make_room(pools, images=N, cache_gb=None)


def test_what_is_removed_for_the_bound_makes_room_on_the_disk(pools, tmp_path, monkeypatch):
    new = pool_of(tmp_path / "new", SMALL, reading=Reading())

    def usage(folder: Path) -> SimpleNamespace:
        return SimpleNamespace(
            free=cache.SPARE_BYTES + (4 - len(standing(pools))) * N * IMAGE_BYTES
        )

    monkeypatch.setattr(cache.shutil, "disk_usage", usage)
    make_room([new], images=N, cache_gb=4 * POOL_GB)
    assert standing(pools) == [1, 2, 3]


# the folder


def test_a_folder_given_wins(manifest, tmp_path):
    before = sorted(default_cache_folder().rglob("*"))
    own = tmp_path / "own"
    np.testing.assert_array_equal(
        all_of(open_images(manifest, HOW, threads=2, folder=own)), expected(manifest)
    )
    assert sorted(default_cache_folder().rglob("*")) == before
    assert {path.suffix for path in own.rglob("*") if path.is_file()} <= {
        ".pixels",
        ".index",
        ".lock",
    }
    assert find_images(manifest, HOW, folder=own) is not None
    assert find_images(manifest, HOW) is None


def test_a_pool_is_refused_where_the_folder_cannot_be_made(monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("SWEEPS_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(DataError, match=r"^.*/file/cache: the cache folder cannot be written\."):
        pool_of(tmp_path, HOW, reading=Reading())
