"""Decoding: every kind of file becomes the right pixels or says why not, the same in every thread."""

import concurrent.futures
import io
import struct
import subprocess
import sys
import types
import warnings
import zlib

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageCms, ImageFile, ImageOps

from trainer.data import picture as module
from trainer.data.decode import decode, decode_all, fingerprint
from trainer.data.picture import TRAITS, UPRIGHT, look
from trainer.data.preprocessing import Box, Preprocessing, Reading
from trainer.errors import UnreadableError

READING = Reading()
FILL = (10, 200, 30)
FILLING = Reading(fill_rgb=FILL)
GRADIENT_HWC = np.stack(np.broadcast_arrays(np.arange(16)[:, None] * 16, np.arange(16) * 16, 7), axis=2).astype(
    np.uint8
)
RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


@pytest.fixture(autouse=True)
def _pillows_limit_is_put_back(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", Image.MAX_IMAGE_PIXELS)


def encoded(image: Image.Image | np.ndarray, format: str = "PNG", **options: object) -> bytes:
    image = Image.fromarray(image) if isinstance(image, np.ndarray) else image
    stream = io.BytesIO()
    image.save(stream, format, **options)
    return stream.getvalue()


def briefly(value: object) -> str | None:
    """How a parameter appears in a test's name."""
    return f"{len(value)}_bytes" if isinstance(value, bytes) else None


def turned(image: Image.Image, orientation: int, format: str = "PNG", **options: object) -> bytes:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    return encoded(image, format, exif=exif, **options)


def pixels(data: bytes, size_HW: tuple[int, int] = (16, 16), *, reading: Reading = READING) -> np.ndarray:
    return decode(data, Preprocessing(size_HW), reading=reading)


def fractal(width: int, height: int, *, seed: int = 0) -> Image.Image:
    """Like a photo: detail on every scale, a little weaker on each finer one; 5 MB as a JPEG of 12 megapixels."""
    rng = np.random.default_rng(seed)
    image = Image.new("RGB", (1, 1), (128, 120, 110))
    for octave in range(9, -1, -1):
        image = image.resize((-(-width // 2**octave), -(-height // 2**octave)), Image.Resampling.BICUBIC)
        strength = int(30 * 0.9 ** (9 - octave)) + 1
        colours = 3 if octave > 2 else 1
        noise_HWC = rng.integers(-strength, strength + 1, (image.height, image.width, colours), dtype=np.int16)
        image = Image.fromarray(np.clip(np.asarray(image) + noise_HWC, 0, 255).astype(np.uint8))
    return image


@pytest.fixture(scope="module")
def photo() -> Image.Image:
    return fractal(4032, 3024)


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(width: int, height: int, *, bits: int = 8, colour: int = 0, body: bytes = b"", before: bytes = b"") -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + before + chunk(b"IDAT", zlib.compress(body)) + chunk(b"IEND", b"")


# kinds of files


@pytest.mark.parametrize(
    ("format", "mode", "tolerance"),
    [
        ("PNG", "RGB", 0),
        ("PNG", "RGBA", 0),
        ("PNG", "P", 0),
        ("GIF", "P", 0),
        ("JPEG", "RGB", 40),
        ("JPEG", "CMYK", 24),
        ("TIFF", "CMYK", 0),
        ("TIFF", "YCbCr", 3),
        ("WEBP", "RGB", 24),
        ("BMP", "RGB", 0),
        ("TIFF", "RGB", 0),
        ("PPM", "RGB", 0),
        ("JPEG2000", "RGB", 0),
    ],
)
def test_every_kind_of_colour_file_becomes_rgb(format, mode, tolerance):
    blocks_HWC = np.repeat(np.repeat(GRADIENT_HWC[::4, ::4], 4, axis=0), 4, axis=1)  # 16 colours: fits any palette
    image = Image.fromarray(blocks_HWC)
    image = image.quantize(16, dither=Image.Dither.NONE) if mode == "P" else image.convert(mode)
    result = pixels(encoded(image, format))
    assert result.shape == (16, 16, 3)
    assert result.dtype == np.uint8
    assert result.flags.writeable
    assert np.abs(result.astype(int) - blocks_HWC).max() <= tolerance


def test_lab_becomes_rgb():
    lab, rgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    image = ImageCms.profileToProfile(Image.fromarray(GRADIENT_HWC), rgb, lab, outputMode="LAB")
    error = np.abs(pixels(encoded(image, "TIFF")).astype(int) - GRADIENT_HWC)
    assert error.mean() < 5  # 8 bits of LAB are coarse


@pytest.mark.parametrize("mode", ["L", "LA", "1"])
def test_grey_becomes_three_equal_channels(mode):
    result = pixels(encoded(Image.fromarray(GRADIENT_HWC).convert(mode)))
    assert (result == result[:, :, :1]).all()
    assert result.std() > 0


@pytest.mark.parametrize("format", ["PNG", "TIFF", "PPM"])
def test_sixteen_bits_of_grey_lose_the_lower_eight(format):
    levels_HW = np.arange(0, 65536, 256).reshape(16, 16).astype(np.uint16) + 200
    np.testing.assert_array_equal(pixels(encoded(levels_HW, format))[:, :, 1], levels_HW >> 8)


def test_sixteen_bits_of_colour_lose_the_lower_eight():
    levels_HWC = (GRADIENT_HWC.astype(np.uint16) * 256 + 99).astype(">u2")
    body = b"".join(b"\0" + row.tobytes() for row in levels_HWC)
    data = png(16, 16, bits=16, colour=2, body=body)
    np.testing.assert_array_equal(pixels(data), GRADIENT_HWC)
    assert look(data, reading=READING).traits == {"16-bit"}


@pytest.mark.parametrize(
    "values_HW",
    [
        GRADIENT_HWC[:, :, 0] / np.float32(240),
        GRADIENT_HWC[:, :, 0].astype(np.float32),
        GRADIENT_HWC[:, :, 0].astype(np.float32) * 1000 - 5000,
        GRADIENT_HWC[:, :, 0].astype(np.int32) * 100_000,
        GRADIENT_HWC[:, :, 0].astype(np.int32) - 1024,
    ],
)
def test_levels_of_other_ranges_keep_their_order(values_HW):
    result = pixels(encoded(values_HW, "TIFF"))[:, 0, 0].astype(int)
    assert (np.diff(result) > 0).all()
    assert result[0] == 0
    assert result[-1] >= 240


def test_what_is_no_number_is_black():
    values_HW = np.ones((16, 16), dtype=np.float32)
    values_HW[3, 4] = np.nan
    result = pixels(encoded(values_HW, "TIFF"))
    assert result[3, 4].tolist() == [0, 0, 0]
    assert (result[5] == 255).all()


def half_clear(mode: str) -> Image.Image:
    """Red or light grey; the upper half is transparent."""
    image = Image.new("RGBA", (16, 16), (*RED, 255))
    image.paste((0, 0, 255, 0), (0, 0, 16, 8))
    return image.convert(mode)


@pytest.mark.parametrize(
    ("data", "below"),
    [
        (encoded(half_clear("RGBA")), RED),
        (encoded(half_clear("RGBA"), "WEBP", lossless=True), RED),
        (encoded(half_clear("RGBA"), "TIFF"), RED),
        (encoded(half_clear("LA")), (76, 76, 76)),
        (encoded(half_clear("LA"), "TIFF").replace(*(struct.pack("<HHII", 338, 3, 1, kind) for kind in (2, 1))), None),
        (encoded(half_clear("RGB"), transparency=BLUE), RED),
        (encoded(half_clear("L"), transparency=29), (76, 76, 76)),
        (encoded(half_clear("RGB").quantize(2), transparency=b"\0\xff"), None),
        (encoded(half_clear("RGB").quantize(2), transparency=1), None),
        (encoded(half_clear("RGB").quantize(2), "GIF", transparency=0), None),
    ],
    ids=briefly,
)
def test_transparent_pixels_get_the_fill_colour(data, below):
    result = pixels(data, reading=FILLING)
    filled_HW = (result == FILL).all(axis=2)
    assert filled_HW.sum() == 128
    if below is not None:
        assert filled_HW[:8].all()
        assert (result[8:] == below).all()
    assert "alpha" in look(data, reading=FILLING).traits


def test_the_transparent_level_of_sixteen_bits_gets_the_fill_colour():
    rows = b"".join(b"\0" + struct.pack(">16H", *([500] * 8 + [60000] * 8)) for _ in range(16))
    result = pixels(png(16, 16, bits=16, body=rows, before=chunk(b"tRNS", struct.pack(">H", 500))), reading=FILLING)
    assert (result[:, :8] == FILL).all()
    assert (result[:, 8:] == 60000 >> 8).all()


def test_half_transparent_pixels_are_mixed_with_the_fill_colour():
    result = pixels(encoded(Image.new("RGBA", (16, 16), (255, 0, 0, 51))), reading=Reading(fill_rgb=(0, 0, 100)))
    assert (result == (51, 0, 80)).all()


@pytest.mark.parametrize(("format", "options"), [("GIF", {}), ("WEBP", {"lossless": True}), ("TIFF", {})])
def test_of_an_animation_the_first_frame_is_taken(format, options):
    frames = [Image.new("RGB", (16, 16), colour) for colour in (RED, GREEN, BLUE)]
    data = encoded(frames[0], format, save_all=True, append_images=frames[1:], **options)
    assert (pixels(data) == RED).all()
    assert "animated" in look(data, reading=READING).traits


# turned files


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(("format", "options"), [("PNG", {}), ("JPEG", {"quality": 95}), ("WEBP", {}), ("TIFF", {})])
def test_every_orientation_shows_the_picture_upright(orientation, format, options):
    data = turned(fractal(27, 18), orientation, format, **options)
    image = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")
    assert look(data, reading=READING).size_HW == (image.height, image.width)
    assert ("rotated" in look(data, reading=READING).traits) == (orientation != 1)
    np.testing.assert_array_equal(pixels(data, (image.height, image.width)), np.asarray(image))
    np.testing.assert_array_equal(pixels(data, (9, 11)), pixels(encoded(image), (9, 11)))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_turned_jpeg_decoded_at_a_smaller_scale_is_not_shifted(orientation):
    data = turned(fractal(333, 275), orientation, "JPEG", quality=95)  # 8 divides neither side
    image = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")
    left, top, right, bottom = box = (9, 17, image.width - 5, image.height - 3)
    result = decode(data, Preprocessing((14, 15), crop="box"), reading=READING, box=box)
    areas_HWC = np.asarray(image.resize((15, 14), Image.Resampling.BOX, box))
    shifted_HWC = np.asarray(image.resize((15, 14), Image.Resampling.BOX, (left + 5, top + 3, right + 5, bottom + 3)))
    error = np.abs(result.astype(int) - areas_HWC).mean()
    assert error < 2
    assert error < np.abs(result.astype(int) - shifted_HWC).mean() / 2


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_orientation_that_does_not_exist_turns_nothing(orientation):
    data = turned(fractal(20, 10), orientation)
    assert look(data, reading=READING) == module.Look((10, 20), frozenset())
    np.testing.assert_array_equal(pixels(data, (10, 20)), np.asarray(fractal(20, 10)))


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
def test_exif_that_cannot_be_read_turns_nothing(format):
    data = encoded(fractal(20, 10), format, exif=b"Exif\0\0nonsense")
    assert look(data, reading=READING) == module.Look((10, 20), frozenset())
    assert pixels(data).shape == (16, 16, 3)


def test_a_png_that_says_behind_its_pixels_how_it_is_turned_is_turned():
    plain = encoded(fractal(20, 10))
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    late = plain[:-12] + chunk(b"eXIf", exif.tobytes()[6:]) + plain[-12:]
    assert look(late, reading=READING) == module.Look((20, 10), frozenset({"rotated"}))
    np.testing.assert_array_equal(pixels(late, (20, 10)), np.rot90(np.asarray(fractal(20, 10)), -1))


# looking at the header


@pytest.mark.parametrize(
    ("data", "traits"),
    [
        (encoded(fractal(20, 10)), set()),
        (encoded(fractal(20, 10), "JPEG"), set()),
        (encoded(fractal(20, 10).convert("L"), "JPEG"), {"grey"}),
        (encoded(fractal(20, 10).convert("LA")), {"grey", "alpha"}),
        (encoded(fractal(20, 10).convert("1")), {"grey"}),
        (encoded(fractal(20, 10).convert("CMYK"), "JPEG"), {"cmyk"}),
        (encoded(fractal(20, 10).quantize(8)), {"palette"}),
        (encoded(fractal(20, 10).quantize(8), transparency=3), {"palette", "alpha"}),
        (encoded(np.zeros((10, 20), np.uint16)), {"grey", "16-bit"}),
        (encoded(np.zeros((10, 20), np.float32), "TIFF"), {"grey"}),
        (turned(fractal(10, 20), 8, "JPEG"), {"rotated"}),
    ],
    ids=briefly,
)
def test_a_look_tells_size_and_traits(data, traits):
    assert traits <= set(TRAITS)
    assert look(data, reading=READING) == module.Look((10, 20), frozenset(traits))


def test_a_look_does_not_decode(monkeypatch):
    data = [encoded(fractal(20, 10), format) for format in ("PNG", "JPEG", "WEBP", "TIFF", "GIF")]
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda image: pytest.fail("decoded"))
    for one in data:
        assert look(one, reading=READING).size_HW == (10, 20)


def test_two_views_in_one_jpeg_are_no_animation():
    data = encoded(fractal(20, 10), "MPO", save_all=True, append_images=[fractal(20, 10, seed=1)])
    assert Image.open(io.BytesIO(data)).is_animated
    assert look(data, reading=READING).traits == set()
    np.testing.assert_array_equal(pixels(data, (10, 20)), np.asarray(Image.open(io.BytesIO(data))))


# what cannot be read

EVERY_WAY = [
    lambda data, reading: decode(data, Preprocessing((8, 8)), reading=reading),
    lambda data, reading: fingerprint(data, reading=reading),
]
PHOTO_PNG, PHOTO_JPEG = encoded(fractal(64, 48)), encoded(fractal(64, 48), "JPEG", quality=95)
PIXELS_AT = PHOTO_PNG.index(b"IDAT") + 1000


@pytest.mark.parametrize("read", EVERY_WAY)
@pytest.mark.parametrize(
    ("data", "why"),
    [
        (PHOTO_PNG[: len(PHOTO_PNG) // 2], r"^truncated$"),
        (PHOTO_JPEG[: len(PHOTO_JPEG) * 3 // 4], r"^truncated \(\d+ bytes not processed\)$"),
        (PHOTO_JPEG[:-200], r"^truncated \(\d+ bytes not processed\)$"),
        (encoded(fractal(64, 48), "GIF")[:1500], r"^truncated \(\d+ bytes not processed\)$"),
        (encoded(fractal(64, 48), "TIFF")[:5000], r"^truncated \(\d+ bytes not processed\)$"),
        (PHOTO_PNG[:PIXELS_AT] + b"????" + PHOTO_PNG[PIXELS_AT + 4 :], r"^damaged \(.* data stream .*\)$"),
        (
            png(16, 16, colour=3, body=bytes(17 * 16), before=chunk(b"PLTE", bytes(9)) + chunk(b"tRNS", bytes(300))),
            r"^damaged \(palette index out of range\)$",
        ),
        (encoded(fractal(64, 48), "WEBP")[:100], r"^damaged \(could not create decoder object\)$"),
    ],
    ids=briefly,
)
def test_a_damaged_file_says_so(data, why, read):
    with pytest.raises(UnreadableError, match=why):
        read(data, READING)


@pytest.mark.parametrize("read", [*EVERY_WAY, lambda data, reading: look(data, reading=reading)])
@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", r"^empty file$"),
        (b"path,label\n", r"^not an image \(JPEG, PNG, .* can be read\)$"),
        (b"\0" * 100, r"^not an image "),
        (encoded(fractal(64, 48), "EPS"), r"^not an image "),
        (PHOTO_PNG[:8], r"^(truncated|damaged) \(.*\)$"),
        (PHOTO_PNG[:20], r"^truncated \(Truncated File Read\)$"),
        (PHOTO_PNG[:29] + b"????" + PHOTO_PNG[33:], r"^damaged \(its header cannot be read\)$"),
        (PHOTO_JPEG[:100], r"^truncated \(Truncated File Read\)$"),
        (PHOTO_JPEG[:3], r"^(truncated|damaged) \(.*\)$"),
        (png(0, 10), r"^damaged "),
        (png(2**31 - 1, 2**31 - 1), r"^4,611,686,014,132,420,609 pixels, more than data.max_pixels allows"),
        (png(20_000, 10_000), r"^200,000,000 pixels, more than data.max_pixels allows \(89,478,485\)$"),
        (png(10_000, 10_000), r"^100,000,000 pixels, more than data.max_pixels allows \(89,478,485\)$"),
    ],
    ids=briefly,
)
def test_a_file_that_is_no_usable_image_says_so(data, why, read):
    with pytest.raises(UnreadableError, match=why):
        read(data, READING)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "JPEG2000"])
def test_any_damage_is_either_seen_or_survived(format):
    whole, reasons = encoded(fractal(40, 30), format), set()
    rng = np.random.default_rng(0)
    for _ in range(60):
        data = bytearray(whole)
        for at in rng.integers(0, min(len(data), 400), 3):
            data[at] = rng.integers(256)
        for read in (lambda data: look(data, reading=READING), lambda data: pixels(data, (8, 8))):
            try:
                read(bytes(data[: rng.integers(1, len(data) + 1)]))
            except UnreadableError as error:
                reasons.add(str(error))
    assert reasons
    assert not [reason for reason in reasons if not reason or "object at 0x" in reason]


def test_running_out_of_memory_is_not_the_files_fault(monkeypatch):
    def load(image: ImageFile.ImageFile) -> None:
        raise MemoryError("full")

    monkeypatch.setattr(ImageFile.ImageFile, "load", load)
    with pytest.raises(MemoryError, match="full"):
        pixels(PHOTO_PNG)


@pytest.mark.parametrize("action", ["error", "ignore"])
def test_the_limit_holds_whatever_becomes_of_pillows_warning(action):
    with warnings.catch_warnings():
        warnings.simplefilter(action)
        with pytest.raises(UnreadableError, match=r"^100,000,000 pixels, more than data.max_pixels allows"):
            look(png(10_000, 10_000), reading=READING)


def test_a_limit_above_pillows_lets_larger_images_pass():
    data = png(20_000, 10_000)
    assert look(data, reading=Reading(max_pixels=200_000_000)).size_HW == (10_000, 20_000)
    with pytest.raises(UnreadableError, match=r"pixels allows \(199,999,999\)$"):
        look(data, reading=Reading(max_pixels=199_999_999))
    with pytest.raises(UnreadableError, match=r"pixels allows \(89,478,485\)$"):
        look(data, reading=READING)


def test_the_guard_is_switched_on_where_somebody_switched_it_off(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    look(PHOTO_PNG, reading=READING)
    assert READING.max_pixels == Image.MAX_IMAGE_PIXELS


def test_a_small_limit_does_not_lower_pillows_for_other_threads():
    before = Image.MAX_IMAGE_PIXELS
    with pytest.raises(UnreadableError, match=r"^3,072 pixels, more than data.max_pixels allows \(10\)$"):
        look(PHOTO_PNG, reading=Reading(max_pixels=10))
    assert before == Image.MAX_IMAGE_PIXELS


def test_threads_with_different_limits_do_not_disturb_each_other():
    def allowed(limit: int) -> bool:
        try:
            look(PHOTO_PNG, reading=Reading(max_pixels=limit))
        except UnreadableError:
            return False
        return True

    limits = [64 * 48 - 1, 64 * 48, 10, 10**9] * 100
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert list(pool.map(allowed, limits)) == [limit >= 64 * 48 for limit in limits]


def test_nothing_of_pillow_is_printed():
    program = (
        "import sys; from trainer.data.picture import *; from trainer.data.preprocessing import *\n"
        "for data in sys.stdin.buffer.read().split(b'NEXT'):\n"
        "    try: print(look(data, reading=Reading()))\n"
        "    except UnreadableError as error: print(error)\n"
    )
    exif = b"Exif\0\0II*\0\x08\0\0\0\x09\0\x0f\x01\x02\0"
    odd = [png(10_000, 10_000), encoded(fractal(20, 10), "JPEG", exif=exif)]
    done = subprocess.run(
        [sys.executable, "-c", program], input=b"NEXT".join(odd), capture_output=True, timeout=60, check=True
    )
    assert done.stderr == b""
    assert done.stdout.decode().splitlines() == [
        "100,000,000 pixels, more than data.max_pixels allows (89,478,485)",
        "Look(size_HW=(10, 20), traits=frozenset())",
    ]


# geometry


def flag(*colours: tuple[int, int, int], width: int = 10, height: int = 20) -> Image.Image:
    """Upright bars of these colours."""
    image = Image.new("RGB", (width * len(colours), height))
    for at, colour in enumerate(colours):
        image.paste(colour, (at * width, 0, (at + 1) * width, height))
    return image


def shaped(image: Image.Image, size_HW: tuple[int, int], mode: str, box: Box | None = None) -> np.ndarray:
    how = Preprocessing(size_HW, mode, crop="none" if box is None else "box")
    return decode(encoded(image), how, reading=FILLING, box=box)


def test_stretch_shows_everything_and_changes_the_aspect():
    result = shaped(flag(RED, GREEN, GREEN, BLUE), (8, 8), "stretch")
    assert (result[:, :2] == RED).all()
    assert (result[:, 2:6] == GREEN).all()
    assert (result[:, 6:] == BLUE).all()


@pytest.mark.parametrize(
    ("size_HW", "rows", "columns"),
    [((8, 8), slice(2, 6), slice(0, 8)), ((20, 100), slice(0, 20), slice(30, 70)), ((9, 8), slice(2, 6), slice(0, 8))],
)
def test_fit_shows_everything_in_the_middle_and_fills_the_rest(size_HW, rows, columns):
    result = shaped(flag(RED, RED, BLUE, BLUE), size_HW, "fit")
    height, width = result[rows, columns].shape[:2]
    assert (result[rows, columns][:, : width // 2] == RED).all()
    assert (result[rows, columns][:, width // 2 :] == BLUE).all()
    assert (result == FILL).all(axis=2).sum() == size_HW[0] * size_HW[1] - height * width


@pytest.mark.parametrize(
    ("image", "size_HW"),
    [
        (flag(RED, GREEN, GREEN, BLUE), (8, 8)),
        (flag(RED, GREEN, GREEN, BLUE), (40, 40)),
        (flag(RED, GREEN, BLUE), (8, 4)),
        (flag(RED, GREEN, GREEN, BLUE).rotate(90, expand=True), (8, 8)),
    ],
)
def test_crop_keeps_the_middle_and_the_aspect(image, size_HW):
    assert (shaped(image, size_HW, "crop") == GREEN).all()


def test_a_box_is_cut_exactly():
    image = fractal(50, 40)
    result = shaped(image, (11, 21), "stretch", (7, 13, 28, 24))
    np.testing.assert_array_equal(result, np.asarray(image)[13:24, 7:28])


def test_a_box_counts_in_the_image_as_displayed():
    image = fractal(50, 40)
    result = decode(turned(image, 6), Preprocessing((4, 3), crop="box"), reading=READING, box=(1, 2, 4, 6))
    np.testing.assert_array_equal(result, np.rot90(np.asarray(image), -1)[2:6, 1:4])


@pytest.mark.parametrize("mode", ["stretch", "fit", "crop"])
def test_what_lies_outside_the_box_is_not_seen(mode):
    image = Image.new("RGB", (60, 40), RED)
    image.paste(GREEN, (20, 10, 40, 30))
    assert (shaped(image, (8, 8), mode, (20, 10, 40, 30)) == GREEN).all()


@pytest.mark.parametrize("format", ["PNG", "JPEG"])
@pytest.mark.parametrize("box", [(0, 0, 65, 48), (0, 0, 64, 49), (-1, 0, 10, 10), (100, 100, 110, 110)])
def test_a_box_that_leaves_the_image_is_refused(format, box):
    how = Preprocessing((8, 8), crop="box")
    with pytest.raises(UnreadableError, match=r"^the box \[.*\] does not lie inside the image of 64 x 48$"):
        decode(encoded(fractal(64, 48), format), how, reading=READING, box=box)


def test_cropping_to_a_box_needs_one():
    with pytest.raises(AssertionError, match="crop: box needs a box"):
        decode(PHOTO_PNG, Preprocessing((8, 8), crop="box"), reading=READING)


def test_without_cropping_a_box_is_not_looked_at():
    how = Preprocessing((8, 8))
    result = decode(PHOTO_PNG, how, reading=READING, box=(0, 0, 3, 3))
    np.testing.assert_array_equal(result, decode(PHOTO_PNG, how, reading=READING))


@pytest.mark.parametrize("mode", ["stretch", "fit", "crop"])
@pytest.mark.parametrize("format", ["PNG", "JPEG"])
@pytest.mark.parametrize("size_WH", [(1, 1), (20_000, 10), (10, 20_000), (3, 2)])
def test_any_shape_gets_exactly_the_size(size_WH, format, mode):
    data = encoded(Image.new("RGB", size_WH, (40, 80, 120)), format)
    result = decode(data, Preprocessing((24, 17), mode), reading=Reading(fill_rgb=(40, 80, 120)))
    assert result.shape == (24, 17, 3)
    assert np.abs(result.astype(int) - (40, 80, 120)).max() <= 2


def test_shrinking_averages_areas():
    means_HWC = GRADIENT_HWC.reshape(8, 2, 4, 4, 3).mean(axis=(1, 3))
    assert np.abs(pixels(encoded(GRADIENT_HWC), (8, 4)) - means_HWC).max() <= 0.5


@pytest.mark.parametrize("size_HW", [(32, 32), (8, 32), (32, 8)])
def test_enlarging_stays_between_the_neighbours(size_HW):
    result = pixels(encoded(GRADIENT_HWC), size_HW).astype(int)
    assert (np.diff(result[:, :, 0], axis=0) >= 0).all()
    assert (np.diff(result[:, :, 1], axis=1) >= 0).all()
    assert (result[:, :, 2] == 7).all()


def test_an_image_of_the_right_size_keeps_its_pixels():
    np.testing.assert_array_equal(pixels(encoded(GRADIENT_HWC)), GRADIENT_HWC)


# scaled decoding


@pytest.fixture
def drafts(monkeypatch) -> list[int]:
    """By how much the sides of each decoded file were divided."""
    seen = []
    plain = ImageFile.ImageFile.load

    def load(image: ImageFile.ImageFile) -> object:
        if image.tile:
            seen.append(image.decoderconfig[0] if image.decoderconfig else 1)
        return plain(image)

    monkeypatch.setattr(ImageFile.ImageFile, "load", load)
    return seen


CHOICES = [
    Preprocessing((30, 40)),
    Preprocessing((25, 30), "crop"),
    Preprocessing((120, 160)),
    Preprocessing((110, 150), "fit"),
]


@pytest.mark.parametrize(("kind", "decoded"), [("JPEG", 2), ("PNG", 1)])
def test_choices_that_need_one_scale_share_one_decoding_and_change_nothing(drafts, kind, decoded):
    data = encoded(fractal(640, 480), kind)
    together = decode_all(data, [(how, None) for how in CHOICES], reading=READING)
    assert len(drafts) == decoded
    for how, image_HWC in zip(CHOICES, together, strict=True):
        np.testing.assert_array_equal(image_HWC, decode(data, how, reading=READING))


@pytest.mark.parametrize(
    ("size_WH", "how", "box", "scale"),
    [
        ((640, 480), Preprocessing((30, 40)), None, 8),
        ((640, 480), Preprocessing((31, 40)), None, 4),
        ((640, 480), Preprocessing((30, 41)), None, 4),
        ((640, 480), Preprocessing((120, 160)), None, 2),
        ((640, 480), Preprocessing((121, 160)), None, 1),
        ((640, 240), Preprocessing((40, 40), "stretch"), None, 2),
        ((640, 240), Preprocessing((40, 40), "fit"), None, 8),
        ((640, 240), Preprocessing((40, 40), "crop"), None, 2),
        ((640, 480), Preprocessing((30, 40), crop="box"), (0, 0, 320, 240), 4),
        ((640, 480), Preprocessing((30, 40), crop="box"), (1, 1, 320, 240), 2),
    ],
)
def test_a_jpeg_is_decoded_once_and_leaves_twice_the_pixels_needed(drafts, size_WH, how, box, scale):
    decode(encoded(Image.new("RGB", size_WH), "JPEG"), how, reading=READING, box=box)
    assert drafts == [scale]


def test_the_scale_is_chosen_for_the_picture_as_displayed(drafts):
    decode(turned(Image.new("RGB", (640, 240)), 6, "JPEG"), Preprocessing((40, 15)), reading=READING)
    assert drafts == [8]


@pytest.mark.parametrize(
    ("part", "how", "box"),
    [
        ((0, 0, 4032, 3024), Preprocessing((256, 256)), None),
        ((0, 0, 4032, 3024), Preprocessing((224, 298), "crop", crop="box"), (1001, 513, 2502, 2222)),
        ((0, 0, 1237, 1663), Preprocessing((224, 224), "crop"), None),
        ((0, 0, 1025, 1031), Preprocessing((256, 256)), None),
        ((5, 5, 778, 777), Preprocessing((96, 96), "fit"), None),
    ],
)
def test_a_photo_is_within_two_grey_levels_of_a_full_decode(drafts, photo, part, how, box):
    data = encoded(photo.crop(part), "JPEG", quality=90)
    result = decode(data, how, reading=READING, box=box)
    assert drafts[0] > 1
    full = encoded(Image.open(io.BytesIO(data)), "BMP")
    reference = decode(full, how, reading=READING, box=box)
    assert drafts[-1] == 1
    assert np.abs(result.astype(int) - reference).mean() < 2


# faces and backgrounds


@pytest.fixture
def crops(monkeypatch) -> types.ModuleType:
    """Stand-ins: the face is the green rectangle, the foreground whatever is not black."""
    stand_in = types.ModuleType("trainer.data.crops")
    stand_in.seen = []

    def face_box(rgb_HWC: np.ndarray, *, weights: str | None) -> Box | None:
        stand_in.seen.append((rgb_HWC.shape, weights))
        rows, columns = np.nonzero((rgb_HWC[:, :, 1] > 128) & (rgb_HWC[:, :, 0] < 128))
        return (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1) if len(rows) else None

    def foreground_mask(rgb_HWC: np.ndarray, *, weights: str | None) -> np.ndarray:
        stand_in.seen.append((rgb_HWC.shape, weights))
        return rgb_HWC.max(axis=2) > 64

    stand_in.face_box, stand_in.foreground_mask = face_box, foreground_mask
    monkeypatch.setitem(sys.modules, "trainer.data.crops", stand_in)
    monkeypatch.setattr("trainer.data.crops", stand_in, raising=False)
    return stand_in


def portrait(format: str, face: Box, size_WH: tuple[int, int] = (1600, 1200)) -> bytes:
    image = Image.new("RGB", size_WH, RED)
    image.paste(GREEN, face)
    return encoded(image, format, **({"quality": 95} if format == "JPEG" else {"compress_level": 1}))


@pytest.mark.parametrize(
    ("format", "face", "scales"),
    [
        ("PNG", (400, 200, 1200, 1000), [1]),
        ("JPEG", (400, 200, 1200, 1000), [2]),  # the copy for the search is fine enough
        ("JPEG", (400, 200, 480, 280), [2, 1]),
    ],
)
def test_the_face_is_sought_in_a_small_copy_and_cut_from_a_fine_one(crops, drafts, format, face, scales):
    how = Preprocessing((32, 32), crop="face")
    result = decode(portrait(format, face), how, reading=Reading(face_weights="yunet.onnx"))
    assert crops.seen == [((480, 640, 3), "yunet.onnx")]
    assert drafts == scales
    assert np.abs(result[2:-2, 2:-2].astype(int) - GREEN).max() <= 6


def test_without_a_face_the_whole_image_is_taken(crops):
    how = Preprocessing((12, 16), crop="face")
    np.testing.assert_array_equal(
        decode(encoded(flag(RED, BLUE)), how, reading=READING), pixels(encoded(flag(RED, BLUE)), (12, 16))
    )
    assert crops.seen == [((20, 20, 3), None)]


def test_a_face_in_a_turned_photo_is_sought_upright(crops):
    image = Image.new("RGB", (1600, 1200), RED)
    image.paste(GREEN, (400, 200, 1200, 600))
    how = Preprocessing((32, 32), crop="face")
    result = decode(turned(image, 6, "JPEG", quality=95), how, reading=READING)
    assert crops.seen == [((640, 480, 3), None)]
    assert np.abs(result.astype(int) - GREEN)[2:-2, 2:-2].max() <= 6


@pytest.mark.parametrize("format", ["PNG", "JPEG"])
def test_the_background_is_painted_in_a_small_copy(crops, format):
    data = encoded(flag((0, 0, 0), RED, RED, (0, 0, 0), width=200, height=800), format)
    how = Preprocessing((32, 32), background="remove")
    result = decode(data, how, reading=Reading(fill_rgb=FILL, background_weights="u2net.onnx"))
    assert crops.seen == [((64, 64, 3), "u2net.onnx")]
    assert (result[:, :7] == FILL).all()
    assert (result[:, 25:] == FILL).all()
    assert np.abs(result[:, 9:23].astype(int) - RED).max() <= 6


@pytest.mark.parametrize(
    ("mode", "mask_HW"), [("stretch", (64, 64)), ("fit", (32, 64)), ("crop", (64, 128)), ("none", (20, 40))]
)
def test_the_background_is_judged_by_all_that_the_crop_left(crops, mode, mask_HW):
    """Also by what `crop` will cut off; and never in more pixels than there are."""
    image = flag((0, 0, 0), RED, RED, BLUE, width=100, height=200)
    size_HW = (32, 32)
    if mode == "none":
        mode, image, size_HW = "stretch", image.resize((40, 20), Image.Resampling.NEAREST), (100, 100)
    how = Preprocessing(size_HW, mode, crop="box", background="remove")
    result = decode(encoded(image), how, reading=FILLING, box=(0, 0, *image.size))
    assert crops.seen == [((*mask_HW, 3), None)]
    if mode == "crop":
        assert (result == RED).all()
    elif mode == "stretch":
        assert (result[:, : size_HW[1] // 4 - 2] == FILL).all()
        assert (result[:, -size_HW[1] // 4 + 2 :] == BLUE).all()
    else:
        assert (result[:8] == FILL).all()
        assert (result[8:24, :8] == FILL).all()
        assert (result[8:24, 24:] == BLUE).all()


# fingerprints


def bits_between(first: np.ndarray, second: np.ndarray) -> int:
    return int(np.bitwise_count(first ^ second).sum())


def fingerprint_of(image: Image.Image, format: str = "PNG", **options: object) -> np.ndarray:
    return fingerprint(encoded(image, format, **options), reading=READING)


def test_a_fingerprint_is_four_words():
    words = fingerprint_of(fractal(64, 48))
    assert words.shape == (4,)
    assert words.dtype == np.uint64


def test_a_bit_says_that_the_right_neighbour_is_brighter():
    levels_HW = np.full((16, 17), 100, dtype=np.uint8)
    levels_HW[0, 1] = levels_HW[4, 16] = levels_HW[15, 16] = 120
    levels_HW[1, :] = np.arange(17) * 10
    levels_HW[2, :] = 200 - np.arange(17) * 10
    words = fingerprint_of(Image.fromarray(levels_HW).resize((170, 160), Image.Resampling.NEAREST))
    expected = [(1 << 63) + (0xFFFF << 32), 1 << 63 >> 15, 0, 1]
    assert words.tolist() == expected


@pytest.mark.parametrize("scale", [1, 2, 3])
def test_recompression_and_scaling_change_few_bits(photo, scale):
    small = photo.resize((1344, 1008), Image.Resampling.BOX)
    original = fingerprint_of(small, "JPEG", quality=90)
    copy = small.resize((1344 // scale, 1008 // scale), Image.Resampling.BICUBIC)
    assert bits_between(original, fingerprint_of(copy, "JPEG", quality=75)) <= 12
    assert bits_between(original, fingerprint_of(copy)) <= 12
    assert bits_between(original, fingerprint_of(copy.convert("L"), "WEBP")) <= 12


def test_unrelated_pictures_differ_in_about_half_the_bits():
    words = [fingerprint_of(fractal(320, 240, seed=seed)) for seed in range(8)]
    between = [bits_between(words[one], words[other]) for one in range(8) for other in range(one)]
    assert min(between) > 80
    assert abs(np.mean(between) - 128) < 16


@pytest.mark.parametrize("level", [0, 127, 255])
def test_a_flat_picture_has_no_bits(level):
    assert not fingerprint_of(Image.new("RGB", (100, 80), (level, level, level))).any()
    assert not fingerprint_of(Image.new("L", (1, 1), level), "JPEG").any()


def test_noise_on_a_flat_picture_sets_no_bits():
    noise_HW = np.random.default_rng(0).normal(128, 8, (480, 640))
    image = Image.fromarray(np.clip(noise_HW, 0, 255).astype(np.uint8))
    assert not fingerprint_of(image).any()
    assert not fingerprint_of(image, "JPEG", quality=50).any()


@pytest.mark.parametrize("orientation", UPRIGHT)
def test_a_turned_file_has_the_fingerprint_of_what_it_shows(orientation):
    data = turned(fractal(333, 275), orientation, "JPEG", quality=95)
    shown = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    assert bits_between(fingerprint(data, reading=READING), fingerprint_of(shown)) <= 4


def test_a_fingerprint_sees_the_fill_colour_under_alpha():
    clear = half_clear("RGBA").transpose(Image.Transpose.ROTATE_270)
    dark, light = (fingerprint(encoded(clear), reading=Reading(fill_rgb=(level,) * 3)) for level in (0, 255))
    assert bits_between(dark, light) > 0


def test_a_jpeg_is_fingerprinted_from_a_small_grey_decode(drafts, monkeypatch):
    modes = []
    monkeypatch.setattr(module, "_flat", lambda image, fill_rgb: (modes.append(image.mode), image)[1])
    fingerprint(encoded(Image.new("RGB", (4000, 3000)), "JPEG"), reading=READING)
    assert drafts == [8]
    assert modes == ["L"]


# the same every time


def test_the_pixels_are_the_same_twice_and_in_every_thread():
    photo = fractal(1237, 963)
    jobs = [
        (data, Preprocessing((96, 80), mode, crop=crop), (31, 17, 1000, 900))
        for data in (encoded(photo, "JPEG"), turned(photo, 7, "JPEG"), encoded(photo, "WEBP", quality=50, method=0))
        for mode in ("stretch", "fit", "crop")
        for crop in ("none", "box")
    ]
    jobs = [(data, how, box if how.crop == "box" and box[2] <= 963 else (31, 17, 900, 800)) for data, how, box in jobs]

    def run(job: tuple[bytes, Preprocessing, Box]) -> bytes:
        data, how, box = job
        words = fingerprint(data, reading=READING)
        return decode(data, how, reading=READING, box=box).tobytes() + words.tobytes()

    alone = [run(job) for job in jobs]
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        assert list(pool.map(run, jobs * 2)) == alone * 2


def test_truncated_files_stay_refused_by_pillow():
    assert ImageFile.LOAD_TRUNCATED_IMAGES is False
