"""A picture becomes pixels: cut out, freed of its background, resized; or 256 bits that say what it looks like."""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image

from trainer.errors import UnreadableError
from trainer.images.picture import Area, Kept, Picture, Size_WH, read_picture
from trainer.images.preprocessing import Box, Preprocessing, Reading

Images = npt.NDArray[np.uint8]

FACE_SIDE = 640  # pixels of the long side in which faces are sought
HASH_CELLS_HW = (16, 17)
HASH_CELL = 8  # pixels averaged to a cell along each side
HASH_STEP = 2.0  # grey levels between neighbours; less is noise of the compression, not content


def decode(data: bytes, how: Preprocessing, *, reading: Reading, box: Box | None = None) -> Images:
    """The picture as (H, W, 3) uint8 RGB of exactly `how.size_HW`; see `decode_all`."""
    (image_HWC,) = decode_all(data, [(how, box)], reading=reading)
    return image_HWC


def decode_all(
    data: bytes, wanted: Sequence[tuple[Preprocessing, Box | None]], *, reading: Reading
) -> list[Images]:
    """The picture once for each choice, each a function of the bytes, the choice, its box and `reading` alone.

    Choices that need the same scale of a JPEG, and all choices of other files, share one decoding.

    The picture is set upright, made 8-bit RGB (of an animation the first frame), cropped, freed of its background
    and resized: area averaging where both sides shrink, bilinear otherwise. JPEGs are decoded at the smallest of
    1/8, 1/4, 1/2, 1/1 that leaves twice the pixels needed along each side: within 2 grey levels of a full decode
    on photos, in about a third of the time.

    Args:
        wanted: the choices; the box is what `crop: box` cuts out, inside the image.

    Raises:
        UnreadableError: the file cannot be decoded, or a box leaves the image.
    """
    kept: Kept = {}
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
    resized = picture.resized(shown, size_WH).convert("RGB")
    height, width = how.size_HW
    if size_WH == (width, height):
        return np.array(resized)
    canvas = Image.new("RGB", (width, height), reading.fill_rgb)
    canvas.paste(resized, ((width - size_WH[0]) // 2, (height - size_WH[1]) // 2))
    return np.array(canvas)


def fingerprint(data: bytes, *, reading: Reading) -> npt.NDArray[np.uint64]:
    """256 bits that survive resizing and recompression: (4,) words, the first cell in the highest bit.

    A bit says whether a cell of 16 x 16 is darker than its right neighbour by more than `HASH_STEP`, so flat
    regions give zeros instead of noise, and an entirely flat picture, whatever its colour, gives only zeros.

    Raises:
        UnreadableError: the file cannot be decoded to its end.

    Source: N. Krawetz 2013, "Kind of Like That" (dHash); finer, with the step as our deviation.
    """
    rows, columns = HASH_CELLS_HW
    size_WH = columns * HASH_CELL, rows * HASH_CELL
    picture = read_picture(
        data,
        reading=reading,
        scale_for=lambda full_WH: _draft_scale(full_WH, size_WH),
        kept={},
        grey=True,
    )
    pixels_HW = np.asarray(picture.resized(picture.whole, size_WH), dtype=np.float32)
    cells_HW = pixels_HW.reshape(rows, HASH_CELL, columns, HASH_CELL).mean(axis=(1, 3))
    bits = np.packbits(np.diff(cells_HW, axis=1) > HASH_STEP)
    return bits.view(">u8").astype(np.uint64)


def _part(
    data: bytes, how: Preprocessing, *, reading: Reading, box: Box | None, kept: Kept
) -> tuple[Picture, Area]:
    """The picture, and which part of it is used: the box, else all."""

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
    """The picture, and the part of it that holds the face: sought in a small copy, cut from a finer one."""
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
    small_WH = max(1, round(width * shrink)), max(1, round(height * shrink))
    small = picture.resized(picture.whole, small_WH).convert("RGB")
    face = face_box(np.array(small), weights=reading.face_weights)
    region = picture.whole
    if face is not None:
        x, y = width / small_WH[0], height / small_WH[1]
        region = (round(face[0] * x), round(face[1] * y), round(face[2] * x), round(face[3] * y))
    shown, size_WH = _placement(region, how)
    needed = _draft_scale((shown[2] - shown[0], shown[3] - shown[1]), size_WH)
    if picture.scale_XY[0] < 1 / needed:
        picture = read_picture(data, reading=reading, scale_for=lambda _: needed, kept=kept)
    return picture, region


def _without_background(
    picture: Picture, region: Area, *, shown: Area, size_WH: Size_WH, reading: Reading
) -> Picture:
    """The region with everything but the foreground painted over, at most twice as fine as it will be shown."""
    from trainer.images.crops import foreground_mask

    sides = region[2] - region[0], region[3] - region[1]
    shown_sides = shown[2] - shown[0], shown[3] - shown[1]
    width, height = (
        math.ceil(min(side, 2 * target * side / shown_side))
        for side, shown_side, target in zip(sides, shown_sides, size_WH, strict=True)
    )
    rgb_HWC = np.array(picture.resized(region, (width, height)).convert("RGB"))
    rgb_HWC[~foreground_mask(rgb_HWC, weights=reading.background_weights)] = reading.fill_rgb
    scale_XY = width / sides[0], height / sides[1]
    offset_XY = -region[0] * scale_XY[0], -region[1] * scale_XY[1]
    return Picture(Image.fromarray(rgb_HWC), picture.size_WH, scale_XY, offset_XY)


def _placement(region: Area, how: Preprocessing) -> tuple[Area, Size_WH]:
    """The part of the region that is shown, and its size in the result; what remains of that is padding."""
    height, width = how.size_HW
    left, top, right, bottom = region
    full_width, full_height = right - left, bottom - top
    if how.resize_mode == "stretch":
        return region, (width, height)
    ratios = width / full_width, height / full_height
    if how.resize_mode == "fit":
        ratio = min(ratios)
        return region, (max(1, round(full_width * ratio)), max(1, round(full_height * ratio)))
    ratio = max(ratios)
    x, y = max(0.0, full_width - width / ratio) / 2, max(0.0, full_height - height / ratio) / 2
    return (left + x, top + y, right - x, bottom - y), (width, height)


def _draft_scale(shown_WH: tuple[float, float], size_WH: Size_WH) -> int:
    """Of 8, 4, 2 and 1 the largest divisor that leaves twice the pixels needed along both sides."""
    finest = min(shown / (2 * needed) for shown, needed in zip(shown_WH, size_WH, strict=True))
    return next((scale for scale in (8, 4, 2) if finest >= scale), 1)
