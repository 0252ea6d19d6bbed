"""Pixels for given rows of a manifest: from the decoded cache, or decoded batch by batch.

Shapes: N images of the manifest, M slots of a cache file, B images of a batch, H height, W width,
C channels, V = 256 values of a pixel.
"""

import collections
import concurrent.futures
import dataclasses
from collections.abc import Iterable, Iterator
from typing import Protocol

import numpy as np
import numpy.typing as npt

from trainer.errors import DataError, UnreadableError
from trainer.images.decode import decode
from trainer.images.manifest import Manifest, content_digest
from trainer.images.preprocessing import Preprocessing, Size

Pixels = npt.NDArray[np.uint8]
Rows = npt.NDArray[np.int64]
SAMPLED = 10_000  # images that a mean is measured on; `Decoded` and `Streamed` use the same images
BATCHES_AHEAD = 2  # batches that are decoded before the caller asks for them


@dataclasses.dataclass(frozen=True)
class ChannelSums:
    """Sums over the pixels of one or more images, from which mean and standard deviation follow.

    Attributes:
        total_C: the sum of the pixel values (0..255) of each channel.
        squares_C: the sum of their squares.
        pixels: the number of pixels of one channel.
    """

    total_C: npt.NDArray[np.float64]
    squares_C: npt.NDArray[np.float64]
    pixels: int

    def mean_std(self) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
        """Return mean and standard deviation per channel, for pixel values in 0..1."""
        mean_C = self.total_C / self.pixels
        std_C = np.sqrt(np.maximum(self.squares_C / self.pixels - mean_C**2, 0))
        # at least 1e-3: images are divided by it, and a constant channel has a deviation of 0
        red, green, blue = (mean_C / 255).tolist()
        red_std, green_std, blue_std = np.maximum(std_C / 255, 1e-3).tolist()
        return (red, green, blue), (red_std, green_std, blue_std)


class ImageSource(Protocol):
    """N images of one size. Every implementation gives the same pixels for the same rows.

    Attributes:
        size_HW: height and width.
        resident_bytes: memory that all N images take; None if the images must not be held in
            memory.
    """

    size_HW: Size
    resident_bytes: int | None

    def __len__(self) -> int: ...

    def batches(self, rows: Iterable[Rows]) -> Iterator[Pixels]:
        """Yield the pixels (B, H, W, 3) of each array of B rows."""
        ...

    def channel_sums(self, rows: Rows) -> ChannelSums:
        """Return the sums over these rows, or over `SAMPLED` evenly spaced ones of more rows."""
        ...


class Decoded:
    """Decoded images in memory or in a memory map. Only the images of a batch are copied."""

    def __init__(
        self,
        images_MHWC: Pixels,
        *,
        slots_N: Rows | None = None,
        sums_MC: npt.NDArray[np.uint64] | None = None,
        squares_MC: npt.NDArray[np.uint64] | None = None,
    ) -> None:
        """
        Args:
            slots_N: index into `images_MHWC` of each image of the manifest; None means that the
                images are in manifest order.
            sums_MC: the sum of each image's pixels; None means that it is computed when needed.
            squares_MC: the sum of their squares; None means the same.
        """
        # a plain array, because indexing numpy's memmap makes a new memmap for each batch
        self._images_MHWC = np.asarray(images_MHWC)
        self._slots_N = slots_N
        self._sums_MC = sums_MC
        self._squares_MC = squares_MC
        self.size_HW = (images_MHWC.shape[1], images_MHWC.shape[2])
        count = len(images_MHWC) if slots_N is None else len(slots_N)
        self.resident_bytes: int | None = count * int(np.prod(images_MHWC.shape[1:]))

    def __len__(self) -> int:
        return len(self._images_MHWC) if self._slots_N is None else len(self._slots_N)

    def take(self, rows: Rows) -> Pixels:
        """Return a copy of the pixels (B, H, W, 3) of these rows."""
        return self._images_MHWC[rows if self._slots_N is None else self._slots_N[rows]]

    def batches(self, rows: Iterable[Rows]) -> Iterator[Pixels]:
        """See ImageSource."""
        return map(self.take, rows)

    def channel_sums(self, rows: Rows) -> ChannelSums:
        """See ImageSource."""
        if self._sums_MC is None or self._squares_MC is None:
            per_image = [image_sums(image_HWC) for image_HWC in self._images_MHWC]
            self._sums_MC = np.array([total for total, _ in per_image])
            self._squares_MC = np.array([squares for _, squares in per_image])
        rows = _sampled(rows)
        slots = rows if self._slots_N is None else self._slots_N[rows]
        height, width = self.size_HW
        # sums of whole numbers are exact: the mean does not depend on the order of the slots
        return ChannelSums(
            self._sums_MC[slots].sum(axis=0).astype(np.float64),
            self._squares_MC[slots].sum(axis=0).astype(np.float64),
            len(rows) * height * width,
        )


