"""What happens to an image before it is cached: values that name one way of looking at the data.

`Reading` belongs to the data set and is the same for every trial; `Preprocessing` is what a trial samples.
Together with the bytes of a file (and its box) they decide every pixel.
"""

import dataclasses

from trainer.fields.images import Background, Crop, ResizeMode

Size = tuple[int, int]  # height, width in pixels
# left, top, right, bottom in pixels of the image as displayed; right and bottom lie outside
Box = tuple[int, int, int, int]


@dataclasses.dataclass(frozen=True)
class Reading:
    """How the files of a data set become pixels.

    Attributes:
        fill_rgb: the colour under transparent pixels, behind a removed background and around a fitted image.
        max_pixels: images of more pixels are refused (Pillow's guard against decompression bombs).
        face_weights: a YuNet model (.onnx) for `crop: face`; None for the detector inside OpenCV's package.
        background_weights: a rembg model (.onnx) for `background: remove`; None for OpenCV's GrabCut.
    """

    fill_rgb: tuple[int, int, int] = (255, 255, 255)
    max_pixels: int = 89_478_485  # Pillow's own limit
    face_weights: str | None = None
    background_weights: str | None = None


@dataclasses.dataclass(frozen=True)
class Preprocessing:
    """One sampled way of looking at the images.

    Attributes:
        size_HW: height and width of the result.
        resize_mode: `stretch` changes the aspect; `fit` keeps it and pads with `Reading.fill_rgb`; `crop` keeps
            it and cuts the middle out.
        crop: what is cut out first: nothing, the row's box, or the largest face (the whole image without one).
        background: `remove` paints everything but the foreground with `Reading.fill_rgb`.
    """

    size_HW: Size
    resize_mode: ResizeMode = "stretch"
    crop: Crop = "none"
    background: Background = "keep"

    @property
    def key(self) -> str:
        """Short, readable and fit for a file name: `256x256-stretch`, `280x210-fit-face-remove`."""
        height, width = self.size_HW
        parts = [
            f"{height}x{width}",
            self.resize_mode,
            *([self.crop] if self.crop != "none" else []),
        ]
        return "-".join([*parts, *(["remove"] if self.background == "remove" else [])])
