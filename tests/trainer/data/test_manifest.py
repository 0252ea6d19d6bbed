"""Manifests from CSV files and folders, and every way in which they can be wrong."""

import os
import re

import numpy as np
import pytest

from trainer.data.manifest import Manifest, read_manifest
from trainer.errors import DataError


@pytest.fixture
def csv(tmp_path):
    """Write a CSV beside the images a.png to d.png and read it."""
    for name in "abcd":
        (tmp_path / f"{name}.png").touch()

    def read(text: str | bytes, **columns: str) -> Manifest:
        (tmp_path / "train.csv").write_bytes(text.encode() if isinstance(text, str) else text)
        return read_manifest(tmp_path / "train.csv", **columns)

    return read


def test_a_csv_gives_rows_in_its_order_with_their_lines(csv, tmp_path):
    manifest = csv("path,label\nb.png,dog\na.png,cat\nc.png,dog\n")
    assert manifest.paths == ("b.png", "a.png", "c.png")
    assert manifest.classes == ("cat", "dog")
    np.testing.assert_array_equal(manifest.labels_N, [1, 0, 1])
    assert manifest.labels_N.dtype == np.int64
    assert manifest.lines == (2, 3, 4)
    assert len(manifest) == 3
    assert manifest.file(1) == tmp_path / "a.png"
    assert manifest.where(1) == "line 3: a.png"


def test_the_columns_can_have_other_names_and_further_ones_are_ignored(csv):
    manifest = csv("note,file,kind\nx,a.png,1\ny,b.png,2\n", image="file", label="kind")
    assert manifest.paths == ("a.png", "b.png")
    assert manifest.classes == ("1", "2")


def test_absolute_paths_work(csv, tmp_path):
    manifest = csv(f"path,label\n{tmp_path}/a.png,0\nb.png,1\n")
    assert manifest.file(0) == tmp_path / "a.png"


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        (["10", "9", "2"], ("2", "9", "10")),
        (["10", "9", "b"], ("10", "9", "b")),
        (["1.5", "10", "9"], ("1.5", "10", "9")),
        (["1", "01", "2"], ("01", "1", "2")),
        (["NA", "null", "nan"], ("NA", "nan", "null")),
        (["é", "z", "日本"], ("z", "é", "日本")),
    ],
)
def test_classes_are_sorted_as_numbers_only_when_all_are(csv, labels, classes):
    rows = "".join(f"{name}.png,{label}\n" for name, label in zip("abc", labels, strict=True))
    assert csv(f"path,label\n{rows}").classes == classes


@pytest.mark.parametrize("text", ["path,label\na.png,0\n\nb.png,1\n\n", "path,label\na.png,0\n,\nb.png,1\n"])
def test_blank_lines_are_skipped_but_counted(csv, text):
    manifest = csv(text)
    assert manifest.paths == ("a.png", "b.png")
    assert manifest.lines == (2, 4)


@pytest.mark.parametrize(
    "text", [b"\xef\xbb\xbfpath,label\na.png,0\nb.png,1\n", b"path,label\r\na.png,0\r\nb.png,1\r\n"]
)
def test_files_from_windows_are_read(csv, text):
    assert csv(text).paths == ("a.png", "b.png")


def test_quoted_paths_may_hold_commas(csv, tmp_path):
    (tmp_path / "x, y.png").touch()
    assert csv('path,label\n"x, y.png",0\nb.png,1\n').paths == ("x, y.png", "b.png")


def test_a_missing_source_is_refused_with_a_way_to_get_one(tmp_path):
    message = f"{tmp_path}/no.csv: no such CSV file or folder. Set data.source to one (`sweeps demo digits` writes one)"
    with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
        read_manifest(tmp_path / "no.csv")


def test_an_empty_file_is_refused(csv):
    with pytest.raises(DataError, match=r"train.csv: the file is empty. It needs a header line and one row per image$"):
        csv("")


@pytest.mark.parametrize("text", ["path,label\n", "path,label\n\n\n"])
def test_a_header_without_rows_is_refused(csv, text):
    with pytest.raises(DataError, match=r"train.csv: no images found. A CSV needs at least one row"):
        csv(text)


@pytest.mark.parametrize(
    ("text", "column", "key", "there"),
    [
        ("image,label\na.png,0\n", "path", "data.image", "'image', 'label'"),
        ("path\na.png\n", "label", "data.label", "'path'"),
    ],
)
def test_a_missing_column_is_refused_with_the_columns_there(csv, text, column, key, there):
    with pytest.raises(DataError, match=rf"no column '{column}' \({key}\). Columns there: {there}$"):
        csv(text)


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("path,label\na.png,\nb.png,1\n", "line 2"),
        ("path,label\na.png\nb.png,1\n", "line 2"),
        ("path,label\n,0\nb.png,1\n,1\n", "lines 2, 4"),
        ("path,label\n" + "a.png,\n" * 12, "lines 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, ..."),
    ],
)
def test_empty_fields_are_named_by_their_lines(csv, text, lines):
    with pytest.raises(DataError, match=rf"'path' or 'label' is empty in {lines}$"):
        csv(text)