class Streamed:
    """Images that are decoded batch by batch, up to `BATCHES_AHEAD` batches ahead.

    This source is for data whose decoded images do not fit on the disk of this node.
    """

    resident_bytes: int | None = None

    def __init__(self, manifest: Manifest, how: Preprocessing, *, threads: int) -> None:
        self._manifest = manifest
        self._how = how
        self._threads = threads
        self.size_HW = how.size_HW

    def __len__(self) -> int:
        return len(self._manifest)

    def batches(self, rows: Iterable[Rows]) -> Iterator[Pixels]:
        """See ImageSource.

        Raises:
            DataError: a file cannot be read any more; the message names the file.
        """
        waiting: collections.deque[list[concurrent.futures.Future[Pixels]]] = collections.deque()
        pool = concurrent.futures.ThreadPoolExecutor(self._threads)
        try:
            for batch in rows:
                waiting.append([pool.submit(self._decoded, row) for row in batch.tolist()])
                if len(waiting) > BATCHES_AHEAD:
                    yield np.stack([future.result() for future in waiting.popleft()])
            while waiting:
                yield np.stack([future.result() for future in waiting.popleft()])
        finally:  # an interrupted epoch waits only for images that a thread decodes at this moment
            pool.shutdown(cancel_futures=True)

    def channel_sums(self, rows: Rows) -> ChannelSums:
        """See ImageSource."""
        chosen = _sampled(rows)
        total = np.zeros(3, np.uint64)
        squares = np.zeros(3, np.uint64)
        for (image_HWC,) in self.batches(chosen[:, None]):
            more, more_squares = image_sums(image_HWC)
            total = total + more
            squares = squares + more_squares
        height, width = self.size_HW
        return ChannelSums(
            total.astype(np.float64), squares.astype(np.float64), len(chosen) * height * width
        )

    def _decoded(self, row: int) -> Pixels:
        manifest = self._manifest
        try:
            data = manifest.file(row).read_bytes()
            image_HWC = decode(data, self._how, reading=manifest.reading, box=manifest.box(row))
            if (
                manifest.digests_N is not None
                and content_digest(data) != manifest.digests_N[row].item()
            ):
                raise UnreadableError("its content changed since the data set was read")
            return image_HWC
        except (OSError, UnreadableError) as error:
            raise DataError(f"{manifest.where(row)} cannot be read any more ({error})") from None


def _sampled(rows: Rows) -> Rows:
    return rows[np.linspace(0, len(rows) - 1, min(SAMPLED, len(rows))).astype(np.int64)]


def image_sums(image_HWC: Pixels) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]:
    """Return the sum of the pixels of each channel, and the sum of their squares."""
    # from the histogram: 256 products instead of one product per pixel
    counts_CV = np.stack(
        [np.bincount(image_HWC[..., channel].ravel(), minlength=256) for channel in range(3)]
    )
    values_V = np.arange(256)
    return (counts_CV @ values_V).astype(np.uint64), (counts_CV @ values_V**2).astype(np.uint64)
