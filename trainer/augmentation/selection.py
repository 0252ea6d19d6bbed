"""An operation on some images of a batch.

An operation with a probability of 0.1 costs only a tenth of an operation on all images.

Shapes: B images of the batch, S of them selected; C, H, W as in images.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from trainer.augmentation.draws import Booleans
from trainer.images.device import to_device

Operation = Callable[[Tensor], Tensor]


def change(
    images_BCHW: Tensor, chosen_B: Booleans, *, operation: Operation, planes: bool = True
) -> None:
    """Overwrite the chosen images of a batch with the result of an operation.

    Args:
        images_BCHW: the batch, channels last in memory.
        operation: a function that gets a copy of the chosen images (S, C, H, W) and returns the new
            images. The function may write into the copy.
        planes: whether the copy is contiguous, so that each channel is a plane in memory. On the
            CPU, operators are up to twice as fast on planes. If false, the copy is channels last
            like the batch.
    """
    if not chosen_B.any():
        return
    rows_S = to_device(np.flatnonzero(chosen_B), images_BCHW.device)
    # In the order (B, H, W, C) the memory is contiguous, so an image is copied as one block.
    images_BHWC = images_BCHW.permute(0, 2, 3, 1)
    selected_SCHW = images_BHWC.index_select(0, rows_S).permute(0, 3, 1, 2)
    changed_SCHW = operation(selected_SCHW.contiguous() if planes else selected_SCHW)
    # index_copy_ takes twice as long if its source has planes.
    changed_SCHW = changed_SCHW.contiguous(memory_format=torch.channels_last)
    images_BHWC.index_copy_(0, rows_S, changed_SCHW.permute(0, 2, 3, 1))


def strengths(values: npt.ArrayLike, chosen_B: Booleans, device: torch.device) -> Tensor:
    """The strengths of the chosen images, as an operation needs them.

    Args:
        values: the values of all images (..., B).

    Returns:
        the values of the chosen images (..., S) as float32 on the device.
    """
    return to_device(
        np.ascontiguousarray(np.asarray(values)[..., chosen_B], dtype=np.float32), device
    )
