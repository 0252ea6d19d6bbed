"""From the bytes of an image file to pixels: crop, remove the background, resize.

This module also computes the fingerprint of an image: 256 bits for the search of near-duplicates.
"""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image

from trainer.errors import UnreadableError
from trainer.images.picture import Area, Kept, Picture, Size_WH, read_picture
from trainer.images.preprocessing import Box, Preprocessing, Reading

Images = npt.NDArray[np.uint8]

FACE_SIDE = 640  # pixels of the longer side of the copy in which a face is searched
HASH_CELLS_HW = (16, 17)
HASH_CELL = 8  # side in pixels of the square that is averaged to one cell
HASH_STEP = 2.0  # grey levels between neighbours; a smaller step is compression noise, not content


def decode(data: bytes, how: Preprocessing, *, reading: Reading, box: Box | None = None) -> Images:
    """Return the picture as (H, W, 3) uint8 RGB of exactly `how.size_HW`; see `decode_all`."""
    (image_HWC,) = decode_all(data, [(how, box)], reading=reading)
    return image_HWC


def decode_all(
    data: bytes,
    wanted: Sequence[tuple[Preprocessing, Box | None]],
    *,
    reading: Reading,
    kept: Kept | None = None,
) -> list[Images]:
    """Return the picture once for each choice of preprocessing.

    Each result depends only on the bytes, the choice, its box and `reading`. A JPEG is decoded once
    for all choices that need the same scale; any other file is decoded once for all choices.

    The picture is turned upright and converted to 8-bit RGB (the first frame of an animation). Then
    it is cropped, its background is removed, and it is resized: by area averaging if both sides
    shrink, otherwise bilinearly; or bicubically if the choice says so. A JPEG is decoded at the
    smallest scale of 1/8, 1/4, 1/2 and 1/1 that leaves twice the needed pixels along each side. On
    photos the result differs from a full decode by at most 2 grey levels and takes about a third of
    the time.

    Args:
        wanted: the choices, each with the box that `crop: box` cuts out.
        kept: the decoded pictures are added to it; it must be empty.

    Raises:
        UnreadableError: the file cannot be decoded, or a box is not inside the image.
    """
    kept = {} if kept is None else kept
    return [_decoded(data, how, reading=reading, box=box, kept=kept) for how, box in wanted]


