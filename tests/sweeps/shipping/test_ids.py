"""Ids of two tables that belong together although they are written in different ways."""

import unicodedata

import pytest

from sweeps.errors import InputError
from sweeps.shipping.ids import find_id_columns, match_ids, refuse_bad_ids, style_of

PATHS = ["test/0001.JPG", "test/0002.JPG", "test/0010.JPG"]


@pytest.mark.parametrize(
    ("ids", "ignored"),
    [
        (["test/0010.JPG", "test/0001.JPG", "test/0002.JPG"], ""),
        (["./test//0010.JPG", "test\\0001.JPG", " test/0002.JPG "], ""),
        (["test/0010.jpg", "test/0001.jpg", "test/0002.JPG"], "capitals in suffixes"),
        (["test/0010", "test/0001", "test/0002"], "suffixes"),
        (["0010.jpg", "other/0001.jpg", "0002.JPG"], "folders"),
        (["0010", "0001", "0002"], "folders and suffixes"),
        (["10", "1", "02"], "folders, suffixes and leading zeros"),
        (["10.png", "0001", "test/0002.JPG"], "folders, suffixes and leading zeros"),
    ],
)
def test_an_id_is_found_in_the_form_that_ignores_least(ids: list[str], ignored: str):
    found = match_ids(ids, PATHS)
    assert (found.ignored, found.other_N, found.left) == (ignored, (2, 0, 1), ())
    assert found.complete


def test_a_mac_and_a_table_may_write_other_unicode_forms():
    name = "test/가나.png"
    assert match_ids([unicodedata.normalize("NFD", name)], [name]).complete


def test_only_the_suffix_of_an_image_is_left_out():
    found = match_ids(["scan.1", "scan.2"], ["scan.1.png", "scan.2.png"])
    assert (found.ignored, found.other_N) == ("suffixes", (0, 1))


def test_ids_of_one_table_alone_are_told_apart():
    found = match_ids(["b.png", "x.png"], ["a.png", "b.png", "c.png"])
    assert (found.other_N, found.left, found.matches) == ((1, None), (0, 2), 1)
    assert not found.complete


def test_a_form_that_makes_two_images_one_is_not_used_but_named():
    found = match_ids(["1.png", "2.png"], ["a/1.png", "b/1.png", "b/2.png"])
    assert (found.matches, found.alike) == (0, ("a/1.png", "b/1.png"))
    assert match_ids(["1", "01"], ["1.png", "01.png"]).ignored == "suffixes"


def test_the_columns_with_most_common_ids_are_the_id_columns():
    template = {"label": ["0", "0", "1"], "id": ["7", "8", "9"]}
    source = {"path": ["0.png", "1.png", "2.png"], "number": ["9", "8", "7"]}
    found = find_id_columns(template, source)
    assert (found.name, found.other, found.matching.other_N) == ("id", "number", (2, 1, 0))


def test_columns_of_classes_are_no_ids_although_they_match():
    truth = {"label": ["x", "y", "y"], "id": ["1", "8", "9"]}
    predictions = {"class": ["x", "y"], "path": ["1.png", "2.png"]}
    found = find_id_columns(truth, predictions)
    assert (found.name, found.other) == ("id", "path")


@pytest.mark.parametrize(
    ("ids", "written"),
    [
        (["a/001.jpg"], "b/007.jpg"),
        (["a/001"], "b/007"),
        (["001.jpg"], "007.jpg"),
        (["001"], "007"),
        (["1"], "7"),
    ],
)
def test_more_ids_are_written_as_those_that_are_known(ids: list[str], written: str):
    style = style_of(ids, ["a/001.jpg"])
    assert style is not None
    assert style("b/007.jpg") == written


def test_ids_that_differ_in_several_ways_have_no_style():
    assert style_of(["1", "002"], ["1.jpg", "2.jpg"]) is None


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (
            ["a.png", "b.png", "./a.png", "b.png", "b.png"],
            "t.csv: 2 ids occur more than once. Keep one row of each"
            "\n  a.png in lines 2 and 4\n  b.png in lines 3 and 5 and 6",
        ),
        (["a.png", " ", ""], "t.csv: 2 rows have no id\n  line 3\n  line 4"),
    ],
)
def test_empty_and_repeated_ids_are_refused_with_their_lines(ids: list[str], message: str):
    with pytest.raises(InputError) as caught:
        refuse_bad_ids("t.csv", ids, lines=range(2, 2 + len(ids)))
    assert str(caught.value) == message
