"""The cache of decoded images on disk.

Each image is decoded once per choice of preprocessing. Every trial, fold and epoch maps the decoded
images into memory.

A *pool* is a pair of files that only grow. The `.pixels` file holds the decoded images of one
choice, one after another. The `.index` file holds one record per image: the key of the content that
the image was decoded from, and the image's channel sums. Pixels are written to the disk before
their record. Therefore a killed build continues where it stopped, and adding images to a data set
decodes only the added images. Processes that map a pool share its pages through the operating
system.

Shapes: N images of a manifest, M images of a pool, H height, W width, C channels.
"""

import contextlib
import dataclasses
import hashlib
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

import filelock
import numpy as np

from trainer.cache_folder import writable_cache_folder
from trainer.cores import cores
from trainer.errors import DataError
from trainer.images.images import Decoded, ImageSource, Streamed
from trainer.images.manifest import Manifest
from trainer.images.pool import FORMAT, Pool, PoolWriter, image_keys
from trainer.images.preprocessing import Preprocessing, Reading

SPARE_BYTES = 2**30  # stays free on the disk for checkpoints and results


GB = 1e9


def pool_of(
    root: Path, how: Preprocessing, *, reading: Reading, folder: Path | None = None
) -> Pool:
    """Return the pool for the images below `root`; new images of this choice are added to it."""
    name = hashlib.sha256(str(root).encode()).hexdigest()[:16]
    return Pool(_choice_folder(how, reading, writable_cache_folder(folder)) / f"{name}.pixels", how)


def find_images(
    manifest: Manifest, how: Preprocessing, *, folder: Path | None = None
) -> Decoded | None:
    """Return the decoded images if a pool on this node has all of them, else None.

    The images may have been decoded when the data were in another folder.
    """
    own = pool_of(manifest.root, how, reading=manifest.reading, folder=folder)
    others = sorted(own.pixels.parent.glob("*.pixels"))
    keys_N = image_keys(manifest, how)
    for path in [own.pixels, *(path for path in others if path != own.pixels)]:
        # the pool may be removed after its index was read and before its pixels are mapped
        with contextlib.suppress(FileNotFoundError, ValueError):
            images = Pool(path, how).open(keys_N)
            if images is not None:
                return images
    return None


def open_images(
    manifest: Manifest,
    how: Preprocessing,
    *,
    streamed: Iterable[str] = (),
    threads: int,
    folder: Path | None = None,
) -> ImageSource:
    """Open the images of a manifest whose files have been read.

    Images that the cache of this node does not have are decoded first.

    Args:
        streamed: keys of the choices that are decoded batch by batch and not cached.
        threads: number of threads that decode the batches.

    Raises:
        DataError: an image cannot be read any more; the message names the image.
    """
    if how.key in set(streamed):
        return Streamed(manifest, how, threads=threads)
    images = find_images(manifest, how, folder=folder)
    if images is None:  # on another node of a cluster, or after the cache was emptied
        keys_N = image_keys(manifest, how)
        rows = np.arange(len(manifest))
        decoding = Streamed(manifest, how, threads=cores())
        with PoolWriter(
            pool_of(manifest.root, how, reading=manifest.reading, folder=folder)
        ) as writer:
            missing = rows[[writer.lacks(bytes(key)) for key in keys_N]]
            for row, (image_HWC,) in zip(missing, decoding.batches(missing[:, None]), strict=True):
                writer.add(bytes(keys_N[row]), image_HWC)
        images = find_images(manifest, how, folder=folder)
        assert images is not None
    return images


@dataclasses.dataclass(frozen=True)
class CachePlan:
    """The choices that are cached, the choices that are decoded batch by batch, and their sizes.

    Attributes:
        kept: the choices whose decoded images are cached.
        streamed: the choices whose images are decoded batch by batch.
        sizes_bytes: the size of each choice in `kept`, by its key.
    """

    kept: tuple[Preprocessing, ...]
    streamed: tuple[Preprocessing, ...]
    sizes_bytes: dict[str, int]


