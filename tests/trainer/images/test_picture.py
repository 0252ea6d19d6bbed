"""A file becomes a picture: every kind of it, turned, transparent, damaged or far too large."""

import concurrent.futures
import io
import struct
import subprocess
import sys
import warnings

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageCms, ImageFile, ImageOps

from tests.trainer.images.pictures import (
    BLUE,
    FILL,
    FILLING,
    GRADIENT_HWC,
    GREEN,
    PHOTO_JPEG,
    PHOTO_PNG,
    READING,
    RED,
    chunk,
    encoded,
    fractal,
    half_clear,
    pixels,
    png,
    turned,
)
from trainer.errors import UnreadableError
from trainer.images import picture as module
from trainer.images.decode import decode, fingerprint
from trainer.images.picture import TRAITS, read_header
from trainer.images.preprocessing import Preprocessing, Reading


def briefly(value: object) -> str | None:
    """How a parameter appears in a test's name."""
    return f"{len(value)}_bytes" if isinstance(value, bytes) else None


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
    blocks_HWC = np.repeat(
        np.repeat(GRADIENT_HWC[::4, ::4], 4, axis=0), 4, axis=1
    )  # 16 colours: fits any palette
    image = Image.fromarray(blocks_HWC)
    image = image.quantize(16, dither=Image.Dither.NONE) if mode == "P" else image.convert(mode)
    result = pixels(encoded(image, format))
    assert result.shape == (16, 16, 3)
    assert result.dtype == np.uint8
    assert result.flags.writeable
    assert np.abs(result.astype(int) - blocks_HWC).max() <= tolerance


def test_lab_becomes_rgb():
    lab = ImageCms.createProfile("LAB")
    rgb = ImageCms.createProfile("sRGB")
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
    assert read_header(data, reading=READING).traits == {"16-bit"}


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


