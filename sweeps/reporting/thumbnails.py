"""Small pictures of images of the data set, mostly without decoding an image file."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sweeps.preparing.inspection import small_jpeg, thumbnails
from trainer.config import TrainConfig
from trainer.errors import DataError
from trainer.images.cache import find_images
from trainer.images.images import Decoded
from trainer.images.manifest import Manifest
from trainer.images.preprocessing import Preprocessing


def small_pictures(
    manifest: Manifest, rows: Sequence[int], *, views: Sequence[Preprocessing]
) -> dict[int, bytes]:
    """The images of manifest rows as small JPEG files; a row without an image is left out.

    They come from the decoded cache of this machine if one of `views` is there, else from the image
    files.

    Args:
        views: how a trial prepared its images, the preferred one first; may be empty.
    """
    decoded = cached_images(manifest, views)
    if decoded is None:
        return {row: found.jpeg for row, found in thumbnails(manifest, rows) if found.jpeg}
    images_BHWC = decoded.take(np.array(rows, dtype=np.int64))
    return {row: small_jpeg(image) for row, image in zip(rows, images_BHWC, strict=True)}


def views_of(config: Path) -> tuple[Preprocessing, ...]:
    """How a trial prepared its images; empty if its configuration is not readable."""
    try:
        return TrainConfig(**json.loads(config.read_text())).views
    except (OSError, ValueError, TypeError):
        return ()


def cached_images(manifest: Manifest, views: Sequence[Preprocessing]) -> Decoded | None:
    """The images of the first of `views` that the decoded cache of this machine has; else None."""
    if manifest.digests_N is None:
        return None
    try:
        found = (find_images(manifest, how) for how in views)
        return next((images for images in found if images is not None), None)
    except (DataError, OSError):  # no cache folder, or a view that needs a file which is gone
        return None
