"""Decoding: every kind of file becomes the right pixels or says why not,
the same in every thread.
"""

import concurrent.futures
import io
import sys
import types

import numpy as np
import pytest
from PIL import Image, ImageFile, ImageOps

from tests.trainer.images.pictures import (
    BLUE,
    FILL,
    FILLING,
    GRADIENT_HWC,
    GREEN,
    PHOTO_PNG,
    READING,
    RED,
    encoded,
    fractal,
    half_clear,
    pixels,
    turned,
)
from trainer.errors import UnreadableError
from trainer.images import picture as module
from trainer.images.decode import decode, decode_all, fingerprint
from trainer.images.picture import UPRIGHT
from trainer.images.preprocessing import Box, Preprocessing, Reading


@pytest.fixture(scope="module")
def photo() -> Image.Image:
    return fractal(4032, 3024)


# geometry


def flag(*colours: tuple[int, int, int], width: int = 10, height: int = 20) -> Image.Image:
    """Upright bars of these colours."""
    image = Image.new("RGB", (width * len(colours), height))
    for at, colour in enumerate(colours):
        image.paste(colour, (at * width, 0, (at + 1) * width, height))
    return image


def shaped(
    image: Image.Image, size_HW: tuple[int, int], mode: str, box: Box | None = None
) -> np.ndarray:
    how = Preprocessing(size_HW, mode, crop="none" if box is None else "box")
    return decode(encoded(image), how, reading=FILLING, box=box)


def test_stretch_shows_everything_and_changes_the_aspect():
    result = shaped(flag(RED, GREEN, GREEN, BLUE), (8, 8), "stretch")
    assert (result[:, :2] == RED).all()
    assert (result[:, 2:6] == GREEN).all()
    assert (result[:, 6:] == BLUE).all()


