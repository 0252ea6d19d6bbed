"""From host memory to the device, without waiting for what the device still has to do."""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor


def to_device(values: npt.NDArray[np.generic], device: torch.device) -> Tensor:
    """The values on the device. A copy from pageable memory would wait behind the kernels: it goes by pinned memory."""
    tensor = torch.from_numpy(values)
    return (
        tensor.pin_memory().to(device, non_blocking=True)
        if device.type == "cuda"
        else tensor.to(device)
    )
