"""The page of `sweeps check`: one file, everything in it, whatever the names are."""

import base64
import dataclasses
import io
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

from sweeps.preparing.check_page import (
    OPEN_PAIRS,
    OPEN_SHEETS,
    CheckPage,
    PageTable,
    Pair,
    Picture,
    Sheet,
    Suspicion,
    shortened,
    write_page,
)

EMPTY = CheckPage(title="mask", summary=(), warnings=(), suspicions=(), tables=(), sheets=())
NASTY = [
    "<script>alert(1)</script>",
    """"double" 'single' onerror="alert(1)" """,
    "</title></style><!-- &amp; -->",
    "{{ 7 * 7 }}{% raw %}",
    "마스크를 올바르게 착용한 사람",
    "  two  spaces  ",
]
VOID = {"meta", "link", "img"}


@dataclasses.dataclass
class Element:
    tag: str
    attributes: dict[str, str]
    children: "list[Element | str]"

    @property
    def text(self) -> str:
        return "".join(child if isinstance(child, str) else child.text for child in self.children)

    def find(self, tag: str, **attributes: str) -> "list[Element]":
        """All elements below this one, in the order of the page,
        that have this tag and these attributes.
        """
        found = []
        for child in self.children:
            if isinstance(child, Element):
                found += (
                    [child]
                    if child.tag == tag and attributes.items() <= child.attributes.items()
                    else []
                )
                found += child.find(tag, **attributes)
        return found


class Tree(HTMLParser):
    """Reads a page into elements; refuses tags that are closed in another order
    than they were opened.
    """

    def __init__(self) -> None:
        super().__init__()
        self.root = Element("", {}, [])
        self.open = [self.root]

    def handle_starttag(self, tag, attrs):
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), f"<{tag}> has an attribute twice: {names}"
        element = Element(tag, {name: value or "" for name, value in attrs}, [])
        self.open[-1].children.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_endtag(self, tag):
        assert self.open.pop().tag == tag

    def handle_data(self, data):
        self.open[-1].children.append(data)

    def handle_comment(self, data):
        pytest.fail(f"a comment: {data}")


@pytest.fixture
def written(tmp_path):
    """Writes a page (`EMPTY` with changes) and reads it back."""

    def write(**changes) -> Element:
        path = tmp_path / "out" / "check.html"
        write_page(dataclasses.replace(EMPTY, **changes), path)
        tree = Tree()
        tree.feed(path.read_bytes().decode("utf-8"))
        tree.close()
        assert tree.open == [tree.root]
        return tree.root

    return write


def jpeg(grey: int = 128) -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (16, 12), grey).save(buffer, "JPEG")
    return buffer.getvalue()


def picture(caption: str = "images/0001.jpg", grey: int = 128) -> Picture:
    return Picture(jpeg=jpeg(grey), caption=caption)


def sheet(title: str, note: str = "1,234 images") -> Sheet:
    return Sheet(title=title, note=note, pictures=(picture(), picture()))


def suspicion(number: int, text: str = "look alike") -> Suspicion:
    return Suspicion(
        text=text,
        pairs=tuple(Pair(picture("a.jpg"), picture("b.jpg"), f"pair {n}") for n in range(number)),
    )


def table(*rows: tuple[str, ...], columns: tuple[str, ...] = ("class", "images")) -> PageTable:
    return PageTable(title="classes", columns=columns, rows=rows)


def full(name: str) -> dict:
    """A page that has `name` everywhere where a text can stand."""
    return {
        "title": name,
        "summary": ((name, name),),
        "warnings": (name,),
        "suspicions": (Suspicion(name, (Pair(picture(name), picture(name), name),)),),
        "tables": (PageTable(name, (name, name), ((name, name),), name),),
        "sheets": (Sheet(name, name, (picture(name),)), Sheet(name, name, ())),
    }


def headings(page: Element) -> list[str]:
    return [heading.text for heading in page.find("h2")]


# what stands where


def test_warnings_and_suspicions_come_before_everything_else(written):
    page = written(**full("name") | {"summary": (("images", "1,234"),)})
    assert headings(page) == [
        "Warnings",
        "Suspicions examples, to be judged by eye",
        "Tables",
        "Contact sheets",
    ]
    text = page.find("body")[0].text
    assert (
        text.index("Warnings")
        < text.index("Suspicions")
        < text.index("1,234")
        < text.index("Tables")
    )


def test_the_head_counts_what_was_found_and_leads_to_it(written):
    page = written(warnings=("a", "b"), suspicions=(suspicion(1),), sheets=(sheet("cat"),) * 1200)
    (contents,) = page.find("nav", **{"class": "chips"})
    assert [(link.text, link.attributes["href"]) for link in contents.find("a")] == [
        ("2 warnings", "#warnings"),
        ("1 suspicion", "#suspicions"),
        ("1,200 contact sheets", "#sheets"),
    ]


def test_a_page_without_warnings_and_suspicions_says_so(written):
    assert "No warnings, no suspicions" in written(sheets=(sheet("cat"),)).text
    assert "No warnings" not in written(warnings=("a",)).text
    assert "No warnings" not in written(suspicions=(suspicion(0),)).text


