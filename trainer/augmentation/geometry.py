"""Flips exactly; crop, affine map and the policy's moves as one map per image, sampled once.

Shapes: B images of the batch, S of them selected; C, H, W as in images. A map is 3 x 3 on (x, y, 1) in pixels from
the centre of the image, x to the right and y down, and leads from a place in the result to its place in the source,
so that maps applied one after another are multiplied in the same order.
"""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import grid_sample

from trainer.augmentation.draws import Booleans, Reals
from trainer.augmentation.selection import change
from trainer.images.device import to_device

Number = float | npt.NDArray[np.floating]


def matrix(x: tuple[Number, Number, Number], y: tuple[Number, Number, Number]) -> Reals:
    """Maps (B, 3, 3) from the coefficients of x, y and 1 in either coordinate of the source."""
    rows = np.broadcast_arrays(*x, *y, 0.0, 0.0, 1.0)
    return np.stack(rows, axis=-1).reshape(*rows[0].shape, 3, 3)


def flipped(horizontal_B: Booleans, vertical_B: Booleans) -> Reals:
    """Mirrored left to right and top to bottom where true."""
    return matrix((1.0 - 2.0 * horizontal_B, 0.0, 0.0), (0.0, 1.0 - 2.0 * vertical_B, 0.0))


def cropped(
    corner: tuple[Number, Number], sides: tuple[Number, Number], *, size_HW: tuple[int, int]
) -> Reals:
    """A rectangle of the image, resized to the whole; `corner` is its top and left, `sides` its height and width."""
    (top, left), (height, width) = np.asarray(corner), np.asarray(sides)
    return matrix(
        (width / size_HW[1], 0.0, left + (width - size_HW[1]) / 2),
        (0.0, height / size_HW[0], top + (height - size_HW[0]) / 2),
    )


def turned(degrees: Number, scale: Number = 1.0) -> Reals:
    """Rotated clockwise about the centre and enlarged."""
    cos, sin = np.cos(np.radians(degrees)) / scale, np.sin(np.radians(degrees)) / scale
    return matrix((cos, sin, 0.0), (-sin, cos, 0.0))


def shifted(x: Number, y: Number) -> Reals:
    """Moved right and down, in pixels."""
    return matrix((1.0, 0.0, -np.asarray(x)), (0.0, 1.0, -np.asarray(y)))


def sheared_x(slope: Number, *, size_HW: tuple[int, int]) -> Reals:
    """Each row moved left in proportion to its distance from the top edge, as torchvision's policies do."""
    return matrix((1.0, slope, np.asarray(slope) * size_HW[0] / 2), (0.0, 1.0, 0.0))


def sheared_y(slope: Number, *, size_HW: tuple[int, int]) -> Reals:
    """Each column moved up in proportion to its distance from the left edge, as torchvision's policies do."""
    return matrix((1.0, 0.0, 0.0), (slope, 1.0, np.asarray(slope) * size_HW[1] / 2))


def flip(images_BCHW: Tensor, chosen_B: Booleans, *, dim: int) -> None:
    """Mirror the chosen images in place, bit for bit; dim 3 is left to right, 2 top to bottom."""
    change(
        images_BCHW, chosen_B, operation=lambda selected_SCHW: selected_SCHW.flip(dim), planes=False
    )


def warp(images_BCHW: Tensor, chosen_B: Booleans, *, maps_B33: Reals) -> None:
    """Sample the chosen images in place where their maps lead; beyond its edges an image is mirrored."""
    if not chosen_B.any():
        return
    grid_SHW2 = _grid(maps_B33[chosen_B], size_HW=images_BCHW.shape[2:], device=images_BCHW.device)

    def sampled(selected_SCHW: Tensor) -> Tensor:
        inside_SCHW = grid_sample(
            selected_SCHW, grid_SHW2, padding_mode="reflection", align_corners=False
        )
        return inside_SCHW.clamp_(0, 1)  # rounding leads out of it

    change(images_BCHW, chosen_B, operation=sampled)


def _grid(maps_S33: Reals, *, size_HW: torch.Size, device: torch.device) -> Tensor:
    """Where each pixel comes from, in the units of grid_sample: -1 and 1 are the outer edges.

    torch's affine_grid multiplies matrices, which a GPU may do in TF32: 10 bits leave places wrong by up to 0.05
    pixels at 224.
    """
    height, width = size_HW
    units_2 = np.array([2 / width, 2 / height])
    maps_S23 = to_device((maps_S33[:, :2] * units_2[:, None]).astype(np.float32), device)
    x_W = torch.arange(width, dtype=torch.float32, device=device) + (1 - width) / 2
    y_H = torch.arange(height, dtype=torch.float32, device=device) + (1 - height) / 2
    along_row_S2W = maps_S23[:, :, :1] * x_W
    down_S2H = maps_S23[:, :, 1:2] * y_H + maps_S23[:, :, 2:]
    return (along_row_S2W[:, :, None, :] + down_S2H[:, :, :, None]).permute(0, 2, 3, 1).contiguous()
