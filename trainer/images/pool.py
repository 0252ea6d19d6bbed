"""A pool: two files with decoded images that many processes share, see `trainer.images.cache`."""

import contextlib
import dataclasses
import errno
import hashlib
import logging
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

import filelock
import numpy as np
import numpy.typing as npt

from trainer.errors import DataError
from trainer.images.images import Decoded, Pixels, image_sums
from trainer.images.manifest import DIGEST, Manifest
from trainer.images.preprocessing import Box, Preprocessing

logger = logging.getLogger(__name__)

FORMAT = "2"  # must be increased when a change of the decoder changes the pixels
RECORD = np.dtype([("key", DIGEST), ("sums", "<u8", (3,)), ("squares", "<u8", (3,))])
FLUSH_BYTES = 64 * 2**20  # a killed build loses at most this much of decoded pixels
PATIENCE_S = 2.0  # seconds to wait for the lock before the user gets a warning
Keys = npt.NDArray[np.void]


def image_key(digest: bytes, how: Preprocessing, box: Box | None) -> bytes:
    """Return the key of an image: a digest of its file's content.

    With `crop: box` the digest is also of the box. The key and the choice `how` together decide the
    image's pixels.
    """
    if how.crop != "box":
        return digest
    return hashlib.sha256(digest + np.array(box, dtype="<i4").tobytes()).digest()[:16]


def image_keys(manifest: Manifest, how: Preprocessing) -> Keys:
    """Return the keys (N) of all images."""
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
    """The `.pixels` and `.index` file of one choice of preprocessing and one folder of images.

    The files may not exist yet.

    Attributes:
        pixels: the path of the `.pixels` file.
        how: the choice of preprocessing: size, resize mode, crop and background.
    """

    pixels: Path
    how: Preprocessing

    @property
    def index(self) -> Path:
        """The path of the `.index` file, which holds the records."""
        return self.pixels.with_suffix(".index")

    @property
    def image_bytes(self) -> int:
        """The size of one decoded image."""
        height, width = self.how.size_HW
        return height * width * 3

    def records(self) -> npt.NDArray[np.void]:
        """Return the records (M) of all images that are completely on disk."""
        try:
            with self.index.open("rb") as file:
                records = np.frombuffer(bytearray(file.read()), dtype=np.uint8)
            count = min(
                len(records) // RECORD.itemsize, self.pixels.stat().st_size // self.image_bytes
            )
        except FileNotFoundError:
            count = 0
            records = np.empty(0, dtype=np.uint8)
        return records[: count * RECORD.itemsize].view(RECORD)

    def open(self, keys_N: Keys) -> Decoded | None:
        """Map the images of these keys into memory; None if an image is missing."""
        records = self.records()
        slots = find_keys(records["key"], keys_N)
        if slots is None:
            return None
        images_MHWC = self.mapped(len(records))
        with contextlib.suppress(OSError):  # the file may belong to another user
            os.utime(self.index)  # `cache.make_room` removes the oldest ones
        return Decoded(
            images_MHWC, slots_N=slots, sums_MC=records["sums"], squares_MC=records["squares"]
        )

    def mapped(self, count: int) -> Pixels:
        """Map the first `count` images (count, H, W, 3) into memory.

        Processes share the mapped pages. A write to the array changes only this process's copy.
        """
        images_MHWC: Pixels = np.memmap(
            self.pixels, dtype=np.uint8, mode="c", shape=(count, *self.how.size_HW, 3)
        )
        return images_MHWC


class PoolWriter:
    """Adds images to a pool.

    The context manager holds the pool's lock, so that two processes do not decode the same images.
    """

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self._lock = filelock.FileLock(pool.pixels.with_suffix(".lock"))
        self._keys: set[bytes] = set()
        self._elsewhere: dict[bytes, tuple[Pixels, int]] | None = None
        self._indexing = threading.Lock()
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
            pixels_at(self.pool.pixels, len(records) * self.pool.image_bytes)
        )
        self._index = self._files.enter_context(
            pixels_at(self.pool.index, len(records) * RECORD.itemsize)
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
            # closing tries to write the rest again and would raise again, as `flush` just has
            with contextlib.suppress(OSError):
                self._files.close()
            self._lock.release()

    def lacks(self, key: bytes) -> bool:
        """Return whether the pool has no image with this key. Any thread may call this method."""
        return key not in self._keys

    def elsewhere(self, key: bytes) -> Pixels | None:
        """Return the decoded image from another pool of the same choice, or None.

        A pool's name depends on the folder of its images. So the other pool belongs to another data
        set, or to this data set when it was in another folder. Any thread may call this method.
        """
        # the other pools are indexed once, and only if an image is missing: they may be large
        with self._indexing:
            if self._elsewhere is None:
                self._elsewhere = dict(self._siblings())
        if key not in self._elsewhere:
            return None
        images_MHWC, slot = self._elsewhere[key]
        return np.array(images_MHWC[slot])

    def _siblings(self) -> Iterator[tuple[bytes, tuple[Pixels, int]]]:
        """Yield each key in the other pools of this choice, with its mapped pool and slot."""
        for path in self.pool.pixels.parent.glob("*.pixels"):
            other = Pool(path, self.pool.how)
            with contextlib.suppress(OSError, ValueError):  # the pool was removed or is empty
                if path != self.pool.pixels:
                    records = other.records()
                    images_MHWC = other.mapped(len(records))
                    yield from (
                        (key, (images_MHWC, slot))
                        for slot, key in enumerate(records["key"].tolist())
                    )

    def add(self, key: bytes, image_HWC: Pixels) -> None:
        """Append an image, unless the pool has an image with this key already.

        Raises:
            DataError: the disk is full. The images of earlier flushes stay in the pool; up to
                FLUSH_BYTES of images that were added since then may be lost.
        """
        if not self.lacks(key):
            return
        try:
            self._pixels.write(image_HWC.tobytes())
        except OSError as error:
            raise disk_error(error, self.pool.pixels) from None
        self._keys.add(key)
        self._records.append((key, *image_sums(image_HWC)))
        if len(self._records) * self.pool.image_bytes >= FLUSH_BYTES:
            self.flush()

    def flush(self) -> None:
        """Write the added pixels to the disk, and then their records."""
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
            raise disk_error(error, self.pool.pixels) from None
        self._records.clear()


def find_keys(have_M: Keys, want_N: Keys) -> npt.NDArray[np.int64] | None:
    """Return the slot of each wanted key; None if a key is missing."""
    slot_of = {key: slot for slot, key in enumerate(have_M.tolist())}
    slots = [slot_of.get(key, -1) for key in want_N.tolist()]
    return None if -1 in slots else np.array(slots, dtype=np.int64)


@contextlib.contextmanager
def pixels_at(path: Path, position: int) -> Iterator[BinaryIO]:
    """Open the file, truncate it at `position`, and append from there."""
    # At position 0 a new file replaces the old one. Other processes may still have the old file
    # mapped, for example if its index was lost; to truncate it would destroy their pages.
    if not position:
        path.unlink(missing_ok=True)
    with path.open("r+b" if path.exists() else "w+b") as file:
        file.truncate(position)
        file.seek(position)
        yield file


def disk_error(error: OSError, path: Path) -> DataError:
    what = "the disk is full" if error.errno in (errno.ENOSPC, errno.EDQUOT) else str(error)
    return DataError(
        f"{path}: decoded images cannot be written ({what}). Make room, or set $SWEEPS_CACHE to "
        "another disk"
    )
