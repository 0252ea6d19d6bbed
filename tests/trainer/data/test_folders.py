"""Folders as a source: one per class, or one per person with the photos of a profile."""

import os
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.trainer.data.tables import Reader, read, touched
from trainer.data.folders import age_band, age_bands
from trainer.data.table import Table
from trainer.errors import DataError


@pytest.fixture
def tree(tmp_path: Path) -> Reader:
    """Create empty files below a folder and read it."""

    def made(*files: str, **options: Any) -> Table:
        return read(touched(tmp_path / "data", *files), **options)

    return made


# a folder per class


def test_each_sub_folder_is_a_class_and_may_be_nested(tree, tmp_path):
    table = tree("dog/2.PNG", "cat/deep/er/1.jpeg", "dog/1.webp")
    assert table.paths == ["cat/deep/er/1.jpeg", "dog/1.webp", "dog/2.PNG"]
    assert table.labels == [("cat",), ("dog",), ("dog",)]
    assert table.lines == [0, 0, 0]
    assert table.root == tmp_path / "data"
    assert table.where(0) == "cat/deep/er/1.jpeg"


def test_hidden_files_and_files_that_are_no_images_are_left_out(tree):
    table = tree(
        "cat/1.png",
        "dog/1.png",
        "dog/._2.png",
        ".git/1.png",
        "cat/.x/1.png",
        "cat/Thumbs.db",
        "notes.txt",
    )
    assert table.paths == ["cat/1.png", "dog/1.png"]
    assert table.ignored == []


@pytest.mark.parametrize(
    "suffix", ["png", "JPG", "jpeg", "jfif", "webp", "bmp", "gif", "tif", "TIFF", "jp2", "avif"]
)
def test_every_kind_of_image_that_can_be_read_is_found(tree, suffix):
    assert tree(f"cat/1.{suffix}").paths == [f"cat/1.{suffix}"]


def test_what_programs_leave_beside_images_is_no_image(tree):
    table = tree(
        "cat/1.png",
        "cat/@eaDir/1.png/SYNOPHOTO_THUMB_M.png",
        "cat/thumbs/1.png",
        "dog/2.png",
        "dog/Thumbnails/2.png",
        "dog/._2.png",
        "@eaDir/dog/2.png",
        "__MACOSX/cat/1.png",
        "#recycle/3.png",
    )
    assert table.paths == ["cat/1.png", "dog/2.png"]
    assert table.ignored == []


def test_a_folder_that_is_only_called_like_thumbnails_is_read(tree):
    table = tree("thumb/1.png", "index/thumbs/2.png", "index/1.png")
    assert table.paths == ["index/1.png", "index/thumbs/2.png", "thumb/1.png"]


def test_a_photo_of_a_kind_that_cannot_be_read_is_a_row_and_not_overlooked(tree):
    assert tree("cat/1.png", "cat/2.HEIC").paths == ["cat/1.png", "cat/2.HEIC"]


def test_images_beside_the_folders_of_the_classes_are_counted(tree):
    table = tree("cat/1.png", "dog/1.png", "z.jpg", "cover.png", ".hidden.png")
    assert table.paths == ["cat/1.png", "dog/1.png"]
    assert table.ignored == [
        (name, "image lies beside the folders") for name in ("cover.png", "z.jpg")
    ]


def test_a_sub_folder_without_images_is_no_class(tree):
    assert tree("cat/1.png", "dog/1.png", "empty/notes.txt").labels == [("cat",), ("dog",)]


def test_korean_and_space_ridden_names_are_names_like_others(tree):
    table = tree("고양이 무리/사진 1.png", "강아지/ b .png", "강아지/x, 'y'.png")
    assert table.paths == ["강아지/ b .png", "강아지/x, 'y'.png", "고양이 무리/사진 1.png"]
    assert table.labels == [("강아지",), ("강아지",), ("고양이 무리",)]


def test_names_that_are_not_utf8_are_refused_with_what_to_do(tree, tmp_path):
    folder = touched(tmp_path / "data", "cat/1.png", "dog/1.png") / "cat"
    try:
        (folder / os.fsdecode("고.png".encode("cp949"))).touch()
    except OSError:
        pytest.skip("this file system takes no such names")
    message = (
        "1 file names are not UTF-8. Rename them (`convmv -r -f cp949 -t utf8 --notest FOLDER` "
        "does it for Korean ones)\n  cat/\\xb0\\xed.png"
    )
    with pytest.raises(DataError, match=f"data: {re.escape(message)}$"):
        read(tmp_path / "data")


