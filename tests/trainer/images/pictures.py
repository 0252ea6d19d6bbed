"""Files of pictures, made in memory."""

import io
import struct
import zlib

import numpy as np
from PIL import ExifTags, Image

from trainer.images.decode import decode
from trainer.images.preprocessing import Preprocessing, Reading

READING = Reading()
FILL = (10, 200, 30)
FILLING = Reading(fill_rgb=FILL)
GRADIENT_HWC = np.stack(
    np.broadcast_arrays(np.arange(16)[:, None] * 16, np.arange(16) * 16, 7), axis=2
).astype(np.uint8)
RED = (255, 0, 0)
GREEN = (0, 255, 0)
BLUE = (0, 0, 255)


def encoded(image: Image.Image | np.ndarray, format: str = "PNG", **options: object) -> bytes:
    image = Image.fromarray(image) if isinstance(image, np.ndarray) else image
    stream = io.BytesIO()
    image.save(stream, format, **options)
    return stream.getvalue()


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(
    width: int,
    height: int,
    *,
    bits: int = 8,
    colour: int = 0,
    body: bytes = b"",
    before: bytes = b"",
) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0))
    return (
        b"\x89PNG\r\n\x1a\n"
        + header
        + before
        + chunk(b"IDAT", zlib.compress(body))
        + chunk(b"IEND", b"")
    )


def turned(image: Image.Image, orientation: int, format: str = "PNG", **options: object) -> bytes:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    return encoded(image, format, exif=exif, **options)


def pixels(
    data: bytes, size_HW: tuple[int, int] = (16, 16), *, reading: Reading = READING
) -> np.ndarray:
    return decode(data, Preprocessing(size_HW), reading=reading)


def fractal(width: int, height: int, *, seed: int = 0) -> Image.Image:
    """Like a photo: detail on every scale, a little weaker on each finer one;
    5 MB as a JPEG of 12 megapixels.
    """
    rng = np.random.default_rng(seed)
    image = Image.new("RGB", (1, 1), (128, 120, 110))
    for octave in range(9, -1, -1):
        image = image.resize(
            (-(-width // 2**octave), -(-height // 2**octave)), Image.Resampling.BICUBIC
        )
        strength = int(30 * 0.9 ** (9 - octave)) + 1
        colours = 3 if octave > 2 else 1
        noise_HWC = rng.integers(
            -strength, strength + 1, (image.height, image.width, colours), dtype=np.int16
        )
        image = Image.fromarray(np.clip(np.asarray(image) + noise_HWC, 0, 255).astype(np.uint8))
    return image


def half_clear(mode: str) -> Image.Image:
    """Red or light grey; the upper half is transparent."""
    image = Image.new("RGBA", (16, 16), (*RED, 255))
    image.paste((0, 0, 255, 0), (0, 0, 16, 8))
    return image.convert(mode)


PHOTO_PNG = encoded(fractal(64, 48))
PHOTO_JPEG = encoded(fractal(64, 48), "JPEG", quality=95)
