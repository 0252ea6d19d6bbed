"""Images that are not where a table says: the message ends with the lines that find them."""

import re
from pathlib import Path

import pytest

from tests.trainer.data.tables import read, touched
from trainer.data.image_column import image_paths
from trainer.data.lost_images import Place, place_of
from trainer.errors import DataError

N = 12


def table(root: Path, cells: list[str], files: list[str]) -> Path:
    """A table with the column `id` of these cells, and the files."""
    root.mkdir(exist_ok=True)
    touched(root, *files)
    rows = "".join(f"{cell},{'ab'[n % 2]}\n" for n, cell in enumerate(cells))
    (root / "train.csv").write_text(f"id,label\n{rows}")
    return root / "train.csv"


@pytest.mark.parametrize(
    ("cell", "file", "advice", "options"),
    [
        ("{n}.jpg", "train/{n}.jpg", "`folder: train`", {"folder": "train"}),
        ("{n}.jpg", "a/b/{n}.jpg", "`folder: a/b`", {"folder": "a/b"}),
        ("{n}.jpg", "2019/{n}.jpg", "`folder: '2019'`", {"folder": "2019"}),
        ("{n}", "{n}.PNG", "`suffix: .PNG`", {"suffix": ".PNG"}),
        (
            "{n}",
            "train/{n}.png",
            "`folder: train` and `suffix: .png`",
            {"folder": "train", "suffix": ".png"},
        ),
        ("{n}.jpg", "x/{n}.png", "`image: x/{id.stem}.png`", {"image": "x/{id.stem}.png"}),
        ("/home/kim/x/{n}.jpg", "x/{n}.jpg", "`image: '{id.last2}'`", {"image": "{id.last2}"}),
        ("C:\\data\\{n}.jpg", "x/{n}.jpg", "`image: x/{id.name}`", {"image": "x/{id.name}"}),
        ("old/{n}.jpg", "new/{n}.jpg", "`image: new/{id.name}`", {"image": "new/{id.name}"}),
        (
            "old/{n}.jpeg",
            "new/{n}.jpg",
            "`image: new/{id.name.stem}.jpg`",
            {"image": "new/{id.name.stem}.jpg"},
        ),
    ],
)
def test_the_message_ends_with_the_lines_that_find_the_images(
    tmp_path, cell, file, advice, options
):
    files = [file.format(n=n) for n in range(N)]
    source = table(tmp_path, [cell.format(n=n) for n in range(N)], files)
    with pytest.raises(DataError) as refused:
        read(source, image="id")
    last = str(refused.value).splitlines()[-1]
    assert last == f"{files[0]} exists: write {advice} below data"
    assert len(read(source, **{"image": "id", **options})) == N


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("images", True),
        ("Train_Images", True),
        ("images-001", True),
        ("jpegs", True),
        ("사진", True),
        ("other data", False),
        ("imagination", False),
    ],
)
def test_only_folders_for_images_beside_the_tables_folder_are_searched(tmp_path, name, found):
    touched(tmp_path, *(f"{name}/{n}.jpg" for n in range(N)))
    source = table(tmp_path / "tables", [f"{n}.jpg" for n in range(N)], [])
    with pytest.raises(DataError) as refused:
        read(source, image="id")
    advice = f"../{name}/0.jpg exists: write `folder: ../{name}` below data"
    assert str(refused.value).endswith(advice) == found


def test_images_beside_the_tables_folder_are_found(tmp_path):
    touched(tmp_path, *(f"images/{n}.jpg" for n in range(N)))
    source = table(tmp_path / "tables", [f"{n}.jpg" for n in range(N)], [])
    with pytest.raises(DataError, match=r"write `folder: \.\./images` below data$"):
        read(source, image="id")
    assert len(read(source, image="id", folder="../images")) == N


def test_folders_that_are_called_like_the_class_are_found(tmp_path):
    source = table(
        tmp_path, [f"{n}.jpg" for n in range(N)], [f"train/{'ab'[n % 2]}/{n}.jpg" for n in range(N)]
    )
    message = "train/a/0.jpg exists: write `image: train/{label}/{id}` below data"
    with pytest.raises(DataError, match=f"{re.escape(message)}$"):
        read(source, image="id")
    assert len(read(source, image="train/{label}/{id}")) == N


def test_images_in_several_folders_are_found(tmp_path):
    source = table(
        tmp_path, [str(n) for n in range(N)], [f"part_{n % 2}/{n}.jpg" for n in range(N)]
    )
    with pytest.raises(
        DataError, match=r"write `folder: \[part_0, part_1\]` and `suffix: \.jpg` be"
    ):
        read(source, image="id")
    assert len(read(source, image="id", folder=["part_0", "part_1"], suffix=".jpg")) == N


def test_a_row_that_stands_for_a_folder_is_found(tmp_path):
    files = [f"people/p{n}/1.jpg" for n in range(N)]
    source = table(tmp_path, [f"p{n}" for n in range(N)], files)
    with pytest.raises(DataError, match=r"\npeople/p0 exists: write `folder: people` below data$"):
        read(source, image="id")
    assert read(source, image="id", folder="people").paths == [f"p{n}/1.jpg" for n in range(N)]


def test_a_pattern_gets_the_folder_that_it_lacks(tmp_path):
    source = table(tmp_path, [str(n) for n in range(N)], [f"x/{n}.png" for n in range(N)])
    with pytest.raises(DataError, match=r"write `image: x/\{id\}\.png` below data$"):
        read(source, image="y/{id}.jpg")


def test_images_that_are_nowhere_near_have_no_advice(tmp_path):
    source = table(tmp_path, [f"{n}.jpg" for n in range(N)], ["a/b/c/0.jpg", "@eaDir/1.jpg"])
    with pytest.raises(DataError, match=r"and 2 more$"):
        read(source, image="id")


def test_most_of_the_tried_images_must_be_in_a_place(tmp_path):
    touched(tmp_path, "x/0.jpg", "x/1.jpg")
    cells = {"id": [f"{n}.jpg" for n in range(N)]}
    names = image_paths(cells, "id", suffix=None, where="a.csv")
    assert place_of(tmp_path, names, range(N), cells, image="id") is None
    assert place_of(tmp_path, names, [0, 1, 2], cells, image="id") == Place(
        "x/0.jpg", folder=("x",)
    )


def test_a_command_that_predicts_is_told_its_options():
    assert Place("x/0.jpg", folder=("x",)).as_options("id") == "x/0.jpg exists: give --folder x"
    assert Place("x/0.jpg", folder=("x",), suffix=".jpg").as_options("id") == (
        "x/0.jpg exists: give --folder x --image '{id}.jpg'"
    )
    assert Place("x/0.jpg", folder=("x y", "z")).as_options("id") == (
        "x/0.jpg exists: give --folder 'x y' --folder z"
    )
    assert Place("x/0.jpg", image="x/{id.name}").as_options("id") == (
        "x/0.jpg exists: give --image 'x/{id.name}'"
    )
