"""A report as one HTML file, as Markdown and as JSON."""

import json
import math
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from sweeps.preparing.check_page import PageTable
from sweeps.reporting.document import Report, Section, json_text, markdown, script_hash, write_html
from sweeps.reporting.svg import Chart, drawing
from tests.sweeps.preparing.test_check_page import NASTY, Element, Tree, picture


def report(name: str = "mask") -> Report:
    section = Section(
        "leaderboard",
        name,
        (name,),
        (Chart(name, drawing(name), name),),
        (PageTable(name, (name, "score"), ((name, "0.9"),), name, trials=(3,)),),
        (picture(name),),
        name,
        {"score": 0.9},
    )
    return Report(name, name, ((name, name),), (section,))


def written(folder: Path, made: Report) -> tuple[str, Element]:
    path = folder / "report.html"
    write_html(made, path)
    text = path.read_bytes().decode("utf-8")
    tree = Tree()
    tree.feed(text)
    assert tree.open == [tree.root]
    return text, tree.root


def every(element: Element) -> Iterator[Element]:
    for child in element.children:
        if isinstance(child, Element):
            yield child
            yield from every(child)


@pytest.mark.parametrize("name", NASTY)
def test_names_stand_in_the_page_as_they_are(tmp_path: Path, name: str):
    _, page = written(tmp_path, report(name))
    (body,) = page.find("body")
    assert len(page.find("script")) == 1
    for tag, attributes in (
        ("h1", {"class": "name"}),
        ("h2", {}),
        ("dd", {}),
        ("pre", {"class": "card"}),
        ("h3", {"class": "name"}),
        ("title", {}),
    ):
        assert name in {each.text for each in body.find(tag, **attributes)}, tag


def test_the_page_allows_its_own_script_and_nothing_else(tmp_path: Path):
    text, page = written(tmp_path, report())
    (policy,) = page.find("meta", **{"http-equiv": "Content-Security-Policy"})
    (script,) = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    assert policy.attributes["content"] == (
        f"default-src 'none'; script-src '{script_hash(script)}'; img-src data:; "
        "style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
    )
    assert len(script.encode()) < 3000
    for name in ("src", "href"):
        links = [tag.attributes[name] for tag in every(page) if name in tag.attributes]
        assert links
        assert all(link.startswith(("data:", "#")) for link in links)
    assert "url(" not in text


def test_commands_are_code_and_a_single_backquote_is_text(tmp_path: Path):
    told = ("run `sweeps best` or `<b>`, now", "a ` b", "")
    _, page = written(tmp_path, Report("mask", "", (), (Section("a", "a", told),)))
    lines = page.find("li")
    assert [line.text for line in lines] == ["run sweeps best or <b>, now", "a ` b", ""]
    assert [code.text for code in page.find("code")] == ["sweeps best", "<b>"]


def test_wide_charts_scroll_in_a_box_that_the_keyboard_reaches(tmp_path: Path):
    _, page = written(tmp_path, report())
    (box,) = page.find("div", **{"class": "box"})
    assert box.attributes["tabindex"] == "0"
    assert box.find("svg")[0].attributes["aria-label"] == "mask"


def test_rows_of_trials_are_lit_with_the_charts(tmp_path: Path):
    _, page = written(tmp_path, report())
    assert [row.attributes.get("data-t") for row in page.find("tr")] == [None, "3"]


def test_a_failed_write_leaves_nothing(tmp_path: Path):
    broken = Report(
        "mask", "", (), (Section("a", "a", tables=(PageTable("t", ("one",), (("1", "2"),)),)),)
    )
    with pytest.raises(ValueError, match="zip"):
        write_html(broken, tmp_path / "report.html")
    assert not list(tmp_path.iterdir())


def test_markdown_has_sentences_and_tables():
    assert markdown(report()) == (
        "# mask\n\nmask\n\n- mask: mask\n\n## mask\n\n- mask\n\n**mask**\n\n"
        "| mask | score |\n|---|---:|\n| mask | 0.9 |\n\nmask\n\n```\nmask\n```\n"
    )


def test_markdown_gives_names_no_meaning():
    text = markdown(report("a|b <i> `c` [d](e)\n# f"))
    assert "| a\\|b \\<i\\> \\`c\\` \\[d\\](e) # f | 0.9 |" in text
    assert "````" not in markdown(report("plain"))
    fenced = Report("mask", "", (), (Section("spec", "Spec", text="a: ```\n"),))
    assert "````\na: ```\n````" in markdown(fenced)


def test_sections_of_charts_alone_are_not_in_markdown():
    alone = Report("mask", "", (), (Section("best", "Best", charts=(Chart("a", "<svg/>"),)),))
    assert markdown(alone) == "# mask\n\n"


def test_json_has_each_section_by_its_key():
    made = Report(
        "mask", "why", (("trials", "3"),), (Section("a", "A", ("b",), data=[math.nan, 1.5]),)
    )
    assert json.loads(json_text(made)) == {
        "sweep": "mask",
        "question": "why",
        "facts": {"trials": "3"},
        "a": {"sentences": ["b"], "data": [None, 1.5]},
    }
