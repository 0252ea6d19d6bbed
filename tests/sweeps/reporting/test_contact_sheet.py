"""A sheet of small pictures with text below them."""

import io
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image, ImageFont

from sweeps.reporting import contact_sheet as sheets
from sweeps.reporting.contact_sheet import COLUMNS, GAP, LINE, SIDE, Cell, contact_sheet, drawable


def cell(shape: tuple[int, int] = (20, 20), value: int = 200, text: str = "actual dog") -> Cell:
    return Cell(np.full((*shape, 3), value, np.uint8), (text, "said cat (90%)"))


def drawn(*cells: Cell) -> Image.Image:
    return Image.open(io.BytesIO(contact_sheet(cells)))


@pytest.mark.parametrize(("count", "columns", "rows"), [(1, 1, 1), (6, 6, 1), (7, 6, 2)])
def test_pictures_stand_in_rows(count: int, columns: int, rows: int):
    assert COLUMNS == 6
    assert drawn(*[cell()] * count).size == (
        GAP + columns * (SIDE + GAP),
        GAP + rows * (SIDE + 2 * LINE + GAP),
    )


@pytest.mark.parametrize("shape", [(8, 8), (600, 600)])
def test_a_picture_fills_its_place_whatever_its_size(shape: tuple[int, int]):
    sheet = np.asarray(drawn(cell(shape, value=100)).convert("L"))
    inside = sheet[GAP + 2 : GAP + SIDE - 2, GAP + 2 : GAP + SIDE - 2]
    assert abs(inside.astype(int) - 100).max() < 8


def test_a_wide_picture_keeps_its_shape():
    sheet = np.asarray(drawn(cell((10, 40), value=0)).convert("L"))
    dark = sheet[: GAP + SIDE] < 60
    assert 27 <= dark.any(axis=1).sum() <= 36
    assert SIDE - 4 <= dark.any(axis=0).sum() <= SIDE + 8


def test_text_never_reaches_the_next_picture():
    long = drawn(cell(text="w" * 200), cell())
    gap = np.asarray(long.convert("L"))[GAP + SIDE :, GAP + SIDE + 2 : GAP + SIDE + GAP - 2]
    assert gap.min() > 230


@pytest.fixture
def one_font(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine without any of the system's fonts."""
    own = ImageFont.load_default(12)
    monkeypatch.setattr(sheets, "_fonts", lambda: (own,))
    sheets._font_for.cache_clear()
    yield
    sheets._font_for.cache_clear()


@pytest.mark.usefixtures("one_font")
@pytest.mark.parametrize(
    ("text", "answer"),
    [("a dog (90%)", True), ("Köter", False), ("강아지", False), ("dog 犬", False)],
)
def test_letters_that_no_font_has_are_known(text: str, answer: bool):
    assert drawable(text) is answer
    assert drawn(cell(text=text)).width == 2 * GAP + SIDE


def test_fonts_that_are_not_installed_are_left_out(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sheets, "SYSTEM_FONTS", ("no such font.ttf",))
    sheets._fonts.cache_clear()
    (own,) = sheets._fonts()
    sheets._fonts.cache_clear()
    assert own.getlength("a dog") > 0
