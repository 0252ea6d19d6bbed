"""Data as people have them, from `check` to a submission: tables whose images lie elsewhere, in
other encodings, with a column per class, rare classes, or targets that are no classes.
"""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.sweeps.cli.checks import warnings
from tests.sweeps.cli.conftest import Ended
from tests.sweeps.cli.refusals import refused
from tests.sweeps.cli.test_read_as_meant import SOURCE, notes

Sweeps = Callable[..., Ended]
Space = Callable[..., Path]
N = 20


def pictures(pattern: str, count: int = N) -> None:
    """Images whose brightness is that of their class, number % 2."""
    for number in range(count):
        path = Path(pattern.format(number))
        path.parent.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(number).integers(0, 100, (16, 16))
        Image.fromarray((noise + 150 * (number % 2)).astype(np.uint8)).save(path)


def table(header: str, row: str, count: int = N, *, name: str = "all.csv") -> None:
    rows = [row.format(number, "ab"[number % 2]) for number in range(count)]
    Path(name).write_text("\n".join([header, *rows]) + "\n")


@pytest.mark.parametrize(
    ("row", "pattern", "advice", "data"),
    [
        ("{0:04}.png", "train/{:04}.png", "`folder: train`", "image: id, folder: train"),
        (
            "{0:04}",
            "train/{:04}.png",
            "`folder: train` and `suffix: .png`",
            "image: id, folder: train, suffix: .png",
        ),
        (
            "C:\\data\\{0:04}.jpg",
            "train/{:04}.png",
            "`image: train/{id.name.stem}.png`",
            "image: 'train/{id.name.stem}.png'",
        ),
    ],
)
def test_the_message_about_images_elsewhere_says_what_to_write(
    sweeps: Sweeps, space: Space, row: str, pattern: str, advice: str, data: str
):
    pictures(pattern)
    table("id,label", row + ",{1}")
    ended = sweeps("check", space((SOURCE, "{source: all.csv, image: id}")))
    assert (ended.code, ended.out) == (2, "")
    error = ended.err.splitlines()
    place = Path.cwd()
    assert error[0] == (
        f"error: all.csv: 20 of 20 images do not exist (paths are relative to {place})"
    )
    assert error[-1] == f"{pattern.format(0)} exists: write {advice} below data"
    assert sweeps("check", space((SOURCE, f"{{source: all.csv, {data}}}"))).code == 0


def test_a_sweep_on_ids_predicts_a_table_of_ids(sweeps: Sweeps, space: Space):
    pictures("train/{:04}.png")
    pictures("test/{:04}.png", 6)
    table("id,label", "{0:04},{1}")
    table("id", "{0:04}", 6, name="new.csv")
    data = "{source: all.csv, image: id, folder: train, suffix: png}"
    assert sweeps("run", space((SOURCE, data)), "--local", "--trials", 1).code == 0
    command = ("predict", "--source", "new.csv", "--out", "sub.csv", "--plain", "--device", "cpu")
    # images of these names are among the training images, too, so their folder has to be named
    ended = sweeps(*command)
    assert ended.code == 2
    assert ended.err.endswith("\ntest/0000.png exists: give --folder test\n")
    assert sweeps(*command, "--folder", "test").code == 0
    rows = Path("sub.csv").read_text().splitlines()
    assert rows[0] == "path,class"
    assert [row.split(",")[0] for row in rows[1:]] == [f"{number:04}.png" for number in range(6)]
    table("id,label", "{0:04},a", 6, name="sample.csv")
    ended = sweeps(*command, "--image", "test/{id}.png", "--template", "sample.csv")
    assert ended.code == 0
    ids = [row.split(",")[0] for row in Path("sub.csv").read_text().splitlines()[1:]]
    assert ids == [f"{number:04}" for number in range(6)]


@pytest.mark.parametrize("encoding", ["cp949", "euc-kr", "utf-16", "utf-16-le", "utf-8-sig"])
def test_tables_of_korean_programs_are_read(sweeps: Sweeps, space: Space, encoding: str):
    pictures("사진/{}.png")
    rows = [f"{number}.png,{['고양이', '강아지'][number % 2]}" for number in range(N)]
    Path("all.csv").write_bytes("\r\n".join(["파일,분류", *rows, ""]).encode(encoding))
    data = "{source: all.csv, image: 파일, label: 분류, folder: 사진}"
    ended = sweeps("check", space((SOURCE, data)))
    assert ended.code == 0
    said = {"cp949": "CP949", "euc-kr": "CP949", "utf-16": "UTF-16", "utf-16-le": "UTF-16-LE"}
    assert (f"all.csv is read as {said.get(encoding)}" in ended.err) == (encoding in said)


