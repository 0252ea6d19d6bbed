"""Images of a source that are not there, or outside of its folder."""

import re
from pathlib import Path

import pytest

from tests.trainer.data.tables import read, touched
from trainer.errors import DataError


def test_images_that_do_not_exist_are_all_counted_and_named_by_line(csv, tmp_path):
    message = (
        f"{tmp_path}/train.csv: 2 of 3 images do not exist (paths are relative to {tmp_path}), "
        "more than data.max_rejected (10%) allows\n"
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
        f"{source}: 1 of 2 images lie outside {neighbours}/in. Set data.allow_outside: "
        f"true if that is meant\n  line 3: {named}"
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


def rows_of_files(root: Path, count: int) -> Path:
    """A table of `count` images, all of which exist."""
    touched(root, *(f"{number}.png" for number in range(count)))
    rows = "".join(f"{number}.png,{number % 2}\n" for number in range(count))
    (root / "train.csv").write_text(f"path,label\n{rows}")
    return root / "train.csv"


def test_as_many_images_may_be_missing_as_rows_may_be_rejected(tmp_path):
    source = rows_of_files(tmp_path, 20)
    (tmp_path / "3.png").unlink()
    (tmp_path / "7.png").unlink()
    table = read(source)
    assert table.missing == {3, 7}
    assert table.notes == [
        "2 of 20 images do not exist, and their rows are rejected: line 5: 3.png, line 9: 7.png"
    ]
    assert table.only([7, 8, 3]).missing == {0, 2}
    with pytest.raises(DataError, match=r"2 of 20 images do not exist"):
        read(source, max_rejected=0.05)


@pytest.mark.parametrize(
    ("written", "file", "words"),
    [
        ("sub\\1.png", "sub/1.png", "have backslashes, as on Windows"),
        (".\\SUB\\1.PNG", "sub/1.png", "have backslashes, as on Windows"),
        ("1.jpg", "1.JPG", "have other capitals or white space on the disk"),
        ("sub/1.png", "Sub/1.Png", "have other capitals or white space on the disk"),
        ("1.png", " 1.png", "have other capitals or white space on the disk"),
    ],
)
def test_a_file_is_found_whose_name_is_spelled_otherwise(tmp_path, written, file, words):
    source = rows_of_files(touched(tmp_path, file), 0)
    source.write_text(f"path,label\n{written},0\n")
    table = read(source)
    assert (table.root / table.paths[0]).samefile(tmp_path / file)
    note = f"1 of 1 image paths {words} ({written} is {table.paths[0]}); their files were found"
    assert table.notes == [note]


def test_of_two_files_that_differ_in_capitals_none_is_taken_for_a_third(tmp_path):
    source = rows_of_files(touched(tmp_path, "a.JPG", "a.Jpg"), 0)
    source.write_text("path,label\na.JPG,0\n")
    assert read(source).paths == ["a.JPG"]
    source.write_text("path,label\na.jpg,0\n")
    with pytest.raises(DataError, match="1 of 1 images do not exist"):
        read(source)


def test_a_path_that_is_a_folder_stands_for_the_images_in_it(tmp_path):
    files = ["ann/mask1.png", "ann/more/normal.png", "ann/notes.txt", "bob/mask1.png", "c.png"]
    source = rows_of_files(touched(tmp_path, *files, "ann/@eaDir/mask1.png"), 0)
    source.write_text("path,label,person\nann,young,1\nbob,old,2\nc.png,old,3\n")
    table = read(source, group="person")
    assert table.paths == ["ann/mask1.png", "ann/more/normal.png", "bob/mask1.png", "c.png"]
    assert table.labels == [("young",), ("young",), ("old",), ("old",)]
    assert (table.groups, table.lines) == (["1", "1", "2", "3"], [2, 2, 3, 4])
    assert table.notes == [
        "2 of 3 paths are folders: each of their 3 images becomes a row. If the images of a folder "
        "belong together, name a group (data.group)"
    ]


def test_a_folder_without_images_is_a_missing_image(tmp_path):
    source = rows_of_files(touched(tmp_path, "ann/notes.txt", "bob/1.png"), 0)
    source.write_text("path,label\nann,young\nbob,old\n")
    with pytest.raises(DataError, match=r"1 of 2 images do not exist .*\n  line 2: ann$"):
        read(source)


def test_the_rows_of_excluded_classes_are_left_out(tmp_path):
    source = rows_of_files(tmp_path, 6)
    table = read(source, exclude=["1"])
    assert table.labels == [("0",)] * 3
    assert table.notes == ["3 rows of '1' are left out (data.exclude)"]
    message = f"{source}: no class '2' (data.exclude). There: '0', '1'"
    with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
        read(source, exclude=["1", "2"])


def test_home_and_variables_in_paths_are_expanded(tmp_path, monkeypatch):
    rows_of_files(tmp_path, 2)
    monkeypatch.setenv("HOME", str(tmp_path.parent))
    monkeypatch.setenv("DATA", str(tmp_path))
    for source in (f"~/{tmp_path.name}/train.csv", "$DATA/train.csv", "${DATA}/train.csv"):
        assert read(source).root == tmp_path
