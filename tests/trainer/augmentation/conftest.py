"""Pictures for the augmentations: smooth enough to resample,
noisy enough that every change shows.
"""

import torch
from torch import Tensor
from torch.nn.functional import interpolate

LEVEL = 1 / 255  # one grey level


def pictures(count: int, *, size_HW: tuple[int, int] = (16, 24), seed: int = 0) -> Tensor:
    """Float images (count, 3, H, W) of whole grey levels, channels last;
    some pixels black, white or grey.
    """
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand((count, 3, 4, 4), generator=generator) * 1.6 - 0.3
    images_BCHW = interpolate(coarse, size_HW, mode="bilinear")
    images_BCHW += 0.1 * torch.rand(images_BCHW.shape, generator=generator)
    images_BCHW[:, :, :2, :2] = 0
    images_BCHW[:, :, :2, 2:4] = 1
    images_BCHW[:, :, 2:4, :2] = images_BCHW[:, :1, 2:4, :2].clone()
    return (
        (images_BCHW.clamp(0, 1) * 255)
        .round()
        .div(255)
        .contiguous(memory_format=torch.channels_last)
    )
