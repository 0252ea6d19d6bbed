"""Sub-folders that are parts of a data set and no classes are refused with what to write."""

import re
import unicodedata
from pathlib import Path

import pytest

from tests.trainer.data.tables import read, touched
from trainer.data.folder_parts import misread, refuse_parts
from trainer.errors import DataError

SOURCE = Path("data")
END = (
    ". If the sub-folders of data are the classes all the same, write `layout: class_folders` "
    "below data"
)


def problem(*folders: str) -> str:
    """The message about folders with two images each, without its beginning and its end."""
    paths = [f"{folder}/{row}.png" for folder in folders for row in range(2)]
    with pytest.raises(DataError) as caught:
        refuse_parts(SOURCE, paths)
    message = str(caught.value)
    assert message.startswith("data: ")
    assert message.endswith(END)
    return message.removeprefix("data: ").removesuffix(END)


def notes(*folders: str) -> list[str]:
    return refuse_parts(SOURCE, [f"{folder}/{row}.png" for folder in folders for row in range(2)])


def tree(*parts: str, classes: tuple[str, ...] = ("cat", "dog")) -> list[str]:
    return [f"{part}/{name}" for part in parts for name in classes]


# parts by their names


def test_the_parts_of_a_data_set_are_refused_with_the_two_lines_to_write():
    assert problem(*tree("train", "val", "test")) == (
        "its sub-folders test, train, val are called like parts of a data set and would become "
        "classes. Write `source: data/train` and `valid: data/val` (held out with `folds: "
        "{column: fold}`, else pooled with the source)"
    )


@pytest.mark.parametrize(
    ("train", "valid"),
    [
        ("Train", "Val"),
        ("TRAINING", "Validation"),
        ("train_images", "valid_images"),
        ("images_train", "images_val"),
        ("train2017", "val2017"),
        ("01.train", "02.valid"),
        ("1.Training", "2.Validation"),
        ("Train Set", "Valid Set"),
        ("trainset", "valset"),
        ("train-224x224", "val-224x224"),
        ("train (1)", "val (1)"),
        ("stage1_train", "stage1_val"),
        ("seg_train", "seg_val"),
        ("asl_alphabet_train", "asl_alphabet_valid"),
        ("myTrain", "myVal"),
        ("훈련", "검증"),
        (unicodedata.normalize("NFD", "학습용 데이터"), "검증용 데이터"),
    ],
)
def test_every_way_to_call_the_parts_is_known(train, valid):
    found = problem(*tree(train, valid))
    assert f"`source: data/{train}` and `valid: data/{valid}`" in found
    assert "are called like parts of a data set and would become classes" in found


def test_parts_need_not_hold_the_same_classes():
    assert "`source: data/train`" in problem("train/a", "train/b", "val/a", "test", "notes")


def test_the_class_folders_may_lie_deeper():
    found = problem(*tree("train/images", "val/images/all"))
    assert "`source: data/train/images` and `valid: data/val/images/all`" in found


@pytest.mark.parametrize("place", ["images", "data/all"])
def test_the_parts_may_lie_deeper(place):
    found = problem(*tree(f"{place}/train", f"{place}/val"))
    assert f"its sub-folders {place}/train, {place}/val are called" in found
    assert f"`source: data/{place}/train` and `valid: data/{place}/val`" in found


def test_parts_without_class_folders_need_a_table():
    assert problem("train", "test1") == (
        "its sub-folders test1, train are called like parts of a data set and would become "
        "classes. The images of train are in no class folders: write a CSV with the columns path "
        "and label"
    )


# unlabelled images beside the classes


@pytest.mark.parametrize(
    "name", ["test", "Test", "testing", "test_images", "val", "unlabeled", "holdout", "테스트"]
)
@pytest.mark.parametrize("inner", ["", "/unknown"])
def test_a_part_beside_class_folders_is_refused_with_the_option_that_leaves_it_out(name, inner):
    assert problem("cat", "dog", f"{name}{inner}") == (
        f"its sub-folder {name} is called like a part of a data set and would become a class. "
        f"Write `exclude: [{name}]` below data to leave it out"
    )


def test_several_parts_beside_class_folders_are_left_out_together():
    assert problem("cat", "dog", "test", "2.val").endswith(
        "Write `exclude: ['2.val', test]` below data to leave them out"
    )


def test_a_train_folder_beside_its_own_classes_is_a_part():
    assert "`source: data/train`" in problem("cat", "dog", *tree("train"))
    assert "`source: data/train`" in problem("others", *tree("train"))


# a class that is called like a part


def test_a_class_called_train_beside_other_vehicles_is_a_class_with_a_note():
    note = (
        "a class is called 'train', like a part of a data set. If that is meant, "
        "`layout: class_folders` below data says so"
    )
    assert notes("car", "plane", "train") == [note]
    assert notes("car/sedan", "car/van", "train/steam", "train/diesel") == [note]


@pytest.mark.parametrize(
    "classes",
    [
        ("valid", "invalid"),
        ("Valid", "not valid", "blurred"),
        ("trains", "cars"),
        ("contest", "valley"),
        ("test positive", "test negative"),
        ("pre-test", "post-test"),
        ("fold1", "cat"),
        ("trainer", "tester"),
    ],
)
def test_names_that_only_contain_such_a_word_are_classes(classes):
    assert notes(*classes) == []


# the same sub-folders everywhere


