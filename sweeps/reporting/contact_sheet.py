"""A sheet of small pictures with two lines of text below each, as one JPEG.

Programs such as the Optuna dashboard show a picture file but no page of HTML.
"""

import contextlib
import dataclasses
import functools
import io
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

COLUMNS = 6
SIDE = 128  # of a picture, in pixels
GAP = 8
LINE = 15  # height of a line of text
FONT_SIZE = 12
# for letters beyond ASCII, where one of them is installed
SYSTEM_FONTS = (
    "DejaVuSans.ttf",
    "NotoSansCJK-Regular.ttc",
    "NotoSansKR-Regular.otf",
    "NanumGothic.ttf",
    "AppleSDGothicNeo.ttc",
    "malgun.ttf",
)
QUALITY = 85
PAPER, INK, SOFT = (255, 255, 255), (27, 33, 41), (91, 101, 114)
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
_UNKNOWN = "\U0010fffe"  # no font has this character: it is drawn as any other missing one


@dataclasses.dataclass(frozen=True, eq=False)
class Cell:
    """A picture and the two lines below it.

    Attributes:
        image_HWC: height, width and 3 colours, 0 to 255.
    """

    image_HWC: npt.NDArray[np.uint8]
    lines: tuple[str, str]


def contact_sheet(cells: Sequence[Cell]) -> bytes:
    """Draw the pictures from left to right and from top to bottom.

    Each picture is scaled to at most SIDE pixels; a line that is too long is cut.
    """
    columns = min(COLUMNS, len(cells))
    rows = -(-len(cells) // COLUMNS)
    step = (SIDE + GAP, SIDE + 2 * LINE + GAP)
    sheet = Image.new("RGB", (GAP + columns * step[0], GAP + rows * step[1]), PAPER)
    draw = ImageDraw.Draw(sheet)
    for index, cell in enumerate(cells):
        x, y = GAP + index % COLUMNS * step[0], GAP + index // COLUMNS * step[1]
        picture = _scaled(cell.image_HWC)
        sheet.paste(picture, (x + (SIDE - picture.width) // 2, y + (SIDE - picture.height) // 2))
        for number, (text, colour) in enumerate(zip(cell.lines, (SOFT, INK), strict=True)):
            font = _font_for(text) or _fonts()[0]
            draw.text((x, y + SIDE + number * LINE), _cut(text, font), fill=colour, font=font)
    buffer = io.BytesIO()
    sheet.save(buffer, "JPEG", quality=QUALITY)
    return buffer.getvalue()


def drawable(text: str) -> bool:
    """Whether a font of this machine has all letters of a text.

    Pillow's own font has ASCII, so a text in ASCII can be drawn everywhere.
    """
    return _font_for(text) is not None


@functools.cache
def _font_for(text: str) -> Font | None:
    return next((font for font in _fonts() if _has_all(font, text)), None)


@functools.cache
def _fonts() -> tuple[Font, ...]:
    """Pillow's own font, and those of SYSTEM_FONTS that are on this machine."""
    fonts: list[Font] = [ImageFont.load_default(FONT_SIZE)]
    for name in SYSTEM_FONTS:
        with contextlib.suppress(OSError):
            fonts.append(ImageFont.truetype(name, FONT_SIZE))
    return tuple(fonts)


def _has_all(font: Font, text: str) -> bool:
    missing = bytes(font.getmask(_UNKNOWN))
    return all(bytes(font.getmask(letter)) != missing for letter in text if not letter.isspace())


def _scaled(image_HWC: npt.NDArray[np.uint8]) -> Image.Image:
    """A tiny image is enlarged with its pixels visible, because nothing lies between them."""
    image = Image.fromarray(image_HWC)
    factor = SIDE / max(image.size)
    size = (max(1, round(image.width * factor)), max(1, round(image.height * factor)))
    how = Image.Resampling.NEAREST if factor > 1 else Image.Resampling.BOX
    return image.resize(size, how, reducing_gap=2.0)


def _cut(text: str, font: Font) -> str:
    """The text, cut so that it is not wider than a picture."""
    if font.getlength(text) <= SIDE:
        return text
    while text and font.getlength(f"{text}...") > SIDE:
        text = text[:-1]
    return f"{text}..."
