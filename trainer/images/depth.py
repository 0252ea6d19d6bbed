"""The pixels of an image of more than 8 bits, and the image of 8 bits that is made of them."""

import io
import struct
import zlib
from collections.abc import Iterator
from typing import Literal

import numpy as np
from PIL import Image, ImageFile

from trainer.images.levels import Values, to_grey
from trainer.images.preprocessing import Reading

# Pixels of more than 8 bits: one whole number each, one real number each, or 16 bits per colour.
Depth = Literal["whole", "real", "colour"]
SIGNATURE = b"\x89PNG\r\n\x1a\n"
CHANNELS = {2: 3, 4: 2, 6: 4}  # of PNG's kinds of colours: RGB, grey and alpha, RGB and alpha


def depth_of(image: ImageFile.ImageFile) -> Depth | None:
    """Return the depth of an opened file before its pixels are loaded."""
    if image.mode == "F":
        return "real"
    if image.mode.startswith("I"):
        return "whole"
    return "colour" if any(";16" in str(tile.args) for tile in image.tile) else None


def deep_values(image: Image.Image, data: bytes, depth: Depth | None) -> Values | None:
    """Return the values (H, W) or (H, W, C) of a loaded image of more than 8 bits.

    Pillow drops the lower 8 bits of colours of 16 bits. They are read here from PNG files that are
    not interlaced. For other files with such colours, for a transparent colour and for 8 bits, the
    result is None.
    """
    if depth in ("whole", "real"):
        return np.asarray(image)
    if depth is None or image.format != "PNG" or "transparency" in image.info:
        return None
    return _png_colours(data)


def _png_colours(data: bytes) -> Values | None:
    """Return the values (H, W, C) of a PNG file with 16 bits per channel; None if interlaced.

    The filters of PNG treat each byte of a pixel alone: they compare it with the same byte of
    neighbouring pixels. So the upper bytes of all channels are a picture of 8 bits with the same
    filters, and so are the lower bytes. Pillow decodes both.
    """
    chunks = list(_chunks(data))
    header = next(body for kind, body in chunks if kind == b"IHDR")
    width, height, _, colour, *_, interlaced = struct.unpack(">IIBBBBB", header)
    if interlaced:
        return None
    channels = CHANNELS[colour]
    row_bytes = 1 + 2 * channels * width
    packed = b"".join(body for kind, body in chunks if kind == b"IDAT")
    rows = zlib.decompressobj().decompress(packed, height * row_bytes)
    rows_HB = np.frombuffer(rows, dtype=np.uint8).reshape(height, row_bytes)
    values_HWC = np.zeros((height, width, channels), dtype=np.uint16)
    for first in (1, 2):  # the first byte of a row names its filter
        plane_HB = np.concatenate([rows_HB[:, :1], rows_HB[:, first::2]], axis=1)
        shallow = struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 0)
        body = zlib.compress(plane_HB.tobytes(), level=0)
        file = b"".join(
            struct.pack(">I", len(part)) + kind + part + struct.pack(">I", zlib.crc32(kind + part))
            for kind, part in ((b"IHDR", shallow), (b"IDAT", body), (b"IEND", b""))
        )
        plane = Image.open(io.BytesIO(data[: len(SIGNATURE)] + file), formats=("PNG",))
        values_HWC = values_HWC << 8 | np.asarray(plane)
    return values_HWC


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The kind and the content of each chunk of a PNG file."""
    at = len(SIGNATURE)
    while at + 8 <= len(data):
        (length,) = struct.unpack_from(">I", data, at)
        yield data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        at += length + 12


def without_alpha(values: Values) -> Values:
    """Return the values (H, W) or (H, W, C) of the colours alone."""
    if values.ndim == 2:
        return values
    return values[:, :, : 1 if values.shape[2] == 2 else 3]


def in_8_bits(image: Image.Image, values: Values, reading: Reading) -> tuple[Image.Image, float]:
    """Return the values as an image of 8 bits, and the share of the values beyond the levels."""
    levels = reading.real_levels if image.mode == "F" else reading.levels
    if values.ndim == 3:
        colours_HWC = without_alpha(values)
        grey_HWC, beyond = to_grey(colours_HWC, levels)
        alpha_HWC = (values[:, :, colours_HWC.shape[2] :] >> 8).astype(np.uint8)
        return Image.fromarray(np.concatenate([grey_HWC, alpha_HWC], axis=2)), beyond
    grey_HW, beyond = to_grey(values, levels)
    transparent = image.info.get("transparency")
    if transparent is None:
        return Image.fromarray(grey_HW), beyond
    rgb_HWC = np.repeat(grey_HW[:, :, None], 3, axis=2)
    rgb_HWC[values == transparent] = reading.fill_rgb
    return Image.fromarray(rgb_HWC), beyond
