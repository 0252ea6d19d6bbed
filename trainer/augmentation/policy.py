"""TrivialAugment: one operation of a list per image, at a random strength.

Shapes: B images of the batch, S of them selected; H, W of an image.

Source: Mueller and Hutter 2021, "TrivialAugment: Tuning-free Yet State-of-the-Art Data
Augmentation". Operations, ranges and the 31 strengths are those of torchvision's
TrivialAugmentWide. Deviations: sampling is bilinear instead of nearest, an image is mirrored
outside its edges instead of black, and the 32 pixels of a translation are those of a side of 224: a
translation is a share of the side, so that it means the same at every size.
"""

import dataclasses
from collections.abc import Callable

import numpy as np
from torch import Tensor

from trainer.augmentation import colour
from trainer.augmentation.draws import Booleans, Draws, Integers, Reals
from trainer.augmentation.geometry import sheared_x, sheared_y, shifted, turned
from trainer.augmentation.selection import change, strengths

BINS = 31
Move = Callable[[Reals, tuple[int, int]], Reals]
Recolouring = Callable[[Tensor, Tensor], Tensor]


@dataclasses.dataclass(frozen=True)
class Operation:
    """One operation of the list. An operation without `move` and `recolour` is the identity.

    Attributes:
        strengths: the strength of each of the 31 bins.
        signed: whether the strength is negative with probability 0.5.
        move: a function from strengths (B) and the size of the images to maps (B, 3, 3).
        recolour: a function from images (S, 3, H, W) and strengths (S) to images.
    """

    strengths: Reals
    signed: bool = False
    move: Move | None = None
    recolour: Recolouring | None = None


NONE = np.zeros(BINS)
FACTORS = np.linspace(0, 0.99, BINS)
SLOPES = np.linspace(0, 0.99, BINS)
SHARES = np.linspace(0, 32 / 224, BINS)
BITS = np.rint(8 - np.arange(BINS) / ((BINS - 1) / 6))

OPERATIONS: dict[str, Operation] = {
    "identity": Operation(NONE),
    "shear_x": Operation(
        SLOPES, signed=True, move=lambda slope_B, size_HW: sheared_x(slope_B, size_HW=size_HW)
    ),
    "shear_y": Operation(
        SLOPES, signed=True, move=lambda slope_B, size_HW: sheared_y(slope_B, size_HW=size_HW)
    ),
    "translate_x": Operation(
        SHARES, signed=True, move=lambda share_B, size_HW: shifted(share_B * size_HW[1], 0.0)
    ),
    "translate_y": Operation(
        SHARES, signed=True, move=lambda share_B, size_HW: shifted(0.0, share_B * size_HW[0])
    ),
    "rotate": Operation(
        np.linspace(0, 135, BINS), signed=True, move=lambda degrees_B, _: turned(-degrees_B)
    ),
    "brightness": Operation(
        FACTORS, signed=True, recolour=lambda images, s_S: colour.brightness(images, 1 + s_S)
    ),
    "saturation": Operation(
        FACTORS, signed=True, recolour=lambda images, s_S: colour.saturation(images, 1 + s_S)
    ),
    "contrast": Operation(
        FACTORS, signed=True, recolour=lambda images, s_S: colour.contrast(images, 1 + s_S)
    ),
    "sharpness": Operation(
        FACTORS, signed=True, recolour=lambda images, s_S: colour.sharpness(images, 1 + s_S)
    ),
    "posterize": Operation(BITS, recolour=colour.posterize),
    "solarize": Operation(np.linspace(1, 0, BINS), recolour=colour.solarize),
    "autocontrast": Operation(NONE, recolour=colour.autocontrast),
    "equalize": Operation(NONE, recolour=colour.equalize),
}


@dataclasses.dataclass(frozen=True)
class Plan:
    """What the policy does to each image.

    Attributes:
        operation_B: the index of the operation in `OPERATIONS`; 0 is the identity.
        strength_B: the strength of the operation, with its sign.
    """

    operation_B: Integers
    strength_B: Reals

    @property
    def moved_B(self) -> Booleans:
        """For each image whether its operation moves pixels, rather than changing colours."""
        moving = [index for index, operation in enumerate(OPERATIONS.values()) if operation.move]
        return np.isin(self.operation_B, moving)


def plan(draws: Draws, *, probability: float) -> Plan:
    """Draw the operation, strength and sign for each image.

    Args:
        probability: of an operation for an image; other images get the identity.
    """
    chosen_B = draws.chosen("trivial", probability=probability)
    if not chosen_B.any():
        return Plan(np.zeros(draws.count, dtype=np.int64), np.zeros(draws.count))
    operation_B = np.where(chosen_B, draws.below("trivial operation", len(OPERATIONS)), 0)
    tables = np.stack([operation.strengths for operation in OPERATIONS.values()])
    signed = np.array([operation.signed for operation in OPERATIONS.values()])
    negative_B = signed[operation_B] & draws.chosen("trivial sign", probability=0.5)
    strength_B = tables[operation_B, draws.below("trivial strength", BINS)]
    return Plan(operation_B, np.where(negative_B, -strength_B, strength_B))


def moves(planned: Plan, *, size_HW: tuple[int, int]) -> Reals:
    """The maps (B, 3, 3) of the planned moves; the identity for images that are not moved."""
    maps_B33 = np.tile(np.eye(3), (len(planned.operation_B), 1, 1))
    for index, operation in enumerate(OPERATIONS.values()):
        selected_B = planned.operation_B == index
        if operation.move and selected_B.any():
            maps_B33[selected_B] = operation.move(planned.strength_B[selected_B], size_HW)
    return maps_B33


def recolour(images_BCHW: Tensor, planned: Plan) -> None:
    """Apply the planned colour operations to the images, in place."""
    for index, operation in enumerate(OPERATIONS.values()):
        selected_B = planned.operation_B == index
        if operation.recolour and selected_B.any():
            _recolour(images_BCHW, selected_B, operation.recolour, strength_B=planned.strength_B)


def _recolour(
    images_BCHW: Tensor, selected_B: Booleans, recolouring: Recolouring, *, strength_B: Reals
) -> None:
    strength_S = strengths(strength_B, selected_B, images_BCHW.device)
    change(
        images_BCHW,
        selected_B,
        operation=lambda selected_SCHW: recolouring(selected_SCHW, strength_S),
    )