@pytest.mark.parametrize(
    ("data", "below"),
    [
        (encoded(half_clear("RGBA")), RED),
        (encoded(half_clear("RGBA"), "WEBP", lossless=True), RED),
        (encoded(half_clear("RGBA"), "TIFF"), RED),
        (encoded(half_clear("LA")), (76, 76, 76)),
        (
            encoded(half_clear("LA"), "TIFF").replace(
                *(struct.pack("<HHII", 338, 3, 1, kind) for kind in (2, 1))
            ),
            None,
        ),
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
    assert "alpha" in read_header(data, reading=FILLING).traits


def test_the_transparent_level_of_sixteen_bits_gets_the_fill_colour():
    rows = b"".join(b"\0" + struct.pack(">16H", *([500] * 8 + [60000] * 8)) for _ in range(16))
    result = pixels(
        png(16, 16, bits=16, body=rows, before=chunk(b"tRNS", struct.pack(">H", 500))),
        reading=FILLING,
    )
    assert (result[:, :8] == FILL).all()
    assert (result[:, 8:] == 60000 >> 8).all()


def test_half_transparent_pixels_are_mixed_with_the_fill_colour():
    result = pixels(
        encoded(Image.new("RGBA", (16, 16), (255, 0, 0, 51))), reading=Reading(fill_rgb=(0, 0, 100))
    )
    assert (result == (51, 0, 80)).all()


@pytest.mark.parametrize(
    ("format", "options"), [("GIF", {}), ("WEBP", {"lossless": True}), ("TIFF", {})]
)
def test_of_an_animation_the_first_frame_is_taken(format, options):
    frames = [Image.new("RGB", (16, 16), colour) for colour in (RED, GREEN, BLUE)]
    data = encoded(frames[0], format, save_all=True, append_images=frames[1:], **options)
    assert (pixels(data) == RED).all()
    assert "animated" in read_header(data, reading=READING).traits


# turned files


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(
    ("format", "options"), [("PNG", {}), ("JPEG", {"quality": 95}), ("WEBP", {}), ("TIFF", {})]
)
def test_every_orientation_shows_the_picture_upright(orientation, format, options):
    data = turned(fractal(27, 18), orientation, format, **options)
    image = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")
    assert read_header(data, reading=READING).size_HW == (image.height, image.width)
    assert ("rotated" in read_header(data, reading=READING).traits) == (orientation != 1)
    np.testing.assert_array_equal(pixels(data, (image.height, image.width)), np.asarray(image))
    np.testing.assert_array_equal(pixels(data, (9, 11)), pixels(encoded(image), (9, 11)))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_turned_jpeg_decoded_at_a_smaller_scale_is_not_shifted(orientation):
    data = turned(fractal(333, 275), orientation, "JPEG", quality=95)  # 8 divides neither side
    image = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")
    left, top, right, bottom = box = (9, 17, image.width - 5, image.height - 3)
    result = decode(data, Preprocessing((14, 15), crop="box"), reading=READING, box=box)
    areas_HWC = np.asarray(image.resize((15, 14), Image.Resampling.BOX, box))
    shifted_HWC = np.asarray(
        image.resize((15, 14), Image.Resampling.BOX, (left + 5, top + 3, right + 5, bottom + 3))
    )
    error = np.abs(result.astype(int) - areas_HWC).mean()
    assert error < 2
    assert error < np.abs(result.astype(int) - shifted_HWC).mean() / 2


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_orientation_that_does_not_exist_turns_nothing(orientation):
    data = turned(fractal(20, 10), orientation)
    assert read_header(data, reading=READING) == module.Header((10, 20), frozenset())
    np.testing.assert_array_equal(pixels(data, (10, 20)), np.asarray(fractal(20, 10)))


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
def test_exif_that_cannot_be_read_turns_nothing(format):
    data = encoded(fractal(20, 10), format, exif=b"Exif\0\0nonsense")
    assert read_header(data, reading=READING) == module.Header((10, 20), frozenset())
    assert pixels(data).shape == (16, 16, 3)


def test_a_png_that_says_behind_its_pixels_how_it_is_turned_is_turned():
    plain = encoded(fractal(20, 10))
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    late = plain[:-12] + chunk(b"eXIf", exif.tobytes()[6:]) + plain[-12:]
    assert read_header(late, reading=READING) == module.Header((20, 10), frozenset({"rotated"}))
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
    assert read_header(data, reading=READING) == module.Header((10, 20), frozenset(traits))


def test_a_look_does_not_decode(monkeypatch):
    data = [encoded(fractal(20, 10), format) for format in ("PNG", "JPEG", "WEBP", "TIFF", "GIF")]
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda image: pytest.fail("decoded"))
    for one in data:
        assert read_header(one, reading=READING).size_HW == (10, 20)


def test_two_views_in_one_jpeg_are_no_animation():
    data = encoded(fractal(20, 10), "MPO", save_all=True, append_images=[fractal(20, 10, seed=1)])
    assert Image.open(io.BytesIO(data)).is_animated
    assert read_header(data, reading=READING).traits == set()
    np.testing.assert_array_equal(pixels(data, (10, 20)), np.asarray(Image.open(io.BytesIO(data))))


# what cannot be read

EVERY_WAY = [
    lambda data, reading: decode(data, Preprocessing((8, 8)), reading=reading),
    lambda data, reading: fingerprint(data, reading=reading),
]
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
        (
            PHOTO_PNG[:PIXELS_AT] + b"????" + PHOTO_PNG[PIXELS_AT + 4 :],
            r"^damaged \(.* data stream .*\)$",
        ),
        (
            png(
                16,
                16,
                colour=3,
                body=bytes(17 * 16),
                before=chunk(b"PLTE", bytes(9)) + chunk(b"tRNS", bytes(300)),
            ),
            r"^damaged \(palette index out of range\)$",
        ),
        (encoded(fractal(64, 48), "WEBP")[:100], r"^damaged \(could not create decoder object\)$"),
    ],
    ids=briefly,
)
def test_a_damaged_file_says_so(data, why, read):
    with pytest.raises(UnreadableError, match=why):
        read(data, READING)