def test_what_there_is_none_of_has_no_heading(written):
    assert headings(written()) == []
    assert headings(written(sheets=(sheet("cat"),))) == ["Contact sheets"]


def test_the_summary_pairs_names_with_values_in_order(written):
    page = written(summary=(("images", "1,234"), ("folds", "5, grouped by person")))
    assert [term.text for term in page.find("dt")] == ["images", "folds"]
    assert [value.text for value in page.find("dd")] == ["1,234", "5, grouped by person"]


def test_every_inner_link_leads_to_something(written):
    page = written(**full("name"))
    everything = [
        element
        for tag in ("section", "div", "details", "nav", "main", "aside")
        for element in page.find(tag)
    ]
    ids = [element.attributes["id"] for element in everything if "id" in element.attributes]
    links = [link.attributes["href"] for link in page.find("a")]
    assert len(ids) == len(set(ids))
    assert {"#warnings", "#sheet-1", "#sheet-2"} <= set(links) <= {f"#{name}" for name in ids}


# pictures


def test_a_picture_is_its_own_bytes_inside_the_page(written):
    page = written(
        sheets=(Sheet("cat", "", (picture("a.jpg", grey=20), picture("b.jpg", grey=230))),)
    )
    sources = [image.attributes["src"] for image in page.find("img")]
    assert [
        base64.b64decode(source.removeprefix("data:image/jpeg;base64,")) for source in sources
    ] == [
        jpeg(20),
        jpeg(230),
    ]


def test_the_two_of_a_pair_stand_in_order_with_their_note(written):
    pair = Pair(picture("left.jpg", grey=20), picture("right.jpg", grey=230), "fold 0 | fold 3")
    page = written(suspicions=(Suspicion("look alike", (pair,)),))
    (shown,) = page.find("li")
    assert [caption.text for caption in shown.find("figcaption")] == ["left.jpg", "right.jpg"]
    assert [image.attributes["src"][-40:] for image in shown.find("img")] == [
        base64.b64encode(jpeg(grey)).decode()[-40:] for grey in (20, 230)
    ]
    assert shown.find("p")[0].text == "fold 0 | fold 3"


def test_a_long_caption_is_shown_short_and_whole_as_title(written):
    path = "data/train/images/mask worn correctly/person_00017/IMG_0004.jpg"
    (caption,) = written(sheets=(Sheet("cat", "", (picture(path),)),)).find("figcaption")
    assert caption.text == "…/person_00017/IMG_0004.jpg"
    assert caption.attributes["title"] == path


@pytest.mark.parametrize(
    ("text", "short"),
    [
        ("", ""),
        ("0123456789", "0123456789"),
        ("0123456789A", "…23456789A"),
        ("folder/name", "…/name"),
        ("folder/a/b/name", "…/a/b/name"),
        ("folder/aa/b/name", "…/b/name"),
        ("가나다라마", "가나다라마"),
        ("가나다라마바", "…다라마바"),
        ("a/" + "가" * 200, "…" + "가" * 4),
    ],
)
def test_a_caption_keeps_its_end_and_korean_counts_double(text, short):
    assert shortened(text, 10) == short


# many of them


def test_only_the_first_sheets_are_unfolded_and_every_one_is_there(written):
    sheets = tuple(sheet(f"class {number}") for number in range(OPEN_SHEETS + 70))
    folds = written(sheets=sheets).find("details")
    assert [fold.find("summary")[0].text for fold in folds] == [
        f"{each.title}{each.note}" for each in sheets
    ]
    assert ["open" in fold.attributes for fold in folds] == [True] * OPEN_SHEETS + [False] * 70
    assert all(len(fold.find("img")) == 2 for fold in folds)


@pytest.mark.parametrize(
    ("number", "folded"), [(0, None), (OPEN_PAIRS, None), (OPEN_PAIRS + 1, "1 more pair")]
)
def test_pairs_beyond_the_first_ones_are_folded(written, number, folded):
    page = written(suspicions=(suspicion(number),))
    assert [line.text for line in page.find("p", **{"class": "verdict"})] == [
        f"pair {n}" for n in range(number)
    ]
    assert [summary.text for summary in page.find("summary")] == ([folded] if folded else [])


def test_one_sheet_needs_no_index_and_two_have_one(written):
    assert written(sheets=(sheet("cat"),)).find("nav", **{"class": "index card"}) == []
    (index,) = written(sheets=(sheet("cat"), sheet("dog"))).find("nav", **{"class": "index card"})
    assert [link.text for link in index.find("a")] == ["cat", "dog"]


# tables


def right_aligned(page: Element) -> list[list[bool]]:
    """For each line of the table, the heading's first, which cells are set to the right."""
    return [
        [isinstance(cell, Element) and cell.attributes.get("class") == "n" for cell in row.children]
        for row in page.find("tr")
    ]


def test_cells_stand_in_their_rows_below_their_headings(written):
    page = written(tables=(table(("cat", "1,200"), ("dog", "7")),))
    assert [[cell.text for cell in row.children] for row in page.find("tr")] == [
        ["class", "images"],
        ["cat", "1,200"],
        ["dog", "7"],
    ]


