"""The manifest: order of the classes, the label map and the table that are written beside it."""

import csv
import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.images.manifest import Manifest, order_classes, write_label_map, write_manifest


def ordered(*names: str, order: tuple[str, ...] = ()) -> tuple[list[str], list[int]]:
    """Classes and indices of a single label column."""
    classes, labels_N = order_classes(
        [(name,) for name in names], label_columns=["label"], orders={"label": order}
    )
    return [name for (name,) in classes], labels_N.tolist()


@pytest.fixture
def manifest() -> Manifest:
    return Manifest(
        root=Path("/data"),
        paths=("b, 2.png", "고양이 1.png"),
        labels_N=np.array([1, 0]),
        classes=("cat", "dog"),
        lines=(2, 0),
    )


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        (["10", "9", "2"], ["2", "9", "10"]),
        (["10", "9", "b"], ["10", "9", "b"]),
        (["1.5", "10", "9"], ["1.5", "9", "10"]),
        (["11.0", "2.0", "0.0"], ["0.0", "2.0", "11.0"]),
        (["-1", "-10", "1e1", ".5", "+2"], ["-10", "-1", ".5", "+2", "1e1"]),
        (["1_0", "2", "1"], ["1", "1_0", "2"]),
        (["inf", "2", "10"], ["10", "2", "inf"]),
        (["1", "01", "2", "001", "0001", "00001"], ["00001", "0001", "001", "01", "1", "2"]),
        (["-1", "0", "1"], ["-1", "0", "1"]),
        (["b", "B", "a"], ["B", "a", "b"]),
        (["²", "10", "9"], ["10", "9", "²"]),
        (["é", "z", "日本"], ["z", "é", "日本"]),
    ],
)
def test_classes_are_sorted_as_numbers_only_when_all_are_numbers(labels, classes):
    assert ordered(*labels)[0] == classes


def test_each_image_gets_the_index_of_its_class():
    classes, labels_N = order_classes(
        [("dog",), ("cat",), ("dog",)], label_columns=["label"], orders={}
    )
    assert classes == [("cat",), ("dog",)]
    np.testing.assert_array_equal(labels_N, [1, 0, 1])
    assert labels_N.dtype == np.int64


def test_a_given_order_comes_first_and_other_values_follow_as_numbers_if_they_are():
    order = ("mask", "incorrect", "normal")
    assert ordered("normal", "10", "mask", "9", order=order)[0] == ["mask", "normal", "9", "10"]


def test_a_value_of_the_order_that_nobody_has_makes_no_class():
    assert ordered("b", "a", order=("c", "b"))[0] == ["b", "a"]


def test_joint_classes_are_ordered_by_the_first_column_then_the_next():
    labels = [("normal", "9"), ("mask", "10"), ("mask", "9"), ("normal", "9")]
    classes, labels_N = order_classes(
        labels, label_columns=["mask", "age"], orders={"mask": ("mask", "normal")}
    )
    assert classes == [("mask", "9"), ("mask", "10"), ("normal", "9")]
    assert labels_N.tolist() == [2, 1, 0, 2]


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["1", "2", "10"])), min_size=1),
    st.randoms(),
)
def test_the_order_of_the_rows_does_not_change_the_classes(labels, random):
    def cut(rows):
        return order_classes(
            rows, label_columns=["letter", "number"], orders={"letter": ("c", "a")}
        )

    classes, labels_N = cut(labels)
    assert [classes[label] for label in labels_N] == labels
    shuffled = random.sample(labels, len(labels))
    assert cut(shuffled)[0] == classes


def test_an_image_is_named_by_its_line_if_it_has_one(manifest):
    assert len(manifest) == 2
    assert manifest.file(0) == Path("/data/b, 2.png")
    assert manifest.where(0) == "line 2: b, 2.png"
    assert manifest.where(1) == "고양이 1.png"


def test_an_image_is_known_by_its_path_and_its_box(manifest):
    assert manifest.identities() == [("b, 2.png",), ("고양이 1.png",)]
    assert manifest.box(0) is None
    boxes_N4 = np.array([[0, 1, 2, 3], [4, 5, 6, 7]], dtype=np.int32)
    boxed = dataclasses.replace(manifest, boxes_N4=boxes_N4)
    assert boxed.box(1) == (4, 5, 6, 7)
    assert boxed.identities() == [("b, 2.png", "[0, 1, 2, 3]"), ("고양이 1.png", "[4, 5, 6, 7]")]


def test_the_label_map_is_readable_json_from_index_to_name(manifest, tmp_path):
    write_label_map(manifest, tmp_path / "labels.json")
    assert json.loads((tmp_path / "labels.json").read_text()) == {
        "classes": {"0": "cat", "1": "dog"}
    }


def test_the_label_map_keeps_the_parts_of_joint_classes(manifest, tmp_path):
    joint = dataclasses.replace(
        manifest,
        classes=("mask / <30", "mask / >=30"),
        label_columns=("mask", "age"),
        class_parts=(("mask", "<30"), ("mask", ">=30")),
    )
    write_label_map(joint, tmp_path / "labels.json")
    assert json.loads((tmp_path / "labels.json").read_text()) == {
        "classes": {"0": "mask / <30", "1": "mask / >=30"},
        "parts": {"0": {"mask": "mask", "age": "<30"}, "1": {"mask": "mask", "age": ">=30"}},
    }


def test_the_manifest_is_written_whole_as_csv(manifest, tmp_path):
    write_manifest(manifest, np.array([0, -1]), tmp_path / "manifest.csv")
    expected = 'path,class,index,fold\n"b, 2.png",dog,1,0\n고양이 1.png,cat,0,-1\n'
    assert (tmp_path / "manifest.csv").read_text(encoding="utf-8") == expected


def test_groups_and_boxes_are_written_where_there_are_any(manifest, tmp_path):
    boxes_N4 = np.array([[0, 1, 2, 3], [4, 5, 6, 7]], dtype=np.int32)
    full = dataclasses.replace(manifest, groups=("p1", "p2"), boxes_N4=boxes_N4)
    write_manifest(full, np.array([0, 1]), tmp_path / "manifest.csv")
    with (tmp_path / "manifest.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == [
        "path",
        "class",
        "index",
        "fold",
        "group",
        "left",
        "top",
        "right",
        "bottom",
    ]
    assert list(rows[1].values()) == ["고양이 1.png", "cat", "0", "1", "p2", "4", "5", "6", "7"]
