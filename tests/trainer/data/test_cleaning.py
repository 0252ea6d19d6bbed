"""Every row of a table is kept or rejected with its reason; what was repaired is counted."""

import csv
import re
import unicodedata
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.data.cleaning import (
    REPAIRS,
    Cleaned,
    FileFacts,
    Rejected,
    clean,
    clean_boxes,
    refuse_too_many,
    write_rejected,
)
from trainer.data.options import DataOptions
from trainer.data.sources import read_table
from trainer.data.table import Table
from trainer.errors import DataError
from trainer.images.manifest import DIGEST, order_classes
from trainer.images.picture import TRAITS

Label = str | tuple[str, ...]
HEIGHT = 20
WIDTH = 30


def repairs(result: Cleaned) -> dict[str, int]:
    return {name: len(rows) for name, rows in result.repaired.items()}


def table_of(
    *rows: tuple[str, Label], boxes: Sequence[Sequence[float]] | None = None, **fields: Any
) -> Table:
    """Rows of a CSV that exists on paper only, with the columns of the first label."""
    labels = [(label,) if isinstance(label, str) else label for _, label in rows]
    columns = ("label",) if len(labels[0]) == 1 else ("mask", "gender", "age")[: len(labels[0])]
    values: dict[str, Any] = {
        "name": "train.csv",
        "root": Path("/data"),
        "paths": [path for path, _ in rows],
        "lines": list(range(2, len(rows) + 2)),
        "label_columns": columns,
        "labels": labels,
        "orders": {},
        "groups": None,
        "boxes_N4": None if boxes is None else np.array(boxes, dtype=np.float64),
        "fixed_N": None,
    }
    return Table(**{**values, **fields})


def facts_of(
    rows: int,
    *,
    errors: dict[int, str] | None = None,
    traits: dict[int, tuple[str, ...]] | None = None,
) -> FileFacts:
    sizes_N2 = np.tile(np.array([HEIGHT, WIDTH], dtype=np.int32), (rows, 1))
    sizes_N2[list(errors or ())] = 0
    traits_N = np.zeros(rows, dtype=np.uint16)
    for row, names in (traits or {}).items():
        traits_N[row] = sum(1 << list(REPAIRS).index(name) for name in names)
    return FileFacts(errors or {}, sizes_N2, traits_N, np.zeros(rows, dtype=DIGEST))


def cleaned(table: Table, facts: FileFacts | None = None, **options: Any) -> Cleaned:
    return clean(table, facts or facts_of(len(table)), DataOptions(source="train.csv", **options))


def reasons(result: Cleaned) -> list[tuple[int, str, str]]:
    return [(entry.line, entry.reason, entry.detail) for entry in result.rejected]


# files and labels


def test_rows_without_fault_are_kept_as_they_are():
    result = cleaned(table_of(("a.png", "x"), ("b.png", "y")))
    assert result.rows_M.tolist() == [0, 1]
    assert result.rows_M.dtype == np.int64
    assert result.labels == [("x",), ("y",)]
    assert (result.boxes_M4, result.rejected, repairs(result)) == (None, [], {})


def test_a_file_that_cannot_be_read_is_rejected_with_why():
    result = cleaned(
        table_of(("a.png", "x"), ("b.png", "y")), facts_of(2, errors={1: "empty file"})
    )
    assert result.rows_M.tolist() == [0]
    assert result.rejected == [Rejected(3, "b.png", "unreadable", "empty file")]


def test_rows_without_a_path_or_a_label_are_rejected():
    result = cleaned(table_of(("", "x"), ("b.png", ""), ("c.png", "y")))
    assert result.labels == [("y",)]
    assert reasons(result) == [
        (2, "no path", "the path is empty"),
        (3, "no label", "label is empty"),
    ]


def test_of_several_label_columns_the_empty_ones_are_named():
    table = table_of(("a", ("on", "", "")), ("b", ("", "f", "9")), ("c", ("on", "f", "9")))
    assert reasons(cleaned(table)) == [
        (2, "no label", "gender, age is empty"),
        (3, "no label", "mask is empty"),
    ]


