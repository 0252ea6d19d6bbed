"""Batches of images on the device.

A batch is taken from decoded images, or threads decode its images ahead. No worker processes are
used.

Shapes: N images of the data set, B images of a batch, H height, W width, C channels,
R = W * C numbers of one row of pixels.
"""

import weakref
from collections.abc import Collection, Iterable, Iterator

import numpy as np
import torch
from torch import Tensor

from trainer.images.device import to_device
from trainer.images.images import ImageSource, Rows

COPIED_AT_ONCE = 1_024  # images in host memory during a copy to the device
MeanStd = tuple[tuple[float, float, float], tuple[float, float, float]]

# The data sets in device memory. A data set is copied once for all folds and trials of a worker,
# and its copy is freed together with its source.
_RESIDENT: "weakref.WeakKeyDictionary[ImageSource, Tensor]" = weakref.WeakKeyDictionary()


class Batches:
    """Batches of one image source on the device, and their normalisation for the network.

    On a GPU the whole uint8 data set is copied to the GPU when it takes at most half of the free
    memory. Otherwise each batch is taken in host memory and copied to the GPU. On the CPU only the
    batch itself is copied.
    """

    def __init__(
        self,
        images: ImageSource,
        *,
        device: torch.device,
        mean_std: MeanStd,
        beside: Collection[ImageSource] = (),
    ) -> None:
        """
        Args:
            beside: the other image sources that are used at the same time.
        """
        self._images = images
        self._device = device
        self._resident_NHWC = on_device(images, device, beside=beside)
        # (x / 255 - mean) / std as one multiplication and one addition
        mean_C, std_C = (torch.tensor(values, device=device) for values in mean_std)
        self._scale_C = 1 / (255 * std_C)
        self._shift_C = -mean_C / std_C
        # scale and shift of one row of pixels, by width and scale; progressive resize has several
        # widths
        self._rows: dict[tuple[int, float], tuple[Tensor, Tensor]] = {}

    def pixels(self, rows: Iterable[Rows]) -> Iterator[Tensor]:
        """Yield the uint8 pixels (B, H, W, 3) on the device for each array of B rows."""
        if self._resident_NHWC is not None:
            for batch in rows:
                yield self._resident_NHWC[to_device(batch, self._device)]
            return
        for images_BHWC in self._images.batches(rows):
            yield to_device(images_BHWC, self._device)

    def normalised(self, pixels_BHWC: Tensor) -> Tensor:
        """Return normalised float32 images (B, 3, H, W), channels last in memory."""
        return self._scaled(pixels_BHWC.float(), scale=1)

    def normalised_unit(self, images_BCHW: Tensor) -> Tensor:
        """Return normalised images like `normalised`, from float images with values in 0..1.

        The memory of `images_BCHW`, which must be channels last, is overwritten.
        """
        return self._scaled(images_BCHW.permute(0, 2, 3, 1), scale=255)

    def _scaled(self, images_BHWC: Tensor, *, scale: float) -> Tensor:
        # One multiplication per whole row of pixels is five times as fast on a CPU as broadcasting
        # three numbers (benchmarks/LOG.md).
        scale_R, shift_R = self._of_a_row(images_BHWC.shape[2], scale)
        images_BHWC = images_BHWC.contiguous()
        images_BHWC.flatten(start_dim=2).mul_(scale_R).add_(shift_R)
        return images_BHWC.permute(0, 3, 1, 2)

    def _of_a_row(self, width: int, scale: float) -> tuple[Tensor, Tensor]:
        if (width, scale) not in self._rows:
            self._rows[width, scale] = (
                (scale * self._scale_C).repeat(width),
                self._shift_C.repeat(width),
            )
        return self._rows[width, scale]


def unit(pixels_BHWC: Tensor) -> Tensor:
    """Return float32 images (B, 3, H, W) with values in 0..1, channels last in memory."""
    return pixels_BHWC.float().mul_(1 / 255).permute(0, 3, 1, 2)


def split(rows_N: Rows, *, batch_size: int) -> Iterator[Rows]:
    """Split all rows into batches in the given order. The last batch may be smaller."""
    return (rows_N[start : start + batch_size] for start in range(0, len(rows_N), batch_size))


def even_batches(rows_N: Rows, *, batch_size: int) -> list[Rows]:
    """Split all rows into `steps_per_epoch` batches in the given order, as even as possible.

    A short last batch would give each of its images more weight than the others have, and a last
    batch of one image would break batch norm.

    Example:
        >>> [len(batch) for batch in even_batches(np.arange(70), batch_size=32)]
        [24, 23, 23]
    """
    return np.array_split(rows_N, steps_per_epoch(len(rows_N), batch_size))


def steps_per_epoch(images: int, batch_size: int) -> int:
    """Return the number of optimizer steps of one epoch over `images` images.

    A batch has at most `batch_size` images. The only exception is a batch size of 2 and an odd
    number of images: one batch then has 3 images, because no batch may have a single image.
    """
    steps = max(1, -(-images // batch_size))
    return steps - 1 if images // steps < 2 <= min(batch_size, images) else steps


def on_device(
    images: ImageSource, device: torch.device, *, beside: Collection[ImageSource] = ()
) -> Tensor | None:
    """Return all images (N, H, W, 3) in device memory, or None if the images stay in host memory.

    All resident data sets together take at most half of the memory that is free without them. If
    the images do not fit, the data sets of earlier trials are freed, but never a data set in
    `beside`, which is used at the same time.
    """
    size = images.resident_bytes
    if device.type != "cuda" or size is None:
        return None
    if images not in _RESIDENT:
        if not _fits(size, device):
            drop_others(keep=beside)
        if not _fits(size, device):
            return None
        _RESIDENT[images] = copied(images, device)
    return _RESIDENT[images]


def resident_bytes() -> int:
    """Return the device memory of all decoded data sets, which later trials use again."""
    return sum(images_NHWC.nbytes for images_NHWC in _RESIDENT.values())


def drop_others(*, keep: Collection[ImageSource]) -> None:
    """Free the device memory of all data sets except those in `keep`."""
    for images in [images for images in _RESIDENT if images not in keep]:
        del _RESIDENT[images]


def _fits(size_bytes: int, device: torch.device) -> bool:
    # memory that torch has reserved for later tensors counts as free
    kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    free = torch.cuda.mem_get_info(device)[0] + kept
    return resident_bytes() + size_bytes < (free + resident_bytes()) / 2


def copied(images: ImageSource, device: torch.device) -> Tensor:
    """Copy all images (N, H, W, 3) to the device, `COPIED_AT_ONCE` images at a time.

    Host memory holds only the images that are being copied.
    """
    count = len(images)
    copy_NHWC = torch.empty((count, *images.size_HW, 3), dtype=torch.uint8, device=device)
    parts = [
        np.arange(start, min(start + COPIED_AT_ONCE, count))
        for start in range(0, count, COPIED_AT_ONCE)
    ]
    for rows, images_BHWC in zip(parts, images.batches(parts), strict=True):
        copy_NHWC[rows[0] : rows[-1] + 1].copy_(torch.from_numpy(images_BHWC))
    return copy_NHWC
