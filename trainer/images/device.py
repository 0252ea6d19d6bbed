"""Copies from host memory to the device that do not wait for the work queued on the device."""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor


def to_device(values: npt.NDArray[np.generic], device: torch.device) -> Tensor:
    """Return the values as a tensor on the device.

    For a GPU the values go through pinned memory: a copy from pageable memory would wait for the
    kernels that are queued on the GPU.
    """
    tensor = torch.from_numpy(values)
    return (
        tensor.pin_memory().to(device, non_blocking=True)
        if device.type == "cuda"
        else tensor.to(device)
    )