def test_what_was_no_row_is_counted_before_the_rows():
    table = table_of(("a.png", "x"), ("", "y"), ignored=[("notes/x.png", "folder is not named so")])
    assert cleaned(table).rejected == [
        Rejected(0, "notes/x.png", "not a row", "folder is not named so"),
        Rejected(3, "", "no path", "the path is empty"),
    ]


@pytest.mark.parametrize(
    ("row", "errors", "box", "reason"),
    [
        (("", ""), {}, [0, 0, 9, 9], "no path"),
        (("a.png", ""), {0: "empty file"}, [0, 0, 9, 9], "unreadable"),
        (("a.png", "x"), {0: "empty file"}, [0, 0, 0, 0], "unreadable"),
        (("a.png", ""), {}, [0, 0, 0, 0], "bad box"),
    ],
)
def test_a_row_with_several_faults_has_one_reason(row, errors, box, reason):
    result = cleaned(
        table_of(row, ("b.png", "x"), boxes=[box, [0, 0, 9, 9]]), facts_of(2, errors=errors)
    )
    assert [entry.reason for entry in result.rejected] == [reason]


# repairs


def test_every_trait_of_a_file_has_its_repair():
    assert tuple(REPAIRS) == (*TRAITS, "beyond", "no end")  # the last two are found in the pixels


@pytest.mark.parametrize(("trait", "repair"), REPAIRS.items())
def test_every_repair_is_counted(trait, repair):
    table = table_of(("a.png", "x"), ("b.png", "y"), ("c.png", "y"))
    result = cleaned(table, facts_of(3, traits={0: (trait,), 2: (trait,)}))
    assert repairs(result) == {repair: 2}
    assert len(result.rows_M) == 3


def test_a_file_may_need_several_repairs():
    result = cleaned(
        table_of(("a.png", "x"), ("b.png", "y")),
        facts_of(2, traits={0: ("alpha", "palette", "animated")}),
    )
    assert repairs(result) == {REPAIRS[trait]: 1 for trait in ("alpha", "palette", "animated")}


def test_repairs_are_counted_among_the_rows_that_are_left():
    table = table_of(("a.png", ""), ("b.png", "y"), ("b.png", "y"))
    traits = {row: ("grey",) for row in range(3)}
    assert repairs(cleaned(table, facts_of(3, traits=traits))) == {"greyscale turned to RGB": 1}


# duplicates and contradictions


@pytest.mark.parametrize(
    "second", ["a/b.png", "./a/b.png", "a//b.png", "a/./b.png", "a/../a/b.png", "/data/a/b.png"]
)
def test_an_image_named_twice_is_used_once_however_it_is_spelled(second):
    result = cleaned(table_of(("a/b.png", "x"), ("c.png", "y"), (second, "x")))
    assert result.rows_M.tolist() == [0, 1]
    assert reasons(result) == [(4, "duplicate row", "the same as line 2: a/b.png")]


@pytest.mark.parametrize("second", ["a/b.png", "./a/b.png", "/data/a/b.png"])
def test_an_image_with_two_classes_is_not_used_at_all(second):
    result = cleaned(table_of(("a/b.png", "x"), ("c.png", "y"), (second, "y")))
    both = "'x' in line 2 and 'y' in line 4"
    assert result.rows_M.tolist() == [1]
    assert reasons(result) == [(2, "contradictory labels", both), (4, "contradictory labels", both)]


@pytest.mark.parametrize(
    ("labels", "contradict"),
    [("xxy", [2, 4]), ("xyx", [2, 3, 4]), ("yxx", [2, 3, 4]), ("xyz", [2, 3, 4])],
)
def test_of_three_rows_that_contradict_each_other_none_is_left(labels, contradict):
    result = cleaned(table_of(*(("a.png", label) for label in labels), ("b.png", "x")))
    assert result.rows_M.tolist() == [3]
    assert len(result.rejected) == 3
    assert [
        entry.line for entry in result.rejected if entry.reason == "contradictory labels"
    ] == contradict


