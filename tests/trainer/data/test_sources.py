"""CSV and Parquet files become a table of rows as they were written;
what cannot be read is refused.
"""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.trainer.data.tables import read
from trainer.data.fold_column import ALWAYS_TRAINED
from trainer.errors import DataError

# tables


def test_a_csv_gives_rows_in_its_order_with_their_lines(csv, tmp_path):
    table = csv("path,label\nb.png,dog\na.png,cat\nc.png,dog\n")
    assert table.paths == ["b.png", "a.png", "c.png"]
    assert table.labels == [("dog",), ("cat",), ("dog",)]
    assert table.label_columns == ("label",)
    assert table.lines == [2, 3, 4]
    assert table.root == tmp_path
    assert table.where(1) == "line 3: a.png"
    assert (table.groups, table.boxes_N4, table.fixed_N, table.ignored, table.orders) == (
        None,
        None,
        None,
        [],
        {},
    )


def test_the_columns_can_have_other_names_and_further_ones_are_ignored(csv):
    table = csv("note,file,kind\nx,a.png,1\ny,b.png,2\n", image="file", label="kind")
    assert table.paths == ["a.png", "b.png"]
    assert table.labels == [("1",), ("2",)]


def test_several_label_columns_keep_their_parts(csv):
    table = csv("path,age,mask\na.png,young,on\nb.png,,off\n", label=["mask", "age"])
    assert table.label_columns == ("mask", "age")
    assert table.labels == [("on", "young"), ("off", "")]


def test_absolute_paths_work(csv, tmp_path):
    assert csv(f"path,label\n{tmp_path}/a.png,0\nb.png,1\n").paths == [f"{tmp_path}/a.png", "b.png"]


@pytest.mark.parametrize(
    "text", ["path,label\na.png,0\n\nb.png,1\n\n", "path,label\na.png,0\n,\nb.png,1\n"]
)
def test_blank_lines_are_skipped_but_counted(csv, text):
    table = csv(text)
    assert table.paths == ["a.png", "b.png"]
    assert table.lines == [2, 4]


def test_a_line_of_missing_values_is_a_row_and_no_blank_line(csv):
    table = csv("path,label\na.png,0\nnan,NaN\n")
    assert table.paths == ["a.png", ""]
    assert table.labels == [("0",), ("",)]


@pytest.mark.parametrize("mark", [",", ";", "\t"])
@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize("bom", ["", "\ufeff"])
@pytest.mark.parametrize("name", ["train.csv", "train.TSV", "train.txt"])
def test_comma_semicolon_tab_and_files_from_windows_are_read_alike(csv, mark, ending, bom, name):
    lines = [["path", "label"], ["a.png", "x y"], ["b.png", "z"], [""]]
    table = csv(bom + ending.join(mark.join(cells) for cells in lines), name=name)
    assert (table.paths, table.labels, table.lines) == (
        ["a.png", "b.png"],
        [("x y",), ("z",)],
        [2, 3],
    )


def test_quoted_cells_may_hold_separators_quotes_and_line_ends(csv, tmp_path):
    (tmp_path / "x, y.png").touch()
    table = csv('path,label,note\n"x, y.png","a, ""b"";c","two\nlines"\nb.png,1,\n')
    assert table.paths == ["x, y.png", "b.png"]
    assert table.labels == [('a, "b";c',), ("1",)]


def test_a_tab_separates_where_names_hold_no_comma(csv, tmp_path):
    (tmp_path / "x, y.png").touch()
    assert csv("path\tlabel\nx, y.png\t0\nb.png\t1\n").paths == ["x, y.png", "b.png"]


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        ("", ""),
        ("nan", ""),
        ("NaN", ""),
        ("NA", "NA"),
        ("null", "null"),
        ("None", "None"),
        ("nano", "nano"),
    ],
)
def test_only_what_pandas_writes_for_a_missing_value_is_missing(csv, cell, value):
    assert csv(f"path,label\na.png,{cell}\nb.png,1\n").labels[0] == (value,)


