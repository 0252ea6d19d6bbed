"""Random erasing: a rectangle of noise in an image.

Shapes: B images of the batch, S of them selected; C, H, W as in images; V = C * H * W values of an
image.
"""

import numpy as np
import torch
from torch import Tensor

from trainer.augmentation.draws import Booleans, Draws, Integers, sides
from trainer.augmentation.selection import change
from trainer.images.device import to_device

SMALLEST_AREA = 0.02  # share of the image's area
RATIO = 10 / 3  # sides up to 1 : 3.3, as in torchvision's RandomErasing


def erase(images_BCHW: Tensor, chosen_B: Booleans, *, draws: Draws, largest_area: float) -> None:
    """Overwrite one rectangle in each of the chosen images with uniform noise in 0..1, in place.

    Source: Zhong et al. 2020, with the variant RE-R: a random value per pixel and channel.
    """
    if not chosen_B.any():
        return
    corners_B4 = _corners(
        draws, largest_area=largest_area, size_HW=(images_BCHW.shape[2], images_BCHW.shape[3])
    )
    corners_4S = to_device(corners_B4[chosen_B].T.copy(), images_BCHW.device)
    seeds_S = to_device(
        draws.below("erasing noise", 2**31)[chosen_B].astype(np.int32), images_BCHW.device
    )

    def erased(selected_SCHW: Tensor) -> Tensor:
        noise_SCHW = noise(seeds_S, count=selected_SCHW[0].numel()).view_as(selected_SCHW)
        # lerp is exact at 0 and 1, and takes half the time of torch.where on the CPU
        return selected_SCHW.lerp_(noise_SCHW, _inside(corners_4S, selected_SCHW))

    change(images_BCHW, chosen_B, operation=erased)


def _corners(draws: Draws, *, largest_area: float, size_HW: tuple[int, int]) -> Integers:
    """Top, bottom, left and right of each rectangle (B, 4); bottom and right are excluded."""
    area = (SMALLEST_AREA, largest_area)
    height_B, width_B = np.rint(
        sides(draws, "erasing", area=area, ratio=RATIO, size_HW=size_HW)
    ).astype(np.int64)
    top_B = draws.below("erasing top", size_HW[0] - height_B + 1)
    left_B = draws.below("erasing left", size_HW[1] - width_B + 1)
    return np.stack([top_B, top_B + height_B, left_B, left_B + width_B], axis=1)


def _inside(corners_4S: Tensor, images_SCHW: Tensor) -> Tensor:
    """A mask (S, 1, H, W) that is 1.0 inside the rectangle and 0.0 outside."""
    top, bottom, left, right = corners_4S[:, :, None]
    row_H = torch.arange(images_SCHW.shape[2], device=images_SCHW.device)
    column_W = torch.arange(images_SCHW.shape[3], device=images_SCHW.device)
    rows_SH = (row_H >= top) & (row_H < bottom)
    columns_SW = (column_W >= left) & (column_W < right)
    inside_S1HW: Tensor = rows_SH[:, None, :, None].float() * columns_SW[:, None, None, :].float()
    return inside_S1HW


def noise(seeds_S: Tensor, *, count: int) -> Tensor:
    """Uniform noise (S, count) in 0..1, 1 excluded.

    Each value is a hash of the image's int32 seed and the value's index. The noise is computed on
    the device: a batch of 256 images at 224 x 224 pixels needs up to 13 million values, which take
    40 ms on the host. torch's generators are not used, because they give different numbers on a CPU
    and a GPU.

    Source: the hash `lowbias32`, C. Wellons, "Prospecting for Hash Functions", 2018.
    """
    x_SV = seeds_S[:, None] + torch.arange(count, device=seeds_S.device, dtype=torch.int32)
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B - 2**32)):
        x_SV.bitwise_xor_(_shifted(x_SV, shift)).mul_(factor)
    x_SV.bitwise_xor_(_shifted(x_SV, 16))
    return _shifted(x_SV, 8).to(torch.float32).mul_(2**-24)


def _shifted(x_SV: Tensor, bits: int) -> Tensor:
    """The int32 values shifted to the right by `bits`, as if the values were unsigned."""
    return x_SV.bitwise_right_shift(bits).bitwise_and_(2 ** (32 - bits) - 1)
