"""One choice of levels for a data set, from a sample of its files of more than 8 bits."""

import dataclasses
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from trainer.data import sampled_levels
from trainer.data.cut import Cut, cut_data
from trainer.data.data_set import ReadOptions
from trainer.data.fold_files import load_folds, load_reading, save_folds
from trainer.data.options import DataOptions, FoldOptions
from trainer.data.sampled_levels import sampled_reading
from trainer.images.cache import find_images, pool_of
from trainer.images.images import Decoded
from trainer.images.preprocessing import Preprocessing, Reading

READING = Reading()
HOW = Preprocessing((40, 48))


def written(
    root: Path, *tops: int, low: int = 0, dtype: str = "uint16", suffix: str = "png"
) -> list[str]:
    """A ramp of 40 x 48 from `low` to each of the tops."""
    root.mkdir(exist_ok=True)
    names = []
    for number, top in enumerate(tops):
        values = np.linspace(low, top, 40 * 48).reshape(40, 48).astype(dtype)
        names.append(f"{number:03}.{suffix}")
        Image.fromarray(values).save(root / names[-1])
    return names


def chosen(root: Path, names: list[str]) -> tuple[object, object]:
    reading, _ = sampled_reading(root, names, READING)
    return reading.levels, reading.real_levels


@pytest.mark.parametrize(
    ("low", "top", "levels"),
    [
        (0, 1000, (0, 1023)),
        (3, 3900, (0, 4095)),
        (100, 12000, (0, 16383)),
        (0, 65535, None),
        (29120, 31450, (29100, 31500)),
    ],
)
def test_a_sample_of_the_files_decides(tmp_path, low, top, levels):
    assert chosen(tmp_path, written(tmp_path, top, top, low=low)) == (levels, None)


def test_data_of_8_bits_are_read_as_before(tmp_path):
    names = [
        *written(tmp_path, 255, dtype="uint8"),
        *written(tmp_path, 9, dtype="uint8", suffix="jpg"),
    ]
    assert sampled_reading(tmp_path, names, READING) == (READING, [])
    assert sampled_reading(tmp_path, ["absent.png", ""], READING) == (READING, [])


def test_whole_and_real_numbers_have_their_own_levels(tmp_path):
    names = written(tmp_path, 4000) + written(tmp_path / "b", 180, dtype="float32", suffix="tif")
    names[1] = f"b/{names[1]}"
    assert chosen(tmp_path, names) == ((0, 4095), (0, 255))


def test_the_order_of_the_rows_and_their_number_decide_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(sampled_levels, "DECODED", 4)
    names = written(tmp_path, *range(3000, 4000, 50))
    assert (
        chosen(tmp_path, names)
        == chosen(tmp_path, names[::-1])
        == chosen(tmp_path, names * 2)
        == ((0, 4095), None)
    )


def test_only_some_files_are_opened_and_fewer_decoded(tmp_path, monkeypatch):
    monkeypatch.setattr(sampled_levels, "HEADERS", 10)
    monkeypatch.setattr(sampled_levels, "DECODED", 3)
    opened: list[Path] = []
    decoded: list[bytes] = []
    depth = sampled_levels.read_depth
    read = sampled_levels.read_range
    monkeypatch.setattr(
        sampled_levels, "read_depth", lambda file: opened.append(file) or depth(file)
    )
    monkeypatch.setattr(
        sampled_levels, "read_range", lambda data, **how: decoded.append(data) or read(data, **how)
    )
    names = written(tmp_path, *[4000] * 30)
    assert chosen(tmp_path, names) == ((0, 4095), None)
    assert (len(opened), len(decoded)) == (10, 3)


def test_files_that_are_dark_beside_others_are_named(tmp_path):
    reading, notes = sampled_reading(tmp_path, written(tmp_path, 900, 900, 60000), READING)
    assert (reading, len(notes)) == (READING, 1)
    reading, notes = sampled_reading(tmp_path, written(tmp_path, 900, 900, 16000), READING)
    assert reading.levels == (0, 16383)
    assert notes == [
        "99 % of the pixels of half of the 3 sampled files of more than 8 bits hold at most 891, "
        "and 16,383 is white: they are dark. data.levels sets other levels"
    ]


def test_a_bright_mark_in_every_file_is_named_since_all_else_is_dark_beside_it(tmp_path):
    names = written(tmp_path, 4000, 4000)
    for name in names:
        values = np.asarray(Image.open(tmp_path / name)).copy()
        values[:2, :5] = 65535  # a letter that was burnt in, 0.5 % of the pixels
        Image.fromarray(values).save(tmp_path / name)
    reading, notes = sampled_reading(tmp_path, names, READING)
    assert (reading, len(notes)) == (READING, 1)


