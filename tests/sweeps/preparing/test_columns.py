"""What columns are for is told by their names and cells."""

import pytest

from sweeps.preparing.columns import (
    box_columns,
    fold_column,
    group_columns,
    image_columns,
    label_columns,
)


def columns(header: str, *rows: str) -> dict[str, list[str]]:
    cells = zip(*(row.split(",") for row in rows), strict=True)
    return {name: list(column) for name, column in zip(header.split(","), cells, strict=True)}


def test_cells_that_end_like_images_come_before_ids_and_these_before_what_repeats():
    table = columns("site,id,photo", "n,7,a.jpg", "n,8,b.JPG", "s,9,c.heic")
    assert image_columns(table) == ["photo", "id", "site"]


def test_of_two_ids_the_name_decides():
    table = columns("row,image_id", "1,a", "2,b")
    assert image_columns(table) == ["image_id", "row"]


@pytest.mark.parametrize("name", ["label", "Class", "dx", "diagnosis", "분류", "species_name"])
def test_a_column_that_is_called_like_a_class_comes_first(name: str):
    table = columns(f"sex,{name}", "f,a", "m,b", "f,c", "m,a", "f,b", "m,c")
    assert label_columns(table) == [name, "sex"]


def test_values_that_are_all_alike_or_hardly_repeat_are_no_classes():
    table = columns("site,scan,kind", "x,1,a", "x,2,b", "x,3,a", "x,3,b")
    assert label_columns(table) == ["kind"]


@pytest.mark.parametrize(
    ("name", "cells"),
    [
        ("fold", "0 1 0 1"),
        ("kfold", "1 2 1 2"),
        ("split", "train valid train test"),
        ("is_valid", "True False False True"),
        ("구분", "학습 검증 학습 학습"),
    ],
)
def test_a_column_of_folds_is_found(name: str, cells: str):
    table = {"label": ["a", "b", "a", "b"], name: cells.split()}
    assert fold_column("t.csv", table) == name


@pytest.mark.parametrize(
    ("name", "cells"),
    [
        ("set", "summer winter summer winter"),  # no folds
        ("valid", "1 0 1 0"),  # may be the class: 0 and 1 are no words for folds
        ("fold", "1 1 1 1"),  # holds everything out
        ("split", "train train train train"),  # holds nothing out
        ("age", "0 1 0 1"),
    ],
)
def test_a_column_that_cannot_be_folds_is_none(name: str, cells: str):
    assert fold_column("t.csv", {"label": ["a", "b", "a", "b"], name: cells.split()}) is None


@pytest.mark.parametrize(
    "name", ["patient", "PatientId", "lesion_id", "환자", "video_name", "x_id"]
)
def test_a_repeated_name_of_a_person_or_a_video_is_a_group(name: str):
    cells = [*"aabbccdd"]
    assert group_columns({"age": cells, name: cells}) == [name]


def test_names_that_never_repeat_are_no_groups():
    assert group_columns({"patient": [*"abcdefgh"], "user": [*"aaaabbbb"]}) == []


def test_boxes_are_found_by_their_four_names():
    assert box_columns({"X": [], "Y": [], "W": [], "H": []}) == (("X", "Y", "W", "H"), "xywh")
    assert box_columns({"xmin": [], "ymin": [], "xmax": [], "ymax": []}) == (
        ("xmin", "ymin", "xmax", "ymax"),
        "xyxy",
    )
    assert box_columns({"x": [], "y": [], "w": []}) is None
