"""The page of `sweeps check`: one HTML file that shows a data set before any GPU is used.

`sweeps suspects` writes its contact sheet as such a page, too.

The page needs no other file: it contains its style, its thumbnails are data URIs, it has no script,
and its Content-Security-Policy forbids every request. So the page can be sent by mail, or opened
years later.
"""

import base64
import dataclasses
import re
import unicodedata
from pathlib import Path

import jinja2

from trainer.files import atomic_write

# Number of contact sheets that are open at first. All further sheets are collapsed, so that a page
# with hundreds of classes is not too long.
OPEN_SHEETS = 30
OPEN_PAIRS = 8  # pairs of images that are open at first, per suspicion
CAPTION_COLUMNS = 30  # letters; a caption then takes two lines on a wide screen at most

_NUMBER = r"[-+\u2212~<>]?\d[\d,.]*(?:e[-+]?\d+)?"  # U+2212 is the minus sign of typesetters
_LOOKS_LIKE_A_NUMBER = re.compile(
    rf"{_NUMBER}(?: ± {_NUMBER})?(?: ?(?:%|ms|s|h|px|[kMGT]?B))?", re.ASCII
)
_MISSING = ("", "-", "–", "—", "nan", "n/a")  # noqa: RUF001  dashes of several lengths


@dataclasses.dataclass(frozen=True)
class Picture:
    """A thumbnail.

    Attributes:
        jpeg: the bytes of a JPEG file, at most about 128 pixels a side. The page contains them
            unchanged. None if the image cannot be read any more.
        caption: for example a path. The page shows the end of the caption, and the whole caption
            while the mouse pointer is over it.
        note: what stands below the caption; may be empty.
    """

    jpeg: bytes | None
    caption: str
    note: str = ""


@dataclasses.dataclass(frozen=True)
class Sheet:
    """The contact sheet of one class.

    Attributes:
        title: name of the class.
        note: a remark about the class (`1,234 images`).
        pictures: some images of the class.
    """

    title: str
    note: str
    pictures: tuple[Picture, ...]


@dataclasses.dataclass(frozen=True)
class Pair:
    """Two images that a reader compares.

    Attributes:
        note: why the pair is suspicious: the class and fold of each image.
    """

    left: Picture
    right: Picture
    note: str


@dataclasses.dataclass(frozen=True)
class Suspicion:
    """One suspected problem in the data, for example a leak, with example pairs.

    Attributes:
        text: the suspicion in a sentence.
        pairs: examples; the clearest example is first.
    """

    text: str
    pairs: tuple[Pair, ...]


@dataclasses.dataclass(frozen=True)
class PageTable:
    """A table of formatted cells.

    Attributes:
        rows: each row has one cell per column; its first cell is the name of the row.
        note: a remark about the table; may be empty.
        trials: the trial of each row, for rows that are lit together with charts; may be empty.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""
    trials: tuple[int, ...] = ()


@dataclasses.dataclass(frozen=True)
class CheckPage:
    """The content of the page.

    Attributes:
        title: the sweep's name.
        summary: lines of name and value: images, classes, folds.
        warnings: sentences; the most important warning is first.
        sheets: one contact sheet per class.
        what: what the page is.
        fine: what stands at its top if there are no warnings and no suspicions.
        origin: who wrote the page, at its end.
    """

    title: str
    summary: tuple[tuple[str, str], ...]
    warnings: tuple[str, ...]
    suspicions: tuple[Suspicion, ...]
    tables: tuple[PageTable, ...]
    sheets: tuple[Sheet, ...]
    what: str = "Data check"
    fine: str = "No warnings, no suspicions"
    origin: str = "Written by sweeps check before anything was trained."


def write_page(page: CheckPage, path: Path) -> None:
    """Write `page` as one HTML file. The file is never half written.

    Raises:
        ValueError: a row of a table has more or fewer cells than the table has columns.
    """
    stream = (
        page_environment()
        .get_template("check.html")
        .stream(page=page, open_sheets=OPEN_SHEETS, open_pairs=OPEN_PAIRS)
    )
    stream.enable_buffering(64)
    with atomic_write(path) as file:
        # file names on Linux may contain bytes that are not UTF-8; Python represents such bytes as
        # lone surrogates
        stream.dump(file, encoding="utf-8", errors="backslashreplace")


def page_environment() -> jinja2.Environment:
    """The templates of all pages, with their filters."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("sweeps"),
        autoescape=True,  # names of classes and paths come from the user and may contain any text
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "data_uri": data_uri,
        "shortened": shortened,
        "numeric": numeric_columns,
    }
    return environment


def shortened(text: str, columns: int = CAPTION_COLUMNS) -> str:
    """The end of `text`, with an ellipsis before it if the text was too long.

    Paths of images differ mostly at their ends. The text is cut at the next slash if there is one,
    so that no folder name is shown in part.

    Args:
        columns: how wide the result may be: a Latin letter counts 1, a Korean letter counts 2.
    """
    widths = [2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text]
    if sum(widths) <= columns:
        return text
    start = len(text)
    left = columns - 1
    while widths[start - 1] <= left:
        start -= 1
        left -= widths[start]
    return f"…{text[folder:] if (folder := text.find('/', start)) >= 0 else text[start:]}"


def numeric_columns(table: PageTable) -> tuple[bool, ...]:
    """For each column, whether its cells are aligned to the right.

    This is so if at least half of the filled cells look like numbers. All cells of a column have
    the same alignment, so that a class called `7` is aligned like the other classes.

    Raises:
        ValueError: a row has more or fewer cells than the table has columns.
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


def data_uri(jpeg: bytes) -> str:
    """The picture as the source of an `<img>`, so that the page needs no other file."""
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"
