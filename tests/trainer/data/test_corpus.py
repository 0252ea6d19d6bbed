"""Bad input from end to end: whatever lies in a competition's folder is used and counted,
or refused in words.

The law of this file: rows of the source = images kept + rows rejected with a reason.
"""

import collections
import dataclasses
import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import ExifTags, Image

from trainer.data.cleaning import REPAIRS
from trainer.data.data_set import DataSet, ReadOptions, read_data_set
from trainer.data.fold_column import ALWAYS_TRAINED
from trainer.data.fold_files import save_folds
from trainer.data.folds import make_folds
from trainer.data.options import DataOptions
from trainer.errors import DataError
from trainer.images.cache import find_images
from trainer.images.manifest import write_label_map, write_manifest
from trainer.images.preprocessing import Preprocessing

HOW = Preprocessing((8, 8))
RGB_HWC = np.random.default_rng(0).integers(0, 256, (12, 16, 3), dtype=np.uint8)


def encoded(image: Image.Image | np.ndarray, format: str = "PNG", **options: Any) -> bytes:
    stream = io.BytesIO()
    (Image.fromarray(image) if isinstance(image, np.ndarray) else image).save(
        stream, format, **options
    )
    return stream.getvalue()


def rotated() -> bytes:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    return encoded(RGB_HWC, "JPEG", exif=exif)


def animated() -> bytes:
    frames = [Image.fromarray(RGB_HWC), Image.fromarray(RGB_HWC[::-1].copy())]
    return encoded(
        frames[0].quantize(16), "GIF", save_all=True, append_images=[frames[1].quantize(16)]
    )


RGB = Image.fromarray(RGB_HWC)
PHOTO = encoded(RGB, "JPEG")
NO_IMAGE = r"not an image \(JPEG, PNG, .* can be read\)"


@dataclasses.dataclass(frozen=True)
class Kind:
    """One class of files: what is repaired, or with which words it is rejected;
    and the size as displayed.
    """

    name: str
    data: bytes = dataclasses.field(repr=False)
    repairs: tuple[str, ...] = ()
    why: str | None = None
    size_HW: tuple[int, int] = (12, 16)