@pytest.mark.parametrize("rows", ["a.png,0,\nb.png,1,\n", "a.png,0,x\nb.png,1,y\n"])
def test_rows_longer_than_the_header_are_refused_as_such_and_never_read_one_column_further(csv, rows):
    with pytest.raises(DataError, match="not a readable CSV file"):
        csv("path,label\n" + rows)


def test_a_row_with_too_many_fields_is_refused_in_one_line(csv):
    with pytest.raises(DataError, match=r"not a readable CSV file \(.*line 3") as caught:
        csv("path,label\na.png,0\nb.png,1,2,3\n")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["path,label\na.png,\xe9\n".encode("latin1"), b"\x89PNG\r\n\x1a\n\xff\xfe\x00"])
def test_a_file_that_is_not_text_is_refused(csv, text):
    with pytest.raises(DataError, match=r"train.csv: not a readable CSV file"):
        csv(text)


def test_images_that_do_not_exist_are_all_counted_and_named_by_line(csv, tmp_path):
    message = (
        f"{tmp_path}/train.csv: 2 of 3 images do not exist (paths are relative to {tmp_path})\n"
        "  line 2: x.png\n  line 4: y.png"
    )
    with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
        csv("path,label\nx.png,0\na.png,1\ny.png,1\n")


def test_after_ten_missing_images_the_rest_is_counted(csv):
    rows = "".join(f"x{row}.png,0\n" for row in range(13))
    with pytest.raises(DataError, match=r"13 of 13 images do not exist (.|\n)*\n  line 11: x9.png\n  and 3 more$"):
        csv("path,label\n" + rows)


def test_a_folder_in_place_of_an_image_does_not_count_as_one(csv, tmp_path):
    (tmp_path / "sub").mkdir()
    with pytest.raises(DataError, match=r"1 of 2 images do not exist .*\n  line 2: sub$"):
        csv("path,label\nsub,0\na.png,1\n")


@pytest.mark.parametrize("second", ["a.png", "./a.png"])
@pytest.mark.parametrize("label", ["0", "1"])
def test_an_image_named_twice_is_refused_since_it_would_lie_on_both_sides_of_a_fold(csv, second, label):
    with pytest.raises(DataError, match=r"line 4"):
        csv(f"path,label\na.png,0\nb.png,1\n{second},{label}\n")


def test_one_class_is_not_enough(csv):
    with pytest.raises(DataError, match=r"train.csv: only one class \('cat'\); classification needs at least two$"):
        csv("path,label\na.png,cat\nb.png,cat\n")


@pytest.fixture
def tree(tmp_path):
    """Create empty files below a folder and read it."""

    def read(*files: str) -> Manifest:
        for file in files:
            (tmp_path / "data" / file).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "data" / file).touch()
        return read_manifest(tmp_path / "data")

    return read


def test_each_sub_folder_is_a_class_and_may_be_nested(tree, tmp_path):
    manifest = tree("dog/2.PNG", "cat/deep/er/1.jpeg", "dog/1.webp")
    assert manifest.paths == ("cat/deep/er/1.jpeg", "dog/1.webp", "dog/2.PNG")
    assert manifest.classes == ("cat", "dog")
    np.testing.assert_array_equal(manifest.labels_N, [0, 1, 1])
    assert manifest.root == tmp_path / "data"
    assert manifest.where(0) == "cat/deep/er/1.jpeg"


def test_hidden_files_other_files_and_images_beside_the_classes_are_left_out(tree):
    manifest = tree("cat/1.png", "dog/1.png", "dog/.2.png", ".git/1.png", "cat/Thumbs.db", "cat/notes.txt", "cover.png")
    assert manifest.paths == ("cat/1.png", "dog/1.png")


def test_a_sub_folder_without_images_is_no_class(tree):
    assert tree("cat/1.png", "dog/1.png", "empty/notes.txt").classes == ("cat", "dog")


def test_the_folder_gives_the_same_rows_whatever_the_order_on_disk(tree, tmp_path, monkeypatch):
    forwards = tree("cat/1.png", "cat/2.png", "dog/1.png")
    listed = os.scandir
    monkeypatch.setattr(os, "listdir", lambda path: [entry.name for entry in listed(path)][::-1])
    assert read_manifest(tmp_path / "data").paths == forwards.paths


def test_a_folder_without_classes_is_refused(tree):
    with pytest.raises(DataError, match=r"data: no images found. .* a folder one sub-folder per class$"):
        tree("1.png", "2.png")


def test_a_folder_with_one_class_is_refused(tree):
    with pytest.raises(DataError, match=r"data: only one class \('cat'\)"):
        tree("cat/1.png", "cat/2.png")


def test_the_root_is_absolute_so_that_another_working_folder_changes_nothing(tree, tmp_path, monkeypatch):
    tree("cat/1.png", "dog/1.png")
    monkeypatch.chdir(tmp_path)
    assert read_manifest(type(tmp_path)("data")).root == (tmp_path / "data").resolve()