def test_a_row_that_is_rejected_anyway_contradicts_nobody():
    result = cleaned(table_of(("a.png", ""), ("a.png", "x"), ("b.png", "y")))
    assert result.labels == [("x",), ("y",)]


def test_two_boxes_in_one_image_are_two_images():
    table = table_of(
        ("a.png", "x"),
        ("a.png", "y"),
        ("a.png", "x"),
        boxes=[[0, 0, 9, 9], [1, 0, 9, 9], [0, 0, 9, 9]],
    )
    result = cleaned(table)
    assert result.rows_M.tolist() == [0, 1]
    assert reasons(result) == [(4, "duplicate row", "the same as line 2: a.png")]


def test_boxes_that_are_one_after_clipping_are_one_image():
    table = table_of(
        ("a.png", "x"),
        ("a.png", "y"),
        ("b.png", "y"),
        boxes=[[0, 0, 30, 20], [-5, 0, 99, 99], [0, 0, 1, 1]],
    )
    assert [entry.reason for entry in cleaned(table, bad_boxes="clip").rejected] == [
        "contradictory labels"
    ] * 2


# boxes


NAN = float("nan")
INF = float("inf")
BOXES = [  # written, when it is dropped why, and what is left when it is clipped
    ([1, 2, 3, 4], None, [1, 2, 3, 4]),
    ([0, 0, 30, 20], None, [0, 0, 30, 20]),
    ([0.4, 1.6, 29.6, 19.6], None, [0, 2, 30, 20]),
    ([29, 19, 30, 20], None, [29, 19, 30, 20]),
    ([-0.4, 0, 5, 5], None, [0, 0, 5, 5]),
    ([-1, 0, 5, 5], "[-1, 0, 5, 5] leaves the image of 30 x 20", [0, 0, 5, 5]),
    ([0, 0, 31, 20], "[0, 0, 31, 20] leaves the image of 30 x 20", [0, 0, 30, 20]),
    ([-9, -9, 99, 99], "[-9, -9, 99, 99] leaves the image of 30 x 20", [0, 0, 30, 20]),
    ([1e12, 0, 2e12, 5], "[2147483647, 0, 2147483647, 5] is empty", None),
    ([0, 0, 1e300, 5], "[0, 0, 2147483647, 5] leaves the image of 30 x 20", [0, 0, 30, 5]),
    ([-1e300, 0, 5, 5], "[-2147483648, 0, 5, 5] leaves the image of 30 x 20", [0, 0, 5, 5]),
    ([-9, 0, -1, 5], "[-9, 0, -1, 5] leaves the image of 30 x 20", None),
    ([30, 0, 40, 5], "[30, 0, 40, 5] leaves the image of 30 x 20", None),
    ([0, 20, 5, 25], "[0, 20, 5, 25] leaves the image of 30 x 20", None),
    ([5, 5, 5, 9], "[5, 5, 5, 9] is empty", None),
    ([9, 5, 5, 9], "[9, 5, 5, 9] is empty", None),
    ([5, 9, 9, 5], "[5, 9, 9, 5] is empty", None),
    ([5.1, 5, 5.4, 9], "[5, 5, 5, 9] is empty", None),
    ([0, 0, 0, 0], "[0, 0, 0, 0] is empty", None),
    ([NAN, 0, 5, 5], "[nan, 0.0, 5.0, 5.0] is not four numbers", None),
    ([0, 0, INF, 5], "[0.0, 0.0, inf, 5.0] is not four numbers", None),
]


