"""JPEG files without their end marker: whole ones are read, truncated ones stay refused."""

import io

import numpy as np
import pytest
from PIL import Image

from trainer.errors import UnreadableError
from trainer.images.decode import decode, fingerprint
from trainer.images.jpeg_end import RESTARTS, with_end_marker
from trainer.images.picture import read_picture
from trainer.images.preprocessing import Preprocessing, Reading

READING = Reading()
HOW = Preprocessing((97, 133))
KINDS = [
    {},
    {"progressive": True},
    {"quality": 95},
    {"quality": 30},
    {"subsampling": 0},
    {"restart_marker_blocks": 4},
]


def jpeg(*, grey: bool = False, **options: object) -> bytes:
    noise_HWC = np.random.default_rng(0).integers(0, 90, (97, 133, 3))
    shades_HW = (np.add.outer(np.arange(97), np.arange(133)) % 160)[..., None]
    image = Image.fromarray((noise_HWC + shades_HW).astype(np.uint8))
    buffer = io.BytesIO()
    (image.convert("L") if grey else image).save(buffer, "JPEG", **options)
    return buffer.getvalue()


@pytest.mark.parametrize("grey", [False, True])
@pytest.mark.parametrize("lost", [1, 2])
@pytest.mark.parametrize("options", KINDS, ids=str)
def test_a_file_that_lacks_only_the_end_marker_gives_every_pixel(options, lost, grey):
    data = jpeg(grey=grey, **options)
    np.testing.assert_array_equal(
        decode(data[:-lost], HOW, reading=READING), decode(data, HOW, reading=READING)
    )
    np.testing.assert_array_equal(
        fingerprint(data[:-lost], reading=READING), fingerprint(data, reading=READING)
    )


@pytest.mark.parametrize("scale", [1, 2, 8])
def test_at_every_scale_the_picture_is_the_same_and_says_that_it_was_completed(scale):
    data = jpeg(quality=95)
    whole, completed = (
        read_picture(each, reading=READING, scale_for=lambda _: scale, kept={})
        for each in (data, data[:-2])
    )
    assert whole.image.tobytes() == completed.image.tobytes()
    assert (whole.completed, completed.completed) == (False, True)


@pytest.mark.parametrize("options", KINDS, ids=str)
def test_a_file_that_lacks_pixels_is_never_taken_for_whole(options):
    data = jpeg(**options)
    pixels = np.asarray(Image.open(io.BytesIO(data)))
    refused = 0
    ends = [*range(3, 60), *range(60, len(data) - 700, 331)]
    # also where the decoder would restart
    ends += [len(data) - at for at in range(700, len(data)) if data[at : at + 2] in RESTARTS[::3]]
    for lost in ends:
        whole = with_end_marker(data[:-lost])
        refused += whole is None
        if whole is not None:  # the last bytes may say nothing about any pixel
            np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(whole))), pixels)
    assert refused > 50


def test_a_truncated_file_is_refused_as_before():
    with pytest.raises(UnreadableError, match=r"^truncated \(\d+ bytes not processed\)$"):
        decode(jpeg()[:-300], HOW, reading=READING)
