"""The settings that decide how an image file becomes the pixels in the cache.

`Reading` belongs to the data set and is the same for every trial. A trial samples `Preprocessing`.
`Reading`, `Preprocessing`, the bytes of a file and its box together decide every pixel.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from trainer.fields.images import Background, Crop, Resampling, ResizeMode

Size = tuple[int, int]  # height, width in pixels
# left, top, right, bottom in pixels of the image as displayed; column `right` and row `bottom` are
# just outside the box
Box = tuple[int, int, int, int]
Levels = tuple[float, float]  # the values that become black and white


@dataclasses.dataclass(frozen=True)
class Reading:
    """How the files of a data set become pixels.

    Attributes:
        fill_rgb: the colour under transparent pixels, in place of a removed background and around a
            fitted image.
        max_pixels: an image with more pixels is refused (Pillow's guard against decompression
            bombs).
        face_weights: a YuNet model (.onnx) for `crop: face`; None means the detector in OpenCV's
            package.
        background_weights: a rembg model (.onnx) for `background: remove`; None means OpenCV's
            GrabCut.
        levels: the levels of files with whole numbers of more than 8 bits; None means that 16 bits
            lose their lower 8 bits, see `trainer.images.levels.to_grey`.
        real_levels: the levels of files with real numbers; None means that each file decides.
    """

    fill_rgb: tuple[int, int, int] = (255, 255, 255)
    max_pixels: int = 89_478_485  # Pillow's own limit
    face_weights: str | None = None
    background_weights: str | None = None
    levels: Levels | None = None
    real_levels: Levels | None = None

    def as_json(self) -> dict[str, Any]:
        """Return the values as JSON has them."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Reading":
        """Return the reading that `as_json` described. JSON has no tuples."""
        with_tuples: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in values.items()
        }
        return cls(**with_tuples)

    @property
    def chosen_levels(self) -> tuple[Levels | None, Levels | None] | None:
        """Both levels, or None if neither is set. This is for keys and hashes.

        Older versions had no levels, so that their keys are those of a reading without levels.
        """
        if self.levels is None and self.real_levels is None:
            return None
        # 4095 and 4095.0 are the same level, but not the same text
        whole, real = (
            None if levels is None else (float(levels[0]), float(levels[1]))
            for levels in (self.levels, self.real_levels)
        )
        return whole, real


@dataclasses.dataclass(frozen=True)
class Preprocessing:
    """One sampled choice of preprocessing.

    Attributes:
        size_HW: height and width of the result.
        resize_mode: `stretch` changes the aspect ratio; `fit` keeps the aspect ratio and pads with
            `Reading.fill_rgb`; `crop` keeps the aspect ratio and cuts out the middle.
        crop: the part that is cut out first: none, the row's box, or the largest face. An image
            without a face is used whole.
        background: `remove` paints everything except the foreground with `Reading.fill_rgb`.
        resampling: how the part becomes an image of that size, see `Picture.resized`.

    Example:
        >>> Preprocessing((280, 210), "fit", crop="face").key
        '280x210-fit-face'
    """

    size_HW: Size
    resize_mode: ResizeMode = "stretch"
    crop: Crop = "none"
    background: Background = "keep"
    resampling: Resampling = "area"

    @property
    def key(self) -> str:
        """A short name for file names: `256x256-stretch`, `280x210-fit-face-remove`."""
        height, width = self.size_HW
        parts = [
            f"{height}x{width}",
            self.resize_mode,
            *([self.crop] if self.crop != "none" else []),
        ]
        parts += ["remove"] if self.background == "remove" else []
        parts += [self.resampling] if self.resampling != "area" else []
        return "-".join(parts)