@pytest.mark.parametrize("label", ["007", "1e3", "2.0", "0", "-1", "True", "x y", "日本"])
def test_labels_are_the_text_that_was_written(csv, label):
    assert csv(f"path,label\na.png,{label}\nb.png,1\n").labels[0] == (label,)


def test_a_row_shorter_than_the_header_misses_its_last_values(csv):
    assert csv("path,label\na.png\nb.png,1\n").labels == [("",), ("1",)]


@pytest.mark.parametrize("rows", ["a.png,0,\nb.png,1,\n", "a.png,0,x\nb.png,1,y\n"])
def test_rows_longer_than_the_header_are_refused_as_such_and_never_read_one_column_further(
    csv, rows
):
    with pytest.raises(DataError, match="not a readable CSV file"):
        csv("path,label\n" + rows)


def test_a_row_with_too_many_fields_is_refused_in_one_line(csv):
    with pytest.raises(DataError, match=r"not a readable CSV file \(.*line 3") as caught:
        csv("path,label\na.png,0\nb.png,1,2,3\n")
    assert "\n" not in str(caught.value)


def test_a_quote_that_is_never_closed_is_refused(csv):
    with pytest.raises(
        DataError, match=r"train.csv: not a readable CSV file \(.*EOF inside string"
    ):
        csv('path,label\n"a.png,0\nb.png,1\n')


def test_a_file_that_is_no_text_is_refused(csv):
    with pytest.raises(DataError, match=r"train\.csv: neither UTF-8 nor Korean \(byte 0x89 at 0\)"):
        csv(b"\x89PNG\r\n\x1a\n\xff\xfe\x00")


def test_an_excel_file_is_refused_with_what_to_do(csv):
    with pytest.raises(
        DataError, match=r"train\.csv: no CSV file but an Excel file\. Save it as CSV UTF-8$"
    ):
        csv(b"PK\x03\x04" + bytes(range(256)))
    with pytest.raises(DataError, match=r"Known: .*, or a folder\. Save it as CSV UTF-8$"):
        csv(b"", name="train.XLSX")


def test_a_korean_file_is_read_with_a_note_unless_its_encoding_is_given(csv, tmp_path):
    text = "경로,label\na.png,고양이\nb.png,강아지\n".encode("cp949")
    table = csv(text, image="경로")
    assert table.labels == [("고양이",), ("강아지",)]
    assert table.notes == [
        f"{tmp_path}/train.csv is read as CP949 (Korean, with all of EUC-KR); `encoding: cp949` "
        "below data says so"
    ]
    assert csv(text, image="경로", encoding="cp949").notes == []


def test_white_space_around_names_and_cells_is_left_out_and_counted(csv):
    table = csv("path , label\n a.png, cat\nb.png,cat \nc.png,dog\n")
    assert table.paths == ["a.png", "b.png", "c.png"]
    assert table.labels == [("cat",), ("cat",), ("dog",)]
    assert table.notes == [
        "column 'path': white space around 1 of 3 cells is left out (' a.png' is read as 'a.png')",
        "column 'label': white space around 2 of 3 cells is left out (' cat' is read as 'cat')",
    ]


@pytest.mark.parametrize("text", [b"", b"\n\n", b"\xef\xbb\xbf"])
def test_an_empty_file_is_refused(csv, text):
    message = "train.csv: the file is empty. It needs a header line and one row per image"
    with pytest.raises(DataError, match=f"{re.escape(message)}$"):
        csv(text)


@pytest.mark.parametrize(
    "text", ["path,label\n", "path,label", "path,label\n\n\n", "path,label\n,\n"]
)
def test_a_header_without_rows_is_refused(csv, text):
    with pytest.raises(
        DataError, match=r"train.csv: no images found. A CSV needs at least one row"
    ):
        csv(text)


