"""Small pictures, from the decoded cache or from the image files."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sweeps.preparing.inspection import THUMBNAIL
from sweeps.reporting.thumbnails import small_pictures
from tests.fakes import COLOURS, manifest_of, write_photos
from trainer.images.cache import open_images
from trainer.images.manifest import Manifest
from trainer.images.preprocessing import Preprocessing

VIEW = Preprocessing((16, 16))
LARGE = Preprocessing((160, 320), "fit")
ROWS = [7, 0, 5]


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    """Squares of three colours in turn."""
    return manifest_of(write_photos(tmp_path / "photos", count=9))


@pytest.fixture
def decoded_files(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """One entry for each image file that is decoded."""
    opened: list[object] = []
    really = Image.open

    def counted(*args: object, **options: object) -> Image.Image:
        opened.append(args)
        return really(*args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Image, "open", counted)
    return opened


def colour(jpeg: bytes) -> int:
    """Which of the three colours a picture has."""
    with Image.open(io.BytesIO(jpeg)) as image:
        mean = np.asarray(image, dtype=float).mean(axis=(0, 1))
    return int(np.argmin(((COLOURS - mean) ** 2).sum(axis=1)))


def size(jpeg: bytes) -> tuple[int, int]:
    with Image.open(io.BytesIO(jpeg)) as image:
        return image.size


def test_with_the_cache_no_image_file_is_decoded(manifest: Manifest, decoded_files: list[object]):
    open_images(manifest, VIEW, threads=1)
    for path in manifest.paths:
        (manifest.root / path).unlink()
    decoded_files.clear()
    found = small_pictures(manifest, ROWS, views=[LARGE, VIEW])  # LARGE was never decoded
    assert decoded_files == []
    assert [(row, colour(jpeg)) for row, jpeg in found.items()] == [(7, 1), (0, 0), (5, 2)]
    assert {size(jpeg) for jpeg in found.values()} == {(16, 16)}


def test_large_images_of_the_cache_become_small_and_keep_their_shape(manifest: Manifest):
    open_images(manifest, LARGE, threads=1)
    found = small_pictures(manifest, ROWS, views=[LARGE])
    assert {size(jpeg) for jpeg in found.values()} == {(THUMBNAIL, THUMBNAIL // 2)}


@pytest.mark.parametrize("views", [[], [VIEW]])
def test_without_the_cache_the_files_are_decoded(
    manifest: Manifest, decoded_files: list[object], views: list[Preprocessing]
):
    decoded_files.clear()
    (manifest.root / manifest.paths[0]).unlink()
    found = small_pictures(manifest, ROWS, views=views)
    assert len(decoded_files) == 2
    assert {row: colour(jpeg) for row, jpeg in found.items()} == {7: 1, 5: 2}
    assert {size(jpeg) for jpeg in found.values()} == {(THUMBNAIL, THUMBNAIL)}


def test_a_cache_that_cannot_be_written_is_no_cache(
    manifest: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "file").touch()
    monkeypatch.setenv("SWEEPS_CACHE", str(tmp_path / "file" / "cache"))
    assert len(small_pictures(manifest, ROWS, views=[VIEW])) == 3
