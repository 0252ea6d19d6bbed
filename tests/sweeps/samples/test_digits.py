"""The digits: real files that the rest of the package can read."""

import csv
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from sweeps.samples.digits import write_digits
from tests.fakes import manifest_of
from trainer import files
from trainer.data.folds import make_folds


@pytest.fixture(scope="module")
def digits(tmp_path_factory) -> Path:
    """The CSV, written once for all tests here."""
    return write_digits(tmp_path_factory.mktemp("digits") / "new")


def test_the_csv_names_every_digit_with_its_class(digits):
    manifest = manifest_of(digits)
    assert len(manifest) == 1438
    assert manifest.classes == tuple("0123456789")
    numbers = [int(Path(path).stem) for path in manifest.paths]
    np.testing.assert_array_equal(manifest.labels_N, load_digits().target[numbers])


def test_the_others_are_held_back_with_a_template_and_their_answers(digits):
    folder = digits.parent
    images = sorted(path.name for path in (folder / "test").iterdir())
    assert len(images) == 359
    assert not {f"images/{name}" for name in images} & set(manifest_of(digits).paths)
    with (folder / "answers.csv").open() as file:
        answers = {row["id"]: int(row["label"]) for row in csv.DictReader(file)}
    target_N = load_digits().target
    assert answers == {name: target_N[int(name[:4])] for name in images}
    assert np.bincount(list(answers.values())).min() > 20  # every class can be scored
    with (folder / "sample_submission.csv").open() as file:
        assert [*csv.DictReader(file)] == [{"id": name, "label": "0"} for name in images]


@pytest.mark.parametrize("row", [0, 1000, 1437])
def test_an_image_holds_the_original_pixels_four_times_larger(digits, row):
    manifest = manifest_of(digits)
    with Image.open(manifest.file(row)) as image:
        pixels = np.asarray(image)
    original = load_digits().images[int(manifest.file(row).stem)]
    assert pixels.shape == (32, 32)
    np.testing.assert_array_equal(np.round(pixels[::4, ::4] / 255 * 16), original)
    np.testing.assert_array_equal(pixels, np.kron(pixels[::4, ::4], np.ones((4, 4))))


def test_the_digits_can_be_cut_into_folds(digits):
    assert len(make_folds(manifest_of(digits), k=5, seed=0).valid_rows(0)) in range(286, 290)


def test_a_whole_set_is_left_alone_and_one_that_misses_an_image_is_written_again(digits):
    folder = digits.parent
    image = manifest_of(digits).file(7)
    stamp = image.stat().st_mtime_ns
    pixels = image.read_bytes()
    assert write_digits(folder) == digits
    assert image.stat().st_mtime_ns == stamp
    image.unlink()
    assert write_digits(folder) == digits
    assert image.read_bytes() == pixels


def test_a_kill_in_the_middle_of_an_image_leaves_no_half_image_for_ever(tmp_path, monkeypatch):
    def killed(path: Path, content: bytes) -> None:
        with path.open("wb") as file:
            file.write(content[: len(content) // 2])
        raise KeyboardInterrupt("killed")

    def killed_before_the_rename(descriptor: int) -> None:
        raise KeyboardInterrupt("killed")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", killed)
        patch.setattr(files.os, "fsync", killed_before_the_rename)
        with pytest.raises(KeyboardInterrupt, match="killed"):
            write_digits(tmp_path)
    assert "digits.csv" not in os.listdir(tmp_path)
    with Image.open(manifest_of(write_digits(tmp_path)).file(0)) as image:
        image.load()
