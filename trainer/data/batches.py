"""Batches on the device: indexed from decoded images, or from images decoded ahead; no worker processes.

Shapes: N images of the data set, B of a batch; H, W, C as in images, R = W * C numbers of a row of pixels.
"""

from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from trainer.data.images import ImageSource, Rows

Batch = tuple[Tensor, Tensor]
COPIED_AT_ONCE = 1_024  # images


class Batches:
    """One fold's view of the images.

    On a GPU the whole uint8 data set is moved there when it fits beside the model (at most half of the free
    memory); otherwise batches are taken in host memory and sent over. On the CPU nothing is copied but the
    batch itself.
    """

    def __init__(
        self,
        images: ImageSource,
        labels_N: npt.NDArray[np.int64],
        *,
        device: torch.device,
        mean: tuple[float, float, float],
        std: tuple[float, float, float],
    ) -> None:
        self._images, self._device = images, device
        self._resident_NHWC = _on_device(images, len(labels_N), device)
        self._labels_N = torch.from_numpy(labels_N).to(device)
        # (x / 255 - mean) / std as one multiplication and one addition, of whole rows of pixels: five times as fast
        # on a CPU as broadcasting three numbers (benchmarks/LOG.md)
        std_C, width = torch.tensor(std, device=device), images.size_HW[1]
        self._scale_R = (1 / (255 * std_C)).repeat(width)
        self._shift_R = (-torch.tensor(mean, device=device) / std_C).repeat(width)

    def take(self, rows: Tensor) -> Batch:
        """Normalised float32 images (B, 3, H, W), channels last in memory, and labels (B)."""
        (batch,) = self._batches([rows.numpy()])
        return batch

    def shuffled(self, rows_N: Rows, *, batch_size: int, seed: int) -> Iterator[Batch]:
        """One epoch of whole batches in an order that only `seed` decides.

        The remainder is left out, another one each epoch: a last batch of one image would break batch
        norm. Fewer images than a batch make one smaller batch.
        """
        order = torch.randperm(len(rows_N), generator=torch.Generator().manual_seed(seed)).numpy()
        rows = rows_N[order]
        count = steps_per_epoch(len(rows_N), batch_size)
        return self._batches(rows[batch * batch_size : (batch + 1) * batch_size] for batch in range(count))

    def in_order(self, rows_N: Rows, *, batch_size: int) -> Iterator[Batch]:
        """Every row once, in the order given, the last batch as small as it is."""
        return self._batches(rows_N[start : start + batch_size] for start in range(0, len(rows_N), batch_size))

    def _batches(self, rows: Iterable[Rows]) -> Iterator[Batch]:
        if self._resident_NHWC is not None:
            for batch in rows:
                at = torch.from_numpy(batch).to(self._device)
                yield self._normalised(self._resident_NHWC[at]), self._labels_N[at]
            return
        batches = list(rows)
        for batch, images_BHWC in zip(batches, self._images.batches(batches), strict=True):
            sent = torch.from_numpy(images_BHWC).to(self._device, non_blocking=True)
            yield self._normalised(sent), self._labels_N[torch.from_numpy(batch).to(self._device)]

    def _normalised(self, images_BHWC: Tensor) -> Tensor:
        rows_BHR = images_BHWC.flatten(start_dim=2).float().mul_(self._scale_R).add_(self._shift_R)
        return rows_BHR.view(images_BHWC.shape).permute(0, 3, 1, 2)


def _on_device(images: ImageSource, count: int, device: torch.device) -> Tensor | None:
    """All images in device memory, or None where they stay where they are."""
    size = images.resident_bytes
    if device.type != "cuda" or size is None:
        return None
    # what torch keeps for later is free, too
    kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    if size >= (torch.cuda.mem_get_info(device)[0] + kept) / 2:
        return None
    return copied(images, count, device)


def copied(images: ImageSource, count: int, device: torch.device) -> Tensor:
    """The first `count` images (N, H, W, 3) on the device; never more than a part of them in host memory besides."""
    copy_NHWC = torch.empty((count, *images.size_HW, 3), dtype=torch.uint8, device=device)
    parts = [np.arange(start, min(start + COPIED_AT_ONCE, count)) for start in range(0, count, COPIED_AT_ONCE)]
    for rows, images_BHWC in zip(parts, images.batches(parts), strict=True):
        copy_NHWC[rows[0] : rows[-1] + 1].copy_(torch.from_numpy(images_BHWC))
    return copy_NHWC


def steps_per_epoch(images: int, batch_size: int) -> int:
    """Optimizer steps that `Batches.shuffled` makes of so many images."""
    return max(1, images // batch_size)
