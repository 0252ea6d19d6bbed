"""A column that fixes the folds: numbers from 0 or from 1, or words."""

import re

import numpy as np
import pytest

from trainer.data.fold_column import ALWAYS_TRAINED, HOLDOUT, read_fold_column
from trainer.errors import DataError


def folds(*values: str) -> list[int]:
    return read_fold_column("train.csv", "f", list(values))[0].tolist()


def notes(*values: str) -> list[str]:
    return read_fold_column("train.csv", "f", list(values))[1]


def test_numbers_from_0_are_the_folds():
    fold_N, said = read_fold_column("train.csv", "f", ["0", "1.0", "2", "1"])
    assert fold_N.dtype == np.int64
    assert (fold_N.tolist(), said) == ([0, 1, 2, 1], [])


@pytest.mark.parametrize("word", ["fold", "fold_", "Fold ", "FOLD-"])
def test_numbers_may_stand_after_the_word_fold(word):
    assert folds(f"{word}0", f"{word}1", "") == [0, 1, ALWAYS_TRAINED]
    assert folds(f"{word}1", f"{word}2") == [0, 1]


def test_empty_and_minus_one_are_always_trained_on():
    assert folds("0", "", "-1", "-1.00") == [0, *[ALWAYS_TRAINED] * 3]


@pytest.mark.parametrize(
    ("values", "expected", "note"),
    [
        (("1", "2", "1", "3"), [0, 1, 0, 2], "1 to 3 become folds 0 to 2"),
        (("1.0", "2.0", "", "-1"), [0, 1, -1, -1], "1 to 2 become folds 0 to 1"),
        (("1", ""), [0, -1], "1 becomes fold 0"),
        (("train", "1", "2"), [-1, 0, 1], "1 to 2 become folds 0 to 1"),
    ],
)
def test_folds_that_are_numbered_from_1_are_understood_with_a_note(values, expected, note):
    assert folds(*values) == expected
    assert notes(*values)[0] == f"column 'f' (folds.column) is numbered from 1: {note}"


@pytest.mark.parametrize("train", ["train", "Training", "TRAIN ", ""])
@pytest.mark.parametrize("valid", ["valid", "val", "Validation", " VAL", "검증"])
def test_words_say_what_is_held_out(train, valid):
    assert folds(train, valid, train) == [ALWAYS_TRAINED, 0, ALWAYS_TRAINED]


@pytest.mark.parametrize(
    ("name", "held_out", "trained"),
    [("is_valid", "True", "False"), ("IsVal", "TRUE", "FALSE"), ("is_train", "false", "true")],
)
def test_truths_mean_what_the_name_of_the_column_asks(name, held_out, trained):
    fold_N, said = read_fold_column("train.csv", name, [trained, held_out, ""])
    assert fold_N.tolist() == [ALWAYS_TRAINED, 0, ALWAYS_TRAINED]
    assert f"column {name!r} (folds.column): {held_out!r} is held out" in said


def test_zero_and_one_in_a_column_that_asks_a_question_are_two_folds_with_a_note():
    fold_N, said = read_fold_column("train.csv", "is_valid", ["0", "1"])
    assert (fold_N.tolist(), said) == (
        [0, 1],
        [
            "column 'is_valid' (folds.column): 0 and 1 are two folds, and each is held out once. "
            "If they mean no and yes, write False and True"
        ],
    )


def test_images_of_the_test_are_seen_by_no_fold_run():
    assert folds("train", "val", "test") == [ALWAYS_TRAINED, 0, HOLDOUT]
    assert folds("0", "1", "Test") == [0, 1, HOLDOUT]
    assert notes("train", "val", "Val", "test") == [
        "column 'f' (folds.column): 'train' is always trained on",
        "column 'f' (folds.column): 'Val' and 'val' are held out",
        "column 'f' (folds.column): 'test' is seen by no fold run",
    ]


@pytest.mark.parametrize(
    "value", ["1.5", "-2", "1000", "1e1", " 1", "٣", "True", "fold", "folds 1"]
)
def test_another_value_is_refused_with_what_folds_are(value):
    message = (
        f"train.csv: {value!r} in column 'f' (folds.column) is not a fold. Folds are whole numbers "
        "from 0 or from 1, or the word valid; empty, -1 or train is always trained on, and test is "
        "seen by no fold run"
    )
    with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
        folds("0", value)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (("0", "2"), "has no fold 1, but fold 2. Number the folds from 0 or from 1 without a gap"),
        (("1", "4"), "has no fold 0, 2, 3, but fold 4. Number the folds from 0 or from 1 without"),
        (("2", "3"), "has no fold 0, 1, but fold 3. Number the folds from 0 or from 1 without a"),
        (("0", "val"), "has the number 0 and the word 'val'. Number all folds, or write only"),
        (("train", "test"), "has 'test' and holds no fold out. Write valid for the images that"),
    ],
)
def test_what_leaves_open_which_images_are_held_out_is_refused(values, message):
    with pytest.raises(
        DataError, match=rf"^train.csv: column 'f' \(folds.column\) {re.escape(message)}"
    ):
        folds(*values)