@pytest.mark.parametrize(
    "read", [*EVERY_WAY, lambda data, reading: read_header(data, reading=reading)]
)
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
        (
            png(2**31 - 1, 2**31 - 1),
            r"^4,611,686,014,132,420,609 pixels, more than data.max_pixels allows",
        ),
        (
            png(20_000, 10_000),
            r"^200,000,000 pixels, more than data.max_pixels allows \(89,478,485\)$",
        ),
        (
            png(10_000, 10_000),
            r"^100,000,000 pixels, more than data.max_pixels allows \(89,478,485\)$",
        ),
    ],
    ids=briefly,
)
def test_a_file_that_is_no_usable_image_says_so(data, why, read):
    with pytest.raises(UnreadableError, match=why):
        read(data, READING)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "JPEG2000"])
def test_any_damage_is_either_seen_or_survived(format):
    whole = encoded(fractal(40, 30), format)
    reasons = set()
    rng = np.random.default_rng(0)
    for _ in range(60):
        data = bytearray(whole)
        for at in rng.integers(0, min(len(data), 400), 3):
            data[at] = rng.integers(256)
        for read in (
            lambda data: read_header(data, reading=READING),
            lambda data: pixels(data, (8, 8)),
        ):
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
        with pytest.raises(
            UnreadableError, match=r"^100,000,000 pixels, more than data.max_pixels allows"
        ):
            read_header(png(10_000, 10_000), reading=READING)


def test_a_limit_above_pillows_lets_larger_images_pass():
    data = png(20_000, 10_000)
    assert read_header(data, reading=Reading(max_pixels=200_000_000)).size_HW == (10_000, 20_000)
    with pytest.raises(UnreadableError, match=r"pixels allows \(199,999,999\)$"):
        read_header(data, reading=Reading(max_pixels=199_999_999))
    with pytest.raises(UnreadableError, match=r"pixels allows \(89,478,485\)$"):
        read_header(data, reading=READING)


def test_the_guard_is_switched_on_where_somebody_switched_it_off(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    read_header(PHOTO_PNG, reading=READING)
    assert READING.max_pixels == Image.MAX_IMAGE_PIXELS


def test_a_small_limit_does_not_lower_pillows_for_other_threads():
    before = Image.MAX_IMAGE_PIXELS
    with pytest.raises(
        UnreadableError, match=r"^3,072 pixels, more than data.max_pixels allows \(10\)$"
    ):
        read_header(PHOTO_PNG, reading=Reading(max_pixels=10))
    assert before == Image.MAX_IMAGE_PIXELS


def test_threads_with_different_limits_do_not_disturb_each_other():
    def allowed(limit: int) -> bool:
        try:
            read_header(PHOTO_PNG, reading=Reading(max_pixels=limit))
        except UnreadableError:
            return False
        return True

    limits = [64 * 48 - 1, 64 * 48, 10, 10**9] * 100
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert list(pool.map(allowed, limits)) == [limit >= 64 * 48 for limit in limits]


def test_nothing_of_pillow_is_printed():
    program = (
        "import sys; from trainer.images.picture import *; from trainer.images.preprocessing "
        "import *\nfor data in sys.stdin.buffer.read().split(b'NEXT'):\n"
        "    try: print(read_header(data, reading=Reading()))\n"
        "    except UnreadableError as error: print(error)\n"
    )
    exif = b"Exif\0\0II*\0\x08\0\0\0\x09\0\x0f\x01\x02\0"
    odd = [png(10_000, 10_000), encoded(fractal(20, 10), "JPEG", exif=exif)]
    done = subprocess.run(
        [sys.executable, "-c", program],
        input=b"NEXT".join(odd),
        capture_output=True,
        timeout=280,
        check=True,
    )
    assert done.stderr == b""
    assert done.stdout.decode().splitlines() == [
        "100,000,000 pixels, more than data.max_pixels allows (89,478,485)",
        "Header(size_HW=(10, 20), traits=frozenset())",
    ]