@pytest.mark.parametrize(
    "parts",
    [("site_a", "site_b"), ("2019", "2020", "2021"), ("p1", "p2")],
)
def test_folders_that_hold_the_same_sub_folders_are_refused(parts):
    assert problem(*tree(*parts)) == (
        f"all of its {len(parts)} sub-folders ({', '.join(parts)}) hold the same sub-folders cat, "
        "dog. So these look like the classes, and the folders that hold them look like parts of "
        f"the data. Write `source: data/{parts[0]}`, and for a second part `valid: "
        f"data/{parts[1]}`; or a CSV of all parts with the columns path and label"
    )


def test_a_class_may_be_missing_in_a_part_and_written_otherwise():
    assert "hold the same sub-folders" in problem("a/cat", "a/dog", "a/fox", "b/Cat", "b/dog")


def test_classes_that_hold_the_parts_are_refused_since_the_parts_would_be_mixed():
    assert problem(*tree("cat", "dog", classes=("train", "test"))) == (
        "all of its 2 sub-folders (cat, dog) hold the same sub-folders test, train, whose images "
        "would be mixed. Write a CSV with the columns path, label and fold (train or valid), and "
        "`folds: {column: fold}`"
    )


@pytest.mark.parametrize(
    "folders",
    [
        ("cat/images", "dog/images"),
        ("birds/eagle", "birds/owl", "mammals/cat", "mammals/dog"),
        ("cat/ann", "cat/bob", "cat/cy", "dog/ann", "dog/dan", "dog/eve"),
        ("cat/a", "cat/b", "dog"),
    ],
)
def test_folders_inside_the_classes_that_differ_are_no_parts(folders):
    assert notes(*folders) == []


def test_a_few_sorted_out_images_inside_the_classes_are_no_classes():
    paths = [f"{name}/{row}.png" for name in ("cat", "dog") for row in range(9)]
    paths += [f"{name}/{inner}/x.png" for name in ("cat", "dog") for inner in ("blurred", "dark")]
    assert refuse_parts(SOURCE, paths) == []


def test_valid_and_invalid_that_hold_the_same_sub_folders_are_no_parts_of_one_another():
    assert "hold the same sub-folders cat, dog" in problem(*tree("valid", "invalid"))


@pytest.mark.parametrize("folders", [("fold0", "fold1"), tree("fold0", "fold1")])
def test_folders_called_like_folds_are_refused(folders):
    assert problem(*folders) == (
        "its sub-folders (fold0, fold1) are called like folds and would become the classes. Write "
        "a CSV with the columns path, label and fold, and `folds: {column: fold}`"
    )


def test_a_single_folder_above_the_classes_is_named():
    assert problem(*tree("images")) == (
        "its only sub-folder with images is images, which would become the only class. It holds "
        "images/cat, images/dog: write `source: data/images`"
    )
    assert notes("cat") == []  # refused later: only one class


# as options


def test_a_data_set_of_parts_is_refused_before_it_is_read(tmp_path):
    source = touched(tmp_path / "data", *(f"{folder}/1.png" for folder in tree("train", "val")))
    with pytest.raises(DataError, match=rf"`source: {source}/train` and `valid: {source}/val`"):
        read(source)
    table = read(source / "train", valid=str(source / "val"))
    assert {label for (label,) in table.labels} == {"cat", "dog"}


def test_layout_class_folders_says_that_they_are_classes(tmp_path):
    source = touched(tmp_path / "data", *(f"{folder}/1.png" for folder in tree("train", "test")))
    table = read(source, layout="class_folders")
    assert {label for (label,) in table.labels} == {"train", "test"}
    assert table.notes == []


def test_excluded_folders_are_not_read(tmp_path):
    source = touched(tmp_path / "data", "cat/1.png", "dog/1.png", "고양이/1.png", "test/1.png")
    table = read(source, exclude=["test", unicodedata.normalize("NFD", "고양이")])
    assert (table.paths, table.ignored) == (["cat/1.png", "dog/1.png"], [])


def test_a_folder_to_leave_out_that_does_not_exist_is_refused(tmp_path):
    touched(tmp_path, "data/cat/1.png", "data/dog/1.png")
    message = f"{tmp_path}/data: no sub-folder 'test' (data.exclude). There: 'cat', 'dog'"
    with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
        read(tmp_path / "data", exclude="test")


# the options that the messages name, as values


@pytest.mark.parametrize(
    ("folders", "options", "held_out"),
    [
        (tree("train", "val", "test"), {"source": "data/train", "valid": "data/val"}, True),
        (tree("a/train", "a/val"), {"source": "data/a/train", "valid": "data/a/val"}, True),
        (tree("train", "test"), {"source": "data/train"}, False),
        (["cat", "dog", "test"], {"exclude": ["test"]}, False),
        (tree("north", "south"), {"source": "data/north", "valid": "data/south"}, False),
        (tree("north", "south", "west"), {}, False),
        (tree("all"), {"source": "data/all"}, False),
        (["fold0", "fold1"], {}, False),
        (["cat/train", "cat/val", "dog/train", "dog/val"], {}, False),
    ],
)
def test_the_options_to_write_are_given_as_values(
    folders: list[str], options: dict[str, object], held_out: bool
):
    paths = [f"{folder}/{row}.png" for folder in folders for row in range(2)]
    found = misread(SOURCE, paths)
    assert found is not None
    assert (found.options, found.held_out) == (options, held_out)
    for value in options.values():
        assert value[0] in found.text if isinstance(value, list) else str(value) in found.text


def test_classes_are_not_misread():
    assert misread(SOURCE, ["cat/1.png", "dog/1.png"]) is None
