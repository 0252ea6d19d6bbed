"""Labels, groups and file names in several spellings: one value where they mean one, a warning
where they only look like one.
"""

import dataclasses
import unicodedata

import numpy as np
import pandas as pd
import pytest

from tests.trainer.conftest import paper_manifest
from tests.trainer.data.tables import read, touched
from trainer.data.values import alike_classes, alike_groups, one_spelling
from trainer.errors import DataError

CAT = "고양이"
DECOMPOSED = unicodedata.normalize("NFD", CAT)


def rows(*values: str, header: str = "label") -> str:
    lines = [f"{name}.png,{value}\n" for name, value in zip("abcd", values, strict=False)]
    return f"path,{header}\n" + "".join(lines)


# whole numbers and real numbers


def test_a_whole_number_and_the_same_real_number_are_one_label_with_a_note(csv):
    table = csv(rows("0", "0.0", "1.0", "1"))
    assert table.labels == [("0",), ("0",), ("1",), ("1",)]
    assert table.notes == [
        "labels (column 'label'): 0 and 0.0, 1 and 1.0 are read as one value each"
    ]


def test_they_are_one_group_so_that_no_patient_is_on_both_sides(csv):
    text = "path,label,who\na.png,x,12\nb.png,y,12.0\nc.png,x,3.5\nd.png,y,\n"
    table = csv(text, group="who")
    assert table.groups == ["12", "12", "3.5", ""]
    assert table.notes == ["groups (column 'who'): 12 and 12.0 are read as one value each"]


def test_they_are_one_label_across_two_sources_of_any_type(tmp_path):
    touched(tmp_path, "a.png", "b.png", "c.png")
    (tmp_path / "train.csv").write_text("path,label\na.png,0\n")
    for labels in ([0.0, None], pd.array([0, None], dtype="Int64"), ["0.0", "0"]):
        pd.DataFrame({"path": ["b.png", "c.png"], "label": labels}).to_parquet(
            tmp_path / "valid.parquet"
        )
        table = read(tmp_path / "train.csv", valid=str(tmp_path / "valid.parquet"))
        assert {label for (label,) in table.labels} - {""} == {"0"}


@pytest.mark.parametrize(
    "values",
    [
        ["0.0", "1.0"],
        ["1.5", "1.50"],
        ["1.1", "1.10"],
        ["7", "007"],
        ["007", "007.0"],
        ["1000", "1e3"],
        ["1000", "1_000"],
        ["5", "+5"],
        ["5", "5."],
        ["٣", "3"],
        ["1", "True"],
    ],
)
def test_names_and_numbers_that_no_program_makes_of_each_other_stay_what_they_are(csv, values):
    table = csv(rows(*values))
    assert table.labels == [(value,) for value in values]
    assert table.notes == []


@pytest.mark.parametrize(
    ("values", "one"),
    [
        (["-0.0", "0"], "0"),
        (["-0", "0.0"], "0"),
        (["-3.0", "-3"], "-3"),
        (["2.0", "2.00"], "2"),
        ([str(2**60 + 1), f"{2**60 + 1}.0"], str(2**60 + 1)),
    ],
)
def test_every_way_to_write_a_whole_number_as_a_real_number_is_known(csv, values, one):
    assert csv(rows(*values)).labels == [(one,), (one,)]


def test_a_note_names_a_few_values_and_counts_the_others():
    values = [text for number in range(7) for text in (str(number), f"{number}.0")]
    assert one_spelling(values, what="groups (column 'who')")[1] == [
        "groups (column 'who'): 0 and 0.0, 1 and 1.0, 2 and 2.0, 3 and 3.0, 4 and 4.0, and 2 more "
        "are read as one value each"
    ]


# Unicode


def test_labels_are_compared_in_one_unicode_form(csv):
    table = csv(rows(CAT, DECOMPOSED, "b", "b"))
    assert table.labels == [(CAT,), (CAT,), ("b",), ("b",)]
    assert table.notes == [
        f"labels (column 'label'): '{CAT}' occur in two Unicode forms (composed and decomposed, "
        "as on a Mac), which are read as one value each"
    ]


def test_names_of_classes_and_groups_are_composed_whatever_the_source_has(csv):
    text = f"path,label,who\na.png,{DECOMPOSED},{DECOMPOSED}\nb.png,b,\n"
    table = csv(text, group="who")
    assert (table.labels, table.groups, table.notes) == ([(CAT,), ("b",)], [CAT, ""], [])


def test_two_class_folders_whose_names_look_the_same_are_one_class(tmp_path):
    touched(tmp_path, f"{CAT}/1.png", f"{DECOMPOSED}/2.png", "b/3.png")
    table = read(tmp_path)
    assert sorted(table.labels) == [("b",), (CAT,), (CAT,)]


def test_names_of_columns_are_compared_in_one_unicode_form(csv):
    table = csv(rows("x", "y", header=DECOMPOSED), label=CAT)
    assert table.labels == [("x",), ("y",)]
    assert csv(rows("x", "y", header=CAT), label=DECOMPOSED).label_columns == (CAT,)