def test_the_folder_gives_the_same_rows_whatever_the_order_on_disk(tree, tmp_path, monkeypatch):
    forwards = tree("cat/1.png", "cat/a/2.png", "cat/b/1.png", "dog/1.png")
    (tmp_path / "data/cat/0").symlink_to("a")
    forwards = read(tmp_path / "data")
    scan = os.scandir
    listed = os.listdir

    class Backwards:
        def __init__(self, path: str) -> None:
            with scan(path) as entries:
                self._entries = reversed(sorted(entries, key=lambda entry: entry.name))

        def __enter__(self) -> "Backwards":
            return self

        def __exit__(self, *_: object) -> None: ...

        def __iter__(self) -> "Backwards":
            return self

        def __next__(self) -> os.DirEntry[str]:
            return next(self._entries)

        def close(self) -> None: ...

    monkeypatch.setattr(os, "listdir", lambda path: sorted(listed(path), reverse=True))
    monkeypatch.setattr(os, "scandir", Backwards)
    assert read(tmp_path / "data").paths == forwards.paths


def test_a_folder_without_images_is_refused(tree):
    with pytest.raises(
        DataError, match=r"data: no images found. .* a folder one sub-folder per class$"
    ):
        tree("cat/notes.txt", "dog/notes.txt")


@pytest.mark.parametrize(
    ("link", "target"),
    [
        ("cat/self", "."),
        ("cat/up", ".."),
        ("cat/farther/up", "../../.."),
        ("cat/a/b/back", "../.."),
        ("everything", "."),
        ("parent", ".."),
    ],
)
def test_a_link_back_gives_no_image_a_second_time_and_none_a_wrong_class(
    tree, tmp_path, link, target
):
    touched(tmp_path / "data", "cat/a/b/2.png", "cat/farther/3.png")
    touched(tmp_path, "elsewhere/1.png")
    (tmp_path / "data" / link).symlink_to(target)
    table = tree("cat/1.png", "dog/1.png")
    assert table.paths == ["cat/1.png", "cat/a/b/2.png", "cat/farther/3.png", "dog/1.png"]
    assert table.labels == [("cat",)] * 3 + [("dog",)]
    assert table.ignored == [(link, "link back to a folder that is read already")]


def test_two_folders_that_lead_into_each_other_are_read_once(tree, tmp_path):
    touched(tmp_path / "data", "cat/a/1.png", "cat/b/2.png")
    (tmp_path / "data/cat/a/b").symlink_to("../b")
    (tmp_path / "data/cat/b/a").symlink_to("../a")
    table = tree("dog/1.png")
    assert len(table) == 3
    assert {Path(path).name for path in table.paths[:2]} == {"1.png", "2.png"}


def test_a_link_out_of_a_class_that_leads_back_to_the_source_brings_no_other_class_in(
    tree, tmp_path
):
    touched(tmp_path, "outside/9.png")
    (tmp_path / "outside/back").symlink_to(tmp_path / "data")
    touched(tmp_path / "data", "cat/1.png")
    (tmp_path / "data/cat/out").symlink_to(tmp_path / "outside")
    table = tree("dog/1.png", allow_outside=True)
    assert table.paths == ["cat/1.png", "cat/out/9.png", "dog/1.png"]


@pytest.mark.parametrize(
    ("link", "target"),
    [("cat/out", "../../out"), ("bird", "../out"), ("cat/2.png", "../../out/1.png")],
)
def test_a_link_out_of_the_folder_is_refused_unless_meant(tree, tmp_path, link, target):
    touched(tmp_path, "out/1.png", "data/cat/1.png")
    (tmp_path / "data" / link).symlink_to(target)
    with pytest.raises(
        DataError, match=r"data: 1 of 3 images lie outside .*/data\. Set data.allow_outside: true"
    ):
        tree("dog/1.png")
    assert len(tree(allow_outside=True)) == 3


# profile folders


def profiles(tree: Reader, *files: str, **options: Any) -> Table:
    return tree(*files, layout="profile_folders", **options)


