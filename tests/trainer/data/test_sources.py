"""Folders, CSV and Parquet files become a table of rows as they were written; what cannot be read is refused."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.trainer.data.tables import Reader, read, touched
from trainer.data.sources import ALWAYS_TRAINED, Table
from trainer.errors import DataError


@pytest.fixture
def csv(tmp_path: Path) -> Reader:
    """Write a CSV beside the images a.png to d.png and read it."""
    touched(tmp_path, *(f"{name}.png" for name in "abcd"))

    def written(text: str | bytes, *, name: str = "train.csv", **options: Any) -> Table:
        (tmp_path / name).write_bytes(text.encode() if isinstance(text, str) else text)
        return read(tmp_path / name, **options)

    return written


@pytest.fixture
def parquet(tmp_path: Path) -> Reader:
    """Write columns as Parquet beside the images a.png to d.png and read them."""
    touched(tmp_path, *(f"{name}.png" for name in "abcd"))

    def written(
        columns: dict[str, Any], *, index: list[int] | None = None, **options: Any
    ) -> Table:
        pd.DataFrame(columns, index=index).to_parquet(tmp_path / "train.parquet")
        return read(tmp_path / "train.parquet", **options)

    return written


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


@pytest.mark.parametrize("label", ["007", "1e3", "1.0", "0", "-1", "True", " x", "日本"])
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


@pytest.mark.parametrize(
    "text",
    [
        "path,label\na.png,고양이\n".encode("cp949"),
        "path,label\na.png,\xe9\n".encode("latin1"),
        "path,label\na.png,x\n".encode("utf-16"),
        b"\x89PNG\r\n\x1a\n\xff\xfe\x00",
    ],
)
def test_a_file_that_is_not_utf8_is_refused_with_what_to_do(csv, text):
    with pytest.raises(
        DataError,
        match=r"train.csv: not a readable CSV file \('utf-8' codec .*\)\. Save it as UTF-8$",
    ):
        csv(text)


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
        ("image,label\na.png,0\n", {}, "path", "data.image", "'image', 'label'"),
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
    first, second = csv(text, group="who"), parquet(columns, index=[7, 7], group="who")
    for field in ("root", "paths", "lines", "labels", "groups"):
        assert getattr(second, field) == getattr(first, field)


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ([1, 0, 10], ["1", "0", "10"]),
        ([1.0, None, 2.0], ["1", "", "2"]),
        ([1.5, float("nan"), 2.0], ["1.5", "", "2"]),
        (np.array([1, 2, np.nan], dtype=np.float32), ["1", "2", ""]),
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
    message = f"{tmp_path}/no.csv: no such file or folder. Set data.source to one (`sweeps demo digits` writes one)"
    with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
        read(tmp_path / "no.csv")


def test_a_file_of_another_kind_is_refused_with_the_known_ones(tmp_path):
    (tmp_path / "train.xlsx").touch()
    with pytest.raises(
        DataError,
        match=r"train.xlsx: not a table of images. Known: .csv, .parquet, .pq, .tsv, .txt, or a folder$",
    ):
        read(tmp_path / "train.xlsx")


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


# files that are there, and where


def test_images_that_do_not_exist_are_all_counted_and_named_by_line(csv, tmp_path):
    message = (
        f"{tmp_path}/train.csv: 2 of 3 images do not exist (paths are relative to {tmp_path})\n"
        "  line 2: x.png\n  line 4: y.png"
    )
    with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
        csv("path,label\nx.png,0\na.png,1\ny.png,1\n")


def test_after_ten_missing_images_the_rest_is_counted(csv):
    rows = "".join(f"x{row}.png,0\n" for row in range(13))
    with pytest.raises(
        DataError, match=r"13 of 13 images do not exist (.|\n)*\n  line 11: x9.png\n  and 3 more$"
    ):
        csv("path,label\n" + rows)


@pytest.mark.parametrize(
    "path",
    [
        "sub",
        "dangling.png",
        "itself.png",
        "round.png",
        "a.png/x.png",
        "a\0.png",
        "x" * 300,
        "없음 1.png",
    ],
)
def test_what_is_no_file_does_not_count_as_an_image(csv, tmp_path, path):
    (tmp_path / "sub").mkdir()
    for name, target in [
        ("dangling", "gone"),
        ("itself", "itself"),
        ("round", "trip"),
        ("trip", "round"),
    ]:
        (tmp_path / f"{name}.png").symlink_to(f"{target}.png")
    with pytest.raises(
        DataError, match=rf"1 of 2 images do not exist .*\n  line 2: {re.escape(path)}$"
    ):
        csv(f"path,label\n{path},0\na.png,1\n")


def test_a_name_in_another_unicode_form_is_another_name(csv, tmp_path):
    decomposed = "\u1112\u1161\u11ab.png"  # as macOS writes it; the CSV has the one letter
    (tmp_path / decomposed).touch()
    if (tmp_path / "\ud55c.png").exists():
        pytest.skip("this file system does not tell the two forms apart")
    with pytest.raises(DataError, match=r"1 of 2 images do not exist"):
        csv("path,label\n\ud55c.png,0\na.png,1\n")


@pytest.fixture
def neighbours(tmp_path: Path) -> Path:
    """A source folder `in`, and `out` and `inner` beside it with links that lead there."""
    touched(tmp_path, "in/a.png", "in/sub/b.png", "out/x.png", "inner/y.png")
    (tmp_path / "in/link.png").symlink_to("../out/x.png")
    (tmp_path / "in/folder").symlink_to("../out")
    (tmp_path / "in/chain.png").symlink_to("link.png")
    (tmp_path / "in/home.png").symlink_to("sub/b.png")
    (tmp_path / "in/sub/up").symlink_to("..")
    return tmp_path


OUTSIDE = [
    "../out/x.png",
    "link.png",
    "chain.png",
    "folder/x.png",
    "../inner/y.png",
    "sub/../../out/x.png",
    "ROOT",
]


def rows_of(neighbours: Path, *paths: str) -> Path:
    source = neighbours / "in" / "train.csv"
    rows = "".join(f"{path.replace('ROOT', f'{neighbours}/out/x.png')},0\n" for path in paths)
    source.write_text(f"path,label\n{rows}")
    return source


@pytest.mark.parametrize("path", OUTSIDE)
def test_a_path_that_leaves_the_sources_folder_is_refused_also_through_links(neighbours, path):
    source = rows_of(neighbours, "a.png", path)
    named = path.replace("ROOT", f"{neighbours}/out/x.png")
    message = (
        f"{source}: 1 of 2 images lie outside {neighbours}/in. Set data.allow_outside: true if that is meant\n"
        f"  line 3: {named}"
    )
    with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
        read(source)


@pytest.mark.parametrize("path", OUTSIDE)
def test_a_path_may_leave_the_sources_folder_where_the_user_says_so(neighbours, path):
    assert len(read(rows_of(neighbours, "a.png", path), allow_outside=True)) == 2


@pytest.mark.parametrize(
    "path", ["sub/b.png", "./a.png", "sub/../a.png", "home.png", "sub/up/a.png", "../in/a.png"]
)
def test_links_and_detours_within_the_folder_are_fine(neighbours, path):
    assert len(read(rows_of(neighbours, path))) == 1


def test_a_missing_image_is_missing_whether_outside_or_not(neighbours):
    with pytest.raises(DataError, match=r"1 of 1 images do not exist"):
        read(rows_of(neighbours, "../out/gone.png"))


def test_a_source_that_is_itself_a_link_is_at_home_where_it_leads(neighbours):
    rows_of(neighbours, "a.png", "sub/b.png")
    (neighbours / "data").symlink_to("in")
    assert read(neighbours / "data" / "train.csv").root == neighbours / "in"


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


def test_fixed_folds_are_whole_numbers_and_empty_means_always_trained(csv):
    text = (
        "path,label,f\na.png,x,0\nb.png,y,1.0\nc.png,y,\nd.png,x,-1\na.png,x,-1.00\nb.png,y,nan\n"
    )
    fixed_N = csv(text, fold_column="f").fixed_N
    assert fixed_N.dtype == np.int64
    assert fixed_N.tolist() == [0, 1, *[ALWAYS_TRAINED] * 4]


@pytest.mark.parametrize("value", ["train", "1.5", "-2", "1000", "1e1", " 1", "٣٣٣٣"])
def test_another_fold_is_refused_with_what_folds_are(csv, value):
    message = f"{value!r} in column 'f' (folds.column) is not a fold. Folds are whole numbers from 0; empty or -1 is"
    with pytest.raises(DataError, match=f"train.csv: {re.escape(message)} always trained on$"):
        csv(f"path,label,f\na.png,x,0\nb.png,y,{value}\n", fold_column="f")


# a second source


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
    table = two("path,label,fold\na.png,x,1\n", "path,label,fold\na.png,y,2\n", fold_column="fold")
    assert table.fixed_N.tolist() == [1, 2]


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
