"""Which image sizes a timm model takes, and what a user reads when it does not take one.

timm and torch answer a wrong size with shapes of inner tensors, or with an AssertionError. The
message here names the nearest size that works, which is tried on torch's meta device.
"""

import itertools
from collections.abc import Callable, Iterable
from typing import Any

import timm
import torch
from timm.layers import PatchEmbed
from torch import nn

from trainer.fields.declare import is_user_function

Size = tuple[int, int]
# what timm and torch layers raise when they cannot be built, or do not accept an image size
FAILURES = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    ImportError,
    LookupError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
)
# Sides are multiples of these for some model: its patches, or its stride times its windows. Only
# the nearest multiples of FINE are tried, because each try builds a network or goes through one.
FINE = (8, 14, 16)
STEPS = (32, 48, 56, 64, 96, 112, 128, 192, 224, 256)


def size_text(size_HW: Size) -> str:
    """The size as a search space has it.

    Example:
        >>> size_text((224, 224)), size_text((280, 210))
        ('224', '280x210')
    """
    height, width = size_HW
    return str(height) if height == width else f"{height}x{width}"


def takes_one_size(backbone: str) -> bool:
    """Whether a backbone is built for one image size and accepts no other.

    Position embeddings or windows can be the reason.
    """
    settings = timm.get_pretrained_cfg(backbone)
    return settings is not None and settings.fixed_input_size


def size_options(backbone: str, size_HW: Size) -> dict[str, Any]:
    """The options with which timm builds the backbone for this image size."""
    return {"img_size": size_HW} if takes_one_size(backbone) else {}


def cut_patches(model: nn.Module, size_HW: Size) -> Size | None:
    """The patch size of a model whose patches do not cover such an image, or None.

    Without an error or a warning, timm ignores the rest of a side that is no multiple of the patch
    size: up to 15 pixels with patches of 16.
    """
    embed = getattr(model, "patch_embed", None)
    if not isinstance(embed, PatchEmbed) or embed.dynamic_img_pad:
        return None
    height, width = embed.patch_size
    return (height, width) if size_HW[0] % height or size_HW[1] % width else None


def refused_size(backbone: str, size_HW: Size, reason: str | Size) -> str:
    """The message to a user whose backbone does not take an image size.

    Args:
        reason: what timm or torch says, which is shown only if no size helps; or the size of
            patches that would be cut off.
    """
    start = f"backbone {backbone} does not take resize {size_text(size_HW)}"
    patch = (1, 1) if isinstance(reason, str) else reason
    near = None if is_user_function(backbone) else nearest_size(backbone, size_HW, patch=patch)
    if isinstance(reason, str):
        if near is None or near == size_HW:
            return f"{start}: {reason}"
        return f"{start}. The nearest size that it takes is {size_text(near)}"
    patches = "x".join(map(str, patch))
    example = "" if near is None else f", e.g. {near[0]}x{near[1]}"
    return f"{start}: sides must be multiples of its patches of {patches} pixels{example}"


def nearest_size(backbone: str, size_HW: Size, *, patch: Size = (1, 1)) -> Size | None:
    """The size nearest to `size_HW` that a timm model takes with its own pooling.

    Tried are the nearest multiples of FINE, then sizes whose sides are multiples of one of STEPS,
    and squares.

    Args:
        patch: the sides must be multiples of these two numbers.

    Returns:
        None if the model takes none of them, or if timm has no such model.
    """
    settings = timm.get_pretrained_cfg(backbone)
    if settings is None:
        return None
    own = (settings.input_size[1], settings.input_size[2])
    tried = [size_HW, *_candidates(size_HW, own=own, steps=(*patch, *STEPS))]
    whole = [size for size in tried if not size[0] % patch[0] and not size[1] % patch[1]]
    return next(filter(_taking(backbone), dict.fromkeys(whole)), None)


def _candidates(size_HW: Size, *, own: Size, steps: Iterable[int]) -> list[Size]:
    """Sizes around `size_HW`, and the model's own size, in the order in which they are tried."""

    def distance(size: Size) -> tuple[int, int]:
        height, width = size
        return abs(height - size_HW[0]) + abs(width - size_HW[1]), -height * width

    rounded = [tuple(max(1, round(side / step)) * step for side in size_HW) for step in FINE]
    found = {own}
    for step in steps:
        heights, widths = ({side // step * step, -(-side // step) * step} for side in size_HW)
        found.update((side, side) for side in heights | widths if side)
        if size_HW[0] != size_HW[1]:  # who asks for a square wants one
            found.update(itertools.product(heights - {0}, widths - {0}))
    return [*sorted(((h, w) for h, w in rounded), key=distance), *sorted(found, key=distance)]


def _taking(backbone: str) -> Callable[[Size], bool]:
    """Whether the model takes a size, as a function; a model for all sizes is built only once."""
    one_size = takes_one_size(backbone)
    built: list[nn.Module] = []

    def takes(size_HW: Size) -> bool:
        try:
            with torch.device("meta"), torch.no_grad():
                if one_size or not built:
                    options = size_options(backbone, size_HW)
                    built[:] = [timm.create_model(backbone, num_classes=0, **options).eval()]
                features = built[0](torch.zeros(1, 3, *size_HW))
        except FAILURES:
            return False
        return bool(features.ndim == 2) and cut_patches(built[0], size_HW) is None

    return takes
