"""Decode an image file to an upright 8-bit picture without transparency, or read only its header.

The functions keep no state between calls and run in many threads at the same time, because Pillow
releases Python's global interpreter lock (GIL) while it decodes. Every exception that Pillow raises
for a file becomes `UnreadableError`.
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
from pathlib import Path

from PIL import ExifTags, Image, ImageFile, JpegImagePlugin, UnidentifiedImageError

from trainer.errors import UnreadableError
from trainer.fields.images import Resampling
from trainer.images.depth import Depth, deep_values, depth_of, in_8_bits, without_alpha
from trainer.images.jpeg_end import with_end_marker
from trainer.images.levels import Range, range_of
from trainer.images.other_formats import formats_for
from trainer.images.preprocessing import Reading, Size

# left, top, right, bottom in pixels of the image as displayed
Area = tuple[float, float, float, float]
Size_WH = tuple[int, int]  # width, height: Pillow's order

TRAITS = ("alpha", "palette", "cmyk", "16-bit", "grey", "rotated", "animated")
# Only these formats are tried: Pillow must not try formats without a signature, and must not pass a
# file to Ghostscript (EPS).
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "JPEG2000", "AVIF")
SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG", b"RIFF", b"GIF8", b"BM", b"II*\0", b"MM\0*")
GREY_MODES = frozenset({"1", "L", "LA", "La", "I", "I;16", "I;16L", "I;16B", "I;16N", "F"})

UPRIGHT = {  # EXIF orientation -> the transposition that turns the picture upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
LYING = (5, 6, 7, 8)  # orientations for which `UPRIGHT` swaps width and height
# orientations for which `UPRIGHT` reverses the columns (X) or the rows (Y)
MIRRORED_X = (2, 3, 6, 7)
MIRRORED_Y = (3, 4, 7, 8)

# Exceptions that Pillow's plugins raise for a damaged file. MemoryError is missing on purpose,
# because the file does not cause it.
PILLOW_FAILURES = (
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

# These filters are set once per process, because `catch_warnings` around each call is not
# thread-safe. Without the filters the warnings would be printed, and the functions below would
# still be correct.
warnings.filterwarnings("error", category=Image.DecompressionBombWarning)
# Pillow warns of broken EXIF data and broken MPO files, but their picture is complete.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
_limit_lock = threading.Lock()


@dataclasses.dataclass(frozen=True)
class Header:
    """Size and traits of an image, from the header of its file.

    Attributes:
        size_HW: height and width as displayed, after the EXIF orientation is applied.
        traits: a subset of `TRAITS`. "alpha" includes transparent colours of palette, grey and RGB
            images; "grey" includes images of 1 bit and of floats; "animated" includes files with
            several pages.
    """

    size_HW: Size
    traits: frozenset[str]


def read_header(data: bytes, *, reading: Reading) -> Header:
    """Return size and traits from the header, without decoding the pixels.

    A PNG file whose orientation may follow its pixels is decoded.

    Raises:
        UnreadableError: the file is empty or no image, its header is damaged, or it has too many
            pixels.
    """
    with _failures(data, reading):
        image = _open(data, reading)
        traits = _traits(image)
        if image.format == "PNG" and _orientation_follows_pixels(data):
            image.load()
        orientation = _orientation(image)
        width, height = _displayed(image, orientation)
    return Header((height, width), traits | ({"rotated"} if orientation != 1 else frozenset()))


def read_depth(file: Path) -> Depth | None:
    """Return the depth of a file from its first bytes; None for 8 bits, or if it is no image."""
    try:
        with file.open("rb") as stream:
            return depth_of(Image.open(stream, formats=FORMATS))
    except (*PILLOW_FAILURES, Image.DecompressionBombError):
        return None


def read_range(data: bytes, *, reading: Reading) -> Range | None:
    """Return the range of the values of a file of more than 8 bits.

    Returns:
        None if the file holds no number, or if its values cannot be read: colours of 16 bits can be
        read only from a PNG file.

    Raises:
        UnreadableError: the file cannot be decoded.
    """
    with _failures(data, reading):
        image = _open(data, reading)
        depth = depth_of(image)
        image.load()
        values = deep_values(image, data, depth)
    return None if values is None else range_of(without_alpha(values))


@dataclasses.dataclass(frozen=True)
class Picture:
    """A decoded upright picture of mode `L` or `RGB`, possibly at a smaller scale than the file.

    Attributes:
        size_WH: width and height of the picture at full scale.
        scale_XY, offset_XY: coordinate x of the full picture is x * scale + offset in `image`.
        beyond: the share of the pixels that were outside the levels of a file of more than 8 bits.
        completed: whether the file is a JPEG that lacked its end marker, and nothing else.
    """

    image: Image.Image
    size_WH: Size_WH
    scale_XY: tuple[float, float] = (1, 1)
    offset_XY: tuple[float, float] = (0, 0)
    beyond: float = 0.0
    completed: bool = False

    @property
    def whole(self) -> Area:
        """The area of the whole picture, in pixels of the full picture."""
        return (0, 0, *self.size_WH)

    def resized(
        self, area: Area, size_WH: Size_WH, *, resampling: Resampling = "area"
    ) -> Image.Image:
        """Resize the area (in pixels of the full picture) to `size_WH`.

        Pixels outside the area do not change the result.

        Args:
            resampling: `area` takes the mean of the pixels that become one, and is bilinear if a
                side grows. `bicubic` is Pillow's filter, which is widened where a side shrinks.
        """
        scale_x, scale_y = self.scale_XY
        offset_x, offset_y = self.offset_XY
        width, height = self.image.size
        left = max(0, area[0] * scale_x + offset_x)
        right = min(width, area[2] * scale_x + offset_x)
        top = max(0, area[1] * scale_y + offset_y)
        bottom = min(height, area[3] * scale_y + offset_y)
        image = self.image
        x = math.floor(left)
        y = math.floor(top)
        touched = (x, y, math.ceil(right), math.ceil(bottom))
        if touched != (0, 0, width, height):
            # Pillow's filters also read pixels outside the box that `resize` gets
            image = image.crop(touched)
        ratios = ((right - left) / size_WH[0], (bottom - top) / size_WH[1])
        if resampling == "bicubic":
            how = Image.Resampling.BICUBIC
        elif min(ratios) < 1:
            how = Image.Resampling.BILINEAR
        elif max(scale_x, scale_y) == 1 or all(ratio.is_integer() for ratio in ratios):
            how = Image.Resampling.BOX
        else:
            # BOX uses only whole pixels. For a ratio of 2.01 pixels that are averages already, BOX
            # gave an error of 3.0 grey levels, HAMMING 1.6.
            how = Image.Resampling.HAMMING
        return image.resize(size_WH, how, (left - x, top - y, right - x, bottom - y))


Kept = dict[int, Picture]  # decoded pictures of one file, by the divisor of their sides


def read_picture(
    data: bytes,
    *,
    reading: Reading,
    scale_for: Callable[[Size_WH], int],
    kept: Kept,
    grey: bool = False,
) -> Picture:
    """Decode the whole file; a JPEG is decoded with its sides divided by `scale_for(its size)`.

    Args:
        scale_for: returns the divisor (1, 2, 4 or 8) for the size of a JPEG as displayed.
        kept: the pictures of this file that are decoded already; the new picture is added.
        grey: whether the picture has mode `L`.

    Raises:
        UnreadableError: the file cannot be decoded.
    """
    scale = 1
    full_WH = None
    with _failures(data, reading):
        image = _open(data, reading)
        depth = depth_of(image)
        if isinstance(image, JpegImagePlugin.JpegImageFile):
            full_WH = _displayed(image, _orientation(image))
    if full_WH is not None:
        scale = scale_for(full_WH)
    if scale in kept:
        return kept[scale]
    with _failures(data, reading):
        image, completed = _loaded(image, data, scale=scale, grey=grey, reading=reading)
        orientation = _orientation(image)
        shallow = depth is None or (depth == "colour" and reading.levels is None)
        values = None if shallow else deep_values(image, data, depth)
    plain, beyond = (image, 0.0) if values is None else in_8_bits(image, values, reading)
    with _failures(data, reading):  # a transparent colour may be outside the palette
        flat = _flat(plain, reading.fill_rgb)
    if grey:
        flat = flat.convert("L")
    upright = flat.transpose(UPRIGHT[orientation]) if orientation != 1 else flat
    full_WH = full_WH or upright.size
    # The last column and row of a scaled JPEG may represent fewer than `scale` pixels. In a
    # mirrored picture this column or row is the first.
    missing_x = upright.width - full_WH[0] / scale
    missing_y = upright.height - full_WH[1] / scale
    offset_XY = (missing_x * (orientation in MIRRORED_X), missing_y * (orientation in MIRRORED_Y))
    kept[scale] = Picture(upright, full_WH, (1 / scale, 1 / scale), offset_XY, beyond, completed)
    return kept[scale]


def _loaded(
    image: ImageFile.ImageFile, data: bytes, *, scale: int, grey: bool, reading: Reading
) -> tuple[ImageFile.ImageFile, bool]:
    """The decoded image of a file, and whether the end marker of a JPEG was added for that."""

    def load(opened: ImageFile.ImageFile) -> ImageFile.ImageFile:
        if scale > 1:
            opened.draft("L" if grey else None, (opened.width // scale, opened.height // scale))
        opened.load()
        return opened

    try:
        return load(image), False
    except OSError:
        whole = with_end_marker(data) if image.format in ("JPEG", "MPO") else None
        if whole is None:
            raise
        return load(_open(whole, reading)), True


def _open(data: bytes, reading: Reading) -> ImageFile.ImageFile:
    """Open the file and read only its header.

    Pillow has one pixel limit per process, so this function never lowers Pillow's limit. The exact
    limit of `reading` is checked after Pillow's limit.
    """
    if not data:
        raise UnreadableError("empty file")
    with _limit_lock:
        Image.MAX_IMAGE_PIXELS = max(Image.MAX_IMAGE_PIXELS or 0, reading.max_pixels)
    image = Image.open(io.BytesIO(data), formats=(*FORMATS, *formats_for(data)))
    if image.width * image.height > reading.max_pixels:
        raise _too_large(image.width * image.height, reading)
    return image


@contextlib.contextmanager
def _failures(data: bytes, reading: Reading) -> Iterator[None]:
    """Convert Pillow's exceptions in the `with` block to an UnreadableError with the reason."""
    try:
        yield
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        (pixels,) = re.findall(r"\((\d+) pixels\)", str(error))
        raise _too_large(int(pixels), reading) from None
    except UnidentifiedImageError:
        if data.startswith(SIGNATURES) or data[4:8] == b"ftyp":  # the latter: AVIF, HEIC
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
    """Return the EXIF orientation, 1 to 8; 1 if EXIF has no valid orientation."""
    # only of the data loaded so far: the `getexif` of a PNG image would decode the pixels
    try:
        orientation = Image.Image.getexif(image).get(ExifTags.Base.Orientation, 1)
    except PILLOW_FAILURES:
        return 1
    return int(orientation) if orientation in UPRIGHT else 1


