"""The fields for how an image is prepared before it is cached, and the sizes of images."""

import re
from typing import Annotated, Literal

from pydantic import BaseModel, field_validator

from trainer.fields.declare import about

MIN_SIDE = 8  # pixels
MAX_SIDE = 4096  # pixels
ResizeMode = Literal["stretch", "fit", "crop"]
Resampling = Literal["area", "bicubic"]
Crop = Literal["none", "box", "face"]
Background = Literal["keep", "remove"]
Normalise = Literal["backbone", "imagenet", "dataset", "none"]


class ImageFields(BaseModel):
    """Images"""

    resize: Annotated[
        int | str,
        about(
            "Image size in pixels: one number for a square, or 'HxW' (height x width), 8 to 4096."
        ),
    ] = 224
    resize_mode: Annotated[
        ResizeMode,
        about("stretch; fit (keep the aspect, pad); crop (keep the aspect, cut the middle out)."),
    ] = "stretch"
    resampling: Annotated[
        Resampling,
        about(
            "area (the mean of the pixels that become one; bilinear where an image is enlarged) or "
            "bicubic, with which most of timm's pretrained weights were trained.",
            source="timm's pretrained_cfg: interpolation",
        ),
    ] = "area"
    crop: Annotated[
        Crop, about("What is cut out before resizing: none, the row's box, or the largest face.")
    ] = "none"
    head_crops: Annotated[
        dict[str, Crop],
        about(
            "heads: separate only: another crop for a label column, e.g. {mask: face}; the others "
            "use `crop`. The backbone then sees each image once per different crop.",
            source="mask project: age and gender need clothes, mask needs the face",
        ),
    ] = {}
    background: Annotated[Background, about("keep, or remove: paint all but the foreground.")] = (
        "keep"
    )
    normalise: Annotated[
        Normalise,
        about(
            "Mean and std: what the backbone's weights expect, imagenet's, those of the training "
            "part of the fold (dataset), or none (values in 0..1)."
        ),
    ] = "backbone"

    @field_validator("resize")
    @classmethod
    def _size_is_readable(cls, value: int | str) -> int | str:
        height, width = parse_size(value)
        return height if height == width else f"{height}x{width}"


def parse_size(value: int | str) -> tuple[int, int]:
    """The height and width in pixels, from one number for a square or from "HxW".

    Example:
        >>> parse_size(224), parse_size("280x210")
        ((224, 224), (280, 210))

    Raises:
        ValueError: the value is neither a number nor "HxW", or a side is outside 8..4096.
    """
    match = re.fullmatch(r"(\d+)(?:x(\d+))?", str(value))
    height, width = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
    if not (MIN_SIDE <= height <= MAX_SIDE and MIN_SIDE <= width <= MAX_SIDE):
        raise ValueError(
            f"a size is a number or 'HxW' with sides from {MIN_SIDE} to {MAX_SIDE} pixels, "
            f"got {value!r}"
        )
    return height, width
