"""The sections `data` and `folds`: what may be said, what it means, and how a slip is refused."""

import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from trainer.data.options import DataOptions, FoldOptions


def options(**values: Any) -> DataOptions:
    return DataOptions(**{"source": "train.csv", **values})


@pytest.mark.parametrize("section", [DataOptions, FoldOptions])
def test_every_option_says_what_it_means(section):
    missing = [name for name, field in section.model_fields.items() if not field.description]
    assert missing == []


def test_only_the_source_is_required():
    with pytest.raises(
        ValidationError, match=r"(?s)^1 validation error.*\nsource\n  Field required"
    ):
        DataOptions()
    assert options().image == "path"
    assert options().allow_outside is False
    assert FoldOptions().k == 5


@pytest.mark.parametrize(
    ("section", "values"), [(DataOptions, {"source": "x", "sourc": "y"}), (FoldOptions, {"K": 3})]
)
def test_an_unknown_option_is_refused_by_name(section, values):
    with pytest.raises(
        ValidationError, match=rf"(?s){list(values)[-1]}\n  Extra inputs are not permitted"
    ):
        section(**values)


def test_options_are_frozen():
    with pytest.raises(ValidationError, match="frozen"):
        options().source = "other.csv"


@pytest.mark.parametrize(
    ("given", "meant"),
    [("kind", ("kind",)), (["mask", "age"], ("mask", "age")), (("mask",), ("mask",)), (None, None)],
)
def test_one_label_column_may_stand_without_a_list(given, meant):
    assert options(label=given).label == meant


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("source", None),
        ("source", 3),
        ("source", ""),
        ("label", []),
        ("label", [""]),
        ("label", [3]),
        ("label", 3),
        ("layout", "folders"),
        ("box", ["x", "y", "w"]),
        ("box", "x"),
        ("box_format", "cxcywh"),
        ("bad_boxes", "keep"),
        ("keep", "one"),
        ("near_distance", -1),
        ("near_distance", 65),
        ("near_distance", 1.5),
        ("max_pixels", 0),
        ("max_pixels", True),
        ("max_rejected", -0.1),
        ("max_rejected", 1.1),
        ("max_rejected", float("nan")),
        ("allow_outside", "yes"),
        ("allow_outside", 1),
        ("cache_gb", -1),
        ("cache_gb", float("nan")),
        ("age_borders", ["30"]),
        ("age_borders", 30),
    ],
)
def test_a_value_of_another_kind_or_out_of_bounds_is_refused_by_name(name, value):
    with pytest.raises(ValidationError, match=rf"\n{name}\b"):
        options(**{name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [("k", 1), ("k", 101), ("k", 2.5), ("seed", -1), ("holdout", 0.91), ("holdout", -0.1)],
)
def test_folds_out_of_bounds_are_refused_by_name(name, value):
    with pytest.raises(ValidationError, match=rf"\n{name}\b"):
        FoldOptions(**{name: value})


@pytest.mark.parametrize("borders", [[], [60, 30], [30, 30], [0, 30], [-5]])
def test_age_borders_that_do_not_rise_are_refused(borders):
    message = f"age_borders are ages that rise, e.g. [30, 60], got {borders}"
    with pytest.raises(ValidationError, match=re.escape(message)):
        options(age_borders=borders)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("label", [], "a column's name, or a list of them, got []"),
        ("label", ["mask", 3], "a column's name, or a list of them, got ['mask', 3]"),
        ("box", "x", "a box is four columns' names, e.g. [left, top, right, bottom], got 'x'"),
        (
            "box",
            ["x", "y", "w"],
            "a box is four columns' names, e.g. [left, top, right, bottom], got ['x', 'y', 'w']",
        ),
        ("age_borders", 30, "age_borders are ages that rise, e.g. [30, 60], got 30"),
        (
            "fill",
            None,
            "a colour is white, black, grey or '#rrggbb', got None (without quotes, "
            "# begins a comment)",
        ),
    ],
)
def test_what_takes_several_forms_is_refused_with_the_form(name, value, message):
    with pytest.raises(ValidationError, match=re.escape(message)):
        options(**{name: value})


@pytest.mark.parametrize(
    ("fill", "fill_rgb"),
    [
        ("white", (255, 255, 255)),
        ("black", (0, 0, 0)),
        ("grey", (128, 128, 128)),
        ("#0a0B1e", (10, 11, 30)),
        ("#000000", (0, 0, 0)),
    ],
)
def test_a_fill_colour_is_a_name_or_six_hex_digits(fill, fill_rgb):
    assert options(fill=fill).reading.fill_rgb == fill_rgb


@pytest.mark.parametrize("fill", ["", "pink", "#fff", "#00000g", "0a0b1e", "#0a0b1e0", "#0a0b1e\n"])
def test_another_fill_colour_is_refused_with_what_is_one(fill):
    message = f"a colour is white, black, grey or '#rrggbb', got {fill!r}"
    with pytest.raises(ValidationError, match=re.escape(message)):
        options(fill=fill)


def test_the_bomb_limit_stays_on_and_can_be_set():
    assert options().reading.max_pixels == 89_478_485
    assert options(max_pixels=100).reading.max_pixels == 100


def test_weights_are_known_by_their_absolute_path_so_that_a_worker_finds_them(
    tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    reading = options(face_weights="yunet.onnx", background_weights="/models/u2net.onnx").reading
    assert reading.face_weights == str(tmp_path / "yunet.onnx")
    assert reading.background_weights == str(Path("/models/u2net.onnx").resolve())
    assert options().reading.face_weights is None


@pytest.mark.parametrize(
    ("values", "group"),
    [
        ({}, None),
        ({"group": "video"}, "video"),
        ({"layout": "profile_folders"}, "person"),
        ({"layout": "profile_folders", "group": "race"}, "race"),
        ({"layout": "profile_folders", "group": None}, None),
        ({"layout": "profile_folders", "group": "near_duplicates"}, "near_duplicates"),
    ],
)
def test_photos_of_profile_folders_belong_to_their_person_unless_something_else_is_said(
    values, group
):
    assert options(**values).grouping == group


@pytest.mark.parametrize(
    ("values", "needed"),
    [
        ({}, False),
        ({"group": "near_duplicates"}, True),
        ({"keep": "one_per_cluster"}, True),
        ({"group": "x"}, False),
    ],
)
def test_fingerprints_are_needed_where_near_duplicates_decide(values, needed):
    assert options(**values).needs_fingerprints is needed


def test_a_column_of_folds_stands_alone():
    assert FoldOptions(column="fold", seed=3).column == "fold"
    message = "the column decides the folds: leave out k and holdout and file"
    with pytest.raises(ValidationError, match=message):
        FoldOptions(column="fold", k=5, holdout=0.0, file="folds.npz")