def _displayed(image: ImageFile.ImageFile, orientation: int) -> Size_WH:
    """Return the size of the upright image. Pillow turns a TIFF image, and its size, by itself."""
    width, height = image.size
    return (height, width) if orientation in LYING and image.format != "TIFF" else (width, height)


def _orientation_follows_pixels(data: bytes) -> bool:
    """Return whether a PNG file may store its orientation after its pixels.

    Pillow finds such an orientation only after decoding.
    """
    marks = (b"eXIf", b"XML:com.adobe.xmp", b"Raw profile type exif")
    return max(map(data.rfind, marks)) > data.find(b"IDAT")


def _traits(image: ImageFile.ImageFile) -> frozenset[str]:
    """Return the traits of an opened file before its pixels are loaded, without "rotated"."""
    has = {
        "alpha": image.has_transparency_data,
        "palette": image.mode in ("P", "PA"),
        "cmyk": image.mode == "CMYK",
        "16-bit": depth_of(image) in ("whole", "colour"),
        "grey": image.mode in GREY_MODES,
        # the other pictures of an MPO file are a second view or a gain map, not an animation
        "animated": image.format != "MPO" and getattr(image, "is_animated", False),
    }
    return frozenset(trait for trait in TRAITS if has.get(trait))


# Colours.


def _flat(image: Image.Image, fill_rgb: tuple[int, int, int]) -> Image.Image:
    """Return the image as `L` or `RGB`, with transparency filled with `fill_rgb`.

    The image is copied only if it must be converted.
    """
    if image.has_transparency_data:
        rgba = (image.convert("LA") if image.mode == "La" else image).convert("RGBA")
        canvas = Image.new("RGB", image.size, fill_rgb)
        canvas.paste(rgba, mask=rgba)
        return canvas
    if image.mode in ("L", "RGB"):
        return image
    if image.mode == "LAB":
        from PIL import ImageCms

        lab = ImageCms.createProfile("LAB")
        rgb = ImageCms.createProfile("sRGB")
        converted = ImageCms.profileToProfile(image, lab, rgb, outputMode="RGB")
        assert converted is not None
        return converted
    return image.convert("L" if image.mode == "1" else "RGB")
