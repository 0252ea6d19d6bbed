"""A caption of any text becomes a name that a folder, a storage and a command can have."""

import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweeps.space.sweep_names import MAX_BYTES, MAX_NAME, name_problem, sweep_name_of

RULE = "letters, digits, '.', '_' and '-', starting with a letter or digit, at most 100"


@pytest.mark.parametrize(
    ("caption", "name"),
    [
        ("Chest X-ray (first try)", "chest-x-ray-first-try"),
        ("Cats & dogs: lr/wd", "cats-dogs-lr-wd"),
        ("마스크", "마스크"),
        ("마스크 실험 (둘째)", "마스크-실험-둘째"),
        ("Résumé №2", "résumé-2"),
        ("हिन्दी नाम", "हिन्दी-नाम"),
        ("mask/2", "mask-2"),
        ("-x", "x"),
        ("../../etc", "etc"),
        ("v1.2 final!", "v1.2-final"),
        ("🚀 go", "go"),
        ("tab\there", "tab-here"),
    ],
)
def test_a_name_is_made_of_a_caption(caption: str, name: str):
    assert sweep_name_of(caption) == name
    assert name_problem(name) is None
    assert name_problem(caption) is None or caption != name


@pytest.mark.parametrize("name", ["mask", "Mask_2.b-c", "9", "x" * MAX_NAME, "가" * 80])
def test_a_name_stays_as_it_is(name: str):
    assert sweep_name_of(name) == name


def test_two_spellings_of_one_name_are_one_name():
    """Some systems write a Hangul syllable or an accented letter as several characters."""
    name = "마스크é"
    decomposed = unicodedata.normalize("NFD", name)
    assert decomposed != name
    assert sweep_name_of(decomposed) == name


@pytest.mark.parametrize("caption", ["", "!!!", "..", " ", "🚀", "artifacts", "mlartifacts"])
def test_a_caption_without_letters_and_a_folder_of_others_keep_their_problem(caption: str):
    assert sweep_name_of(caption) == caption
    expected = (
        f"{caption!r} is the folder of other files beside the sweeps; choose another name"
        if "artifacts" in caption
        else f"{caption!r} cannot name a folder: {RULE}"
    )
    assert name_problem(caption) == expected


def test_a_caption_that_becomes_the_folder_of_others_is_a_problem():
    assert sweep_name_of("Artifacts!") == "artifacts"
    assert name_problem("artifacts") is not None


@pytest.mark.parametrize("beginning", ["x" * 150, "a word " * 30, "가" * 100])
def test_long_captions_that_begin_alike_have_names_of_their_own(beginning: str):
    names = {sweep_name_of(f"{beginning}{end}") for end in ("one", "two")}
    assert len(names) == 2
    assert all(name_problem(name) is None for name in names)


@given(st.text(max_size=300))
def test_every_name_is_its_own_name_and_can_be_a_folder(tmp_path_factory, caption: str):
    name = sweep_name_of(caption)
    if name_problem(name) is None:
        assert sweep_name_of(name) == name
        assert len(name) <= MAX_NAME
        assert len(name.encode()) <= MAX_BYTES
        assert Path("runs", name).parent == Path("runs")
        folder = tmp_path_factory.getbasetemp() / "names" / name
        folder.mkdir(parents=True, exist_ok=True)
        assert folder.is_dir()
