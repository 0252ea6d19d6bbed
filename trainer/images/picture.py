"""One image file becomes a picture: upright, 8 bits, transparency filled. What its header says, without decoding.

The functions keep no state between calls and run in many threads at once; Pillow decodes without the GIL.
Whatever Pillow raises for a file becomes `UnreadableError`.
"""

import contextlib
import dataclasses
import io
import math
import re
import struct
import threading
import warnings
import zlib
from collections.abc import Callable, Iterator

import numpy as np
from PIL import ExifTags, Image, ImageFile, JpegImagePlugin, UnidentifiedImageError

from trainer.errors import UnreadableError
from trainer.images.preprocessing import Reading, Size

Area = tuple[
    float, float, float, float
]  # left, top, right, bottom in pixels of the image as displayed
Size_WH = tuple[int, int]  # as Pillow counts

TRAITS = ("alpha", "palette", "cmyk", "16-bit", "grey", "rotated", "animated")
# Named, so that Pillow tries no format without a signature and never hands a file to Ghostscript (EPS).
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "JPEG2000", "AVIF")
SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG", b"RIFF", b"GIF8", b"BM", b"II*\0", b"MM\0*")
GREY_MODES = frozenset({"1", "L", "LA", "La", "I", "I;16", "I;16L", "I;16B", "I;16N", "F"})