def test_rare_classes_are_refused_until_it_is_said_what_to_do_with_them(
    sweeps: Sweeps, space: Space
):
    pictures("{}.png")
    table("path,label", "{0}.png,{1}")
    text = (
        Path("all.csv").read_text().replace("18.png,a", "18.png,c").replace("19.png,b", "19.png,c")
    )
    Path("all.csv").write_text(text.replace("17.png,b", "17.png,d"))
    here = (SOURCE, "{source: all.csv}")
    refused(
        sweeps("check", space(here, ("folds: {k: 2}", "folds: {k: 3}"))),
        f"{Path.cwd()}: 2 of 4 classes have fewer images than the 3 folds: 'c' (2), 'd' (1). Write "
        "`rare: train` below folds, which always trains on them and never holds them out; or write "
        "`exclude: [c, d]` below data, which leaves them out",
    )
    named = "2 of 4 classes (3 images) are held out by no fold: 'c' (2), 'd' (1)."
    ended = sweeps("check", space(here, ("folds: {k: 2}", "folds: {k: 3, rare: train}")))
    assert ended.code == 0
    assert named in ended.err + ended.out
    excluded = (SOURCE, "{source: all.csv, exclude: [c, d]}")
    ended = sweeps("check", space(excluded, ("folds: {k: 2}", "folds: {k: 3}")))
    assert ended.code == 0
    assert "3 rows of 'c', 'd' are left out (data.exclude)" in ended.err + ended.out


def test_rare_classes_are_shown_and_a_sweep_with_them_goes_on(sweeps: Sweeps, space: Space):
    pictures("{}.png")
    table("path,label", "{0}.png,{1}")
    text = Path("all.csv").read_text()
    Path("all.csv").write_text(text.replace("19.png,b", "19.png,rare"))
    path = space((SOURCE, "{source: all.csv}"), ("folds: {k: 2}", "folds: {k: 2, rare: train}"))
    checked = sweeps("check", path)
    assert re.search(r"^rare +1 +0 +0 +1$", checked.out, flags=re.MULTILINE)
    assert [text.split(":")[0] for text in warnings(checked)] == [
        "1 of 3 classes (1 images) are held out by no fold"
    ]
    for trials in (1, 2):  # the second time, the frozen folds are read again
        assert sweeps("run", path, "--local", "--trials", trials).code == 0


def test_one_column_per_class(sweeps: Sweeps, space: Space):
    pictures("{}.png")
    rows = [f"{number}.png,{number % 2},{1 - number % 2}.0" for number in range(N)]
    Path("all.csv").write_text("\n".join(["path,MEL,NV", *rows]))
    refused(
        sweeps("check", space((SOURCE, "{source: all.csv}"))),
        "all.csv: no column 'label' (data.label). Columns there: 'path', 'MEL', 'NV'. Of MEL, NV, "
        "each row has one: write `class_columns: [MEL, NV]` below data",
    )
    data = "{source: all.csv, class_columns: [MEL, NV]}"
    assert sweeps("check", space((SOURCE, data))).code == 0


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("{0}.png,{0}.37", "a quantity to be predicted (regression), and foldsweep trains classes"),
        ("{0}.png,{1} b", "holds several classes per image, such as 'a b', and foldsweep trains"),
    ],
)
def test_targets_that_are_no_classes_are_refused(
    sweeps: Sweeps, space: Space, row: str, words: str
):
    pictures("{}.png")
    table("path,label", row)
    text = Path("all.csv").read_text()
    Path("all.csv").write_text(text.replace("1.png,b b", "1.png,b").replace("2.png,a b", "2.png,a"))
    ended = sweeps("check", space((SOURCE, "{source: all.csv}")))
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith("error: all.csv: column 'label' holds ")
    assert words in ended.err
    assert len(ended.err.splitlines()) == 1


def test_paths_are_read_as_other_systems_write_them(
    sweeps: Sweeps, space: Space, monkeypatch: pytest.MonkeyPatch
):
    pictures("photos/{}.JPG")
    table("path,label", "Photos\\{0}.jpg, {1}")
    monkeypatch.setenv("HOME", str(Path.cwd()))
    for source in ("~/all.csv", "$HOME/all.csv"):
        ended = sweeps("check", space((SOURCE, f"{{source: {source}}}")))
        assert ended.code == 0
        assert notes(ended) == [
            "column 'label': white space around 20 of 20 cells is left out (' a' is read as 'a')",
            "20 of 20 image paths have backslashes, as on Windows (Photos\\0.jpg is "
            "photos/0.JPG); their files were found",
        ]


def test_a_row_may_stand_for_a_folder_of_images(sweeps: Sweeps, space: Space):
    pictures("people/{}/first.png", 10)
    pictures("people/{}/second.png", 10)
    pictures("people/{}/@eaDir/second.png", 10)
    table("path,label", "{0},{1}", 10)
    ended = sweeps("check", space((SOURCE, "{source: all.csv, folder: people, group: path}")))
    assert ended.code == 0
    note = "10 of 10 paths are folders: each of their 20 images becomes a row."
    assert note in ended.err + ended.out
