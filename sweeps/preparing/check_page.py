"""The page of `sweeps check`: one HTML file that shows a data set before any GPU is used.

It needs nothing beside itself: the style stands in it, thumbnails are data URIs, there is no script, and its own
Content-Security-Policy forbids every request. So it can be mailed, or opened years later.
"""

import base64
import dataclasses
import re
import unicodedata
from pathlib import Path

import jinja2

from trainer.files import atomic_write

OPEN_SHEETS = 30  # contact sheets shown unfolded: with hundreds of classes the page stays one to scroll through
OPEN_PAIRS = 8  # per suspicion
CAPTION_COLUMNS = 30  # two lines below a thumbnail on a wide screen

_NUMBER = r"[-+\u2212~<>]?\d[\d,.]*(?:e[-+]?\d+)?"  # U+2212 is the minus sign of typesetters
_LOOKS_LIKE_A_NUMBER = re.compile(
    rf"{_NUMBER}(?: ± {_NUMBER})?(?: ?(?:%|ms|s|h|px|[kMGT]?B))?", re.ASCII
)
_MISSING = ("", "-", "–", "—", "nan", "n/a")  # noqa: RUF001  a dash of any length


@dataclasses.dataclass(frozen=True)
class Picture:
    """A thumbnail.

    Attributes:
        jpeg: the bytes of a JPEG file, at most about 128 pixels a side; they go into the page as they are.
        caption: a path, say; its end is shown, the whole text on hovering.
    """

    jpeg: bytes
    caption: str


@dataclasses.dataclass(frozen=True)
class Sheet:
    """The contact sheet of one class: its name, a remark (`1,234 images`) and some of its images."""

    title: str
    note: str
    pictures: tuple[Picture, ...]


@dataclasses.dataclass(frozen=True)
class Pair:
    """Two images to be compared by eye, and what makes the pair suspicious (`fold 0 | fold 3`)."""

    left: Picture
    right: Picture
    note: str


@dataclasses.dataclass(frozen=True)
class Suspicion:
    """One kind of suspicion, in a sentence, with examples, the most telling first."""

    text: str
    pairs: tuple[Pair, ...]


@dataclasses.dataclass(frozen=True)
class PageTable:
    """A table of formatted cells: every row has as many as there are columns. The first cell names its row."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""


@dataclasses.dataclass(frozen=True)
class CheckPage:
    """All that the page shows.

    Attributes:
        title: the sweep's name.
        summary: lines of name and value: images, classes, folds.
        warnings: sentences; what a reader should see first comes first.
    """

    title: str
    summary: tuple[tuple[str, str], ...]
    warnings: tuple[str, ...]
    suspicions: tuple[Suspicion, ...]
    tables: tuple[PageTable, ...]
    sheets: tuple[Sheet, ...]


def write_page(page: CheckPage, path: Path) -> None:
    """Write `page` as one HTML file, whole or not at all.

    Raises:
        ValueError: a row of a table has more or fewer cells than there are columns.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("sweeps"),
        autoescape=True,  # class names and paths are the user's, and may hold anything
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "data_uri": _data_uri,
        "shortened": shortened,
        "numeric": numeric_columns,
    }
    stream = environment.get_template("check.html").stream(
        page=page, open_sheets=OPEN_SHEETS, open_pairs=OPEN_PAIRS
    )
    stream.enable_buffering(64)
    with atomic_write(path) as file:
        # names of files on Linux may hold bytes that are no UTF-8; Python carries them as lone surrogates
        stream.dump(file, encoding="utf-8", errors="backslashreplace")


def shortened(text: str, columns: int = CAPTION_COLUMNS) -> str:
    """The end of `text`, after an ellipsis if anything is left out: of a path, the end tells images apart.

    The cut goes to the next slash, if there is one, so that no folder is shown in part.

    Args:
        columns: how wide the result may be, where a Latin letter counts one and a Korean one two.
    """
    widths = [2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text]
    if sum(widths) <= columns:
        return text
    start, left = len(text), columns - 1
    while widths[start - 1] <= left:
        start -= 1
        left -= widths[start]
    return f"…{text[folder:] if (folder := text.find('/', start)) >= 0 else text[start:]}"


def numeric_columns(table: PageTable) -> tuple[bool, ...]:
    """For each column, whether it is set to the right: at least half of what stands in it looks like a number.

    It is decided for whole columns, so that a class called `7` stays in line with its neighbours.

    Raises:
        ValueError: a row has more or fewer cells than there are columns.
    """
    columns = zip(table.columns, *table.rows, strict=True)
    filled = [[cell for cell in column[1:] if cell.strip() not in _MISSING] for column in columns]
    numbers = [
        sum(_LOOKS_LIKE_A_NUMBER.fullmatch(cell.strip()) is not None for cell in column)
        for column in filled
    ]
    return tuple(
        0 < len(column) <= 2 * count for column, count in zip(filled, numbers, strict=True)
    )


def _data_uri(jpeg: bytes) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"
