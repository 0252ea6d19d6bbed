"""Options that read somebody's data are found, or it is said what to write."""

import csv
from pathlib import Path
from typing import Any

import pytest

from sweeps.errors import InputError
from sweeps.preparing.layouts import Layout, layout_of
from tests.trainer.data.tables import touched
from tests.trainer.test_data_page import EXAMPLES, Example
from trainer.data.options import DataOptions
from trainer.data.sources import read_table
from trainer.errors import DataError

N = 20


def table(path: Path, header: str, row: str, *, count: int = N) -> Path:
    """A table whose row {n} has a class {c} of two, and a group {g} of two rows."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [row.format(n=n, c="ab"[n // 2 % 2], g=n // 2).split(",") for n in range(count)]
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header.split(","), *rows])
    return path


def images(folder: Path, pattern: str, *, count: int = N) -> Path:
    return touched(folder, *(pattern.format(n=n, c="ab"[n // 2 % 2]) for n in range(count)))


def options(layout: Layout, root: Path) -> dict[str, Any]:
    """The options of data, with paths relative to the root."""
    return {
        key: value.removeprefix(f"{root}/") if isinstance(value, str) else value
        for key, value in layout.data.items()
    }


@pytest.mark.parametrize(
    ("header", "row", "pattern", "expected"),
    [
        ("path,label", "{n}.jpg,{c}", "{n}.jpg", {"image": "path", "label": "label"}),
        (
            "id,kind",
            "{n:04},{c}",
            "train/{n:04}.png",
            {"image": "id", "folder": "train", "suffix": ".png", "label": "kind"},
        ),
        ("a,b,c", "s,{c},{n}.jpg", "{n}.jpg", {"image": "c", "label": "b"}),
        (
            "file,label",
            "C:\\my\\{n}.jpg,{c}",
            "img/{n}.jpg",
            {"image": "img/{file.name}", "label": "label"},
        ),
        (
            "id,label",
            "{n},{c}",
            "img/{c}/{n}.jpg",
            {"image": "img/{label}/{id}.jpg", "label": "label"},
        ),
        (
            "path,label,x,y,w,h",
            "{n}.jpg,{c},0,0,5,5",
            "{n}.jpg",
            {"image": "path", "label": "label", "box": ["x", "y", "w", "h"], "box_format": "xywh"},
        ),
        (
            "person,gender",
            "p{n},{c}",
            "images/p{n}/1.jpg",
            {"image": "person", "folder": "images", "label": "gender"},
        ),
    ],
)
def test_tables_are_read(
    tmp_path: Path, header: str, row: str, pattern: str, expected: dict[str, Any]
):
    source = table(tmp_path / "t.csv", header, row)
    images(tmp_path, pattern)
    found = options(layout_of(str(source)), tmp_path)
    assert found == {"source": "t.csv", **expected}
    # the folder of the table leads to the same
    assert options(layout_of(str(tmp_path)), tmp_path) == found


def test_one_column_per_class(tmp_path: Path):
    rows = "\n".join(
        f"{n}.jpg,{','.join(str(int(n % 3 == k)) for k in range(3))}" for n in range(9)
    )
    (tmp_path / "t.csv").write_text(f"image,MEL,NV,BCC\n{rows}\n")
    images(tmp_path, "{n}.jpg")
    found = layout_of(str(tmp_path / "t.csv"))
    assert found.data["class_columns"] == ["MEL", "NV", "BCC"]
    assert "label" not in found.data


def test_groups_and_folds_of_a_table(tmp_path: Path):
    images(tmp_path, "{n}.jpg")
    source = table(tmp_path / "t.csv", "path,label,patient,fold", "{n}.jpg,{c},p{g},0")
    assert layout_of(str(source)).fold_column is None  # one fold would be all images
    text = source.read_text().replace("p0,0", "p0,1").replace("p1,0", "p1,1")
    source.write_text(text)
    found = layout_of(str(source))
    assert (found.groups, found.fold_column) == (("patient",), "fold")


def test_other_columns_that_could_be_the_class_are_named(tmp_path: Path):
    images(tmp_path, "{n}.jpg")
    source = table(tmp_path / "t.csv", "path,label,site", "{n}.jpg,{c},{c}{c}")
    found = layout_of(str(source))
    assert found.remarks == {"label": "or is the class site (2 values)?"}


@pytest.mark.parametrize(
    ("files", "expected", "fold_column"),
    [
        ("{c}/{n}.jpg", {"source": "d"}, None),
        ("train/{c}/{n}.jpg val/{c}/{n}.jpg", {"source": "d/train", "valid": "d/val"}, "fold"),
        ("train/{c}/{n}.jpg test/{n}.jpg", {"source": "d/train"}, None),
        ("{c}/{n}.jpg test/{n}.jpg", {"source": "d", "exclude": ["test"]}, None),
        ("north/{c}/{n}.jpg south/{c}/{n}.jpg", {"source": "d/north", "valid": "d/south"}, None),
        ("all/{c}/{n}.jpg", {"source": "d/all"}, None),
    ],
)
def test_folders_are_read(
    tmp_path: Path, files: str, expected: dict[str, Any], fold_column: str | None
):
    for pattern in files.split():
        images(tmp_path / "d", pattern)
    found = layout_of(str(tmp_path / "d"))
    assert (options(found, tmp_path), found.fold_column) == (expected, fold_column)


@pytest.mark.parametrize("inside", ["", "images/"])
def test_folders_of_persons_are_read_although_a_table_lies_beside_them(tmp_path: Path, inside: str):
    people = [f"{n:06}_{'fe' * (n % 2)}male_Asian_{20 + 9 * n}" for n in range(5)]
    for name in people:
        touched(tmp_path, f"{inside}{name}/mask1.jpg", f"{inside}{name}/normal.jpg")
    (tmp_path / "train.csv").write_text("gender,path\n" + "".join(f"m,{p}\n" for p in people))
    found = layout_of(str(tmp_path))
    assert found.data["layout"] == "profile_folders"
    assert found.data["group"] == "person"


def test_tables_for_training_and_validation_are_one_data_set_with_a_fold(tmp_path: Path):
    images(tmp_path, "{n}.jpg")
    table(tmp_path / "train.csv", "path,label", "{n}.jpg,{c}", count=10)
    table(tmp_path / "valid.csv", "path,label", "{n}.jpg,{c}")
    table(tmp_path / "test.csv", "path,label", "{n}.jpg,{c}")
    table(tmp_path / "sample_submission.csv", "path,label", "{n}.jpg,{c}")
    found = layout_of(str(tmp_path))
    assert options(found, tmp_path) == {
        "source": "train.csv",
        "valid": "valid.csv",
        "image": "path",
        "label": "label",
    }
    assert found.fold_column == "fold"


def test_other_tables_are_named(tmp_path: Path):
    images(tmp_path, "{n}.jpg")
    for name in ("a.csv", "b.csv"):
        table(tmp_path / name, "path,label", "{n}.jpg,{c}")
    assert layout_of(str(tmp_path)).remarks == {"source": "or b.csv? It could be read, too."}


def test_images_that_are_nowhere_are_said_with_the_column_that_was_tried(tmp_path: Path):
    source = table(tmp_path / "t.csv", "id,label", "{n:04},{c}")
    with pytest.raises(InputError) as caught:
        layout_of(str(source))
    assert str(caught.value) == (
        f"{source}: the images of its 20 rows are not found by any column ('id', 'label'), neither "
        "beside the table nor in folders one and two levels below it ('id' begins with '0000'). "
        "Put the table into the folder that holds the folder of images, or write a column `path` "
        "with each image's path relative to the table"
    )


def test_folders_of_classes_are_not_taken_for_the_images_of_rows(tmp_path: Path):
    source = table(tmp_path / "t.csv", "id,label,site", "{n:04},{c},{c}{c}")
    touched(tmp_path, "a/1.jpg", "b/2.jpg")  # called like the cells of `label`
    with pytest.raises(InputError, match="the images of its 20 rows are not found by any column"):
        layout_of(str(source))


def test_of_folders_with_a_table_that_is_unusable_it_is_said_why_not_the_table(tmp_path: Path):
    touched(tmp_path, "a/1.jpg", "b/2.jpg")
    (tmp_path / "log.csv").write_text("epoch,loss\nfirst,0.5\nsecond,0.25\n")
    found = layout_of(str(tmp_path))
    assert found.data == {"source": str(tmp_path)}
    start = f"the sub-folders, not the table there: {tmp_path}/log.csv: the images of its 2 rows "
    assert found.remarks["source"].startswith(start)


# of two rows that differ nobody can tell that they are classes, and two columns make no pattern
UNDECIDED = {
    "A class of several columns, and persons who stay on one side",
    "Rows that stand for folders",
    "Paths made of several columns",
}


@pytest.mark.parametrize(
    "example",
    [example for example in EXAMPLES if example.title not in UNDECIDED],
    ids=lambda example: example.title,
)
def test_the_layouts_of_the_documentation_are_found(
    example: Example, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def rows(data: DataOptions, fold_column: str | None) -> list[tuple[str, tuple[str, ...]]]:
        found = read_table(data, fold_column=fold_column)
        paths = [str((found.root / path).resolve()) for path in found.paths]
        return sorted(zip(paths, found.labels, strict=True))

    monkeypatch.chdir(tmp_path)
    example.write()
    data, folds = example.options
    found = layout_of(Path(data.source).parts[0])
    assert found.fold_column == folds.column
    assert rows(DataOptions(**found.data), found.fold_column) == rows(data, folds.column)


def test_a_table_without_classes_is_refused_with_what_its_columns_hold(tmp_path: Path):
    images(tmp_path, "{n}.jpg")
    source = table(tmp_path / "t.csv", "path,note", "{n}.jpg,n{n}")
    with pytest.raises(InputError) as caught:
        layout_of(str(source))
    assert str(caught.value) == (
        f"{source}: no column looks like classes. Different values of each: 'note' (20). A column "
        "of classes has at least two values, which occur repeatedly"
    )


@pytest.mark.parametrize(
    ("label", "match"),
    [("{n}.25", r"a quantity to be predicted \(regression\)"), ("cat dog|cat", "several classes")],
)
def test_other_targets_are_refused_as_such(tmp_path: Path, label: str, match: str):
    images(tmp_path, "{n}.jpg")
    if "|" in label:
        source = tmp_path / "t.csv"
        cells = ["cat", "dog", "cat dog"]
        source.write_text("path,label\n" + "".join(f"{n}.jpg,{cells[n % 3]}\n" for n in range(N)))
    else:
        source = table(tmp_path / "t.csv", "path,label", "{n}.jpg," + label)
    for place in (source, tmp_path):
        with pytest.raises(DataError, match=match):
            layout_of(str(place))


@pytest.mark.parametrize(
    ("files", "match"),
    [
        (["a/train/1.jpg", "a/val/2.jpg", "b/train/1.jpg", "b/val/2.jpg"], "Write a CSV with"),
        (["1.jpg", "2.jpg"], "lie in no sub-folder of a class"),
        (["a/1.txt"], "no images found"),
    ],
)
def test_folders_that_no_option_describes_are_refused(tmp_path: Path, files: list[str], match: str):
    touched(tmp_path, *files)
    with pytest.raises(DataError, match=match):
        layout_of(str(tmp_path))
