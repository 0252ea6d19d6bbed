"""The contact sheet of label suspects."""

import dataclasses
from pathlib import Path

import pytest

from sweeps.preparing.check_page import write_page
from sweeps.results.suspects import Suspect
from sweeps.shipping import suspect_sheet
from sweeps.shipping.suspect_sheet import suspect_page
from tests.fakes import manifest_of, write_photos
from trainer.images.manifest import Manifest

DOUBT = Suspect(0, "label", "red", "blue", 0.9)


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """Twelve photos of three persons."""
    folder = tmp_path_factory.mktemp("data") / "photos"
    found = manifest_of(write_photos(folder, count=12))
    return dataclasses.replace(found, groups=("ann", "bob", "eve") * 4)


def test_a_sheet_shows_a_group_with_its_suspects_first(manifest: Manifest):
    page = suspect_page("mask", {7: [DOUBT], 0: [DOUBT], 4: [DOUBT]}, manifest)
    assert [(sheet.title, sheet.note) for sheet in page.sheets] == [
        ("bob", "2 of 4 in doubt"),
        ("ann", "1 of 4 in doubt"),
    ]
    assert [picture.caption for picture in page.sheets[0].pictures] == [
        "04.png: red → blue?",
        "07.png: red → blue?",
        "01.png",
        "10.png",
    ]


def test_without_groups_a_sheet_shows_one_kind_of_mistake(manifest: Manifest):
    other = Suspect(2, "label", "blue", "red", 0.8)
    alone = dataclasses.replace(manifest, groups=None)
    page = suspect_page("mask", {3: [DOUBT], 2: [other], 9: [DOUBT]}, alone)
    assert [(sheet.title, len(sheet.pictures)) for sheet in page.sheets] == [
        ("red → blue", 2),
        ("blue → red", 1),
    ]


def test_two_doubts_about_one_image_are_both_named(manifest: Manifest):
    second = Suspect(0, "age", "old", "young", 0.8)
    page = suspect_page("mask", {0: [DOUBT, second]}, manifest)
    assert page.sheets[0].pictures[0].caption == "00.png: red → blue?, old → young?"


def test_a_large_group_is_shown_in_part_and_many_groups_too(
    manifest: Manifest, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(suspect_sheet, "MAX_PER_SHEET", 2)
    monkeypatch.setattr(suspect_sheet, "MAX_SHEETS", 1)
    page = suspect_page("mask", {0: [DOUBT], 3: [DOUBT], 6: [DOUBT], 1: [DOUBT]}, manifest)
    (sheet,) = page.sheets
    assert [picture.caption[:6] for picture in sheet.pictures] == ["00.png", "03.png", "06.png"]
    assert page.fine == "4 suspects, 1 of 2 sheets shown"


def test_the_page_says_what_it_is(manifest: Manifest, tmp_path: Path):
    write_page(suspect_page("mask", {0: [DOUBT]}, manifest), tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text()
    assert "<title>mask · label suspects</title>" in text
    assert '<span class="fine">1 suspect</span>' in text
    assert "Written by sweeps suspects from predictions of models" in text
    assert "sweeps check" not in text
