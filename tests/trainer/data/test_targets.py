"""Targets that are classes in several columns, and targets that are no classes."""

import re

import numpy as np
import pytest

from tests.trainer.data.tables import read, touched
from trainer.data.targets import classes_of_columns, refuse_other_tasks
from trainer.errors import DataError

NAMES = ["rust", "scab", "healthy"]


def of(*rows: str) -> list[str]:
    cells = [row.split(",") for row in rows]
    return classes_of_columns(
        list(zip(*cells, strict=True)),
        NAMES,
        where="a.csv",
        rows=[f"line {line}" for line in range(2, len(rows) + 2)],
    )


def test_the_class_is_the_column_with_1():
    assert of("1,0,0", "0.0,1.0,0.0", "False,no,TRUE", ",,") == ["rust", "scab", "healthy", ""]
    assert of(",1,", "0,,1") == ["scab", "healthy"]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (
            "1,0,1",
            "a.csv: 1 of 2 rows have several classes (data.class_columns), and foldsweep trains "
            "one class per image, no multi-label targets\n  line 3 (rust, healthy)",
        ),
        (
            "0,0,0",
            "a.csv: 1 of 2 rows have no class (data.class_columns): each column holds 0. Leave "
            "them out, or add a column for them\n  line 3",
        ),
        (
            "0.7,0.2,0.1",
            "a.csv: '0.7' in column 'rust' is neither 0 nor 1 (data.class_columns); line 3. The "
            "columns of classes hold 1 for the image's class and 0 elsewhere",
        ),
    ],
)
def test_rows_without_exactly_one_class_are_refused(row, message):
    with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
        of("1,0,0", row)


def test_a_table_with_one_column_per_class_is_read_in_the_order_of_the_columns(tmp_path):
    touched(tmp_path, "1.jpg", "2.jpg", "3.jpg")
    source = tmp_path / "train.csv"
    source.write_text("path,b,c,a\n1.jpg,1,0,0\n2.jpg,0,1,0\n3.jpg,0,0,1\n")
    table = read(source, class_columns=["b", "c", "a"])
    assert table.labels == [("b",), ("c",), ("a",)]
    assert table.orders == {"label": ("b", "c", "a")}
    message = (
        f"{source}: no column 'label' (data.label). Columns there: 'path', 'b', 'c', 'a'. Of b, c, "
        "a, each row has one: write `class_columns: [b, c, a]` below data"
    )
    with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
        read(source)


def test_a_table_of_several_classes_per_image_is_recognised(tmp_path):
    touched(tmp_path, "1.jpg", "2.jpg")
    source = tmp_path / "train.csv"
    source.write_text("path,b,c\n1.jpg,1,1\n2.jpg,0,1\n")
    message = (
        ". The columns b, c hold 0 and 1, and some rows have several 1: several classes per image "
        "(multi-label), which foldsweep does not train"
    )
    with pytest.raises(DataError, match=f"{re.escape(message)}$"):
        read(source)


@pytest.mark.parametrize(
    ("values", "mark"),
    [
        (["scab", "rust", "scab rust"], " "),
        (["Effusion", "Mass|Effusion", "Mass", "No Finding"], "|"),
        (["cat", "dog", "cat, dog"], ","),
        (["1", "2", "[1, 2]"], ","),
        (["a b c", "a b", "b c d", "c d", "a d", "a c d", "a b c d", "b d", "a c"], " "),
    ],
)
def test_cells_of_several_classes_are_refused(values, mark):
    with pytest.raises(
        DataError, match=r"^a\.csv: column 'y' holds several classes per image"
    ) as e:
        refuse_other_tasks(values, name="y", where="a.csv")
    assert f"in place of {mark!r}" in str(e.value)


@pytest.mark.parametrize(
    "values",
    [
        ["golden retriever", "labrador retriever", "german shepherd", "poodle"],
        ["tench, Tinca tinca", "goldfish, Carassius auratus", "great white shark"],
        ["mask male young", "mask female old", "normal male old", "normal female young"],
        ["New York", "Boston", "San Francisco", "Boston", ""],
        ["1 2", "3 4"],
        ["a|b", "c|d"],
    ],
)
def test_names_of_several_words_are_names(values):
    refuse_other_tasks(values, name="y", where="a.csv")


def test_numbers_to_be_predicted_are_refused():
    values = [f"{value:.3f}" for value in np.linspace(0.1, 9.7, 30)]
    message = (
        "a.csv: column 'y' holds 30 different numbers in 30 rows (0.100, 0.431, 0.762, ...), a "
        "quantity to be predicted (regression), and foldsweep trains classes. Name a column of "
        "classes (data.label), or write the band of each number into one"
    )
    with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
        refuse_other_tasks(values, name="y", where="a.csv")


@pytest.mark.parametrize(
    "values",
    [
        [str(number) for number in range(5000)],  # codes of classes
        [f"{number % 10}.0" for number in range(100)],
        [f"{number % 4}.5" for number in range(100)],
        ["0.1", "0.2", "0.3"],
        [f"v{number}.5" for number in range(100)],
    ],
)
def test_numbers_that_are_classes_are_classes(values):
    refuse_other_tasks(values, name="y", where="a.csv")
