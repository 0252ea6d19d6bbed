"""Files of more than 8 bits, read with the levels of their data set."""

import dataclasses
import io
import struct

import numpy as np
import pytest
from PIL import Image

from tests.trainer.images.pictures import FILL, encoded, pixels, png
from trainer.errors import UnreadableError
from trainer.images import depth
from trainer.images.picture import read_depth, read_picture, read_range
from trainer.images.preprocessing import Reading

TWELVE = Reading(levels=(0, 4095))
RAMP_HW = (np.arange(256).reshape(16, 16) * 16).astype(np.uint16)  # 12 bits


def colour_png(channels: int, *, alpha: int = 65535) -> bytes:
    """A PNG of 16 bits per channel that holds 12 bits; the last of 2 or 4 channels is alpha."""
    values_HWC = np.repeat(RAMP_HW[:, :, None], channels, axis=2).astype(">u2")
    if channels in (2, 4):
        values_HWC[:, :, -1] = alpha
    kind = {2: 4, 3: 2, 4: 6}[channels]
    body = b"".join(b"\0" + row.tobytes() for row in values_HWC)
    return png(16, 16, bits=16, colour=kind, body=body)


def big_endian_tiff() -> bytes:
    """A TIFF of 16 bits in the byte order of a Motorola processor."""
    tags = [
        (256, 4, 16), (257, 4, 16), (258, 3, 16), (259, 3, 1), (262, 3, 1), (273, 4, 8),
        (277, 3, 1), (278, 4, 16), (279, 4, 512),
    ]  # fmt: skip
    body = RAMP_HW.astype(">u2").tobytes()
    entries = b"".join(
        struct.pack(">HHI", tag, kind, 1)
        + (struct.pack(">HH", value, 0) if kind == 3 else struct.pack(">I", value))
        for tag, kind, value in tags
    )
    return (
        b"MM\0*" + struct.pack(">I", 8 + len(body)) + body
        + struct.pack(">H", len(tags)) + entries + bytes(4)
    )  # fmt: skip


@pytest.mark.parametrize(
    "data",
    [
        encoded(RAMP_HW),
        encoded(RAMP_HW, "TIFF"),
        encoded(RAMP_HW.astype(np.int32), "TIFF"),
        encoded(RAMP_HW, "JPEG2000"),
        big_endian_tiff(),
        colour_png(2),
        colour_png(3),
        colour_png(4),
    ],
    ids=["png", "tiff", "tiff of 32 bits", "jpeg 2000", "big endian", "grey + a", "rgb", "rgb + a"],
)
def test_twelve_bits_keep_all_levels_that_8_bits_have(data):
    result_HWC = pixels(data, reading=TWELVE)
    assert len(set(result_HWC[:, :, 0].ravel().tolist())) == 255  # 16 of them without levels
    np.testing.assert_array_equal(result_HWC[:, :, 1], np.round(RAMP_HW * (255 / 4095)))
    found = read_range(data, reading=TWELVE)
    assert (found.real, found.low, found.high) == (False, 0, 4080)


def test_real_numbers_have_levels_of_their_own():
    data = encoded((RAMP_HW / np.float32(4095)).astype(np.float32), "TIFF")
    reading = Reading(levels=(0, 4095), real_levels=(0, 2))
    np.testing.assert_allclose(
        pixels(data, reading=reading)[:, :, 0], np.round(RAMP_HW * (127.5 / 4095)), atol=1
    )
    assert read_range(data, reading=reading).real


def test_signed_values_are_read_with_one_choice_for_all_files():
    reading = Reading(levels=(-1024, 3071))
    dark, bright = (
        pixels(encoded(np.full((16, 16), value, dtype=np.int32), "TIFF"), reading=reading)[0, 0, 0]
        for value in (-1024 + 1024, 2047)
    )
    assert (dark, bright) == (64, 191)