KINDS = (
    Kind("plain.jpg", PHOTO),
    Kind("really a png.jpg", encoded(RGB)),
    Kind("really a jpeg.gif", PHOTO),
    Kind("1x1.png", encoded(np.zeros((1, 1, 3), dtype=np.uint8)), size_HW=(1, 1)),
    Kind("20000x10.png", encoded(np.zeros((10, 20_000, 3), dtype=np.uint8)), size_HW=(10, 20_000)),
    Kind(
        "10x20000.jpg",
        encoded(np.zeros((20_000, 10, 3), dtype=np.uint8), "JPEG"),
        size_HW=(20_000, 10),
    ),
    Kind("cmyk.jpg", encoded(RGB.convert("CMYK"), "JPEG"), ("cmyk",)),
    Kind("deep.png", encoded(RGB_HWC[:, :, 0].astype(np.uint16) * 257), ("16-bit", "grey")),
    Kind("grey.png", encoded(RGB.convert("L")), ("grey",)),
    Kind("rgba.png", encoded(RGB.convert("RGBA")), ("alpha",)),
    Kind("palette.png", encoded(RGB.quantize(16)), ("palette",)),
    Kind("palette, clear.png", encoded(RGB.quantize(16), transparency=0), ("alpha", "palette")),
    Kind("animated.gif", animated(), ("palette", "animated")),
    Kind("rotated.jpg", rotated(), ("rotated",), size_HW=(16, 12)),
    Kind("한글 사진 1.jpg", PHOTO),
    Kind(" b 'c' (1).jpg", PHOTO),
    Kind("no end marker.jpg", PHOTO[:-2], ("no end",)),
    Kind("empty.jpg", b"", why="empty file"),
    Kind("truncated.jpg", PHOTO[:-80], why=r"truncated \(\d+ bytes not processed\)"),
    Kind("truncated in its header.jpg", PHOTO[: len(PHOTO) // 2], why=r"truncated .*"),
    Kind("truncated.png", encoded(RGB)[:200], why=r"truncated.*"),
    Kind("only a header.png", encoded(RGB)[:20], why=r"(truncated|damaged) .*"),
    Kind("text.png", b"path,label\na.png,x\n", why=NO_IMAGE),
    Kind("page.jpg", b"<!DOCTYPE html><html>404</html>", why=NO_IMAGE),
    Kind(
        "bomb.png",
        encoded(Image.new("1", (500, 500))),
        why=r"250,000 pixels, .* data.max_pixels allows \(249,999\)",
    ),
)
LIMIT = {"max_pixels": 249_999}


def check_law(found: DataSet, rows: int) -> None:
    assert found.rows == rows
    assert len(found.manifest) + len(found.rejected) == rows
    assert all(entry.reason and entry.detail for entry in found.rejected)


@pytest.fixture
def csv(tmp_path: Path) -> Callable[..., DataSet]:
    """Write images and a CSV beside them, and read it whole."""

    def written(
        text: str | bytes, files: dict[str, bytes] | None = None, **options: Any
    ) -> DataSet:
        for number, name in enumerate("abcd"):
            (tmp_path / f"{name}.png").write_bytes(
                encoded(np.full((4, 4, 3), number, dtype=np.uint8))
            )
        for name, data in (files or {}).items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_bytes(data)
        (tmp_path / "train.csv").write_bytes(text.encode() if isinstance(text, str) else text)
        fold_column = options.pop("fold_column", None)
        tolerant = options.pop("tolerant", True)
        data = DataOptions(source=str(tmp_path / "train.csv"), **options)
        return read_data_set(
            data, fold_column=fold_column, read=ReadOptions(choices=[HOW], tolerant=tolerant)
        )

    return written


ANCHORS = "a.png,x\nb.png,y\n"


# one odd file among good ones


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_an_odd_file_is_used_and_counted_or_rejected_with_why(csv, kind):
    found = csv(f'path,label\n{ANCHORS}"{kind.name}",x\n', {kind.name: kind.data}, **LIMIT)
    check_law(found, 3)
    if kind.why is None:
        assert found.manifest.paths == ("a.png", "b.png", kind.name)
        assert found.sizes_N2[2].tolist() == list(kind.size_HW)
        assert found.repairs == {REPAIRS[trait]: 1 for trait in kind.repairs}
    else:
        assert [(entry.line, entry.path, entry.reason) for entry in found.rejected] == [
            (4, kind.name, "unreadable")
        ]
        assert re.fullmatch(kind.why, found.rejected[0].detail)
        assert found.repairs == {}
    decoded = find_images(found.manifest, HOW)
    assert decoded is not None
    (images_NHWC,) = decoded.batches([np.arange(len(found.manifest))])
    assert images_NHWC.shape == (len(found.manifest), 8, 8, 3)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_folder_per_class_with_an_odd_file_is_read_alike(tmp_path, kind):
    for folder in ("고양이 들", "dog"):
        (tmp_path / "data" / folder).mkdir(parents=True)
        for number in range(2):
            (tmp_path / "data" / folder / f"{number}.jpg").write_bytes(PHOTO)
    (tmp_path / "data" / "고양이 들" / kind.name).write_bytes(kind.data)
    found = read_data_set(
        DataOptions(source=str(tmp_path / "data"), **LIMIT), read=ReadOptions(tolerant=True)
    )
    check_law(found, 5)
    assert found.manifest.classes == ("dog", "고양이 들")
    assert [entry.path for entry in found.rejected] == (
        [f"고양이 들/{kind.name}"] if kind.why else []
    )
    assert found.repairs == {REPAIRS[trait]: 1 for trait in kind.repairs}


def test_odd_names_survive_everything_that_is_written(csv, tmp_path):
    names = [
        "한글 사진 1.png",
        "a, b.png",
        'say "x".png',
        " lead.png",
        "d/공 백/x.png",
        "it's #1 100%.png",
    ]
    files = {
        name: encoded(np.full((4, 4, 3), 9 * row, dtype=np.uint8)) for row, name in enumerate(names)
    }
    text = pd.DataFrame({"path": names, "label": ["x", "y"] * 3}).to_csv(index=False)
    found = csv(text, files)
    check_law(found, 6)
    assert found.manifest.paths == tuple(names)
    folds = make_folds(found.manifest, k=2, seed=0)
    save_folds(folds, tmp_path / "folds.npz")
    write_manifest(found.manifest, folds.fold_N, tmp_path / "manifest.csv")
    assert pd.read_csv(tmp_path / "manifest.csv")["path"].tolist() == names


def test_too_many_unusable_files_stop_with_the_reasons(csv):
    files = {"empty.png": b"", "text.png": b"x"}
    with pytest.raises(
        DataError, match=r"2 of 4 rows cannot be used \(2 unreadable\), more than data.max_rejected"
    ):
        csv(f"path,label\n{ANCHORS}empty.png,x\ntext.png,y\n", files, tolerant=False)
    check_law(
        csv(f"path,label\n{ANCHORS}empty.png,x\ntext.png,y\n", max_rejected=0.5, tolerant=False), 4
    )


@pytest.mark.parametrize("tolerant", [False, True])
def test_a_source_of_which_nothing_is_left_is_refused_with_the_reasons_however_tolerant(
    csv, tolerant
):
    with pytest.raises(
        DataError,
        match=r"2 of 2 rows cannot be used \(2 no label\).*\n  line 2: a.png .*\n  line 3: b.png",
    ):
        csv("path,label\na.png,\nb.png,nan\n", tolerant=tolerant)


def test_a_source_of_which_nothing_is_left_is_refused_even_where_all_may_be_rejected(csv):
    with pytest.raises(DataError, match=r"train.csv: none of 2 rows can be used$"):
        csv("path,label\na.png,\nb.png,nan\n", max_rejected=1.0)


def test_one_class_is_not_enough(csv):
    with pytest.raises(
        DataError, match=r"train.csv: only one class \('cat'\); classification needs at least two$"
    ):
        csv("path,label\na.png,cat\nb.png,cat\nc.png,\n")


# odd tables


@pytest.mark.parametrize("mark", [",", ";", "\t"])
@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize("bom", ["", "\ufeff"])
def test_one_table_in_every_spelling_is_one_data_set(csv, mark, ending, bom):
    rows = [
        ["path", "label", "note"],
        ["a.png", "10", '"x, ; y"'],
        ["b.png", "9", ""],
        ["c.png", "nan", ""],
        ["a.png", "10", ""],
        ["d.png", "9", ""],
        ["d.png", "10", ""],
    ]
    found = csv(bom + "".join(mark.join(cells) + ending for cells in rows))
    check_law(found, 6)
    assert found.manifest.paths == ("a.png", "b.png")
    assert found.manifest.classes == ("9", "10")
    assert [(entry.line, entry.reason) for entry in found.rejected] == [
        (4, "no label"),
        (5, "duplicate row"),
        (6, "contradictory labels"),
        (7, "contradictory labels"),
    ]


@pytest.mark.parametrize(
    ("labels", "classes", "rejected"),
    [
        ([10, 9, 9], ("9", "10"), 0),
        ([10.0, 9.0, None], ("9", "10"), 1),
        (["x", "y", None], ("x", "y"), 1),
        (pd.Categorical(["x", "y", None]), ("x", "y"), 1),
        ([True, False, None], ("False", "True"), 1),
    ],
    ids=["integers", "reals", "text", "categories", "booleans"],
)
def test_parquet_labels_of_any_type(csv, tmp_path, labels, classes, rejected):
    csv(f"path,label\n{ANCHORS}")
    pd.DataFrame({"path": ["a.png", "b.png", "c.png"], "label": labels}).to_parquet(
        tmp_path / "train.parquet"
    )
    found = read_data_set(
        DataOptions(source=str(tmp_path / "train.parquet")), read=ReadOptions(tolerant=True)
    )
    check_law(found, 3)
    assert found.manifest.classes == classes
    assert [entry.reason for entry in found.rejected] == ["no label"] * rejected


@pytest.mark.slow
def test_a_hundred_thousand_classes_in_one_picture(csv):
    count = 100_000
    picture = encoded(Image.new("1", (count, 1)))
    rows = "".join(f"wide.png,{row},{row},0,{row + 1},1\n" for row in range(count))
    found = csv("path,label,l,t,r,b\n" + rows, {"wide.png": picture}, box=["l", "t", "r", "b"])
    check_law(found, count)
    assert found.manifest.classes == tuple(map(str, range(count)))
    np.testing.assert_array_equal(found.manifest.labels_N, np.arange(count))


@pytest.mark.parametrize("bad_boxes", ["drop", "clip"])
def test_boxes_of_every_kind_are_used_or_counted(csv, bad_boxes):
    boxes = [
        "0,0,4,4",
        "-1,0,4,4",
        "0,0,9,2",
        "2,2,2,2",
        "nan,0,1,1",
        ",,,",
        "0,1,1e300,4",
        "9,9,12,12",
        "wide,0,1,1",
    ]
    rows = "".join(
        f"{'ab'[row % 2]}.png,{'xy'[row % 2]},{box}\n"
        for row, box in enumerate(["0,0,1,1", "0,0,1,1", *boxes])
    )
    found = csv("path,label,l,t,r,b\n" + rows, box=["l", "t", "r", "b"], bad_boxes=bad_boxes)
    check_law(found, 11)
    counts = collections.Counter(entry.reason for entry in found.rejected)
    if bad_boxes == "drop":
        assert counts == {"bad box": 8}
        assert found.repairs == {}
    else:
        assert counts == {"bad box": 5}
        assert found.repairs == {"boxes cut at the image's edge": 3}
    for left, top, right, bottom in found.manifest.boxes_N4.tolist():
        assert 0 <= left < right <= 4
        assert 0 <= top < bottom <= 4


# any mixture

LABELS = ["x", "y", "", "nan"]
SPELLINGS = ["{}", "./{}", "{}", "sub/../{}"]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All kinds of files, and two good ones that no mixture touches."""
    folder = tmp_path_factory.mktemp("corpus")
    (folder / "sub").mkdir()
    for kind in KINDS:
        (folder / kind.name).write_bytes(kind.data)
    for name in ("one.jpg", "two.jpg"):
        (folder / name).write_bytes(PHOTO)
    return folder


ODD_ROWS = st.lists(
    st.tuples(st.sampled_from([None, *KINDS]), st.sampled_from(LABELS), st.sampled_from(SPELLINGS)),
    max_size=14,
)


def expected_reasons(rows: list[tuple[Kind | None, str, str]]) -> list[str | None]:
    """Why each row is rejected, judged by an image's rows together;
    None for those that are kept.
    """
    reasons: list[str | None] = []
    for kind, label, _ in rows:
        if kind is None:
            reasons.append("no path")
        elif kind.why is not None:
            reasons.append("unreadable")
        else:
            reasons.append("no label" if label in ("", "nan") else None)
    for kind in KINDS:
        first, *others = [
            row for row, (other, _, _) in enumerate(rows) if other is kind and not reasons[row]
        ] or [0]
        for row in others:
            if rows[row][1] == rows[first][1] and reasons[first] is None:
                reasons[row] = "duplicate row"
            else:
                reasons[row] = reasons[first] = "contradictory labels"
    return reasons


@given(
    ODD_ROWS,
    st.sampled_from([",", ";", "\t"]),
    st.sampled_from(["\n", "\r\n"]),
    st.sampled_from(["", "\ufeff"]),
)
def test_of_any_mixture_every_row_is_kept_or_rejected_for_its_reason(
    corpus, rows, mark, ending, bom
):
    cells = [
        (spelling.format(kind.name) if kind else "", label, "note")
        for kind, label, spelling in rows
    ]
    frame = pd.DataFrame(
        [("one.jpg", "x", ""), ("two.jpg", "y", ""), *cells], columns=["path", "label", "note"]
    )
    text = bom + frame.to_csv(index=False, sep=mark, lineterminator=ending)
    (corpus / "train.csv").write_bytes(text.encode())
    found = read_data_set(
        DataOptions(source=str(corpus / "train.csv"), **LIMIT), read=ReadOptions(tolerant=True)
    )
    check_law(found, len(frame))
    lines = [*found.manifest.lines, *(entry.line for entry in found.rejected)]
    assert sorted(lines) == list(range(2, len(frame) + 2))
    expected = [None, None, *expected_reasons(rows)]
    reasons = {entry.line: entry.reason for entry in found.rejected}
    wanted = {line: reason for line, reason in enumerate(expected, start=2) if reason is not None}
    assert reasons == wanted
    kept = [
        kind
        for (kind, _, _), reason in zip(rows, expected[2:], strict=True)
        if reason is None and kind is not None
    ]
    assert found.repairs == dict(
        collections.Counter(REPAIRS[trait] for kind in kept for trait in kind.repairs)
    )


# the layout of the mask competition


def test_profile_folders_from_end_to_end(tmp_path):
    root = tmp_path / "images"
    photos = [*(f"mask{number}.jpg" for number in range(1, 6)), "incorrect_mask.jpg", "normal.png"]
    people = [
        "000001_male_Asian_29",
        "000002_Female_Asian_30",
        "000003_male_White_60",
        "000004_female_Asian_59",
    ]
    for seed, person in enumerate(people):
        (root / person).mkdir(parents=True)
        for number, photo in enumerate(photos):
            image = Image.fromarray(
                np.random.default_rng([seed, number]).integers(0, 256, (8, 6, 3), dtype=np.uint8)
            )
            image.save(root / person / photo)
    (root / "000004_female_Asian_59" / "selfie.jpg").write_bytes(PHOTO)
    (root / "old stuff").mkdir()
    (root / "old stuff" / "mask1.jpg").write_bytes(PHOTO)
    found = read_data_set(
        DataOptions(source=str(root), layout="profile_folders"), read=ReadOptions(tolerant=True)
    )
    check_law(found, 4 * 7 + 2)
    assert collections.Counter(entry.reason for entry in found.rejected) == {"not a row": 2}
    manifest = found.manifest
    ages = [("male", "<30"), ("male", ">=60"), ("female", "30-59")]
    assert manifest.class_parts == tuple(
        (mask, *rest) for mask in ("mask", "incorrect", "normal") for rest in ages
    )
    assert manifest.classes[0] == "mask / male / <30"
    assert manifest.label_columns == ("mask", "gender", "age")
    assert sorted(set(manifest.groups)) == ["000001", "000002", "000003", "000004"]
    for path, group in zip(manifest.paths, manifest.groups, strict=True):
        assert path.startswith(group)
    write_label_map(manifest, tmp_path / "labels.json")
    label_map = json.loads((tmp_path / "labels.json").read_text())
    assert label_map["classes"]["8"] == "normal / female / 30-59"
    assert label_map["parts"]["8"] == {"mask": "normal", "gender": "female", "age": "30-59"}


def test_the_full_competition_has_its_eighteen_classes_in_order(tmp_path):
    for gender in ("female", "male"):
        for age in (60, 30, 18):
            folder = tmp_path / "images" / f"{age}{gender[0]}_{gender}_Asian_{age}"
            folder.mkdir(parents=True)
            for photo in ("normal", "incorrect_mask", "mask3"):
                (folder / f"{photo}.jpg").write_bytes(PHOTO)
    manifest = read_data_set(
        DataOptions(source=str(tmp_path / "images"), layout="profile_folders")
    ).manifest
    bands = {"18": 0, "30": 1, "60": 2}
    for path, label in zip(manifest.paths, manifest.labels_N.tolist(), strict=True):
        person, photo = path.split("/")
        mask = ("mask", "incorrect", "normal").index(re.match("mask|incorrect|normal", photo)[0])
        # the competition's own formula: 6 * mask + 3 * gender + age
        assert label == 6 * mask + 3 * ("female" in person) + bands[person[:2]]


# several sources, joint classes, corrections


def test_train_and_valid_folders_are_one_data_set_with_one_fixed_fold(tmp_path):
    for path in (
        "train/cat/1.jpg",
        "train/dog/1.jpg",
        "valid/cat/2.jpg",
        "valid/dog/2.jpg",
        "valid/dog/3.jpg",
    ):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(b"" if "3" in path else PHOTO)
    data = DataOptions(source=str(tmp_path / "train"), valid=str(tmp_path / "valid"))
    found = read_data_set(data, fold_column="fold", read=ReadOptions(tolerant=True))
    check_law(found, 5)
    assert found.manifest.paths == (
        "train/cat/1.jpg",
        "train/dog/1.jpg",
        "valid/cat/2.jpg",
        "valid/dog/2.jpg",
    )
    assert found.fixed_N.tolist() == [ALWAYS_TRAINED, ALWAYS_TRAINED, 0, 0]


def test_an_image_in_train_and_valid_is_used_once_and_counted(csv, tmp_path):
    csv(f"path,label\n{ANCHORS}")
    (tmp_path / "valid.csv").write_text("path,label\nb.png,y\nc.png,x\n")
    data = DataOptions(source=str(tmp_path / "train.csv"), valid=str(tmp_path / "valid.csv"))
    found = read_data_set(data, fold_column="fold", read=ReadOptions(tolerant=True))
    check_law(found, 4)
    assert found.fixed_N.tolist() == [ALWAYS_TRAINED, ALWAYS_TRAINED, 0]
    assert [(entry.reason, entry.path) for entry in found.rejected] == [("duplicate row", "b.png")]


def test_several_label_columns_make_a_joint_class_and_keep_their_parts(csv):
    found = csv(
        "path,kind,age\na.png,dog,10\nb.png,cat,9\nc.png,dog,9\nd.png,,9\n", label=["kind", "age"]
    )
    check_law(found, 4)
    assert found.manifest.classes == ("cat / 9", "dog / 9", "dog / 10")
    assert found.manifest.class_parts == (("cat", "9"), ("dog", "9"), ("dog", "10"))
    assert found.manifest.labels_N.tolist() == [2, 0, 1]
    assert [entry.detail for entry in found.rejected] == ["kind is empty"]


def test_corrections_have_the_last_word_and_are_counted(csv, tmp_path):
    (tmp_path / "fixes.csv").write_text("path,label\na.png,y\nc.png,x\nd.png,drop\n")
    rows = "path,label\na.png,x\na.png,y\nb.png,y\nc.png,\nd.png,x\n"
    found = csv(rows, corrections=str(tmp_path / "fixes.csv"))
    check_law(found, 5)
    assert found.manifest.paths == ("a.png", "b.png", "c.png")
    assert [found.manifest.classes[label] for label in found.manifest.labels_N] == ["y", "y", "x"]
    assert found.repairs == {"labels corrected": 2}
    assert [entry.reason for entry in found.rejected] == ["duplicate row", "correction"]


def test_rows_without_a_group_stand_for_themselves_wherever_they_are_written(csv):
    found = csv("path,label,who\na.png,x,p\nb.png,y,p\nc.png,x,\nd.png,y,nan\n", group="who")
    assert found.manifest.groups == ("p", "p", "image c.png", "image d.png")


def test_cropping_to_boxes_needs_their_columns(csv, tmp_path):
    csv(f"path,label\n{ANCHORS}")
    with pytest.raises(
        DataError,
        match=r"crop: box needs the columns of the box: data.box: \[left, top, right, bottom\]$",
    ):
        read_data_set(
            DataOptions(source=str(tmp_path / "train.csv")),
            read=ReadOptions(choices=[Preprocessing((8, 8), crop="box")]),
        )


# links


def test_loops_and_links_in_a_folder_are_counted_and_every_image_has_one_class(tmp_path):
    for path in ("cat/1.jpg", "cat/deep/2.jpg", "dog/3.jpg"):
        (tmp_path / "data" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / path).write_bytes(PHOTO)
    for link, target in [
        ("cat/deep/up", "../.."),
        ("dog/self", "."),
        ("all", "."),
        ("nowhere", "nowhere"),
    ]:
        (tmp_path / "data" / link).symlink_to(target)
    found = read_data_set(
        DataOptions(source=str(tmp_path / "data")), read=ReadOptions(tolerant=True)
    )
    check_law(found, 6)
    assert found.manifest.paths == ("cat/1.jpg", "cat/deep/2.jpg", "dog/3.jpg")
    assert found.manifest.classes == ("cat", "dog")
    assert {(entry.path, entry.reason) for entry in found.rejected} == {
        ("all", "not a row"),
        ("cat/deep/up", "not a row"),
        ("dog/self", "not a row"),
    }
