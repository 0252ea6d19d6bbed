"""Gaussian blur with one sigma per image.

Shapes: S images, contiguous; C, H, W as in images; T taps of a kernel.
"""

import math

import torch
from torch import Tensor
from torch.nn.functional import conv2d, pad

REACH = 3.0  # a kernel reaches this many sigmas; 0.3 % of the weight is outside


def blur(images_SCHW: Tensor, sigma_S: Tensor, *, largest_sigma: float) -> Tensor:
    """The images, blurred along the rows and then along the columns.

    An image is mirrored at its edges.

    Args:
        sigma_S: the sigma of each image in pixels.
        largest_sigma: sets the length of all kernels, so that the result of an image does not
            depend on the other images of the batch. A kernel is cut where the mirrored image would
            repeat itself.
    """
    count, channels, height, width = images_SCHW.shape
    across, down = (min(math.ceil(REACH * largest_sigma), side - 1) for side in (width, height))
    planes_1PHW = images_SCHW.view(1, count * channels, height, width)
    for dim, reach in ((3, across), (2, down)):
        kernel_PT = _kernel(sigma_S, reach=reach).repeat_interleave(channels, dim=0)
        around = (reach, reach, 0, 0) if dim == 3 else (0, 0, reach, reach)
        kernel = kernel_PT[:, None, None, :] if dim == 3 else kernel_PT[:, None, :, None]
        planes_1PHW = conv2d(
            pad(planes_1PHW, around, mode="reflect"), kernel, groups=count * channels
        )
    return planes_1PHW.view_as(images_SCHW).clamp_(0, 1)  # the weights sum to 1 only up to rounding


def _kernel(sigma_S: Tensor, *, reach: int) -> Tensor:
    """The weights (S, T) of each image's kernel, with sum 1 and T = 2 * reach + 1."""
    taps_T = torch.arange(-reach, reach + 1, device=sigma_S.device, dtype=torch.float32)
    return torch.softmax(-0.5 * (taps_T / sigma_S[:, None]) ** 2, dim=1)
