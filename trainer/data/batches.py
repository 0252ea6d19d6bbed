"""Batches indexed from decoded images on the device: no workers, no copies through a queue.

Shapes: N images of the data set, B of a batch; H, W, C as in images.
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from trainer.data.cache import Images

Batch = tuple[Tensor, Tensor]


class Batches:
    """One fold's view of the decoded images.

    On a GPU the whole uint8 data set is moved there when it fits beside the model (at most half of the free
    memory); otherwise batches are indexed in host memory and sent over. On the CPU nothing is copied but
    the batch itself.
    """

    def __init__(
        self,
        images_NHWC: Images,
        labels_N: npt.NDArray[np.int64],
        *,
        device: torch.device,
        mean: tuple[float, float, float],
        std: tuple[float, float, float],
    ) -> None:
        self._device = device
        self._images_NHWC = torch.from_numpy(images_NHWC)
        if device.type == "cuda" and images_NHWC.nbytes < torch.cuda.mem_get_info(device)[0] / 2:
            self._images_NHWC = self._images_NHWC.to(device)
        self._labels_N = torch.from_numpy(labels_N).to(device)
        # (x / 255 - mean) / std as one multiplication and one addition
        std_C = torch.tensor(std, device=device)
        self._scale_C11 = (1 / (255 * std_C)).view(3, 1, 1)
        self._shift_C11 = (-torch.tensor(mean, device=device) / std_C).view(3, 1, 1)

    def take(self, rows: Tensor) -> Batch:
        """Normalised float32 images (B, 3, H, W), channels last in memory, and labels (B)."""
        source = self._images_NHWC
        images_BHWC = source[rows.to(source.device)].to(self._device, non_blocking=True)
        images_BCHW = images_BHWC.permute(0, 3, 1, 2).float()
        return images_BCHW.mul_(self._scale_C11).add_(self._shift_C11), self._labels_N[rows.to(self._device)]

    def shuffled(self, rows_N: npt.NDArray[np.int64], *, batch_size: int, seed: int) -> Iterator[Batch]:
        """One epoch of whole batches in an order that only `seed` decides.

        The remainder is left out, another one each epoch: a last batch of one image would break batch
        norm. Fewer images than a batch make one smaller batch.
        """
        order = torch.randperm(len(rows_N), generator=torch.Generator().manual_seed(seed))
        rows = torch.from_numpy(rows_N)[order]
        for batch in range(steps_per_epoch(len(rows_N), batch_size)):
            yield self.take(rows[batch * batch_size : (batch + 1) * batch_size])

    def in_order(self, rows_N: npt.NDArray[np.int64], *, batch_size: int) -> Iterator[Batch]:
        """Every row once, in the order given, the last batch as small as it is."""
        for start in range(0, len(rows_N), batch_size):
            yield self.take(torch.from_numpy(rows_N[start : start + batch_size]))


def steps_per_epoch(images: int, batch_size: int) -> int:
    """Optimizer steps that `Batches.shuffled` makes of so many images."""
    return max(1, images // batch_size)
