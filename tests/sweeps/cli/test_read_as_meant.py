"""Data that look like other data: refused, or read as they are meant and named, by `check`,
`prepare` and `run` alike.
"""

import re
import unicodedata
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.sweeps.cli.checks import warnings, write_rows
from tests.sweeps.cli.conftest import Ended
from tests.sweeps.cli.refusals import refused
from tests.sweeps.cli.test_run import events

COMMANDS = pytest.mark.parametrize(
    "command", [["run", "--local"], ["check"], ["prepare"]], ids=" ".join
)
SOURCE = "{source: photos/train.csv}"


def photo(path: Path, number: int, *, dtype: str = "uint8", top: int = 255) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(number).integers(0, top + 1, (16, 16))
    Image.fromarray(noise.astype(dtype)).save(path)


def notes(ended: Ended) -> list[str]:
    return [line[6:] for line in ended.err.splitlines() if line.startswith("note: ")]


@COMMANDS
def test_the_parts_of_a_data_set_are_no_classes(
    sweeps: Callable[..., Ended], space: Callable[..., Path], command: list[str]
):
    for number, part in enumerate(("train", "val") * 4):
        photo(Path(f"data/{part}/{['cat', 'dog'][number // 2 % 2]}/{number}.png"), number)
    refused(
        sweeps(*command, space((SOURCE, "{source: data}"))),
        "data: its sub-folders train, val are called like parts of a data set and would become "
        "classes. Write `source: data/train` and `valid: data/val` (held out with `folds: "
        "{column: fold}`, else pooled with the source). If the sub-folders of data are the classes "
        "all the same, write `layout: class_folders` below data",
    )
    advice = space(
        (SOURCE, "{source: data/train, valid: data/val}"),
        ("folds: {k: 2}", "folds: {column: fold}"),
    )
    assert sweeps(*command, advice).code == 0
    all_the_same = space((SOURCE, "{source: data, layout: class_folders}"))
    assert sweeps("check", all_the_same, "--name", "another").code == 0


@COMMANDS
def test_test_images_beside_the_classes_are_no_class(
    sweeps: Callable[..., Ended], space: Callable[..., Path], command: list[str]
):
    for number in range(12):
        photo(Path(f"data/{['cat', 'dog', 'test'][number % 3]}/{number}.png"), number)
    refused(
        sweeps(*command, space((SOURCE, "{source: data}"))),
        "data: its sub-folder test is called like a part of a data set and would become a class. "
        "Write `exclude: [test]` below data to leave it out. If the sub-folders of data are the "
        "classes all the same, write `layout: class_folders` below data",
    )
    assert sweeps(*command, space((SOURCE, "{source: data, exclude: [test]}"))).code == 0


def spelled(labels: list[str], *, folds: list[object] | None = None) -> None:
    """all.csv: images with these labels in turn, two photos each of ten patients."""
    rows = []
    for number in range(20):
        name = unicodedata.normalize("NFD" if number % 2 else "NFC", f"사진{number}.png")
        photo(Path("pictures") / name, number)
        written = unicodedata.normalize("NFC", name)
        patient = f"{number // 2}{'.0' if number % 2 else ''}"
        fold = (folds or [""])[number % len(folds or [""])]
        rows.append([f"pictures/{written}", labels[number % len(labels)], patient, fold])
    write_rows(Path("all.csv"), "path,label,patient,fold", rows)


FOUND = (
    "10 of 20 image paths have another Unicode form on the disk (composed and decomposed, as on a "
    "Mac); their files were found"
)
PATIENTS = (
    "groups (column 'patient'): 0 and 0.0, 1 and 1.0, 2 and 2.0, 3 and 3.0, 4 and 4.0, and 5 more "
    "are read as one value each"
)


def test_one_value_in_two_spellings_is_one_value_with_a_note(
    sweeps: Callable[..., Ended], space: Callable[..., Path]
):
    spelled(["0", "0", "1.0", "1.0", "0.0", "0.0", "1", "1"])
    path = space((SOURCE, "{source: all.csv, group: patient}"))
    said = ["labels (column 'label'): 0 and 0.0, 1 and 1.0 are read as one value each"]
    said += [PATIENTS, FOUND]
    check = sweeps("check", path)
    assert notes(check) == said
    assert re.search(r"^0 +10 +\d+ +\d+\n1 +10 ", check.out, flags=re.MULTILINE)
    assert notes(sweeps("prepare", path)) == said
    ended = sweeps("run", path, "--local", "--trials", 1)
    assert events(ended)[:4] == [
        "20 images, 2 classes, 10 groups, 2 folds; no row rejected", *said
    ]  # fmt: skip


