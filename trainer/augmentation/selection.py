"""An operation on some images of a batch, so that a probability of 0.1 costs a tenth.

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
    """Overwrite the chosen images of a batch that lies channels last with what `operation` makes of them.

    Args:
        operation: gets a copy of the chosen images (S, C, H, W) that it may write into.
        planes: whether that copy is contiguous, each channel a plane of its own, which operators are up to twice
            as fast on (CPU), or lies channels last like the batch.
    """
    if not chosen_B.any():
        return
    rows_S = to_device(np.flatnonzero(chosen_B), images_BCHW.device)
    # as (B, H, W, C) the memory is contiguous, and an image is copied at once
    images_BHWC = images_BCHW.permute(0, 2, 3, 1)
    selected_SCHW = images_BHWC.index_select(0, rows_S).permute(0, 3, 1, 2)
    changed_SCHW = operation(selected_SCHW.contiguous() if planes else selected_SCHW)
    # index_copy_ takes twice as long from planes
    changed_SCHW = changed_SCHW.contiguous(memory_format=torch.channels_last)
    images_BHWC.index_copy_(0, rows_S, changed_SCHW.permute(0, 2, 3, 1))


def strengths(values: npt.ArrayLike, chosen_B: Booleans, device: torch.device) -> Tensor:
    """What an operation needs: the chosen images' values (..., B) as float32 (..., S) on the device."""
    return to_device(
        np.ascontiguousarray(np.asarray(values)[..., chosen_B], dtype=np.float32), device
    )