def test_the_names_of_profile_folders_and_their_photos_make_the_row(tree):
    table = profiles(
        tree,
        "000001_female_Asian_45/mask1.jpg",
        "000001_female_Asian_45/incorrect_mask.jpg",
        "000002_Male_White_9/Normal.PNG",
    )
    assert table.label_columns == ("mask", "gender", "age")
    assert table.paths == [
        "000001_female_Asian_45/incorrect_mask.jpg",
        "000001_female_Asian_45/mask1.jpg",
        "000002_Male_White_9/Normal.PNG",
    ]
    assert table.labels == [
        ("incorrect", "female", "30-59"),
        ("mask", "female", "30-59"),
        ("normal", "male", "<30"),
    ]
    assert table.groups == ["000001", "000001", "000002"]


def test_the_values_have_the_order_of_the_competition(tree):
    assert profiles(tree, "1_male_x_20/mask1.jpg").orders == {
        "mask": ("mask", "incorrect", "normal"),
        "gender": ("male", "female"),
        "age": ("<30", "30-59", ">=60"),
    }


@pytest.mark.parametrize("group", ["race", None])
def test_another_group_than_the_person_can_be_asked_for(tree, group):
    table = profiles(tree, "1_male_Asian_20/mask1.jpg", group=group)
    assert table.groups == (["Asian"] if group else None)


def test_the_label_may_be_one_of_the_parts(tree):
    table = profiles(tree, "1_male_Asian_20/mask1.jpg", label="race")
    assert table.labels == [("Asian",)]


@pytest.mark.parametrize(
    "folder",
    [
        "1_male_Asian",
        "1_male_Asian_old",
        "1_male_Asian_20_b",
        "1_male__20",
        "notes",
        "1_male_Asian_2000",
    ],
)
def test_a_folder_of_another_form_is_counted_photo_by_photo(tree, folder):
    table = profiles(
        tree, "1_male_Asian_20/mask1.jpg", f"{folder}/mask1.jpg", f"{folder}/deep/normal.jpg"
    )
    assert len(table) == 1
    why = "folder is not named <id>_<gender>_<race>_<age>"
    assert table.ignored == [(f"{folder}/deep/normal.jpg", why), (f"{folder}/mask1.jpg", why)]


def test_a_photo_of_another_name_is_counted(tree):
    table = profiles(
        tree, "1_male_Asian_20/mask1.jpg", "1_male_Asian_20/selfie.jpg", "1_male_Asian_20/list.txt"
    )
    assert len(table) == 1
    assert table.ignored == [
        ("1_male_Asian_20/selfie.jpg", "photo is not named mask*, incorrect*, normal*")
    ]


def test_profile_folders_without_a_single_row_are_refused(tree):
    with pytest.raises(DataError, match=r"data: no images found"):
        profiles(tree, "cat/1.png")


def test_the_borders_of_the_age_bands_can_be_set(tree):
    table = profiles(tree, "1_male_x_18/mask.jpg", "2_male_x_17/mask.jpg", age_borders=[18])
    assert table.labels == [("mask", "male", ">=18"), ("mask", "male", "<18")]
    assert table.orders["age"] == ("<18", ">=18")


@pytest.mark.parametrize(
    ("age", "borders", "band"),
    [
        (0, (30, 60), "<30"),
        (29, (30, 60), "<30"),
        (30, (30, 60), "30-59"),
        (59, (30, 60), "30-59"),
        (60, (30, 60), ">=60"),
        (999, (30, 60), ">=60"),
        (20, (20, 21, 58), "20-20"),
        (57, (20, 21, 58), "21-57"),
    ],
)
def test_a_border_belongs_to_the_band_above_it(age, borders, band):
    assert age_band(age, borders) == band


@given(
    st.sets(st.integers(1, 120), min_size=1).map(sorted).map(tuple),
    st.lists(st.integers(0, 130), min_size=2),
)
def test_bands_rise_with_the_age_and_there_is_one_more_than_borders(borders, ages):
    bands = age_bands(borders)
    assert len(set(bands)) == len(borders) + 1
    ranks = [bands.index(age_band(age, borders)) for age in sorted(ages)]
    assert ranks == sorted(ranks)


def test_images_without_sub_folders_have_no_class(tmp_path):
    source = touched(tmp_path / "data", "1.png", "2.png")
    message = (
        f"{source}: its 2 images lie in no sub-folder of a class, so their classes are unknown. "
    )
    move = "Move them into one sub-folder per class, or name a CSV with their paths and classes"
    with pytest.raises(DataError, match=f"^{re.escape(message + move)}$"):
        read(source)
    touched(source, "train.csv")
    table = f"If their classes stand in train.csv, write `source: {source}/train.csv`"
    with pytest.raises(DataError, match=f"^{re.escape(message + table)}$"):
        read(source)
