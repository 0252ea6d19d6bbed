"""Images of a source that are not there, or outside of its folder."""

import re
from pathlib import Path

import pytest

from tests.trainer.data.tables import read, touched
from trainer.errors import DataError


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
