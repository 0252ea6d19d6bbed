"""Batches on the device: indexed from decoded images, or from images decoded ahead; no worker processes.

Shapes: N images of the data set, B of a batch; H, W, C as in images, R = W * C numbers of a row of pixels.
"""

import weakref
from collections.abc import Collection, Iterable, Iterator

import numpy as np
import torch
from torch import Tensor

from trainer.images.device import to_device
from trainer.images.images import ImageSource, Rows

COPIED_AT_ONCE = 1_024  # images
MeanStd = tuple[tuple[float, float, float], tuple[float, float, float]]

# data sets in device memory: copied once for all folds and trials of a worker, gone with their source
_RESIDENT: "weakref.WeakKeyDictionary[ImageSource, Tensor]" = weakref.WeakKeyDictionary()


class Batches:
    """One way of looking at the images, as the network wants them.

    On a GPU the whole uint8 data set is moved there when it fits beside the model (at most half of the free
    memory); otherwise batches are taken in host memory and sent over. On the CPU nothing is copied but the
    batch itself.
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
            beside: other ways of looking at the images that are used at the same time.
        """
        self._images, self._device = images, device
        self._resident_NHWC = on_device(images, device, beside=beside)
        # (x / 255 - mean) / std as one multiplication and one addition
        mean_C, std_C = (torch.tensor(values, device=device) for values in mean_std)
        self._scale_C, self._shift_C = 1 / (255 * std_C), -mean_C / std_C
        self._rows: dict[
            tuple[int, float], tuple[Tensor, Tensor]
        ] = {}  # by width: progressive resize has several

    def pixels(self, rows: Iterable[Rows]) -> Iterator[Tensor]:
        """For each array of B rows its uint8 pixels (B, H, W, 3) on the device."""
        if self._resident_NHWC is not None:
            for batch in rows:
                yield self._resident_NHWC[to_device(batch, self._device)]
            return
        for images_BHWC in self._images.batches(rows):
            yield to_device(images_BHWC, self._device)

    def normalised(self, pixels_BHWC: Tensor) -> Tensor:
        """Normalised float32 images (B, 3, H, W) of uint8 pixels, channels last in memory."""
        return self._scaled(pixels_BHWC.float(), scale=1)

    def normalised_unit(self, images_BCHW: Tensor) -> Tensor:
        """The same of float images with values in 0..1, channels last in memory, which are overwritten."""
        return self._scaled(images_BCHW.permute(0, 2, 3, 1), scale=255)

    def _scaled(self, images_BHWC: Tensor, *, scale: float) -> Tensor:
        # of whole rows of pixels: five times as fast on a CPU as broadcasting three numbers (benchmarks/LOG.md)
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
    """Float32 images (B, 3, H, W) with values in 0..1, channels last in memory, of uint8 pixels."""
    return pixels_BHWC.float().mul_(1 / 255).permute(0, 3, 1, 2)


def split(rows_N: Rows, *, batch_size: int) -> Iterator[Rows]:
    """Every row once, in the order given, the last batch as small as it is."""
    return (rows_N[start : start + batch_size] for start in range(0, len(rows_N), batch_size))


def whole_batches(rows_N: Rows, *, batch_size: int) -> Iterator[Rows]:
    """Whole batches in the order given, `steps_per_epoch` of them.

    The remainder is left out: a last batch of one image would break batch norm. Fewer images than a batch make one
    smaller batch.
    """
    count = steps_per_epoch(len(rows_N), batch_size)
    return (rows_N[batch * batch_size : (batch + 1) * batch_size] for batch in range(count))


def steps_per_epoch(images: int, batch_size: int) -> int:
    """Optimizer steps of an epoch over so many images."""
    return max(1, images // batch_size)


def on_device(
    images: ImageSource, device: torch.device, *, beside: Collection[ImageSource] = ()
) -> Tensor | None:
    """All images (N, H, W, 3) in device memory, or None where they stay where they are.

    Data sets take at most half of the memory that is free without them; those of earlier trials make room, but never
    those `beside` which these are used.
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
    """Device memory that decoded data sets take for all trials to come."""
    return sum(images_NHWC.nbytes for images_NHWC in _RESIDENT.values())


def drop_others(*, keep: Collection[ImageSource]) -> None:
    """Give back the device memory of all data sets but those in use."""
    for images in [images for images in _RESIDENT if images not in keep]:
        del _RESIDENT[images]


def _fits(size_bytes: int, device: torch.device) -> bool:
    # what torch keeps for later is free, too
    kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    free = torch.cuda.mem_get_info(device)[0] + kept
    return resident_bytes() + size_bytes < (free + resident_bytes()) / 2


def copied(images: ImageSource, device: torch.device) -> Tensor:
    """All images (N, H, W, 3) on the device; never more than a part of them in host memory besides."""
    count = len(images)
    copy_NHWC = torch.empty((count, *images.size_HW, 3), dtype=torch.uint8, device=device)
    parts = [
        np.arange(start, min(start + COPIED_AT_ONCE, count))
        for start in range(0, count, COPIED_AT_ONCE)
    ]
    for rows, images_BHWC in zip(parts, images.batches(parts), strict=True):
        copy_NHWC[rows[0] : rows[-1] + 1].copy_(torch.from_numpy(images_BHWC))
    return copy_NHWC
