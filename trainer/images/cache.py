"""Decoded images on disk: once per image and choice of preprocessing, mapped by every trial, fold and epoch.

A *pool* is two files that only grow: `.pixels` holds decoded images of one choice one after another, `.index` a
record for each: the content it was decoded from, and its channel sums. Pixels reach the disk before their record
does, so a build that was killed continues where it stopped, and adding images to a data set decodes only those.
Processes that map a pool share its pages through the operating system.

Shapes: N images of a manifest, M images of a pool; H, W, C as in images.
"""

import contextlib
import dataclasses
import errno
import hashlib
import logging
import os
import shutil
import threading
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

import filelock
import numpy as np
import numpy.typing as npt

from trainer.cache_folder import writable_cache_folder
from trainer.errors import DataError
from trainer.images.images import Decoded, ImageSource, Pixels, Streamed, image_sums
from trainer.images.manifest import DIGEST, Manifest
from trainer.images.preprocessing import Box, Preprocessing, Reading

logger = logging.getLogger(__name__)
FORMAT = "2"  # raised when decoding gives other pixels
RECORD = np.dtype([("key", DIGEST), ("sums", "<u8", (3,)), ("squares", "<u8", (3,))])
FLUSH_BYTES = 64 * 2**20  # pixels between two moments at which a killed build can continue
PATIENCE_S = 2.0  # before a user is told what this process waits for
SPARE_BYTES = 2**30  # left free on the disk: checkpoints and results need room too
GB = 1e9
Keys = npt.NDArray[np.void]


def image_key(digest: bytes, how: Preprocessing, box: Box | None) -> bytes:
    """What decides an image's pixels besides the choice: its file's content, and the box that is cut out."""
    if how.crop != "box":
        return digest
    return hashlib.sha256(digest + np.array(box, dtype="<i4").tobytes()).digest()[:16]


def image_keys(manifest: Manifest, how: Preprocessing) -> Keys:
    """The keys (N) of all images."""
    assert manifest.digests_N is not None, "the files have not been read"
    if how.crop != "box":
        return manifest.digests_N
    keys = [
        image_key(bytes(digest), how, manifest.box(row))
        for row, digest in enumerate(manifest.digests_N)
    ]
    return np.array(keys, dtype=DIGEST)


@dataclasses.dataclass(frozen=True)
class Pool:
    """The two files of one choice and one data set; they need not exist."""

    pixels: Path
    how: Preprocessing

    @property
    def index(self) -> Path:
        """The file of the records."""
        return self.pixels.with_suffix(".index")

    @property
    def image_bytes(self) -> int:
        """What one image takes."""
        height, width = self.how.size_HW
        return height * width * 3

    def records(self) -> npt.NDArray[np.void]:
        """The records (M) of all images that are wholly on disk."""
        try:
            with self.index.open("rb") as file:
                records = np.frombuffer(bytearray(file.read()), dtype=np.uint8)
            count = min(
                len(records) // RECORD.itemsize, self.pixels.stat().st_size // self.image_bytes
            )
        except FileNotFoundError:
            count, records = 0, np.empty(0, dtype=np.uint8)
        return records[: count * RECORD.itemsize].view(RECORD)

    def open(self, keys_N: Keys) -> Decoded | None:
        """Map the images of these keys; None if one is missing."""
        records = self.records()
        slots = _find(records["key"], keys_N)
        if slots is None:
            return None
        images_MHWC = self.mapped(len(records))
        with contextlib.suppress(OSError):  # of another user
            os.utime(self.index)  # when it was used last
        return Decoded(
            images_MHWC, slots_N=slots, sums_MC=records["sums"], squares_MC=records["squares"]
        )

    def mapped(self, count: int) -> Pixels:
        """The first images (count, H, W, 3), their pages shared; what is written to them stays in this process."""
        images_MHWC: Pixels = np.memmap(
            self.pixels, dtype=np.uint8, mode="c", shape=(count, *self.how.size_HW, 3)
        )
        return images_MHWC