@pytest.mark.parametrize("channels", [2, 4])
def test_clear_pixels_of_sixteen_bits_are_filled(channels):
    reading = dataclasses.replace(TWELVE, fill_rgb=FILL)
    result_HWC = pixels(colour_png(channels, alpha=0), reading=reading)
    assert (result_HWC == FILL).all()


def test_colours_of_sixteen_bits_without_levels_and_in_a_tiff_lose_the_lower_eight():
    np.testing.assert_array_equal(pixels(colour_png(3))[:, :, 0], RAMP_HW >> 8)
    image = Image.open(io.BytesIO(colour_png(3)))
    assert read_range(encoded(image, "TIFF"), reading=TWELVE) is None  # Pillow writes 8 bits


def test_an_interlaced_png_of_colours_loses_the_lower_eight():
    data = colour_png(3)
    interlaced = data[:28] + b"\1" + data[29:]  # the last byte of the header
    assert depth.deep_values(Image.open(io.BytesIO(data)), interlaced, "colour") is None


def test_a_file_says_how_much_of_it_is_outside_the_levels():
    for data in (encoded(RAMP_HW), colour_png(3)):
        picture = read_picture(
            data, reading=Reading(levels=(0, 2047)), scale_for=lambda _: 1, kept={}
        )
        assert picture.beyond == 0.5


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (encoded(RAMP_HW), "whole"),
        (encoded(RAMP_HW.astype(np.int32), "TIFF"), "whole"),
        (encoded(RAMP_HW.astype(np.float32), "TIFF"), "real"),
        (colour_png(3), "colour"),
        (encoded(RAMP_HW.astype(np.uint8)), None),
        (encoded(RAMP_HW.astype(np.uint8), "JPEG"), None),
        (b"no image", None),
        (b"", None),
    ],
)
def test_the_first_bytes_of_a_file_say_how_deep_it_is(tmp_path, data, kind):
    (tmp_path / "x").write_bytes(data)
    assert read_depth(tmp_path / "x") == kind


def test_what_is_not_there_or_damaged_has_no_depth_and_no_range(tmp_path):
    assert read_depth(tmp_path / "absent.png") is None
    assert read_range(encoded(RAMP_HW.astype(np.uint8)), reading=TWELVE) is None
    with pytest.raises(UnreadableError, match="truncated"):
        read_range(encoded(RAMP_HW)[:-40], reading=TWELVE)


@pytest.mark.parametrize("filter", range(5))
@pytest.mark.parametrize("channels", [2, 3, 4])
def test_every_filter_of_a_png_gives_both_bytes_of_each_colour(filter, channels):
    rng = np.random.default_rng(filter)
    values_HWC = rng.integers(0, 65536, (5, 7, channels)).astype(">u2")
    rows_HB = values_HWC.reshape(5, -1).view(np.uint8).astype(np.int64)
    width = 2 * channels  # of a pixel in bytes
    left_HB = np.pad(rows_HB, ((0, 0), (width, 0)))[:, : rows_HB.shape[1]]
    above_HB = np.pad(rows_HB, ((1, 0), (0, 0)))[:-1]
    corner_HB = np.pad(left_HB, ((1, 0), (0, 0)))[:-1]
    distances = [
        np.abs(left_HB + above_HB - corner_HB - near) for near in (left_HB, above_HB, corner_HB)
    ]
    paeth_HB = np.choose(np.argmin(distances, axis=0), [left_HB, above_HB, corner_HB])
    guesses = [np.zeros_like(rows_HB), left_HB, above_HB, (left_HB + above_HB) // 2, paeth_HB]
    filtered_HB = (rows_HB - guesses[filter]) % 256
    body = b"".join(bytes([filter]) + row.astype(np.uint8).tobytes() for row in filtered_HB)
    data = png(7, 5, bits=16, colour={2: 4, 3: 2, 4: 6}[channels], body=body)
    image = Image.open(io.BytesIO(data))
    np.testing.assert_array_equal(depth.deep_values(image, data, "colour"), values_HWC)