@pytest.mark.parametrize(
    ("box", "why", "clipped"),
    BOXES,
    ids=lambda value: str(value) if isinstance(value, list) else "",
)
def test_a_bad_box_is_dropped_or_clipped_and_counted_either_way(box, why, clipped):
    table = table_of(("a.png", "x"), ("b.png", "y"), boxes=[box, [0, 0, 1, 1]])
    dropping = cleaned(table)
    clipping = cleaned(table, bad_boxes="clip")
    assert reasons(dropping) == ([] if why is None else [(2, "bad box", why)])
    assert repairs(dropping) == {}
    if clipped is None:
        assert reasons(clipping) == [(2, "bad box", why)]
    else:
        assert clipping.rejected == []
        assert clipping.boxes_M4.tolist() == [clipped, [0, 0, 1, 1]]
        assert repairs(clipping) == ({} if why is None else {"boxes cut at the image's edge": 1})


def test_boxes_of_the_rows_that_are_left_stay_beside_them():
    boxes = [[0, 0, 1, 1], [NAN] * 4, [2, 2, 3, 3]]
    result = cleaned(table_of(("a.png", "x"), ("b.png", "y"), ("c.png", "z"), boxes=boxes))
    assert result.labels == [("x",), ("z",)]
    assert result.boxes_M4.tolist() == [[0, 0, 1, 1], [2, 2, 3, 3]]
    assert result.boxes_M4.dtype == np.int32


NUMBERS = st.one_of(st.floats(), st.integers(-40, 40).map(float), st.floats(-40, 40))


@given(
    st.lists(st.tuples(*[NUMBERS] * 4), min_size=1, max_size=8),
    st.integers(1, 30),
    st.integers(1, 30),
)
def test_boxes_that_can_be_used_lie_inside_and_are_not_empty(boxes, height, width):
    boxes_N4 = np.array(boxes)
    sizes_N2 = np.tile(np.array([height, width], dtype=np.int32), (len(boxes), 1))
    clipped_N4, cut_N, bad = clean_boxes(boxes_N4, sizes_N2, clip=True)
    dropped_N4, _, dropped = clean_boxes(boxes_N4, sizes_N2, clip=False)
    assert bad.keys() <= dropped.keys()
    for row, (left, top, right, bottom) in enumerate(clipped_N4.tolist()):
        if row not in bad:
            assert 0 <= left < right <= width
            assert 0 <= top < bottom <= height
            assert cut_N[row] == (row in dropped)
        if row not in dropped:
            np.testing.assert_array_equal(dropped_N4[row], np.round(boxes_N4[row]))


# corrections


@pytest.fixture
def correct(tmp_path: Path) -> Callable[..., Cleaned]:
    """Clean a table with corrections."""

    def corrected(
        table: Table, text: str, facts: FileFacts | None = None, **options: Any
    ) -> Cleaned:
        (tmp_path / "fixes.csv").write_text(text, encoding="utf-8")
        return cleaned(table, facts, corrections=str(tmp_path / "fixes.csv"), **options)

    return corrected


PETS = (("a.png", "cat"), ("b, c.png", "dog"), ("고양이 1.png", "dog"))
PEOPLE = (("a.png", ("on", "f", "9")), ("b.png", ("off", "m", "10")), ("c.png", ("off", "f", "9")))


def test_a_new_label_replaces_the_old_and_is_counted(correct):
    result = correct(table_of(*PETS), 'path,label\n"b, c.png",cat\n고양이 1.png,cat\na.png,cat\n')
    assert result.labels == [("cat",)] * 3
    assert repairs(result) == {"labels corrected": 2}  # the third was right before


def test_drop_removes_the_image_and_is_counted(correct):
    result = correct(table_of(*PETS), "path,label\na.png,drop\n")
    assert result.labels == [("dog",)] * 2
    assert reasons(result) == [(2, "correction", "drop")]
    assert repairs(result) == {}


def test_corrections_are_read_as_leniently_as_any_csv(correct):
    result = correct(table_of(*PETS), "\ufeffnote;path;label\r\n\r\nx;a.png;dog\r\n;;\r\n")
    assert result.labels[0] == ("dog",)