@pytest.mark.parametrize("mark", [",", ";"])
def test_two_columns_of_one_name_are_refused_since_nobody_knows_which_holds(csv, mark):
    text = "path,label,label\na.png,1,2\nb.png,2,1\n".replace(",", mark)
    message = "train.csv: two columns have one name. Columns there: 'path', 'label', 'label'"
    with pytest.raises(DataError, match=f"{re.escape(message)}$"):
        csv(text)


def test_columns_without_a_name_are_no_reason_to_stop(csv):
    assert csv("path,label,,\na.png,1,,\nb.png,2,,x\n").paths == ["a.png", "b.png"]


@pytest.mark.parametrize(
    ("text", "options", "column", "key", "there"),
    [
        ("image,label\na,0\n", {}, "path", "data.image", "'image', 'label'"),
        ("path\na.png\n", {}, "label", "data.label", "'path'"),
        ("path,x\na.png,0\n", {"label": ["x", "y"]}, "y", "data.label", "'path', 'x'"),
        ("path,label\na.png,0\n", {"group": "who"}, "who", "data.group", "'path', 'label'"),
        (
            "path,label\na.png,0\n",
            {"box": ["l", "t", "r", "b"]},
            "l",
            "data.box",
            "'path', 'label'",
        ),
        ("path,label\na.png,0\n", {"fold_column": "f"}, "f", "folds.column", "'path', 'label'"),
    ],
)
def test_a_missing_column_is_refused_with_the_columns_there(csv, text, options, column, key, there):
    with pytest.raises(
        DataError, match=rf"no column '{column}' \({key}\). Columns there: {there}$"
    ):
        csv(text, **options)


# Parquet


def test_parquet_gives_the_same_table_as_csv(csv, parquet):
    columns = {"path": ["b.png", "a.png"], "label": ["dog", "고양이"], "who": ["p1", "p2"]}
    text = "".join(
        ",".join(cells) + "\n" for cells in [columns, *zip(*columns.values(), strict=True)]
    )
    first = csv(text, group="who")
    second = parquet(columns, index=[7, 7], group="who")
    for field in ("root", "paths", "lines", "labels", "groups"):
        assert getattr(second, field) == getattr(first, field)


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ([1, 0, 10], ["1", "0", "10"]),
        ([1.0, None, 2.0], ["1", "", "2"]),
        ([1.5, float("nan"), 2.0], ["1.5", "", "2"]),
        (np.array([1, 2, np.nan], dtype=np.float32), ["1", "2", ""]),
        (np.array([0.1, 2.5, np.nan], dtype=np.float32), ["0.1", "2.5", ""]),
        (pd.array([2**60 + 1, None, 2], dtype="Int64"), [str(2**60 + 1), "", "2"]),
        (["x", None, "nan"], ["x", "", ""]),
        (["1.0", "01", ""], ["1.0", "01", ""]),
        ([True, False, None], ["True", "False", ""]),
        (pd.Categorical(["x", None, "y"]), ["x", "", "y"]),
        (pd.Categorical(["x", "y", "x"]), ["x", "y", "x"]),
    ],
    ids=[
        "integers",
        "reals_with_none",
        "reals",
        "reals_32",
        "broken_reals_32",
        "big_integers",
        "text",
        "digits",
        "booleans",
        "categories",
        "full_categories",
    ],
)
def test_labels_of_every_type_become_text_and_missing_ones_are_empty(parquet, labels, expected):
    table = parquet({"path": ["a.png", "b.png", "c.png"], "label": labels})
    assert [label for (label,) in table.labels] == expected


def test_a_parquet_row_without_any_value_is_a_row(parquet):
    table = parquet({"path": ["a.png", None], "label": ["x", None]})
    assert (table.paths, table.labels) == (["a.png", ""], [("x",), ("",)])


@pytest.mark.parametrize("content", [b"", b"path,label\na.png,x\n", b"PAR1"])
def test_a_damaged_parquet_file_is_refused(tmp_path, content):
    (tmp_path / "x.parquet").write_bytes(content)
    with pytest.raises(DataError, match=r"x.parquet: not a readable Parquet file \("):
        read(tmp_path / "x.parquet")