class PoolWriter:
    """Adds images to a pool; the context holds the pool's lock, so that two processes build it once."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self._lock = filelock.FileLock(pool.pixels.with_suffix(".lock"))
        self._keys: set[bytes] = set()
        self._elsewhere: dict[bytes, tuple[Pixels, int]] | None = None
        self._looking = threading.Lock()
        self._records: list[tuple[bytes, npt.NDArray[np.uint64], npt.NDArray[np.uint64]]] = []
        self._files = contextlib.ExitStack()

    def __enter__(self) -> "PoolWriter":
        self.pool.pixels.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._lock.acquire(timeout=PATIENCE_S)
        except filelock.Timeout:
            logger.warning(
                "another process decodes the same images (%s); waiting for it", self._lock.lock_file
            )
            self._lock.acquire()
        records = self.pool.records()
        self._keys = set(records["key"].tolist())
        self._pixels = self._files.enter_context(
            _at(self.pool.pixels, len(records) * self.pool.image_bytes)
        )
        self._index = self._files.enter_context(
            _at(self.pool.index, len(records) * RECORD.itemsize)
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self.flush()
        finally:
            with contextlib.suppress(
                OSError
            ):  # a full disk, which `flush` has named: closing writes the rest again
                self._files.close()
            self._lock.release()

    def lacks(self, key: bytes) -> bool:
        """Whether the image of this key is still to be added. Safe to ask from any thread."""
        return key not in self._keys

    def elsewhere(self, key: bytes) -> Pixels | None:
        """The image as another data set, or this one at another place, had it decoded. Safe to ask from any thread."""
        with self._looking:  # once, and only if an image is lacking: other data sets may be large
            if self._elsewhere is None:
                self._elsewhere = dict(self._siblings())
        if key not in self._elsewhere:
            return None
        images_MHWC, slot = self._elsewhere[key]
        return np.array(images_MHWC[slot])

    def _siblings(self) -> Iterator[tuple[bytes, tuple[Pixels, int]]]:
        """Where the other pools of this choice have which image."""
        for path in self.pool.pixels.parent.glob("*.pixels"):
            other = Pool(path, self.pool.how)
            with contextlib.suppress(OSError, ValueError):  # removed meanwhile, or empty
                if path != self.pool.pixels:
                    records = other.records()
                    images_MHWC = other.mapped(len(records))
                    yield from (
                        (key, (images_MHWC, slot))
                        for slot, key in enumerate(records["key"].tolist())
                    )

    def add(self, key: bytes, image_HWC: Pixels) -> None:
        """Append an image, unless it came in between.

        Raises:
            DataError: the disk is full; what was added before stays.
        """
        if not self.lacks(key):
            return
        try:
            self._pixels.write(image_HWC.tobytes())
        except OSError as error:
            raise _disk_error(error, self.pool.pixels) from None
        self._keys.add(key)
        self._records.append((key, *image_sums(image_HWC)))
        if len(self._records) * self.pool.image_bytes >= FLUSH_BYTES:
            self.flush()

    def flush(self) -> None:
        """Bring pixels to the disk, then their records."""
        if not self._records:
            return
        try:
            for file, content in (
                (self._pixels, b""),
                (self._index, np.array(self._records, dtype=RECORD).tobytes()),
            ):
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise _disk_error(error, self.pool.pixels) from None
        self._records.clear()


def pool_of(
    root: Path, how: Preprocessing, *, reading: Reading, folder: Path | None = None
) -> Pool:
    """The pool that images below `root` are added to."""
    name = hashlib.sha256(str(root).encode()).hexdigest()[:16]
    return Pool(_choice_folder(how, reading, writable_cache_folder(folder)) / f"{name}.pixels", how)


def find_images(
    manifest: Manifest, how: Preprocessing, *, folder: Path | None = None
) -> Decoded | None:
    """The decoded images if this machine has them all, wherever the data lay when they were decoded."""
    own = pool_of(manifest.root, how, reading=manifest.reading, folder=folder)
    others = sorted(own.pixels.parent.glob("*.pixels"))
    keys_N = image_keys(manifest, how)
    for path in [own.pixels, *(path for path in others if path != own.pixels)]:
        with contextlib.suppress(
            FileNotFoundError, ValueError
        ):  # removed between its index and its pixels
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
    """The images of a manifest whose files have been read, decoded first if this machine does not have them.

    Args:
        streamed: keys of the choices to decode per batch.
        threads: that decode batches.

    Raises:
        DataError: an image cannot be read any more; it is named.
    """
    if how.key in set(streamed):
        return Streamed(manifest, how, threads=threads)
    images = find_images(manifest, how, folder=folder)
    if images is None:  # another node of a cluster, or a cache that was emptied meanwhile
        keys_N, rows = image_keys(manifest, how), np.arange(len(manifest))
        decoding = Streamed(manifest, how, threads=os.cpu_count() or 1)
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
    """Which choices are kept decoded, which are decoded per batch, and what that takes.

    Attributes:
        sizes_bytes: of each kept choice, by its key.
    """

    kept: tuple[Preprocessing, ...]
    streamed: tuple[Preprocessing, ...]
    sizes_bytes: dict[str, int]


def plan_cache(
    choices: Sequence[Preprocessing], *, images: int, cache_gb: float | None
) -> CachePlan:
    """Keep the smallest choices while they fit into `cache_gb` together; the rest is streamed."""
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
    """Remove the pools used least recently until `images` fit into each of `pools`; what was removed.

    Raises:
        DataError: the disk is too small even so.
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
        for (
            pool
        ) in pools:  # more images than the data have: old ones, which no row asks for any more
            if _size(pool.pixels) > images * pool.image_bytes and _remove(pool.pixels):
                removed.append(pool.pixels)
        needed = sum(max(0, images * pool.image_bytes - _size(pool.pixels)) for pool in pools)
    free = shutil.disk_usage(folder).free - SPARE_BYTES
    if needed > max(0, free):
        raise DataError(
            f"{folder}: decoded images need {needed / GB:,.1f} GB more, and the disk has {max(0, free) / GB:,.1f} GB "
            "to spare. Set $SWEEPS_CACHE to a larger disk, sample fewer or smaller resize values, or set data.cache_gb "
            f"below {needed / GB:,.1f}: what does not fit is then decoded batch by batch, which is slower"
        )
    return removed