@pytest.mark.parametrize(
    "number",
    [
        "7",
        "1,200",
        "-0.5",
        "−0.5",  # noqa: RUF001
        "1e-5",
        "12.3 %",
        "340 kB",
        "41 s",
        "0.91 ± 0.02",
        "<1 %",
        " 7 ",
    ],
)
def test_a_column_of_numbers_is_right_aligned_with_its_heading(written, number):
    assert (
        right_aligned(written(tables=(table(("cat", number), ("dog", "—")),)))
        == [[False, True]] * 3
    )


@pytest.mark.parametrize(
    "text", ["", "—", "n/a", "480x640", "5 to 7", "v2", "3rd", "2026-11-22", "image 7"]
)
def test_other_columns_stay_left(written, text):
    assert right_aligned(written(tables=(table(("cat", text)),))) == [[False, False]] * 2


def test_a_class_called_by_a_number_stays_in_line_with_the_other_classes(written):
    rows = [("cat", "1"), ("7", "2"), ("dog", "see below")]
    assert right_aligned(written(tables=(table(*rows),))) == [[False, True]] * 4


def test_a_table_without_rows_shows_its_headings(written):
    page = written(tables=(table(),))
    assert [cell.text for cell in page.find("th")] == ["class", "images"]


@pytest.mark.parametrize("row", [("cat",), ("cat", "1", "2")])
def test_a_row_of_another_length_is_refused_and_no_file_is_left(tmp_path, row):
    page = dataclasses.replace(EMPTY, tables=(table(("dog", "1"), row),))
    with pytest.raises(
        ValueError, match=r"zip\(\) argument 3 is (short|long)er than arguments 1-2"
    ):
        write_page(page, tmp_path / "check.html")
    assert list(tmp_path.iterdir()) == []


# whatever the names are


@pytest.mark.parametrize("name", NASTY)
def test_a_name_is_text_wherever_it_stands(written, name):
    plain = written(**full("name"))
    page = written(**full(name))
    assert [element.text for element in page.find("title")] == [f"{name} · data check"]
    assert page.find("h1")[0].text == name
    assert [cell.text for cell in page.find("th") + page.find("td")] == [name] * 4
    assert [summary.text for summary in page.find("summary")] == [name * 2] * 2
    assert [caption.attributes for caption in page.find("figcaption")] == [{"title": name}] * 3
    assert [caption.text for caption in page.find("figcaption")] == [shortened(name)] * 3
    assert tags(page) == tags(plain)


def tags(element: Element) -> list:
    """The elements and the names of their attributes, without any text."""
    return [
        (child.tag, sorted(child.attributes), tags(child))
        for child in element.children
        if isinstance(child, Element)
    ]


def test_a_file_name_that_is_no_unicode_is_shown_by_its_bytes(written):
    name = b"caf\xe9.jpg".decode("utf-8", "surrogateescape")
    (caption,) = written(sheets=(Sheet("cat", "", (picture(name),)),)).find("figcaption")
    assert caption.text == caption.attributes["title"] == r"caf\udce9.jpg"


# one file


def test_nothing_is_fetched_and_nothing_runs(written):
    page = written(**full("http://example.org/name.jpg"))
    for tag in ("script", "iframe", "object", "embed", "form", "base"):
        assert page.find(tag) == []
    sources = [image.attributes["src"] for image in page.find("img")]
    links = [link.attributes["href"] for link in page.find("link") + page.find("a")]
    assert all(source.startswith("data:image/jpeg;base64,") for source in sources)
    assert all(link.startswith("#") or link == "data:," for link in links)
    assert not any(
        word in style.text for style in page.find("style") for word in ("url(", "@import", "http")
    )


def test_the_page_itself_forbids_requests_and_scripts(written):
    (policy,) = written().find("meta", **{"http-equiv": "Content-Security-Policy"})
    assert policy.attributes["content"].startswith(
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
    )


def test_the_same_page_is_the_same_file(tmp_path):
    page = dataclasses.replace(EMPTY, **full("name"))
    for name in ("a.html", "b.html"):
        write_page(page, tmp_path / name)
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()


def test_an_image_without_a_picture_keeps_its_caption_and_note(written):
    lost = Picture(jpeg=None, caption="a.jpg", note="cat <said dog>")
    (figure,) = written(sheets=(Sheet("cat", "", (lost,)),)).find("figure")
    assert figure.find("img") == []
    assert [each.text for each in figure.find("div")] == ["no picture", "cat <said dog>"]
    assert figure.find("figcaption")[0].attributes == {"title": "a.jpg"}


def test_a_page_that_cannot_be_finished_leaves_the_old_one(tmp_path):
    path: Path = tmp_path / "check.html"
    write_page(EMPTY, path)
    before = path.read_bytes()
    broken = Picture(jpeg="text", caption="a.jpg")
    with pytest.raises(TypeError, match="bytes-like object"):
        write_page(dataclasses.replace(EMPTY, sheets=(Sheet("cat", "", (broken,)),)), path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