@pytest.mark.parametrize(
    ("row", "fix"), [("./a.png", "a.png"), ("a.png", "./a.png"), ("/data/a.png", "a.png")]
)
def test_an_image_may_be_spelled_in_another_way(correct, row, fix):
    result = correct(table_of((row, "cat"), ("b.png", "dog")), f"path,label\n{fix},dog\n")
    assert result.labels == [("dog",)] * 2


def test_corrections_are_compared_as_labels_and_file_names_are(correct):
    """A class in another Unicode form or as a real number, an image in another form."""
    cat = "고양이"
    other = unicodedata.normalize("NFD", cat)
    table = table_of((f"{cat}.png", "1"), ("b.png", cat), (f"{other}2.png", "2.0"))
    result = correct(table, f"path,label\n{other}.png,{other}\nb.png,1.0\n{cat}2.png,2\n")
    assert result.labels == [(cat,), ("1",), ("2.0",)]
    assert repairs(result) == {"labels corrected": 2}


def test_a_part_of_a_joint_class_is_compared_in_the_same_way(correct):
    table = table_of(*PEOPLE, label_columns=("mask", "sex", "age"))
    result = correct(table, "path,age\na.png,10.0\n")
    assert result.labels[0] == ("on", "f", "10")


def test_a_correction_repairs_a_missing_label(correct):
    result = correct(table_of(("a.png", ""), ("b.png", "dog")), "path,label\na.png,dog\n")
    assert result.labels == [("dog",)] * 2
    assert repairs(result) == {"labels corrected": 1}
    assert result.rejected == []


@pytest.mark.parametrize("second", ["a.png", "./a.png"])
def test_a_correction_settles_a_contradiction(correct, second):
    table = table_of(("a.png", "cat"), (second, "dog"), ("b.png", "dog"))
    result = correct(table, "path,label\na.png,dog\n")
    assert result.labels == [("dog",)] * 2
    assert reasons(result) == [(3, "duplicate row", "the same as line 2: a.png")]
    assert repairs(result) == {"labels corrected": 1}


@pytest.mark.parametrize("second", ["a.png", "./a.png"])
def test_drop_removes_every_row_of_an_image(correct, second):
    result = correct(
        table_of(("a.png", "cat"), (second, "dog"), ("b.png", "dog")), "path,label\na.png,drop\n"
    )
    assert result.rows_M.tolist() == [2]
    assert [entry.reason for entry in result.rejected] == ["correction"] * 2


def test_a_correction_does_not_make_an_unreadable_file_readable(correct):
    result = correct(
        table_of(*PETS), "path,label\na.png,dog\n", facts_of(3, errors={0: "empty file"})
    )
    assert reasons(result) == [(2, "unreadable", "empty file")]
    assert repairs(result) == {}


def test_a_joint_class_is_corrected_by_its_joined_name(correct):
    result = correct(table_of(*PEOPLE), "path,label\na.png,off / m / 10\n")
    assert result.labels[0] == ("off", "m", "10")


def test_single_columns_are_corrected_and_the_others_stay(correct):
    result = correct(table_of(*PEOPLE), "path,age,mask\na.png,10,\nb.png,,on\nc.png,drop,\n")
    assert result.labels == [("on", "f", "10"), ("on", "m", "10")]
    assert repairs(result) == {"labels corrected": 2}
    assert reasons(result) == [(4, "correction", "drop")]


def test_a_class_with_the_mark_of_joint_classes_in_its_name_is_one_class(correct):
    table = table_of(("a.png", "cat / wild"), ("b.png", "dog"), label_columns=("kind",))
    assert correct(table, "path,label\nb.png,cat / wild\n").labels == [("cat / wild",)] * 2


def test_all_problems_of_the_corrections_are_named_at_once(correct, tmp_path):
    text = (
        'path,label\nz.png,cat\na.png,bird\n\na.png,\n,cat\na.png,dog\n"b, c.png",cat\n'
        '"b, c.png",dog\n'
    )
    message = (
        f"{tmp_path}/fixes.csv: 5 corrections cannot be used\n"
        "  line 2: z.png is not in train.csv (there: a.png, ...)\n"
        "  line 3: unknown class 'bird'. Known: cat, dog, or drop\n"
        "  line 5: unknown class ''. Known: cat, dog, or drop\n"
        "  line 6:  is not in train.csv (there: a.png, ...)\n"
        "  line 9: b, c.png is corrected twice, to different classes"
    )
    with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
        correct(table_of(*PETS), text)