def _remove(pixels: Path) -> bool:
    """Remove a pool unless somebody is adding to it; those who have mapped it keep their pages."""
    try:
        with filelock.FileLock(pixels.with_suffix(".lock"), timeout=0):
            for path in (
                pixels.with_suffix(".index"),
                pixels,
            ):  # an index without pixels would be believed
                path.unlink(missing_ok=True)
    except filelock.Timeout:
        return False
    return True


def _choice_folder(how: Preprocessing, reading: Reading, folder: Path) -> Path:
    """One folder per choice, named by what a person recognises and a hash of the rest."""
    rest: list[object] = [FORMAT, reading.fill_rgb]
    for used, weights in (
        (how.crop == "face", reading.face_weights),
        (how.background == "remove", reading.background_weights),
    ):
        rest.append(
            hashlib.sha256(Path(weights).read_bytes()).hexdigest() if used and weights else None
        )
    return folder / "decoded" / f"{how.key}-{hashlib.sha256(repr(rest).encode()).hexdigest()[:8]}"


def _find(have_M: Keys, want_N: Keys) -> npt.NDArray[np.int64] | None:
    """Where each wanted key is; None if one is missing."""
    slot_of = {key: slot for slot, key in enumerate(have_M.tolist())}
    slots = [slot_of.get(key, -1) for key in want_N.tolist()]
    return None if -1 in slots else np.array(slots, dtype=np.int64)


@contextlib.contextmanager
def _at(path: Path, position: int) -> Iterator[BinaryIO]:
    """The file, cut off at `position`, ready to be appended to."""
    if not position:  # a pool that lost its index may still be mapped: its readers keep their pages
        path.unlink(missing_ok=True)
    with path.open("r+b" if path.exists() else "w+b") as file:
        file.truncate(position)
        file.seek(position)
        yield file


def _disk_error(error: OSError, path: Path) -> DataError:
    what = "the disk is full" if error.errno in (errno.ENOSPC, errno.EDQUOT) else str(error)
    return DataError(
        f"{path}: decoded images cannot be written ({what}). Make room, or set $SWEEPS_CACHE to another disk"
    )


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