@pytest.mark.parametrize("on_disk", ["NFC", "NFD"])
def test_a_file_is_found_whose_name_has_another_unicode_form(tmp_path, on_disk):
    folder = unicodedata.normalize(on_disk, "사진 모음")
    files = [f"{folder}/{unicodedata.normalize(on_disk, f'한 {row}.png')}" for row in range(2)]
    touched(tmp_path, *files)
    other = "NFD" if on_disk == "NFC" else "NFC"
    written = [unicodedata.normalize(other, file) for file in files]
    (tmp_path / "train.csv").write_text(
        f"path,label\n{written[0]},x\n{tmp_path}/{written[1]},y\n", encoding="utf-8"
    )
    table = read(tmp_path / "train.csv")
    assert table.paths == [files[0], f"{tmp_path}/{files[1]}"]
    assert table.notes == [
        "2 of 2 image paths have another Unicode form on the disk (composed and decomposed, as on "
        "a Mac); their files were found"
    ]


def test_the_folder_of_a_name_may_have_another_form_than_the_name(tmp_path):
    file = f"{DECOMPOSED}/{CAT}/{DECOMPOSED}.png"
    touched(tmp_path, file, "a.png")
    (tmp_path / "train.csv").write_text(f"path,label\n{CAT}/{DECOMPOSED}/{CAT}.png,x\na.png,y\n")
    assert read(tmp_path / "train.csv").paths == [file, "a.png"]


def test_a_file_with_exactly_the_written_name_comes_first(tmp_path):
    touched(tmp_path, f"{CAT}.png", f"{DECOMPOSED}.png")
    (tmp_path / "train.csv").write_text(f"path,label\n{CAT}.png,x\n{DECOMPOSED}.png,y\n")
    table = read(tmp_path / "train.csv")
    assert (table.paths, table.notes) == ([f"{CAT}.png", f"{DECOMPOSED}.png"], [])


def test_a_name_of_another_form_that_is_missing_is_missing(csv, tmp_path):
    touched(tmp_path, f"{DECOMPOSED}.png")
    with pytest.raises(DataError, match=r"1 of 2 images do not exist"):
        csv(f"path,label\n{CAT}2.png,x\n{CAT}.png,y\n")


def test_the_source_itself_may_have_another_form(tmp_path):
    touched(tmp_path, f"{DECOMPOSED}/a.png", f"{DECOMPOSED}/b.png")
    (tmp_path / DECOMPOSED / f"{DECOMPOSED}.csv").write_text("path,label\na.png,x\nb.png,y\n")
    table = read(tmp_path / CAT / f"{CAT}.csv")
    assert table.root == tmp_path / DECOMPOSED


def test_images_keep_their_identity_when_a_copy_changes_the_form_of_their_names():
    manifest = paper_manifest(np.array([0, 1]))
    boxes_N4 = np.array([[0, 0, 1, 1]] * 2, dtype=np.int32)
    for boxes in ({}, {"boxes_N4": boxes_N4}):
        composed, decomposed = (
            dataclasses.replace(manifest, paths=(f"{name}.png", "b.png"), **boxes)
            for name in (CAT, DECOMPOSED)
        )
        assert composed.identities() == decomposed.identities()


# what only looks like one value


def warned(*classes: str) -> list[str]:
    return alike_classes(paper_manifest(np.arange(len(classes)), classes))


def test_classes_that_differ_only_in_spaces_or_capitals_are_warned_of():
    assert warned(" cat", "Dog", "cat", "dog", "fox") == [
        "classes that differ only in spaces, capitals or spelling: ' cat' and 'cat', "
        "'Dog' and 'dog'. If they mean one class, correct the labels"
    ]


@pytest.mark.parametrize(
    "names",
    [
        ("hot dog", "hotdog"),
        ("cat", "cat\u200b"),
        ("cat", "cat\xa0"),
        ("cat", "\ufeffcat"),
        ("cat", "ｃａｔ"),  # noqa: RUF001  full-width letters
        ("1", "１"),  # noqa: RUF001  a full-width digit
        ("straße", "STRASSE"),
        ("7", "007"),
        ("1000", "1e3"),
        ("5", "+5"),
        ("1.5", "1.50"),
        ("TRUE", "True"),
    ],
)
def test_whatever_makes_two_names_look_like_one_is_found(names):
    assert len(warned(*names)) == 1


@pytest.mark.parametrize("names", [("cat", "cats"), ("1", "10"), ("a_b", "a-b"), ("é", "e")])
def test_names_that_differ_in_letters_are_names_like_others(names):
    assert warned(*names) == []


def test_the_columns_of_a_joint_class_are_compared_one_by_one():
    parts = (("on", "x"), ("On", "x"), ("on", "y"), ("On", "y"))
    manifest = dataclasses.replace(
        paper_manifest(np.arange(4), tuple(map(" / ".join, parts))),
        label_columns=("mask", "age"),
        class_parts=parts,
    )
    assert alike_classes(manifest) == [
        "values of mask that differ only in spaces, capitals or spelling: 'On' and 'on'. "
        "If they mean one class, correct the labels"
    ]


def test_groups_that_look_alike_are_warned_of_since_they_may_be_one_patient():
    assert alike_groups(["007", "7", "8", ""]) == [
        "groups that differ only in spaces, capitals or spelling: '007' and '7'. If they mean one "
        "group, its images may be on both sides of a split: correct the column"
    ]