def test_names_that_look_like_one_are_warned_of(
    sweeps: Callable[..., Ended], space: Callable[..., Path]
):
    spelled([" cat", "cat", "Dog", "dog"])
    path = space((SOURCE, "{source: all.csv}"))
    text = (
        "classes that differ only in spaces, capitals or spelling: 'Dog' and 'dog'. If they mean "
        "one class, correct the labels"
    )
    spaces = (
        "column 'label': white space around 5 of 20 cells is left out (' cat' is read as 'cat')"
    )
    checked = sweeps("check", path)
    assert warnings(checked) == [text]
    assert notes(checked) == [spaces, FOUND]
    assert text in notes(sweeps("prepare", path))
    assert text in events(sweeps("run", path, "--local", "--trials", 1))


@pytest.mark.parametrize(
    ("folds", "note"),
    [
        (
            [1, 1, 2, 2],
            "column 'fold' (folds.column) is numbered from 1: 1 to 2 become folds 0 to 1",
        ),
        (["train", "train", "val"], "column 'fold' (folds.column): 'val' is held out"),
    ],
)
def test_folds_are_numbered_from_1_or_are_words(
    sweeps: Callable[..., Ended], space: Callable[..., Path], folds: list[object], note: str
):
    spelled(["a", "b"], folds=folds)
    path = space((SOURCE, "{source: all.csv}"), ("folds: {k: 2}", "folds: {column: fold}"))
    assert note in notes(sweeps("check", path))
    assert sweeps("run", path, "--local", "--trials", 1).code == 0


def test_numeric_classes_stand_in_numeric_order(
    sweeps: Callable[..., Ended], space: Callable[..., Path]
):
    spelled(["11.0", "2.0", "10.0", "9.0"])
    table = sweeps("check", space((SOURCE, "{source: all.csv}"))).out.split("\nClasses\n")[1]
    names = [line.split()[0] for line in table.splitlines()[1:5]]
    assert names == ["2.0", "9.0", "10.0", "11.0"]


class TestMoreThan8Bits:
    @pytest.fixture(autouse=True)
    def deep(self) -> None:
        """deep.csv: 20 pictures of 12 bits in files of 16."""
        for number in range(20):
            photo(Path(f"deep/{number}.png"), number, dtype="uint16", top=4095)
        lines = [[f"deep/{number}.png", "ab"[number % 2]] for number in range(20)]
        write_rows(Path("deep.csv"), "path,label", lines)

    def test_the_levels_are_named(self, sweeps: Callable[..., Ended], space: Callable[..., Path]):
        path = space((SOURCE, "{source: deep.csv}"))
        line = "levels     0 to 4,095 become black to white (data.levels)\n"
        assert line in sweeps("check", path).out
        assert line in sweeps("prepare", path).out
        assert events(sweeps("run", path, "--local", "--trials", 1))[1] == (
            "files of more than 8 bits: 0 to 4,095 become black to white (data.levels)"
        )

    def test_a_sweep_that_has_begun_keeps_its_levels(
        self, sweeps: Callable[..., Ended], space: Callable[..., Path]
    ):
        path = space((SOURCE, "{source: deep.csv, levels: [0, 8191]}"))
        assert sweeps("run", path, "--local", "--trials", 1).code == 0
        path = space((SOURCE, "{source: deep.csv}"))
        assert "levels     0 to 8,191 become" in sweeps("check", path).out
        assert sweeps("run", path, "--local", "--trials", 2).code == 0

    @pytest.mark.parametrize("levels", ["[4095, 0]", "[0]", "[0, .inf]", "[a, b]", "12", "[1, 1]"])
    def test_levels_that_are_no_two_rising_numbers_are_refused(
        self, sweeps: Callable[..., Ended], space: Callable[..., Path], levels: str
    ):
        ended = sweeps("check", space((SOURCE, f"{{source: deep.csv, levels: {levels}}}")))
        assert ended.code == 2
        assert "data.levels: levels are two numbers that rise, e.g. [0, 4095], got" in ended.err
