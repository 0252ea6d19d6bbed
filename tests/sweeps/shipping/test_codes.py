"""What a template's columns say about the form of the predictions."""

import re

import pytest

from sweeps.errors import InputError
from sweeps.shipping.codes import Codes, Filling, fillings
from sweeps.shipping.sheets import Sheet
from tests.sweeps.shipping.tables import sheet
from trainer.prediction.classes import Classes

ANIMALS = Classes(("cat", "dog", "owl"))
DIGITS = Classes(("0", "1", "2"))
RATINGS = Classes(("1", "2", "3"), ("stars",))
PAIR = Classes(("healthy", "ill"))
FACES = Classes(
    ("mask / young", "mask / old", "none / young", "none / old"),
    ("mask", "age"),
    (("mask", "young"), ("mask", "old"), ("none", "young"), ("none", "old")),
)


def texts(classes: Classes, cells: list[str], codes: Codes | None = None) -> tuple[str, ...]:
    (filling,), _ = fillings(sheet(ans=cells), ["ans"], classes, codes=codes)
    return filling.texts


@pytest.mark.parametrize(
    ("classes", "cells", "written"),
    [
        (ANIMALS, ["cat", "cat"], ("cat", "dog", "owl")),
        (ANIMALS, ["0", "0"], ("0", "1", "2")),
        (ANIMALS, ["0", "2.0"], ("0", "1", "2")),
        (DIGITS, ["0", ""], ("0", "1", "2")),
        (DIGITS, [""], ("0", "1", "2")),
        (DIGITS, ["whatever"], ("0", "1", "2")),
        (RATINGS, ["3", "1"], ("1", "2", "3")),
        (RATINGS, ["3.0", "1.0"], ("1.0", "2", "3.0")),
        (RATINGS, ["0", "1"], ("0", "1", "2")),
        (FACES, ["none / old"], FACES.names),
        (FACES, ["0"], ("0", "1", "2", "3")),
    ],
)
def test_one_label_column_shows_names_or_indices(
    classes: Classes, cells: list[str], written: tuple[str, ...]
):
    assert texts(classes, cells) == written


def test_the_user_may_say_what_stands_for_a_class():
    assert texts(RATINGS, ["1"], Codes.NAMES) == ("1", "2", "3")
    assert texts(RATINGS, ["1"], Codes.INDEX) == ("0", "1", "2")
    assert texts(ANIMALS, ["unknown"], Codes.INDEX) == ("0", "1", "2")


def test_the_meaning_of_indices_is_said():
    _, notes = fillings(sheet(ans=["0"]), ["ans"], ANIMALS)
    assert notes == ["column 'ans': 0 is 'cat', 1 is 'dog', 2 is 'owl'"]
    assert fillings(sheet(ans=["0"]), ["ans"], DIGITS)[1] == []


def test_a_share_is_the_probability_of_the_second_of_two_classes():
    found, notes = fillings(sheet(p=["0.5"]), ["p"], PAIR)
    assert found == [Filling(probability_of=1)]
    assert notes == ["column 'p' gets the probability of 'ill' (not of 'healthy')"]
    assert fillings(sheet(p=["0"]), ["p"], PAIR)[0] == [Filling(("0", "1"))]
    assert fillings(sheet(p=["0"]), ["p"], PAIR, codes=Codes.PROBABILITY)[0] == found


def test_a_column_per_class_gets_probabilities_in_any_order():
    columns = sheet(owl=["0"], cat=["0"], dog=["1"])
    found, _ = fillings(columns, list(columns.columns), ANIMALS)
    assert [filling.probability_of for filling in found] == [2, 0, 1]
    numbered = sheet(**{"2": ["0"], "0": ["0"], "1": ["1"]})
    found, _ = fillings(numbered, list(numbered.columns), ANIMALS)
    assert [filling.probability_of for filling in found] == [2, 0, 1]


def test_label_columns_get_the_parts_of_the_class():
    columns = sheet(age=["old", "young"], mask=["0", "1"])
    found, notes = fillings(columns, ["age", "mask"], FACES)
    assert found == [Filling(("young", "old", "young", "old")), Filling(("0", "0", "1", "1"))]
    assert notes == ["column 'mask': 0 is 'mask', 1 is 'none'"]
    assert fillings(columns, ["age"], FACES)[0] == found[:1]


CHOICE = "rite --codes names ('1', '2', '3') or --codes index (0 to 2, in the order of labels.json)"


@pytest.mark.parametrize(
    ("classes", "columns", "codes", "message"),
    [
        (
            RATINGS,
            {"ans": ["1", "2"]},
            None,
            "t.csv: column 'ans' has '1', '2', which may be names of classes or their indices. "
            f"W{CHOICE}",
        ),
        (
            RATINGS,
            {"ans": ["", ""]},
            None,
            "t.csv: column 'ans' is empty, so it does not show what a class is called. W" + CHOICE,
        ),
        (
            RATINGS,
            {"ans": ["1", "4", "5"]},
            None,
            "t.csv: column 'ans' has values that are no class of this sweep: '4', '5'. If they are "
            f"only placeholders: w{CHOICE}",
        ),
        (
            ANIMALS,
            {"cat": ["0"], "dog": ["0"], "fox": ["0"]},
            None,
            "t.csv: a template has an id column and one label column, the label columns 'label', "
            "or one column for each of the 3 classes; without a column: 'owl'; no class: 'fox'",
        ),
        (
            ANIMALS,
            {"p": ["0.5"]},
            Codes.PROBABILITY,
            "t.csv: one column 'p' cannot have the probabilities of 3 classes. Give a template "
            "with one column per class",
        ),
        (
            FACES,
            {"mask": ["0.5"], "age": ["old"]},
            None,
            "t.csv: column 'mask' of several label columns cannot have probabilities. Write "
            "--codes names or --codes index",
        ),
        (ANIMALS, {}, None, "t.csv: it has ids only. Add a column for the predicted class"),
    ],
)
def test_what_is_not_clear_is_refused_with_what_to_write(
    classes: Classes, columns: dict[str, list[str]], codes: Codes | None, message: str
):
    given = sheet(**columns) if columns else Sheet("t.csv", {}, (), ())
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        fillings(given, list(columns), classes, codes=codes)