def _decoded(
    data: bytes, how: Preprocessing, *, reading: Reading, box: Box | None, kept: Kept
) -> Images:
    if how.crop == "box":
        assert box is not None, "crop: box needs a box"
        assert box[0] < box[2], box
        assert box[1] < box[3], box
    if how.crop == "face":
        picture, region = _face(data, how, reading=reading, kept=kept)
    else:
        picture, region = _part(
            data, how, reading=reading, box=box if how.crop == "box" else None, kept=kept
        )
    shown, size_WH = _placement(region, how)
    if how.background == "remove":
        picture = _without_background(
            picture, region, shown=shown, size_WH=size_WH, reading=reading
        )
    resized = picture.resized(shown, size_WH, resampling=how.resampling).convert("RGB")
    height, width = how.size_HW
    if size_WH == (width, height):
        return np.array(resized)
    canvas = Image.new("RGB", (width, height), reading.fill_rgb)
    canvas.paste(resized, ((width - size_WH[0]) // 2, (height - size_WH[1]) // 2))
    return np.array(canvas)


def fingerprint(
    data: bytes, *, reading: Reading, kept: Kept | None = None
) -> npt.NDArray[np.uint64]:
    """Return 256 bits that resizing and recompression hardly change, as (4,) words.

    Each bit belongs to one cell of a grid of 16 x 16; the first cell has the highest bit. The bit
    is 1 if the cell is darker than its right neighbour by more than `HASH_STEP`. Therefore flat
    regions give zeros instead of noise, and an entirely flat picture of any colour gives only
    zeros.

    Raises:
        UnreadableError: the file cannot be decoded completely.

    Source: N. Krawetz 2013, "Kind of Like That" (dHash). Our deviations: a finer grid, and the
    step.
    """
    rows, columns = HASH_CELLS_HW
    size_WH = (columns * HASH_CELL, rows * HASH_CELL)
    picture = read_picture(
        data,
        reading=reading,
        scale_for=lambda full_WH: _draft_scale(full_WH, size_WH),
        kept={} if kept is None else kept,
        grey=True,
    )
    pixels_HW = np.asarray(picture.resized(picture.whole, size_WH), dtype=np.float32)
    cells_HW = pixels_HW.reshape(rows, HASH_CELL, columns, HASH_CELL).mean(axis=(1, 3))
    bits = np.packbits(np.diff(cells_HW, axis=1) > HASH_STEP)
    return bits.view(">u8").astype(np.uint64)


def _part(
    data: bytes, how: Preprocessing, *, reading: Reading, box: Box | None, kept: Kept
) -> tuple[Picture, Area]:
    """Return the picture and the area that is used: the box, or the whole area without a box."""

    def scale_for(full_WH: Size_WH) -> int:
        shown, size_WH = _placement(box or (0, 0, *full_WH), how)
        return _draft_scale((shown[2] - shown[0], shown[3] - shown[1]), size_WH)

    picture = read_picture(data, reading=reading, scale_for=scale_for, kept=kept)
    if box is not None:
        left, top, right, bottom = box
        width, height = picture.size_WH
        if not (0 <= left < right <= width and 0 <= top < bottom <= height):
            raise UnreadableError(
                f"the box {list(box)} does not lie inside the image of {width} x {height}"
            )
    return picture, box or picture.whole


def _face(data: bytes, how: Preprocessing, *, reading: Reading, kept: Kept) -> tuple[Picture, Area]:
    """Return the picture and the area of its largest face, or the whole area without a face.

    The face is searched in a small copy. If the result needs more pixels than the decoded picture
    has, the file is decoded again at a finer scale.
    """
    from trainer.images.crops import face_box

    picture = read_picture(
        data,
        reading=reading,
        scale_for=lambda full_WH: next(
            (scale for scale in (8, 4, 2) if max(full_WH) >= scale * FACE_SIDE), 1
        ),
        kept=kept,
    )
    width, height = picture.size_WH
    shrink = min(1, FACE_SIDE / max(width, height))
    small_WH = (max(1, round(width * shrink)), max(1, round(height * shrink)))
    small = picture.resized(picture.whole, small_WH).convert("RGB")
    face = face_box(np.array(small), weights=reading.face_weights)
    region = picture.whole
    if face is not None:
        x = width / small_WH[0]
        y = height / small_WH[1]
        region = (round(face[0] * x), round(face[1] * y), round(face[2] * x), round(face[3] * y))
    shown, size_WH = _placement(region, how)
    needed = _draft_scale((shown[2] - shown[0], shown[3] - shown[1]), size_WH)
    if picture.scale_XY[0] < 1 / needed:
        picture = read_picture(data, reading=reading, scale_for=lambda _: needed, kept=kept)
    return picture, region


def _without_background(
    picture: Picture, region: Area, *, shown: Area, size_WH: Size_WH, reading: Reading
) -> Picture:
    """Return the region with everything except the foreground painted with `reading.fill_rgb`.

    The resolution is at most twice the resolution of the result.
    """
    from trainer.images.crops import foreground_mask

    sides = (region[2] - region[0], region[3] - region[1])
    shown_sides = (shown[2] - shown[0], shown[3] - shown[1])
    width, height = (
        math.ceil(min(side, 2 * target * side / shown_side))
        for side, shown_side, target in zip(sides, shown_sides, size_WH, strict=True)
    )
    rgb_HWC = np.array(picture.resized(region, (width, height)).convert("RGB"))
    rgb_HWC[~foreground_mask(rgb_HWC, weights=reading.background_weights)] = reading.fill_rgb
    scale_XY = (width / sides[0], height / sides[1])
    offset_XY = (-region[0] * scale_XY[0], -region[1] * scale_XY[1])
    return Picture(Image.fromarray(rgb_HWC), picture.size_WH, scale_XY, offset_XY)


def _placement(region: Area, how: Preprocessing) -> tuple[Area, Size_WH]:
    """Return the part of the region that the result shows, and the size of that part in the result.

    The other pixels of the result are padding.
    """
    height, width = how.size_HW
    left, top, right, bottom = region
    full_width = right - left
    full_height = bottom - top
    if how.resize_mode == "stretch":
        return region, (width, height)
    ratios = (width / full_width, height / full_height)
    if how.resize_mode == "fit":
        ratio = min(ratios)
        return region, (max(1, round(full_width * ratio)), max(1, round(full_height * ratio)))
    ratio = max(ratios)
    x = max(0.0, full_width - width / ratio) / 2
    y = max(0.0, full_height - height / ratio) / 2
    return (left + x, top + y, right - x, bottom - y), (width, height)


def _draft_scale(shown_WH: tuple[float, float], size_WH: Size_WH) -> int:
    """Return the largest divisor of 8, 4, 2 and 1 that leaves twice the needed pixels per side."""
    finest = min(shown / (2 * needed) for shown, needed in zip(shown_WH, size_WH, strict=True))
    return next((scale for scale in (8, 4, 2) if finest >= scale), 1)
