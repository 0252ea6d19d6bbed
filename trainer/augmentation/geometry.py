"""Operations that move pixels: exact flips, and maps that sample each image once.

Crop, affine map and the moves of the policy are combined into one map per image. A map is a 3 x 3
matrix on (x, y, 1). x and y are in pixels from the centre of the image, x to the right and y down.
A map leads from a position in the result to the position in the source. Therefore maps are
multiplied in the order in which they are applied.

Shapes: B images of the batch, S of them selected; C, H, W as in images.
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
    """Maps (B, 3, 3) from coefficients.

    Args:
        x: the coefficients of x, y and 1 in the x coordinate of the source.
        y: the coefficients of x, y and 1 in the y coordinate of the source.
    """
    rows = np.broadcast_arrays(*x, *y, 0.0, 0.0, 1.0)
    return np.stack(rows, axis=-1).reshape(*rows[0].shape, 3, 3)


def flipped(horizontal_B: Booleans, vertical_B: Booleans) -> Reals:
    """Maps that mirror an image left to right and top to bottom, each where the value is true."""
    return matrix((1.0 - 2.0 * horizontal_B, 0.0, 0.0), (0.0, 1.0 - 2.0 * vertical_B, 0.0))


def cropped(
    corner: tuple[Number, Number], sides: tuple[Number, Number], *, size_HW: tuple[int, int]
) -> Reals:
    """Maps that resize a rectangle of an image to the whole image.

    Args:
        corner: the top and left edge of the rectangle in pixels.
        sides: the height and width of the rectangle in pixels.
    """
    top, left = np.asarray(corner)
    height, width = np.asarray(sides)
    return matrix(
        (width / size_HW[1], 0.0, left + (width - size_HW[1]) / 2),
        (0.0, height / size_HW[0], top + (height - size_HW[0]) / 2),
    )


def turned(degrees: Number, scale: Number = 1.0) -> Reals:
    """Maps that rotate an image clockwise about its centre and enlarge it by `scale`."""
    cos = np.cos(np.radians(degrees)) / scale
    sin = np.sin(np.radians(degrees)) / scale
    return matrix((cos, sin, 0.0), (-sin, cos, 0.0))


def shifted(x: Number, y: Number) -> Reals:
    """Maps that move an image to the right by `x` and down by `y` pixels."""
    return matrix((1.0, 0.0, -np.asarray(x)), (0.0, 1.0, -np.asarray(y)))


def sheared_x(slope: Number, *, size_HW: tuple[int, int]) -> Reals:
    """Maps that move each row to the left by `slope` times its distance from the top edge.

    The top edge stays fixed as in torchvision's policies.
    """
    return matrix((1.0, slope, np.asarray(slope) * size_HW[0] / 2), (0.0, 1.0, 0.0))


def sheared_y(slope: Number, *, size_HW: tuple[int, int]) -> Reals:
    """Maps that move each column up by `slope` times its distance from the left edge.

    The left edge stays fixed as in torchvision's policies.
    """
    return matrix((1.0, 0.0, 0.0), (slope, 1.0, np.asarray(slope) * size_HW[1] / 2))


def flip(images_BCHW: Tensor, chosen_B: Booleans, *, dim: int) -> None:
    """Mirror the chosen images in place, without interpolation.

    Args:
        dim: 3 mirrors left to right, 2 mirrors top to bottom.
    """
    change(
        images_BCHW, chosen_B, operation=lambda selected_SCHW: selected_SCHW.flip(dim), planes=False
    )


def warp(images_BCHW: Tensor, chosen_B: Booleans, *, maps_B33: Reals) -> None:
    """Replace the chosen images, in place, by samples at the positions that their maps give.

    Outside its edges an image is mirrored.
    """
    if not chosen_B.any():
        return
    grid_SHW2 = _grid(maps_B33[chosen_B], size_HW=images_BCHW.shape[2:], device=images_BCHW.device)

    def sampled(selected_SCHW: Tensor) -> Tensor:
        inside_SCHW = grid_sample(
            selected_SCHW, grid_SHW2, padding_mode="reflection", align_corners=False
        )
        return inside_SCHW.clamp_(0, 1)  # rounding can give values outside 0..1

    change(images_BCHW, chosen_B, operation=sampled)


def _grid(maps_S33: Reals, *, size_HW: torch.Size, device: torch.device) -> Tensor:
    """The position in the source of each pixel, in the units of grid_sample.

    In these units, -1 and 1 are the outer edges of the image. torch's affine_grid is not used: it
    multiplies matrices, which a GPU may do in TF32. With the 10 bits of TF32, positions would be
    wrong by up to 0.05 pixels at 224 x 224.
    """
    height, width = size_HW
    units_2 = np.array([2 / width, 2 / height])
    maps_S23 = to_device((maps_S33[:, :2] * units_2[:, None]).astype(np.float32), device)
    x_W = torch.arange(width, dtype=torch.float32, device=device) + (1 - width) / 2
    y_H = torch.arange(height, dtype=torch.float32, device=device) + (1 - height) / 2
    along_row_S2W = maps_S23[:, :, :1] * x_W
    down_S2H = maps_S23[:, :, 1:2] * y_H + maps_S23[:, :, 2:]
    return (along_row_S2W[:, :, None, :] + down_S2H[:, :, :, None]).permute(0, 2, 3, 1).contiguous()