def plan_cache(
    choices: Sequence[Preprocessing], *, images: int, cache_gb: float | None
) -> CachePlan:
    """Cache the smallest choices as long as their total fits into `cache_gb`; stream all others.

    Args:
        images: the number of images of the data set.
        cache_gb: None means no limit.
    """
    kept: list[Preprocessing] = []
    sizes: dict[str, int] = {}
    for how in sorted(choices, key=lambda how: (how.size_HW[0] * how.size_HW[1], how.key)):
        size = images * how.size_HW[0] * how.size_HW[1] * 3
        if cache_gb is None or sum(sizes.values()) + size <= cache_gb * GB:
            kept.append(how)
            sizes[how.key] = size
    streamed = [how for how in choices if how.key not in sizes]
    return CachePlan(tuple(how for how in choices if how.key in sizes), tuple(streamed), sizes)


def make_room(
    pools: Sequence[Pool], *, images: int, cache_gb: float | None, folder: Path | None = None
) -> list[Path]:
    """Remove the least recently used pools until `images` images fit into each of `pools`.

    Returns:
        The `.pixels` files that were removed.

    Raises:
        DataError: the disk is still too small.
    """
    folder = writable_cache_folder(folder)
    needed = sum(max(0, images * pool.image_bytes - _size(pool.pixels)) for pool in pools)
    ours = {pool.pixels for pool in pools}
    others = [path for path in folder.glob("decoded/*/*.pixels") if path not in ours]
    others.sort(key=_used_at, reverse=True)
    total = sum(map(_size, [*ours, *others]))
    removed = []
    while others and cache_gb is not None and total + needed > cache_gb * GB:
        oldest = others.pop()
        size = _size(oldest)
        if _remove(oldest):
            total -= size
            removed.append(oldest)
    if cache_gb is not None and total + needed > cache_gb * GB:
        # a pool with more images than the data set has old images that no row needs any more
        for pool in pools:
            if _size(pool.pixels) > images * pool.image_bytes and _remove(pool.pixels):
                removed.append(pool.pixels)
        needed = sum(max(0, images * pool.image_bytes - _size(pool.pixels)) for pool in pools)
    free = shutil.disk_usage(folder).free - SPARE_BYTES
    if needed > max(0, free):
        raise DataError(
            f"{folder}: decoded images need {needed / GB:,.1f} GB more, and the disk has "
            f"{max(0, free) / GB:,.1f} GB to spare. Set $SWEEPS_CACHE to a larger disk, sample "
            "fewer or smaller resize values, or set data.cache_gb "
            f"below {needed / GB:,.1f}: what does not fit is then decoded batch by batch, "
            "which is slower"
        )
    return removed


def _remove(pixels: Path) -> bool:
    """Remove a pool unless a process adds images to it; return whether the pool was removed.

    Processes that have mapped the pool keep its pages.
    """
    try:
        with filelock.FileLock(pixels.with_suffix(".lock"), timeout=0):
            # the index first: an index without its pixels must not remain
            for path in (pixels.with_suffix(".index"), pixels):
                path.unlink(missing_ok=True)
    except filelock.Timeout:
        return False
    return True


def _choice_folder(how: Preprocessing, reading: Reading, folder: Path) -> Path:
    """Return the folder of a choice, named by its readable key and a hash of the other settings."""
    # nothing for images of 8 bits, so that the pools of older versions stay valid
    levels = filter(None, [reading.chosen_levels])
    rest: list[object] = [FORMAT, reading.fill_rgb, *levels]
    for used, weights in (
        (how.crop == "face", reading.face_weights),
        (how.background == "remove", reading.background_weights),
    ):
        rest.append(
            hashlib.sha256(Path(weights).read_bytes()).hexdigest() if used and weights else None
        )
    return folder / "decoded" / f"{how.key}-{hashlib.sha256(repr(rest).encode()).hexdigest()[:8]}"


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _used_at(pixels: Path) -> float:
    try:
        return pixels.with_suffix(".index").stat().st_mtime
    except FileNotFoundError:
        return 0.0