@pytest.mark.parametrize(
    ("header", "row", "value"),
    [
        ("label", "on", "on"),
        ("label", "on / f", "on / f"),
        ("label", "on / f / 99", "on / f / 99"),
        ("label", "on /  / 9", "on /  / 9"),
        ("gender", "femal", "femal"),
        ("mask,age", "on,nine", "on, nine"),
        ("mask,gender,age", "on,m,nine", "on, m, nine"),
    ],
)
def test_a_slip_in_a_joint_class_makes_no_new_class(correct, header, row, value):
    known = "off / f / 9, off / m / 10, on / f / 9, or drop"
    with pytest.raises(DataError, match=rf"line 2: unknown class {value!r}. Known: {known}$"):
        correct(table_of(*PEOPLE), f"path,{header}\na.png,{row}\n")


def test_a_missing_corrections_file_is_refused(tmp_path):
    with pytest.raises(DataError, match=rf"^{tmp_path}/no.csv: no such file \(data.corrections\)$"):
        cleaned(table_of(*PETS), corrections=str(tmp_path / "no.csv"))


@pytest.mark.parametrize("header", ["path,class", "image,label", "label,note"])
def test_corrections_without_their_columns_are_refused_with_those_there(correct, header):
    with pytest.raises(DataError, match=r"corrections need the columns path and label; there: '"):
        correct(table_of(*PETS), f"{header}\na.png,cat\n")


def test_the_same_correction_twice_is_one(correct):
    assert correct(table_of(*PETS), "path,label\na.png,dog\na.png,dog\n").labels[0] == ("dog",)


# what is written and what stops


def test_rejected_rows_are_written_whole(tmp_path):
    entries = [
        Rejected(0, "폴더/a, b.png", "not a row", 'say "x"'),
        Rejected(3, "", "no path", "the path is empty"),
    ]
    write_rejected(entries, tmp_path / "rejected.csv")
    with (tmp_path / "rejected.csv").open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    assert header == ["line", "path", "reason", "detail"]
    assert rows == [
        ["0", "폴더/a, b.png", "not a row", 'say "x"'],
        ["3", "", "no path", "the path is empty"],
    ]


def test_a_header_alone_says_that_nothing_was_rejected(tmp_path):
    write_rejected([], tmp_path / "rejected.csv")
    assert (tmp_path / "rejected.csv").read_text() == "line,path,reason,detail\n"


def refuse(count: int, *, rows: int, reason: str = "unreadable", **options: Any) -> None:
    entries = [Rejected(line, f"{line}.png", reason, "empty file") for line in range(count)]
    refuse_too_many(entries, rows=rows, data=DataOptions(source="train.csv", **options))


@pytest.mark.parametrize(("count", "limit"), [(0, 0.0), (1, 0.1), (10, 1.0), (5, 0.5)])
def test_up_to_the_limit_rejected_rows_are_only_counted(count, limit):
    refuse(count, rows=10, max_rejected=limit)


@pytest.mark.parametrize(("count", "limit"), [(1, 0.0), (2, 0.1), (6, 0.5)])
def test_beyond_the_limit_nothing_starts(count, limit):
    with pytest.raises(
        DataError, match=rf"{count} of 10 rows cannot be used .* more than data.max_rejected"
    ):
        refuse(count, rows=10, max_rejected=limit)


@pytest.mark.parametrize("reason", ["near duplicate", "correction"])
def test_what_the_user_asked_to_leave_out_does_not_count_against_the_limit(reason):
    refuse(10, rows=10, reason=reason, max_rejected=0.0)