def test_colours_of_a_tiff_are_named_since_their_lower_bits_are_not_read(tmp_path):
    tags = [
        (256, 4, 1, 4), (257, 4, 1, 4), (258, 3, 3, 134), (262, 3, 1, 2), (273, 4, 1, 140),
        (277, 3, 1, 3), (278, 4, 1, 4), (279, 4, 1, 96),
    ]  # fmt: skip
    entries = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    head = b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4)
    body = head.ljust(134, b"\0") + struct.pack("<HHH", 16, 16, 16) + bytes(96)
    (tmp_path / "a.tif").write_bytes(body)
    assert sampled_reading(tmp_path, ["a.tif"], READING) == (
        READING,
        [
            "1 of 1 sampled files are TIFF files with 16 bits per colour, of which only the upper "
            "8 bits are read. If they hold fewer than 16 bits, convert them to PNG"
        ],
    )


# what is made of them


@pytest.fixture
def deep(tmp_path: Path) -> Path:
    """24 images of 12 bits in two classes."""
    names = written(tmp_path / "deep", *[4095] * 24)
    rows = [f"{name},{'ab'[row % 2]}\n" for row, name in enumerate(names)]
    (tmp_path / "deep" / "train.csv").write_text("path,label\n" + "".join(rows))
    return tmp_path / "deep" / "train.csv"


def cut(source: Path, *, levels_of: Reading | None = None, **data: object) -> Cut:
    read = ReadOptions(choices=(HOW,), levels_of=levels_of)
    return cut_data(DataOptions(source=str(source), **data), FoldOptions(k=2), read=read)


def decoded(found: Cut) -> Decoded:
    images = find_images(found.folds.manifest, HOW)
    assert images is not None
    return images


def test_the_images_of_a_data_set_keep_their_grey_levels(deep):
    found = cut(deep)
    assert found.folds.manifest.reading.levels == (0, 4095)
    assert found.levels() == "0 to 4,095 become black to white"
    assert len(np.unique(decoded(found).take(np.array([0])))) > 100
    assert found.data.repairs["16 bits turned to 8"] == 24


def test_the_user_may_say_the_levels(deep):
    found = cut(deep, levels=[0, 8191])
    assert found.folds.manifest.reading.levels == (0, 8191)
    assert decoded(found).take(np.arange(24)).max() < 128


def test_other_levels_have_other_pixels_and_another_hash_and_no_old_cache(deep):
    first = cut(deep, levels=[0, 65535])
    second = cut(deep)
    third = cut(deep, levels=[0, 4095.0])
    assert first.folds.hash != second.folds.hash == third.folds.hash
    pools = [
        pool_of(deep.parent, HOW, reading=found.folds.manifest.reading).pixels
        for found in (first, second, third)
    ]
    assert pools[0] != pools[1] == pools[2]
    assert decoded(first).take(np.arange(24)).max() < 17
    assert decoded(second).take(np.arange(24)).max() > 200


def test_levels_that_were_frozen_are_kept(deep, tmp_path):
    before = cut(deep, levels_of=READING)
    assert before.folds.manifest.reading == READING
    assert before.levels() == "0 to 65,535 become black to white"
    assert before.folds.hash != cut(deep).folds.hash


def test_a_folds_file_holds_the_levels(deep, tmp_path):
    found = cut(deep)
    save_folds(found.folds, tmp_path / "folds.npz")
    assert load_folds(tmp_path / "folds.npz").manifest.reading == found.folds.manifest.reading
    assert load_reading(tmp_path / "folds.npz") == found.folds.manifest.reading
    assert load_reading(tmp_path / "absent.npz") is None


def test_images_with_values_outside_the_levels_are_counted_and_warned_of(deep, monkeypatch):
    found = cut(deep, levels=[0, 1000])
    assert found.data.repairs["values outside the levels cut"] == 24
    warning = (
        "24 images of more than 8 bits hold values outside 0 to 1,000, which become plain black "
        "or white: data.levels sets other levels"
    )
    assert warning in found.warnings()
    again = cut(deep, levels=[0, 1000])  # from the memory of the facts
    assert warning in again.warnings()
    assert "values outside the levels cut" not in cut(deep).data.repairs


def test_the_sample_may_miss_brighter_files_which_are_counted(deep, monkeypatch):
    monkeypatch.setattr(sampled_levels, "DECODED", 1)
    bright = np.linspace(0, 60000, 40 * 48).reshape(40, 48).astype(np.uint16)
    Image.fromarray(bright).save(deep.parent / "011.png")
    found = cut(deep)
    assert found.folds.manifest.reading.levels == (0, 4095)
    assert found.data.repairs["values outside the levels cut"] == 1


def test_the_pixels_of_8_bits_have_the_keys_of_older_versions(tmp_path):
    for reading in (READING, dataclasses.replace(READING, max_pixels=7)):
        assert reading.chosen_levels is None
        pool = pool_of(Path("/x"), HOW, reading=reading)
        assert pool.pixels.parent.name == "40x48-stretch-0f81fd63"
