"""Images to predict: a folder at any depth, or a table; every mistake has its message."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from trainer.data.options import DataOptions
from trainer.errors import DataError
from trainer.prediction.unseen import Unseen, read_unseen, table_options


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Files with the names of images, at several depths, and others."""
    for name in (
        "b.JPG",
        "a.png",
        "deep/er/c.webp",
        "deep/a.png",
        ".hidden.png",
        ".git/d.png",
        "notes.txt",
        "e.heic",
    ):
        (tmp_path / "test" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "test" / name).touch()
    return tmp_path / "test"


def read(source: Path | str, *, boxes: bool = False, **options: object) -> Unseen:
    return read_unseen(DataOptions(source=str(source), **options), boxes=boxes)


def test_a_folder_gives_all_images_at_any_depth_in_sorted_order(folder, monkeypatch):
    unseen = read(folder)
    assert unseen.paths == ("a.png", "b.JPG", "deep/a.png", "deep/er/c.webp", "e.heic")
    assert (unseen.root, unseen.lines, unseen.groups) == (folder, (0,) * 5, None)
    assert unseen.where(2) == "deep/a.png"
    assert unseen.file(2).is_file()
    monkeypatch.chdir(folder)
    assert read(".").paths == unseen.paths


def test_a_link_in_a_circle_is_followed_once(folder):
    (folder / "deep" / "again").symlink_to(folder)
    assert read(folder).paths == ("a.png", "b.JPG", "deep/a.png", "deep/er/c.webp", "e.heic")


def test_groups_may_be_the_folders(folder):
    assert read(folder, group="folder").groups == (".", ".", "deep", "deep/er", ".")


@pytest.fixture
def table(folder: Path) -> Callable[..., Path]:
    """A CSV beside the images."""

    def write(*lines: str, name: str = "test.csv") -> Path:
        (folder / name).write_text("\n".join(lines) + "\n")
        return folder / name

    return write


def test_a_table_gives_its_rows_in_their_order(table):
    source = table(
        "file,person,x,y,w,h",
        "deep/a.png,p1,1,2,3,4",
        "b.JPG,p2,0,0,x,9",
        "b.JPG,p2,0,0,5,9",
        "gone.png,p3,0,0,5,9",
    )
    options = {"image": "file", "group": "person", "box": ("x", "y", "w", "h")}
    unseen = read(source, boxes=True, box_format="xywh", bad_boxes="clip", **options)
    assert unseen.paths == ("deep/a.png", "b.JPG", "b.JPG", "gone.png")
    assert (unseen.lines, unseen.clip_boxes) == ((2, 3, 4, 5), True)
    assert unseen.groups == ("p1", "p2", "p2", "p3")
    np.testing.assert_array_equal(unseen.boxes_N4[[0, 2]], [[1, 2, 4, 6], [0, 0, 5, 9]])
    assert np.isnan(unseen.boxes_N4[1, 2])
    assert unseen.missing == {3}
    assert unseen.where(3) == "line 5: gone.png"


def test_boxes_that_are_not_needed_are_not_asked_for(table):
    source = table("path", "a.png")
    assert read(source, box=("l", "t", "r", "b")).boxes_N4 is None


def test_a_parquet_file_is_a_table_too(folder):
    pd.DataFrame({"path": ["b.JPG", "a.png"]}).to_parquet(folder / "test.parquet")
    assert read(folder / "test.parquet").paths == ("b.JPG", "a.png")


def test_a_name_in_another_unicode_form_is_found(folder, table):
    (folder / "cafe\u0301.png").touch()  # as a Mac writes it
    unseen = read(table("path", "caf\u00e9.png"))
    assert unseen.missing == frozenset()
    assert unseen.file(0).is_file()


def test_ids_find_their_images_by_folder_and_suffix_or_by_a_pattern(folder, table):
    source = table("id", "a", "c")
    unseen = read(source, image="id", folder="deep", suffix="png")
    assert (unseen.root, unseen.paths) == (folder / "deep", ("a.png", "c.png"))
    assert (unseen.missing, unseen.columns) == ({1}, {"id": ("a", "c")})
    unseen = read(source, image="deep/{id}.png")
    assert (unseen.root, unseen.paths) == (folder, ("deep/a.png", "deep/c.png"))


def test_images_that_are_elsewhere_are_refused_with_the_options_that_find_them(folder, table):
    source = table("id", "c")
    message = "\n  c\ndeep/er/c.webp exists: give --folder deep/er --image '{id}.webp'"
    with pytest.raises(DataError, match=f"{re.escape(message)}$"):
        read(source, image="id")
    assert read(source, image="{id}.webp", folder="deep/er").missing == frozenset()


def test_a_table_is_read_as_in_training_where_nothing_else_is_said(table):
    source = str(table("id", "a"))
    trained = {"image": "train/{id}", "suffix": ".png", "encoding": "utf-8"}

    def told(**given: Any) -> DataOptions:
        return table_options(trained, source, **{"image": None, "folder": None, **given})

    assert told() == DataOptions(source=source, **{**trained, "image": "{id}"})
    assert told(folder=["deep"], image="x", group="y") == DataOptions(
        source=source, **{**trained, "image": "x"}, folder="deep", group="y"
    )


def test_the_folder_of_the_training_images_is_not_that_of_new_ones(table):
    source = str(table("id", "a"))
    trained = {"image": "id", "folder": "deep"}
    assert table_options(trained, source, image=None, folder=None).folder is None


@pytest.mark.parametrize(
    ("lines", "options", "message"),
    [
        (["file", "a.png"], {}, "no column 'path' with the paths of the images. Columns there: "),
        (["path", "a.png"], {"group": "person"}, "no column 'person' with the groups. Columns"),
        (
            ["path,l,t,r", "a.png,1,2,3"],
            {"box": ("l", "t", "r", "b"), "boxes": True},
            "no column 'b' with the boxes. Columns there: 'path', 'l', 't', 'r'",
        ),
        (["path", "a.png"], {"boxes": True}, "crop: box needs boxes, and data.box names no column"),
        (["path"], {}, "no images found. A CSV needs at least one row"),
        (["path,x", ",1", "a.png,1"], {}, "1 of 2 rows have no path\n  line 2"),
        (["path", "x/a.png", "y"], {}, "none of its 2 images exists (paths are relative to "),
        (
            ["path", "a.png", "b.JPG", "./a.png"],
            {},
            "1 rows repeat an earlier row, and an image is predicted once\n  line 4: ./a.png",
        ),
    ],
)
def test_mistakes_in_a_table(table, lines, options, message):
    with pytest.raises(DataError, match=f"^{table(*lines)}: {re.escape(message)}"):
        read(table(*lines), **options)


def test_mistakes_in_a_folder(folder, tmp_path):
    (tmp_path / "empty").mkdir()
    for source, options, message in (
        (tmp_path / "empty", {}, "no images found in the folder or below it"),
        (folder, {"boxes": True}, "crop: box needs the box of each image. Name a CSV with the "),
        (folder, {"group": "person"}, "a folder has no column 'person'. Group its images by fol"),
        (tmp_path / "gone", {}, "no such file or folder. Name a folder of images, or a CSV with "),
        (folder / "a.png", {}, "not a table of images. Known: .csv, .parquet, .pq, .tsv, .txt, "),
    ):
        with pytest.raises(DataError, match=f"^{source}: {message}"):
            read(source, **options)


def test_names_that_no_csv_can_hold_are_refused(folder):
    (folder / "\udcb0.png").touch()
    with pytest.raises(DataError, match="1 file names are not UTF-8"):
        read(folder)