def test_too_many_are_refused_with_reasons_examples_and_what_to_do():
    entries = [Rejected(line, f"{line}.png", "unreadable", "empty file") for line in range(2, 1013)]
    entries += [Rejected(0, "x.png", "not a row", "why")] * 2
    message = (
        "train.csv: 1,013 of 2,000 rows cannot be used (1,011 unreadable, 2 not a row), "
        "more than data.max_rejected (10%) allows. Repair them, or raise it; "
        "the rejected.csv of `sweeps check` lists them\n"
        + "".join(f"  line {line}: {line}.png (unreadable: empty file)\n" for line in range(2, 12))
        + "  and 1003 more"
    )
    with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
        refuse_too_many(entries, rows=2000, data=DataOptions(source="train.csv"))


# the law, and size

ROWS = st.lists(
    st.tuples(
        st.sampled_from(["", "a.png", "./a.png", "b.png", "c.png", "/data/c.png"]),
        st.tuples(st.sampled_from(["", "x", "y"]), st.sampled_from(["", "1", "2"])),
        st.sampled_from(
            [[0, 0, 5, 5], [1, 1, 9, 9], [-3, 0, 5, 5], [5, 5, 5, 5], [NAN] * 4, [40, 40, 50, 50]]
        ),
    ),
    min_size=1,
    max_size=12,
)


@given(ROWS, st.sets(st.integers(0, 11)), st.booleans(), st.sampled_from(["drop", "clip"]))
def test_every_row_is_kept_or_rejected_with_a_reason_and_none_is_both(
    rows, unreadable, boxed, bad_boxes
):
    boxes = [box for _, _, box in rows] if boxed else None
    table = table_of(*((path, label) for path, label, _ in rows), boxes=boxes)
    errors = {row: "empty file" for row in unreadable if row < len(rows) and rows[row][0]}
    result = cleaned(table, facts_of(len(rows), errors=errors), bad_boxes=bad_boxes)
    kept = [table.lines[row] for row in result.rows_M]
    assert kept == sorted(kept)
    assert sorted(kept + [entry.line for entry in result.rejected]) == table.lines
    assert all(entry.reason and entry.detail for entry in result.rejected)
    assert result.labels == [table.labels[row] for row in result.rows_M]
    assert all(all(label) for label in result.labels)
    assert not set(result.rows_M.tolist()) & errors.keys()
    used = [table.paths[row].removeprefix("/data/").removeprefix("./") for row in result.rows_M]
    images = (
        used
        if result.boxes_M4 is None
        else list(zip(used, map(str, result.boxes_M4.tolist()), strict=True))
    )
    assert len(set(images)) == len(images)
    assert all(used)


def test_a_hundred_thousand_classes_are_read_cleaned_and_ordered(tmp_path):
    count = 100_000
    (tmp_path / "a.png").touch()
    rows = "".join(f"a.png,class {row},{row},0,{row + 1},1\n" for row in reversed(range(count)))
    (tmp_path / "train.csv").write_text("path,label,l,t,r,b\n" + rows)
    (tmp_path / "fixes.csv").write_text("path,label\n" + "a.png,nobody\n" * 500)
    data = DataOptions(source=str(tmp_path / "train.csv"), box=["l", "t", "r", "b"])
    table = read_table(data)
    sizes_N2 = np.tile(np.array([1, count], dtype=np.int32), (count, 1))
    facts = FileFacts({}, sizes_N2, np.zeros(count, dtype=np.uint16), np.zeros(count, dtype=DIGEST))
    result = clean(table, facts, data)
    assert len(result.rows_M) == count
    classes, labels_N = order_classes(
        result.labels, label_columns=table.label_columns, orders=table.orders
    )
    assert len(classes) == count
    assert [classes[label] for label in labels_N[:2]] == [("class 99999",), ("class 99998",)]
    with pytest.raises(
        DataError, match=r"500 corrections cannot be used\n  line 2: unknown class 'nobody'"
    ):
        clean(table, facts, data.model_copy(update={"corrections": str(tmp_path / "fixes.csv")}))