@pytest.mark.parametrize(
    ("size_HW", "rows", "columns"),
    [
        ((8, 8), slice(2, 6), slice(0, 8)),
        ((20, 100), slice(0, 20), slice(30, 70)),
        ((9, 8), slice(2, 6), slice(0, 8)),
    ],
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
    result = decode(
        turned(image, 6), Preprocessing((4, 3), crop="box"), reading=READING, box=(1, 2, 4, 6)
    )
    np.testing.assert_array_equal(result, np.rot90(np.asarray(image), -1)[2:6, 1:4])


@pytest.mark.parametrize("mode", ["stretch", "fit", "crop"])
def test_what_lies_outside_the_box_is_not_seen(mode):
    image = Image.new("RGB", (60, 40), RED)
    image.paste(GREEN, (20, 10, 40, 30))
    assert (shaped(image, (8, 8), mode, (20, 10, 40, 30)) == GREEN).all()


@pytest.mark.parametrize("format", ["PNG", "JPEG"])
@pytest.mark.parametrize(
    "box", [(0, 0, 65, 48), (0, 0, 64, 49), (-1, 0, 10, 10), (100, 100, 110, 110)]
)
def test_a_box_that_leaves_the_image_is_refused(format, box):
    how = Preprocessing((8, 8), crop="box")
    with pytest.raises(
        UnreadableError, match=r"^the box \[.*\] does not lie inside the image of 64 x 48$"
    ):
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


@pytest.mark.parametrize("size_HW", [(8, 4), (32, 32)])
def test_bicubic_is_pillows_filter(size_HW):
    how = Preprocessing(size_HW, resampling="bicubic")
    assert how.key == f"{size_HW[0]}x{size_HW[1]}-stretch-bicubic"
    image = Image.fromarray(GRADIENT_HWC)
    expected = np.asarray(image.resize(size_HW[::-1], Image.Resampling.BICUBIC))
    bicubic, area = (
        decode(encoded(GRADIENT_HWC), choice, reading=Reading())
        for choice in (how, Preprocessing(size_HW))
    )
    np.testing.assert_array_equal(bicubic, expected)
    assert (area != expected).any()


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
def test_a_jpeg_is_decoded_once_and_leaves_twice_the_pixels_needed(
    drafts, size_WH, how, box, scale
):
    decode(encoded(Image.new("RGB", size_WH), "JPEG"), how, reading=READING, box=box)
    assert drafts == [scale]


def test_the_scale_is_chosen_for_the_picture_as_displayed(drafts):
    decode(
        turned(Image.new("RGB", (640, 240)), 6, "JPEG"), Preprocessing((40, 15)), reading=READING
    )
    assert drafts == [8]


@pytest.mark.parametrize(
    ("part", "how", "box"),
    [
        ((0, 0, 4032, 3024), Preprocessing((256, 256)), None),
        (
            (0, 0, 4032, 3024),
            Preprocessing((224, 298), "crop", crop="box"),
            (1001, 513, 2502, 2222),
        ),
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
    stand_in = types.ModuleType("trainer.images.crops")
    stand_in.seen = []

    def face_box(rgb_HWC: np.ndarray, *, weights: str | None) -> Box | None:
        stand_in.seen.append((rgb_HWC.shape, weights))
        rows, columns = np.nonzero((rgb_HWC[:, :, 1] > 128) & (rgb_HWC[:, :, 0] < 128))
        return (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1) if len(rows) else None

    def foreground_mask(rgb_HWC: np.ndarray, *, weights: str | None) -> np.ndarray:
        stand_in.seen.append((rgb_HWC.shape, weights))
        return rgb_HWC.max(axis=2) > 64

    stand_in.face_box, stand_in.foreground_mask = face_box, foreground_mask
    monkeypatch.setitem(sys.modules, "trainer.images.crops", stand_in)
    monkeypatch.setattr("trainer.images.crops", stand_in, raising=False)
    return stand_in


def portrait(format: str, face: Box, size_WH: tuple[int, int] = (1600, 1200)) -> bytes:
    image = Image.new("RGB", size_WH, RED)
    image.paste(GREEN, face)
    return encoded(
        image, format, **({"quality": 95} if format == "JPEG" else {"compress_level": 1})
    )


@pytest.mark.parametrize(
    ("format", "face", "scales"),
    [
        ("PNG", (400, 200, 1200, 1000), [1]),
        ("JPEG", (400, 200, 1200, 1000), [2]),  # the copy for the search is fine enough
        ("JPEG", (400, 200, 480, 280), [2, 1]),
    ],
)
def test_the_face_is_sought_in_a_small_copy_and_cut_from_a_fine_one(
    crops, drafts, format, face, scales
):
    how = Preprocessing((32, 32), crop="face")
    result = decode(portrait(format, face), how, reading=Reading(face_weights="yunet.onnx"))
    assert crops.seen == [((480, 640, 3), "yunet.onnx")]
    assert drafts == scales
    assert np.abs(result[2:-2, 2:-2].astype(int) - GREEN).max() <= 6


def test_without_a_face_the_whole_image_is_taken(crops):
    how = Preprocessing((12, 16), crop="face")
    np.testing.assert_array_equal(
        decode(encoded(flag(RED, BLUE)), how, reading=READING),
        pixels(encoded(flag(RED, BLUE)), (12, 16)),
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
    ("mode", "mask_HW"),
    [("stretch", (64, 64)), ("fit", (32, 64)), ("crop", (64, 128)), ("none", (20, 40))],
)
def test_the_background_is_judged_by_all_that_the_crop_left(crops, mode, mask_HW):
    """Also by what `crop` will cut off; and never in more pixels than there are."""
    image = flag((0, 0, 0), RED, RED, BLUE, width=100, height=200)
    size_HW = (32, 32)
    if mode == "none":
        mode, image, size_HW = (
            "stretch",
            image.resize((40, 20), Image.Resampling.NEAREST),
            (100, 100),
        )
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
    dark, light = (
        fingerprint(encoded(clear), reading=Reading(fill_rgb=(level,) * 3)) for level in (0, 255)
    )
    assert bits_between(dark, light) > 0


def test_a_jpeg_is_fingerprinted_from_a_small_grey_decode(drafts, monkeypatch):
    modes = []
    monkeypatch.setattr(
        module, "_flat", lambda image, fill_rgb: (modes.append(image.mode), image)[1]
    )
    fingerprint(encoded(Image.new("RGB", (4000, 3000)), "JPEG"), reading=READING)
    assert drafts == [8]
    assert modes == ["L"]


# the same every time


def test_the_pixels_are_the_same_twice_and_in_every_thread():
    photo = fractal(1237, 963)
    jobs = [
        (data, Preprocessing((96, 80), mode, crop=crop), (31, 17, 1000, 900))
        for data in (
            encoded(photo, "JPEG"),
            turned(photo, 7, "JPEG"),
            encoded(photo, "WEBP", quality=50, method=0),
        )
        for mode in ("stretch", "fit", "crop")
        for crop in ("none", "box")
    ]
    jobs = [
        (data, how, box if how.crop == "box" and box[2] <= 963 else (31, 17, 900, 800))
        for data, how, box in jobs
    ]

    def run(job: tuple[bytes, Preprocessing, Box]) -> bytes:
        data, how, box = job
        words = fingerprint(data, reading=READING)
        return decode(data, how, reading=READING, box=box).tobytes() + words.tobytes()

    alone = [run(job) for job in jobs]
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        assert list(pool.map(run, jobs * 2)) == alone * 2


def test_truncated_files_stay_refused_by_pillow():
    assert ImageFile.LOAD_TRUNCATED_IMAGES is False