def test_a_truncated_parquet_file_is_refused(parquet, tmp_path):
    parquet({"path": ["a.png"], "label": ["x"]})
    whole = (tmp_path / "train.parquet").read_bytes()
    (tmp_path / "train.parquet").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"train.parquet: not a readable Parquet file \("):
        read(tmp_path / "train.parquet")


def test_a_parquet_file_without_rows_is_refused(parquet):
    with pytest.raises(DataError, match=r"train.parquet: no images found"):
        parquet({"path": [], "label": []})


# which source


def test_a_missing_source_is_refused_with_a_way_to_get_one(tmp_path):
    message = (
        f"{tmp_path}/no.csv: no such file or folder. Set data.source to one (`sweeps demo digits` "
        "writes one)"
    )
    with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
        read(tmp_path / "no.csv")


def test_a_file_of_another_kind_is_refused_with_the_known_ones(tmp_path):
    (tmp_path / "train.json").touch()
    with pytest.raises(
        DataError,
        match=r"train.json: not a table of images. Known: .csv, .parquet, .pq, .tsv, .txt, "
        r"or a folder$",
    ):
        read(tmp_path / "train.json")


def test_a_layout_of_folders_needs_a_folder(csv):
    with pytest.raises(
        DataError,
        match=r"train.csv: data.layout profile_folders needs a folder, and this is a file$",
    ):
        csv("path,label\na.png,x\n", layout="profile_folders")


def test_the_root_is_absolute_so_that_another_working_folder_changes_nothing(
    csv, tmp_path, monkeypatch
):
    csv("path,label\na.png,x\n")
    monkeypatch.chdir(tmp_path)
    assert read(Path("train.csv")).root == tmp_path


# groups, boxes, folds


def test_groups_are_read_as_text_and_may_be_missing(csv):
    table = csv("path,label,who\na.png,x,007\nb.png,y,\nc.png,y,nan\n", group="who")
    assert table.groups == ["007", "", ""]


def test_near_duplicates_are_no_column(csv):
    assert csv("path,label\na.png,x\n", group="near_duplicates").groups is None


@pytest.mark.parametrize(
    ("box_format", "expected"),
    [
        ("xyxy", [[1, 2.5, 30, 40], [-1, 0, 1e30, 7]]),
        ("xywh", [[1, 2.5, 31, 42.5], [-1, 0, 1e30, 7]]),
    ],
)
def test_boxes_are_read_as_written_and_widths_become_edges(csv, box_format, expected):
    text = "path,label,l,t,r,b\na.png,x,1,2.5,30,40\nb.png,y,-1,0,1e30,7\n"
    table = csv(text, box=["l", "t", "r", "b"], box_format=box_format)
    np.testing.assert_array_equal(table.boxes_N4, expected)


@pytest.mark.parametrize("cell", ["", "nan", "wide", "1;2", "0x10"])
def test_what_is_no_number_in_a_box_is_nan_and_left_to_the_cleaning(csv, cell):
    table = csv(f"path,label,l,t,r,b\na.png,x,{cell},2,3,4\n", box=["l", "t", "r", "b"])
    np.testing.assert_array_equal(table.boxes_N4, [[np.nan, 2, 3, 4]])


def test_a_fold_column_is_read_with_its_notes(csv):
    table = csv("path,label,f\na.png,x,1\nb.png,y,\nc.png,y,2\n", fold_column="f")
    assert table.fixed_N.tolist() == [0, ALWAYS_TRAINED, 1]
    assert table.notes == [
        "column 'f' (folds.column) is numbered from 1: 1 to 2 become folds 0 to 1"
    ]
    with pytest.raises(DataError, match=r"train.csv: '1.5' in column 'f' \(folds.column\) is not"):
        csv("path,label,f\na.png,x,0\nb.png,y,1.5\n", fold_column="f")
