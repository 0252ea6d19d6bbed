"""The path of each row's image: a column, a suffix, a pattern, and the folder they are in."""

import re
from pathlib import Path

import pytest

from tests.trainer.data.tables import read, touched
from trainer.data.image_column import image_paths, images_folders
from trainer.errors import DataError

CELLS = {
    "id": ["ab12", "cd34", ""],
    "path": ["C:\\x\\cat\\1.tiff", "/y/dog/2.tar.gz", "3.png"],
    "kind": ["cat", "dog", "cat"],
    "a.name": ["1", "2", "3"],
}


def paths(image: str, suffix: str | None = None) -> list[str]:
    return image_paths(CELLS, image, suffix=suffix, where="a.csv")


@pytest.mark.parametrize(
    ("image", "suffix", "found"),
    [
        ("id", None, ["ab12", "cd34", ""]),
        ("id", ".png", ["ab12.png", "cd34.png", ""]),
        ("path", ".png", ["C:\\x\\cat\\1.tiff.png", "/y/dog/2.tar.gz.png", "3.png"]),
        ("images/{id}.png", None, ["images/ab12.png", "images/cd34.png", ""]),
        ("{kind}/{id}", "_front.jpg", ["cat/ab12_front.jpg", "dog/cd34_front.jpg", ""]),
        ("{path.name}", None, ["1.tiff", "2.tar.gz", "3.png"]),
        ("x/{path.last2}", None, ["x/cat/1.tiff", "x/dog/2.tar.gz", "x/3.png"]),
        ("{path.name.stem}.jpg", None, ["1.jpg", "2.tar.jpg", "3.jpg"]),
        ("{path.last2.stem}.jpg", None, ["cat/1.jpg", "dog/2.tar.jpg", "3.jpg"]),
        ("{id[0]}/{id[1]}/{id}", None, ["a/b/ab12", "c/d/cd34", ""]),
        ("{id[:2]}/{id[2:]}", None, ["ab/12", "cd/34", ""]),
        ("{a.name}.jpg", None, ["1.jpg", "2.jpg", "3.jpg"]),
    ],
)
def test_a_path_is_made_of_the_cells_of_its_row(image, suffix, found):
    assert paths(image, suffix) == found


@pytest.mark.parametrize(
    ("image", "name"), [("file", "file"), ("x/{file}.png", "file"), ("{file.stem}", "file")]
)
def test_a_missing_column_is_named_with_those_that_are_there(image, name):
    message = (
        f"a.csv: no column '{name}' (data.image). Columns there: 'id', 'path', 'kind', 'a.name'"
    )
    with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
        paths(image)


def test_the_folder_of_the_images_is_beside_the_table_or_in_the_working_folder(
    tmp_path, monkeypatch
):
    touched(tmp_path, "data/images/a.png", "photos/b.png", "other/images/c.png")
    table = tmp_path / "data" / "train.csv"
    monkeypatch.chdir(tmp_path / "other")
    assert images_folders(table, None) == [tmp_path / "data"]
    assert images_folders(table, ["images"]) == [tmp_path / "data" / "images"]
    assert images_folders(table, [str(tmp_path / "photos")]) == [tmp_path / "photos"]
    monkeypatch.chdir(tmp_path)
    assert images_folders(table, ["photos"]) == [Path("photos")]
    message = (
        f"{table}: no folder 'image' (data.folder), neither in {tmp_path}/data nor in the working "
        "folder. Folders there: images"
    )
    with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
        images_folders(table, ["images", "image"])


def test_images_may_lie_in_several_folders(tmp_path):
    touched(tmp_path, "part_1/a.jpg", "part_2/b.jpg", "part_2/a.jpg")
    source = tmp_path / "train.csv"
    source.write_text("id,label\na,0\nb,1\n")
    table = read(source, image="id", folder=["part_1", "part_2"], suffix=".jpg")
    assert (table.root, table.paths) == (tmp_path, ["part_1/a.jpg", "part_2/b.jpg"])


def test_a_table_is_read_with_its_folder_and_suffix_or_with_a_pattern(tmp_path):
    touched(tmp_path, "photos/a.png", "photos/b.png")
    source = tmp_path / "train.csv"
    source.write_text("id,label\na,0\nb,1\n")
    table = read(source, image="id", folder="photos", suffix="png")
    assert (table.root, table.paths) == (tmp_path / "photos", ["a.png", "b.png"])
    table = read(source, image="photos/{id}.png")
    assert (table.root, table.paths) == (tmp_path, ["photos/a.png", "photos/b.png"])


def test_the_folder_of_the_images_may_be_outside_of_that_of_the_table(tmp_path):
    touched(tmp_path, "photos/a.png", "tables/train.csv")
    (tmp_path / "tables" / "train.csv").write_text("path,label\na.png,0\n")
    table = read(tmp_path / "tables" / "train.csv", folder="../photos")
    assert (table.root, table.paths) == (tmp_path / "photos", ["a.png"])


@pytest.mark.parametrize(
    ("key", "value"), [("folder", "x"), ("suffix", ".png"), ("class_columns", ["a", "b"])]
)
def test_the_options_of_a_table_are_refused_for_a_folder(tmp_path, key, value):
    touched(tmp_path, "cat/1.png", "dog/2.png")
    message = (
        f"{tmp_path}: data.{key} is for a CSV or Parquet file, and this is a folder, whose "
        f"sub-folders are the classes. Leave {key} out, or set data.source to the file"
    )
    with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
        read(tmp_path, **{key: value})


@pytest.mark.parametrize(
    ("text", "end"),
    [
        (
            "id,file,label\n1,a.png,0\n2,b.JPG,1\n",
            "'id', 'file', 'label'. The cells of 'file' look like paths: write `image: file` below "
            "data",
        ),
        (
            "a.png,cat\nb.png,dog\n",
            "'a.png', 'cat'. The first line looks like a row: write a line above it, e.g. "
            "`path,label`",
        ),
        ("id,label\n1,0\n2,1\n", "'id', 'label'"),
    ],
)
def test_a_table_without_the_column_of_paths_is_refused_with_what_it_may_be(csv, text, end):
    message = f"no column 'path' (data.image). Columns there: {end}"
    with pytest.raises(DataError, match=f"{re.escape(message)}$"):
        csv(text)
