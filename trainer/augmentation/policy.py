"""TrivialAugment: one operation of a list per image, at a random strength.

Shapes: B images of the batch, S of them selected; H, W of an image.

Source: Mueller and Hutter 2021, "TrivialAugment: Tuning-free Yet State-of-the-Art Data Augmentation"; operations,
ranges and 31 strengths are those of torchvision's TrivialAugmentWide. Our deviations: bilinear instead of nearest
sampling, and mirrored instead of black beyond the edges.
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
    """One entry of the list; without `move` and `recolour` it is the identity.

    Attributes:
        strengths: one per bin.
        signed: whether the strength is negative half of the time.
        move: maps (B, 3, 3) of strengths (B) and the size of the images.
        recolour: images (S, 3, H, W) at strengths (S).
    """

    strengths: Reals
    signed: bool = False
    move: Move | None = None
    recolour: Recolouring | None = None


NONE = np.zeros(BINS)
FACTORS = np.linspace(0, 0.99, BINS)
SLOPES = np.linspace(0, 0.99, BINS)
PIXELS = np.trunc(np.linspace(0, 32, BINS))
BITS = np.rint(8 - np.arange(BINS) / ((BINS - 1) / 6))

OPERATIONS: dict[str, Operation] = {
    "identity": Operation(NONE),
    "shear_x": Operation(
        SLOPES, signed=True, move=lambda slope_B, size_HW: sheared_x(slope_B, size_HW=size_HW)
    ),
    "shear_y": Operation(
        SLOPES, signed=True, move=lambda slope_B, size_HW: sheared_y(slope_B, size_HW=size_HW)
    ),
    "translate_x": Operation(PIXELS, signed=True, move=lambda pixels_B, _: shifted(pixels_B, 0.0)),
    "translate_y": Operation(PIXELS, signed=True, move=lambda pixels_B, _: shifted(0.0, pixels_B)),
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
    """What the policy does to each image: the operation's place in `OPERATIONS` (0 is the identity), and how much."""

    operation_B: Integers
    strength_B: Reals

    @property
    def moved_B(self) -> Booleans:
        """Which images are moved, not recoloured."""
        moving = [place for place, operation in enumerate(OPERATIONS.values()) if operation.move]
        return np.isin(self.operation_B, moving)


def plan(draws: Draws, *, probability: float) -> Plan:
    """Operation, strength and sign for each image."""
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
    """Maps (B, 3, 3) of the planned moves; the identity for all other images."""
    maps_B33 = np.tile(np.eye(3), (len(planned.operation_B), 1, 1))
    for place, operation in enumerate(OPERATIONS.values()):
        here_B = planned.operation_B == place
        if operation.move and here_B.any():
            maps_B33[here_B] = operation.move(planned.strength_B[here_B], size_HW)
    return maps_B33


def recolour(images_BCHW: Tensor, planned: Plan) -> None:
    """The planned colour operations, in place."""
    for place, operation in enumerate(OPERATIONS.values()):
        here_B = planned.operation_B == place
        if operation.recolour and here_B.any():
            _recolour(images_BCHW, here_B, operation.recolour, strength_B=planned.strength_B)


def _recolour(
    images_BCHW: Tensor, here_B: Booleans, recolouring: Recolouring, *, strength_B: Reals
) -> None:
    strength_S = strengths(strength_B, here_B, images_BCHW.device)
    change(
        images_BCHW, here_B, operation=lambda selected_SCHW: recolouring(selected_SCHW, strength_S)
    )
