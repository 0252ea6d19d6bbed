"""A second source of validation images."""

import re
from pathlib import Path
from typing import Any

import pytest

from tests.trainer.data.tables import Reader, read, touched
from trainer.data.fold_column import ALWAYS_TRAINED
from trainer.data.table import Table
from trainer.errors import DataError


@pytest.fixture
def two(tmp_path: Path) -> Reader:
    """A train CSV in tr/ and a valid CSV in va/, each with images a.png and b.png beside it."""
    touched(tmp_path, "tr/a.png", "tr/b.png", "va/a.png", "va/b.png", "secret/a.png")

    def written(train: str, valid: str, *, same_folder: bool = False, **options: Any) -> Table:
        (tmp_path / "tr/train.csv").write_text(train)
        valid_csv = tmp_path / ("tr" if same_folder else "va") / "valid.csv"
        valid_csv.write_text(valid)
        return read(tmp_path / "tr/train.csv", valid=str(valid_csv), **options)

    return written


def test_train_and_valid_csv_of_one_folder_become_one_fixed_fold(two, tmp_path):
    table = two(
        "path,label\na.png,x\n", "path,label\nb.png,y\n", same_folder=True, fold_column="fold"
    )
    assert table.root == tmp_path / "tr"
    assert table.paths == ["a.png", "b.png"]
    assert table.fixed_N.tolist() == [ALWAYS_TRAINED, 0]
    assert table.lines == [2, 2]
    assert table.name == f"{tmp_path}/tr/train.csv and {tmp_path}/tr/valid.csv"


def test_paths_stay_relative_to_their_own_csv(two, tmp_path):
    table = two(
        "path,label\na.png,x\nb.png,y\n",
        f"path,label\na.png,y\n{tmp_path}/va/b.png,x\n",
        fold_column="fold",
    )
    assert table.root == tmp_path
    assert table.paths == ["tr/a.png", "tr/b.png", "va/a.png", f"{tmp_path}/va/b.png"]
    assert table.fixed_N.tolist() == [-1, -1, 0, 0]


def test_a_missing_path_of_a_second_source_stays_missing(two):
    assert two("path,label\na.png,x\n,y\n", "path,label\na.png,y\n,x\n").paths == [
        "tr/a.png",
        "",
        "va/a.png",
        "",
    ]


def test_without_fixed_folds_the_second_source_is_only_more_images(two):
    table = two("path,label\na.png,x\n", "path,label\na.png,y\n")
    assert (len(table), table.fixed_N) == (2, None)


def test_folds_that_the_sources_have_themselves_are_kept(two):
    table = two("path,label,fold\na.png,x,1\n", "path,label,fold\na.png,y,0\n", fold_column="fold")
    assert table.fixed_N.tolist() == [1, 0]


@pytest.mark.parametrize("first", [True, False])
def test_a_fold_column_in_one_of_two_sources_is_refused_since_it_is_not_clear_what_is_held_out(
    two, tmp_path, first
):
    texts = ["path,label,fold\na.png,x,1\n", "path,label\nb.png,y\n"]
    name = "tr/train.csv" if first else "va/valid.csv"
    with pytest.raises(
        DataError, match=rf"^{tmp_path}/{name} has a column 'fold' of its own and the other source"
    ):
        two(*(texts if first else reversed(texts)), fold_column="fold")
    assert two(*texts).fixed_N is None


def test_the_columns_of_the_second_source_may_be_in_another_order(two):
    table = two("path,label,who\na.png,x,p\n", "who,extra,label,path\nq,1,y,b.png\n", group="who")
    assert (table.paths, table.labels, table.groups) == (
        ["tr/a.png", "va/b.png"],
        [("x",), ("y",)],
        ["p", "q"],
    )


def test_a_second_source_without_a_column_of_the_first_is_refused(two, tmp_path):
    message = f"{tmp_path}/va/valid.csv: no column 'label', which {tmp_path}/tr/train.csv has"
    with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
        two("path,label\na.png,x\n", "path,kind\na.png,y\n")


def test_a_missing_second_source_is_refused_by_name(tmp_path, csv):
    with pytest.raises(DataError, match=r"valid.csv: no such file or folder"):
        csv("path,label\na.png,x\n", valid=str(tmp_path / "valid.csv"))


def test_an_empty_second_source_is_refused_by_name(two):
    with pytest.raises(DataError, match=r"valid.csv: no images found"):
        two("path,label\na.png,x\n", "path,label\n")


@pytest.mark.parametrize("path", ["../secret/a.png", "../va/../secret/a.png"])
@pytest.mark.parametrize("leaves", [0, 1])
def test_neither_of_two_sources_may_leave_their_folders(two, tmp_path, path, leaves):
    texts = ["path,label\na.png,x\n", "path,label\nb.png,y\n"]
    texts[leaves] += f"{path},x\n"
    with pytest.raises(DataError, match=r"1 of 3 images lie outside .*\n  line 3: (tr|va)/\.\./"):
        two(*texts)
    assert len(two(*texts, allow_outside=True)) == 3


def test_a_folder_of_train_and_one_of_valid_images(tmp_path):
    touched(
        tmp_path, "train/cat/1.png", "train/dog/1.png", "deep/valid/cat/1.png", "deep/valid/odd.png"
    )
    table = read(tmp_path / "train", valid=str(tmp_path / "deep/valid"), fold_column="fold")
    assert table.root == tmp_path
    assert table.paths == ["train/cat/1.png", "train/dog/1.png", "deep/valid/cat/1.png"]
    assert table.labels == [("cat",), ("dog",), ("cat",)]
    assert table.fixed_N.tolist() == [-1, -1, 0]
    assert [path for path, _ in table.ignored] == ["deep/valid/odd.png"]


def test_profile_folders_may_have_a_second_source_too(tmp_path):
    touched(tmp_path, "train/1_male_x_20/mask1.jpg", "valid/2_female_x_70/normal.jpg")
    table = read(
        tmp_path / "train",
        valid=str(tmp_path / "valid"),
        layout="profile_folders",
        fold_column="fold",
    )
    assert table.labels == [("mask", "male", "<30"), ("normal", "female", ">=60")]
    assert table.groups == ["1", "2"]
    assert table.fixed_N.tolist() == [-1, 0]