UPRIGHT = {  # EXIF orientation -> what shows the picture upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
LYING, MIRRORED_X, MIRRORED_Y = (
    (5, 6, 7, 8),
    (2, 3, 6, 7),
    (3, 4, 7, 8),
)  # swapped sides; reversed after `UPRIGHT`

PILLOW_FAILURES = (  # collected from its plugins; MemoryError is not the file's fault
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    Warning,
    struct.error,
    zlib.error,
)

# One filter for the process instead of `catch_warnings` around each call, which is not thread-safe. If somebody
# takes the filters away, the warnings are printed and everything below holds all the same.
warnings.filterwarnings("error", category=Image.DecompressionBombWarning)
warnings.filterwarnings(
    "ignore", category=UserWarning, module=r"PIL\."
)  # broken EXIF, MPO: the picture is whole
_limit_lock = threading.Lock()


@dataclasses.dataclass(frozen=True)
class Look:
    """What a file's header says.

    Attributes:
        size_HW: as displayed, after EXIF orientation.
        traits: of `TRAITS`. "alpha" includes transparent colours of palette, grey and RGB; "grey" includes 1 bit
            and floats; "animated" includes files of several pages.
    """

    size_HW: Size
    traits: frozenset[str]


def look(data: bytes, *, reading: Reading) -> Look:
    """Size and traits from the header, without decoding.

    Raises:
        UnreadableError: the file is empty, no image, damaged in its header, or has too many pixels.
    """
    with _failures(data, reading):
        image = _open(data, reading)
        traits = _traits(image)
        if image.format == "PNG" and _orientation_follows_pixels(data):
            image.load()
        orientation = _orientation(image)
        width, height = _displayed(image, orientation)
    return Look((height, width), traits | ({"rotated"} if orientation != 1 else frozenset()))


@dataclasses.dataclass(frozen=True)
class Picture:
    """Decoded and upright, `L` or `RGB`, often smaller than the file says.

    Attributes:
        size_WH: of the picture at full scale.
        scale_XY, offset_XY: pixel x of the full picture lies at x * scale + offset of `image`.
    """

    image: Image.Image
    size_WH: Size_WH
    scale_XY: tuple[float, float] = (1, 1)
    offset_XY: tuple[float, float] = (0, 0)

    @property
    def whole(self) -> Area:
        return (0, 0, *self.size_WH)

    def resized(self, area: Area, size_WH: Size_WH) -> Image.Image:
        """The area (in pixels of the full picture) at that size; what lies outside has no influence."""
        (scale_x, scale_y), (x, y), (width, height) = self.scale_XY, self.offset_XY, self.image.size
        left, right = max(0, area[0] * scale_x + x), min(width, area[2] * scale_x + x)
        top, bottom = max(0, area[1] * scale_y + y), min(height, area[3] * scale_y + y)
        image, (x, y) = self.image, (math.floor(left), math.floor(top))
        touched = (x, y, math.ceil(right), math.ceil(bottom))
        if touched != (0, 0, width, height):
            image = image.crop(touched)  # Pillow's filters look beyond the box they are given
        ratios = (right - left) / size_WH[0], (bottom - top) / size_WH[1]
        if min(ratios) < 1:
            resampling = Image.Resampling.BILINEAR
        elif max(scale_x, scale_y) == 1 or all(ratio.is_integer() for ratio in ratios):
            resampling = Image.Resampling.BOX
        else:  # BOX takes pixels whole: of 2.01 already averaged ones it gave 3.0 grey levels error, this 1.6
            resampling = Image.Resampling.HAMMING
        return image.resize(size_WH, resampling, (left - x, top - y, right - x, bottom - y))


Kept = dict[int, Picture]  # pictures of one file by the scale they were decoded at


def read_picture(
    data: bytes,
    *,
    reading: Reading,
    scale_for: Callable[[Size_WH], int],
    kept: Kept,
    grey: bool = False,
) -> Picture:
    """The whole file decoded; a JPEG with its sides divided by what `scale_for` says to its displayed size."""
    scale, full_WH = 1, None
    with _failures(data, reading):
        image = _open(data, reading)
        if isinstance(image, JpegImagePlugin.JpegImageFile):
            full_WH = _displayed(image, _orientation(image))
    if full_WH is not None:
        scale = scale_for(full_WH)
    if scale in kept:
        return kept[scale]
    with _failures(data, reading):
        if scale > 1:
            image.draft("L" if grey else None, (image.width // scale, image.height // scale))
        image.load()
        orientation = _orientation(image)
    if image.mode.startswith("I") or image.mode == "F":
        flat = _from_levels(image, reading.fill_rgb)
    else:
        with _failures(data, reading):  # a transparent colour may lie outside the palette
            flat = _flat(image, reading.fill_rgb)
    if grey:
        flat = flat.convert("L")
    upright = flat.transpose(UPRIGHT[orientation]) if orientation != 1 else flat
    full_WH = full_WH or upright.size
    # a scaled JPEG's last column and row stand for fewer than `scale` pixels; mirrored, they come first
    missing_x, missing_y = upright.width - full_WH[0] / scale, upright.height - full_WH[1] / scale
    offset_XY = missing_x * (orientation in MIRRORED_X), missing_y * (orientation in MIRRORED_Y)
    kept[scale] = Picture(upright, full_WH, (1 / scale, 1 / scale), offset_XY)
    return kept[scale]


def _open(data: bytes, reading: Reading) -> ImageFile.ImageFile:
    """Header only. Pillow's limit is one for the process, so it is only ever raised; ours is exact, right after."""
    if not data:
        raise UnreadableError("empty file")
    with _limit_lock:
        Image.MAX_IMAGE_PIXELS = max(Image.MAX_IMAGE_PIXELS or 0, reading.max_pixels)
    image = Image.open(io.BytesIO(data), formats=FORMATS)
    if image.width * image.height > reading.max_pixels:
        raise _too_large(image.width * image.height, reading)
    return image


@contextlib.contextmanager
def _failures(data: bytes, reading: Reading) -> Iterator[None]:
    """Whatever Pillow raises inside, as an UnreadableError that says why."""
    try:
        yield
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        (pixels,) = re.findall(r"\((\d+) pixels\)", str(error))
        raise _too_large(int(pixels), reading) from None
    except UnidentifiedImageError:
        if data.startswith(SIGNATURES):
            raise UnreadableError("damaged (its header cannot be read)") from None
        raise UnreadableError(f"not an image ({', '.join(FORMATS)} can be read)") from None
    except PILLOW_FAILURES as error:
        text = str(error).removeprefix("image file is ") or type(error).__name__
        if text.startswith("truncated"):
            raise UnreadableError(text) from None
        kind = "truncated" if "truncated" in text.lower() else "damaged"
        raise UnreadableError(f"{kind} ({text})") from None


def _too_large(pixels: int, reading: Reading) -> UnreadableError:
    return UnreadableError(
        f"{pixels:,} pixels, more than data.max_pixels allows ({reading.max_pixels:,})"
    )


def _orientation(image: ImageFile.ImageFile) -> int:
    """1 to 8; 1 where EXIF says nothing or nonsense. Of what is loaded: PNG's own `getexif` would decode."""
    try:
        orientation = Image.Image.getexif(image).get(ExifTags.Base.Orientation, 1)
    except PILLOW_FAILURES:
        return 1
    return int(orientation) if orientation in UPRIGHT else 1


def _displayed(image: ImageFile.ImageFile, orientation: int) -> Size_WH:
    """The size after turning. Pillow turns TIFF by itself, its size at once."""
    width, height = image.size
    return (height, width) if orientation in LYING and image.format != "TIFF" else (width, height)


def _orientation_follows_pixels(data: bytes) -> bool:
    """Whether a PNG may say how it is turned behind its pixels, where Pillow finds it only after decoding."""
    marks = (b"eXIf", b"XML:com.adobe.xmp", b"Raw profile type exif")
    return max(map(data.rfind, marks)) > data.find(b"IDAT")


def _traits(image: ImageFile.ImageFile) -> frozenset[str]:
    """Of an opened file, before it is loaded; "rotated" is not among them."""
    has = {
        "alpha": image.has_transparency_data,
        "palette": image.mode in ("P", "PA"),
        "cmyk": image.mode == "CMYK",
        "16-bit": image.mode.startswith("I") or any(";16" in str(tile.args) for tile in image.tile),
        "grey": image.mode in GREY_MODES,
        # an MPO's further pictures are a second view or a gain map
        "animated": image.format != "MPO" and getattr(image, "is_animated", False),
    }
    return frozenset(trait for trait in TRAITS if has.get(trait))


# colours


def _flat(image: Image.Image, fill_rgb: tuple[int, int, int]) -> Image.Image:
    """As `L` or `RGB`, transparency filled. A copy only where there is something to convert."""
    if image.has_transparency_data:
        rgba = (image.convert("LA") if image.mode == "La" else image).convert("RGBA")
        canvas = Image.new("RGB", image.size, fill_rgb)
        canvas.paste(rgba, mask=rgba)
        return canvas
    if image.mode in ("L", "RGB"):
        return image
    if image.mode == "LAB":
        from PIL import ImageCms

        lab, rgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        converted = ImageCms.profileToProfile(image, lab, rgb, outputMode="RGB")
        assert converted is not None
        return converted
    return image.convert("L" if image.mode == "1" else "RGB")


def _from_levels(image: Image.Image, fill_rgb: tuple[int, int, int]) -> Image.Image:
    """Integers and floats as `L`, or as `RGB` where a level is transparent.

    Integers of 16 bits lose the lower 8; floats are taken as 0..1 or 0..255; other ranges are stretched.
    """
    values_HW = np.asarray(image)
    finite_HW = np.isfinite(values_HW)
    finite = values_HW[finite_HW] if not finite_HW.all() else values_HW
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    if image.mode != "F" and low >= 0 and high <= 65535:
        grey_HW = (values_HW >> 8).astype(np.uint8)
    else:
        fits = [top for top in (1.0, 255.0) if image.mode == "F" and low >= 0 and high <= top]
        low, high = (0.0, fits[0]) if fits else (low, high)
        unit_HW = (np.where(finite_HW, values_HW, low).astype(np.float64) - low) / (
            (high - low) or 1
        )
        grey_HW = np.round(255 * unit_HW).astype(np.uint8)
    transparent = image.info.get("transparency")
    if transparent is None:
        return Image.fromarray(grey_HW)
    rgb_HWC = np.repeat(grey_HW[:, :, None], 3, axis=2)
    rgb_HWC[values_HW == transparent] = fill_rgb
    return Image.fromarray(rgb_HWC)
