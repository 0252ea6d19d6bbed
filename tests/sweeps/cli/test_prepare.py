"""A sweep's data are read, cleaned, cut and decoded ahead of time; the sweep then finds them."""

import json
import re
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.sweeps.cli.conftest import Ended
from trainer.data import scan
from trainer.data.fold_files import load_folds
from trainer.images import images
from trainer.images.pool import PoolWriter

DATA_FILES = {"manifest.csv", "labels.json", "rejected.csv", "cut.json", "folds.npz"}


@pytest.fixture
def own_cache(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache in which nothing is decoded yet."""
    monkeypatch.setenv("SWEEPS_CACHE", str(home / "cache"))
    return home / "cache"


@pytest.fixture
def own_photos(home: Path, photos: Path) -> Path:
    """Photos that a test may change."""
    shutil.copytree(photos, home / "own")
    return home / "own"


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files of images that are read, one after another, by whatever way there is."""
    seen: list[Path] = []
    read_bytes = Path.read_bytes

    def watched(path: Path) -> bytes:
        if path.suffix == ".png":
            seen.append(path)
        return read_bytes(path)

    monkeypatch.setattr(Path, "read_bytes", watched)
    return seen


def pixels_of(cache: Path) -> dict[str, bytes]:
    return {path.parent.name: path.read_bytes() for path in cache.glob("decoded/*/*.pixels")}


def scores(name: str = "tiny") -> list[float]:
    return [
        json.loads(path.read_text())["metrics"]["f1"]
        for path in sorted(Path("runs", name).glob("trial-*/fold-*/result.json"))
    ]


def lines(ended: Ended) -> list[str]:
    """Of stderr, without those about progress."""
    return [
        line
        for line in ended.err.splitlines()
        if not re.match(r"\d\d:\d\d:\d\d  (reading|comparing) ", line)
    ]


def test_it_says_what_there_is_and_what_it_takes(
    sweeps: Callable[..., Ended], space: Callable[..., Path], own_cache: Path
):
    path = space(("resize: {value: 16}", 'resize: {values: [16, "48x64"]}'))
    ended = sweeps("prepare", path)
    folds = load_folds(Path("runs/tiny/folds.npz"))
    assert (ended.code, ended.out) == (
        0,
        "images     60 of 60 rows, 3 classes\n"
        f"folds      2, hash {folds.hash}\n"
        f"decoded    16x16-stretch: 0.0 MB in {own_cache}\n"
        f"decoded    48x64-stretch: 0.6 MB in {own_cache}\n",
    )
    assert lines(ended) == ["files      runs/tiny"]
    assert {file.name for file in Path("runs/tiny").iterdir()} == DATA_FILES
    assert [file.name for file in Path("runs").iterdir()] == ["tiny"]  # no storage
    assert {name[:13]: len(pixels) for name, pixels in pixels_of(own_cache).items()} == {
        "16x16-stretch": 60 * 16 * 16 * 3,
        "48x64-stretch": 60 * 48 * 64 * 3,
    }


@pytest.mark.usefixtures("own_cache")
def test_the_sweep_that_follows_reads_and_decodes_nothing(
    sweeps: Callable[..., Ended],
    space: Callable[..., Path],
    read: list[Path],
    monkeypatch: pytest.MonkeyPatch,
):
    path = space(
        ("resize: {value: 16}", "resize: {values: [16, 24]}"),
        ("lr: {min", "crop: {value: none}\n  lr: {min"),
    )
    assert sweeps("prepare", path).code == 0
    assert len(read) == 60  # once each, for two sizes
    read.clear()
    for module, name in (
        (scan, "decode_all"),
        (scan, "look"),
        (scan, "fingerprint"),
        (images, "decode"),
    ):
        if hasattr(module, name):
            monkeypatch.setattr(
                module, name, lambda *args, name=name, **options: pytest.fail(f"{name} was called")
            )
    ended = sweeps("run", path, "--local")
    assert ended.code == 0
    assert read == []
    assert len(scores()) == 4
    assert "reading images" not in ended.err
    assert sweeps("prepare", path).code == 0
    assert read == []


def test_it_continues_where_ctrl_c_stopped_it(
    sweeps: Callable[..., Ended],
    space: Callable[..., Path],
    own_cache: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    path = space()
    add = PoolWriter.add
    added = [0]
    assert sweeps("prepare", path, "--runs", "whole").code == 0
    whole = pixels_of(own_cache)
    shutil.rmtree(own_cache)

    def counted(writer: PoolWriter, key: bytes, image_HWC: images.Pixels) -> None:
        added[0] += writer.lacks(key)
        add(writer, key, image_HWC)
        if added[0] == 20:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(PoolWriter, "add", counted)
    stopped = sweeps("prepare", path)
    assert (stopped.code, stopped.out, lines(stopped)) == (130, "", ["interrupted"])
    assert added == [20]
    assert not Path("runs").exists()
    assert sweeps("prepare", path).code == 0
    assert added == [60]  # none of the first twenty again
    assert pixels_of(own_cache) == whole


class TestASweepThatHasBegun:
    def test_keeps_its_files(self, sweeps: Callable[..., Ended], space: Callable[..., Path]):
        path = space()
        assert sweeps("run", path, "--local", "--trials", 1).code == 0
        before = {file: file.read_bytes() for file in Path("runs").rglob("*") if file.is_file()}
        ended = sweeps("prepare", path, "--set", "parameters.resize={values: [16, 20]}")
        assert ended.code == 0
        assert "decoded    20x20-stretch: " in ended.out
        assert {
            file: file.read_bytes() for file in Path("runs").rglob("*") if file.is_file()
        } == before

    def test_refuses_other_data(
        self, sweeps: Callable[..., Ended], space: Callable[..., Path], own_photos: Path
    ):
        path = space(("photos/train.csv", "own/train.csv"))
        assert sweeps("run", path, "--local", "--trials", 1).code == 0
        before = {file: file.read_bytes() for file in Path("runs").rglob("*") if file.is_file()}
        shutil.copy(own_photos / "03.png", own_photos / "00.png")  # the same rows, another picture
        ended = sweeps("prepare", path)
        assert (ended.code, ended.out) == (2, "")
        assert lines(ended) == [
            "error: the data of sweep 'tiny' changed since it began: images, "
            f"labels or folds of own/train.csv are not those of {Path.cwd()}/runs/tiny/folds.npz. "
            "Its trials cannot be compared with new ones: choose another name, "
            "under which unchanged images keep their folds"
        ]
        assert {
            file: file.read_bytes() for file in Path("runs").rglob("*") if file.is_file()
        } == before


def test_before_a_sweep_begins_its_data_may_change(
    sweeps: Callable[..., Ended], space: Callable[..., Path], own_photos: Path
):
    path = space(("photos/train.csv", "own/train.csv"))
    assert sweeps("prepare", path).code == 0
    before = load_folds(Path("runs/tiny/folds.npz"))
    rows = (own_photos / "train.csv").read_text().splitlines()
    (own_photos / "train.csv").write_text("\n".join([*rows[:1], *rows[4:]]))
    ended = sweeps("prepare", path)
    assert (ended.code, ended.out.splitlines()[0]) == (0, "images     57 of 57 rows, 3 classes")
    assert lines(ended) == [
        "note: images keep their folds (0 images are new, 3 are gone)",
        "files      runs/tiny",
    ]
    after = load_folds(Path("runs/tiny/folds.npz"))
    fold_of = dict(zip(before.manifest.paths, before.fold_N.tolist(), strict=True))
    assert [fold_of[path] for path in after.manifest.paths] == after.fold_N.tolist()


class TestDataThatDoNotFit:
    def test_they_are_left_to_be_decoded_per_batch(
        self, sweeps: Callable[..., Ended], space: Callable[..., Path], own_cache: Path
    ):
        ended = sweeps("prepare", space(), "--set", "data.cache_gb=0")
        assert ended.code == 0
        assert ended.out.splitlines()[2:] == [
            "decoded    16x16-stretch: per batch, since it does not fit into data.cache_gb"
        ]
        assert pixels_of(own_cache) == {}

    def test_what_fits_is_decoded(
        self, sweeps: Callable[..., Ended], space: Callable[..., Path], own_cache: Path
    ):
        path = space(("resize: {value: 16}", "resize: {values: [64, 16]}"))
        ended = sweeps("prepare", path, "--set", "data.cache_gb=0.0001")  # 16: 46 kB, 64: 737 kB
        assert ended.out.splitlines()[2:] == [
            f"decoded    16x16-stretch: 0.0 MB in {own_cache}",
            "decoded    64x64-stretch: per batch, since it does not fit into data.cache_gb",
        ]
        assert [name[:13] for name in pixels_of(own_cache)] == ["16x16-stretch"]

    def test_a_sweep_scores_the_same_bit_for_bit(
        self, sweeps: Callable[..., Ended], space: Callable[..., Path], own_cache: Path
    ):
        path = space(
            (
                "loss: {value: cross_entropy}",
                "loss: {value: cross_entropy}\n  normalise: {value: dataset}",
            )
        )
        streamed = sweeps(
            "run", path, "--local", "--set", "data.cache_gb=0", "--set", "name=streamed"
        )
        assert (streamed.code, pixels_of(own_cache)) == (0, {})
        decoded = sweeps("run", path, "--local", "--set", "name=decoded")
        assert (decoded.code, len(pixels_of(own_cache))) == (0, 1)
        assert scores("streamed") == scores("decoded")
        assert len(scores("decoded")) == 4
        for file in sorted(Path("runs/decoded").rglob("oof.npz")):
            with np.load(file) as ours, np.load(str(file).replace("decoded", "streamed")) as theirs:
                assert_equal(dict(ours), dict(theirs))
        tables = [sweeps("best", name, "--fast").out for name in ("streamed", "decoded")]
        assert tables[0].replace("streamed", "decoded") == tables[1]


def assert_equal(ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    assert ours.keys() == theirs.keys()
    for name, array in ours.items():
        np.testing.assert_array_equal(array, theirs[name])
