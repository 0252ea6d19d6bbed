"""Mistakes in the sections data and folds, named as the user wrote them."""

from collections.abc import Callable

import pytest

from tests.sweeps.space.space_texts import RIGHT

COLUMN = "a column's name, or a list of them"
BOX = "a box is four columns' names, e.g. [left, top, right, bottom]"
AGES = "age_borders are ages that rise, e.g. [30, 60]"


@pytest.mark.parametrize(
    ("section", "values", "problem"),
    [
        ("data", "label: 5", f"data.label: {COLUMN}, got 5"),
        ("data", "label: []", f"data.label: {COLUMN}, got []"),
        ("data", "label: [mask, 3]", f"data.label: {COLUMN}, got ['mask', 3]"),
        ("data", "label: ''", f"data.label: {COLUMN}, got ''"),
        ("data", "box: [left, top, right]", f"data.box: {BOX}, got ['left', 'top', 'right']"),
        ("data", "box: left", f"data.box: {BOX}, got 'left'"),
        ("data", "box: [0, 0, 8, 8]", f"data.box: {BOX}, got [0, 0, 8, 8]"),
        ("data", "age_borders: 30", f"data.age_borders: {AGES}, got 30"),
        ("data", "age_borders: [60, 30]", f"data.age_borders: {AGES}, got [60, 30]"),
        ("data", "age_borders: [old]", f"data.age_borders: {AGES}, got ['old']"),
        (
            "data",
            "fill: '#fff'",
            "data.fill: a colour is white, black, grey or '#rrggbb', got '#fff'",
        ),
        (
            "data",
            "fill: null",
            "data.fill: a colour is white, black, grey or '#rrggbb', got None (without quotes, "
            "# begins a comment)",
        ),
        (
            "data",
            "layout: profiles",
            "data.layout: unknown value 'profiles'. Did you mean 'profile_folders'? Known: ",
        ),
        (
            "data",
            "bad_boxes: clipp",
            "data.bad_boxes: unknown value 'clipp'. Did you mean 'clip'? Known: drop, clip",
        ),
        ("data", "keep: one", "data.keep: unknown value 'one'. Known: all, one_per_cluster"),
        (
            "data",
            "box_format: xyxx",
            "data.box_format: unknown value 'xyxx'. Did you mean 'xyxy'? Known: xyxy, xywh",
        ),
        ("data", "allow_outside: yes", "data.allow_outside: expected true or false, got 'yes'"),
        (
            "data",
            "max_rejected: 2",
            "data.max_rejected: input should be less than or equal to 1, got 2",
        ),
        (
            "data",
            "max_rejected: 10%",
            "data.max_rejected: input should be a valid number, got '10%'",
        ),
        (
            "data",
            "max_pixels: 0",
            "data.max_pixels: input should be greater than or equal to 1, got 0",
        ),
        (
            "data",
            "near_distance: 65",
            "data.near_distance: input should be less than or equal to 64, got 65",
        ),
        ("data", "cache_gb: 20GB", "data.cache_gb: input should be a valid number, got '20GB'"),
        (
            "data",
            "grup: person",
            "data.grup: unknown key. Did you mean 'group'? Allowed here: age_borders, ",
        ),
        ("folds", "k: 101", "folds.k: input should be less than or equal to 100, got 101"),
        ("folds", "k: '5'", "folds.k: input should be a valid integer, got '5'"),
        (
            "folds",
            "holdout: 0.95",
            "folds.holdout: input should be less than or equal to 0.9, got 0.95",
        ),
        ("folds", "seed: -1", "folds.seed: input should be greater than or equal to 0, got -1"),
        ("folds", "file: 3", "folds.file: input should be a valid string, got 3"),
        (
            "folds",
            "colum: fold",
            "folds.colum: unknown key. Did you mean 'column'? Allowed here: column, file, ",
        ),
        ("folds", "column: fold, k: 5", "folds: the column decides the folds: leave out k"),
        (
            "folds",
            "column: fold, k: 5, holdout: 0.1, file: x.npz",
            "folds: the column decides the folds: leave out k and holdout and file",
        ),
    ],
)
def test_a_mistake_in_data_or_folds_is_named_as_the_user_wrote_it(
    problems: Callable[..., list[str]], section: str, values: str, problem: str
) -> None:
    text = RIGHT.replace(
        "{source: train.csv}", f"{{source: train.csv, {values if section == 'data' else ''}}}"
    )
    (found,) = problems(text + (f"folds: {{{values}}}\n" if section == "folds" else ""))
    assert found.startswith(f"line {4 if section == 'data' else 7}  {problem}")


@pytest.mark.parametrize("value", ["train.csv", "[train.csv]", "3"])
def test_a_data_section_that_is_no_mapping_says_how_to_write_it(
    problems: Callable[..., list[str]], value: str
) -> None:
    (found,) = problems(RIGHT.replace("{source: train.csv}", value))
    assert found.startswith("line 4  data: expected a mapping with age_borders, ")
    assert found.endswith(
        "Write data: {source: images.csv} or data: {source: folder-with-one-sub-folder-per-class}"
    )


def test_an_empty_source_is_not_the_working_folder(problems: Callable[..., list[str]]) -> None:
    assert problems(RIGHT.replace("train.csv", "''")) == [
        "line 4  data.source: string should have at least 1 character, got ''"
    ]


def test_every_problem_of_the_data_has_the_line_of_its_own_key(
    problems: Callable[..., list[str]],
) -> None:
    text = RIGHT.replace(
        "data: {source: train.csv}\n",
        "data:\n  sorce: train.csv\n  label:\n    - mask\n    - 3\n  keep: one\nfolds:\n  k: 1\n"
        "  seed: x\n",
    )
    assert [line.split(":")[0] for line in problems(text)] == [
        "line 4  data.source",
        "line 5  data.sorce",
        "line 6  data.label",
        "line 9  data.keep",
        "line 11  folds.k",
        "line 12  folds.seed",
    ]


def test_a_mistake_in_data_from_a_setting_is_said_to_be_one(
    problems: Callable[..., list[str]],
) -> None:
    assert problems(RIGHT, "data.keep=one", "folds.k=1") == [
        "data.keep: unknown value 'one'. Known: all, one_per_cluster (from --set)",
        "folds.k: input should be greater than or equal to 2, got 1 (from --set)",
    ]
