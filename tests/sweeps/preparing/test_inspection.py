"""What `sweeps check` tells of a data set that is cut."""

import dataclasses
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sweeps.preparing.check_page import PageTable
from sweeps.preparing.inspection import (
    MAX_PER_CLASS,
    MAX_PICTURES,
    MAX_SHEETS,
    MAX_SIZES,
    THUMBNAIL,
    inspect,
    page_of,
)
from sweeps.space.spec import SweepSpec
from sweeps.space.spec_reader import read_spec
from tests.fakes import CURVE_SPACE
from trainer.data.cleaning import Rejected
from trainer.data.cut import Cut
from trainer.data.data_set import DataSet
from trainer.data.fold_column import ALWAYS_TRAINED, HOLDOUT
from trainer.data.folds import Folds
from trainer.images.cache import plan_cache
from trainer.images.manifest import DIGEST, Manifest

Spec = Callable[..., SweepSpec]


@pytest.fixture
def spec(tmp_path: Path) -> Spec:
    """A search space with some settings changed."""
    (tmp_path / "curve.yaml").write_text(CURVE_SPACE)
    return lambda *settings: read_spec(tmp_path / "curve.yaml", settings=list(settings))


def cut_of(
    labels: list[int], folds: list[int], *, root: Path = Path("/nowhere"), **changes: Any
) -> Cut:
    """Images on paper, cut by hand; keywords replace what is known of the data."""
    count = len(labels)
    manifest = Manifest(
        root=root,
        paths=tuple(f"{row}.png" for row in range(count)),
        labels_N=np.array(labels),
        classes=changes.pop("classes", tuple("abcdefgh"[: max(labels) + 1])),
        lines=tuple(range(2, count + 2)),
        groups=changes.pop("groups", None),
        digests_N=np.array(
            [row.to_bytes(16, "big") for row in changes.pop("contents", range(count))], dtype=DIGEST
        ),
    )
    values: dict[str, Any] = {
        "manifest": manifest,
        "rows": count,
        "rejected": [],
        "repairs": {},
        "sizes_N2": np.full((count, 2), 16, dtype=np.int32),
        "clusters_N": None,
        "fixed_N": None,
        "to_decode": count,
        "plan": plan_cache((), images=count, cache_gb=None),
        **changes,
    }
    return Cut(DataSet(**values), Folds(manifest, np.array(folds), k=max(folds) + 1, seed=42), None)


def table(spec: SweepSpec, cut: Cut, title: str) -> PageTable:
    (found,) = [table for table in inspect(spec, cut).tables if table.title == title]
    return found


class TestSummary:
    def test_says_what_there_is(self, spec: Spec):
        cut = cut_of([0, 0, 1, 1], [0, 1, 0, 1], groups=("x", "y", "x", "y"))
        summary = dict(inspect(spec("data.group=who"), cut).summary)
        assert {
            name: summary[name] for name in ("source", "images", "classes", "groups", "folds")
        } == {
            "source": "photos/train.csv",
            "images": "4",
            "classes": "2",
            "groups": "2 (who)",
            "folds": "2 (stratified, seed 42)",
        }
        assert "holdout" not in summary
        assert "always trained" not in summary

    def test_names_both_sources_and_the_column_of_fixed_folds(self, spec: Spec):
        cut = cut_of([0, 0, 1, 1], [ALWAYS_TRAINED, 0, ALWAYS_TRAINED, 0])
        summary = dict(inspect(spec("data.valid=valid.csv", "folds={column: fold}"), cut).summary)
        assert summary["source"] == "photos/train.csv and valid.csv"
        assert summary["folds"] == "1 (column fold)"
        assert summary["always trained"] == "2 images"
        assert "shares" not in summary

    def test_counts_the_holdout(self, spec: Spec):
        cut = cut_of([0, 0, 0, 1, 1, 1], [0, 1, HOLDOUT, 0, 1, HOLDOUT])
        assert dict(inspect(spec(), cut).summary)["holdout"] == "2 images"

    def test_counts_rejected_rows(self, spec: Spec):
        rejected = [Rejected(6, "5.png", "unreadable", "empty file")]
        cut = cut_of([0, 0, 1, 1], [0, 1, 0, 1], rows=5, rejected=rejected)
        assert dict(inspect(spec(), cut).summary)["images"] == "4, 1 of 5 rows rejected"

    def test_says_what_decoding_takes_and_what_does_not_fit(self, spec: Spec):
        cut = cut_of([0, 1] * 500, [0, 0, 1, 1] * 250)  # 32: 3.1 MB, 64: 12.3 MB
        resize = "parameters.resize={values: [32, 64]}"
        lines = [line for line in inspect(spec(resize), cut).summary if line[0] == "decoded"]
        assert [text for _, text in lines] == [
            "32x32-stretch: 3.1 MB on disk, once",
            "64x64-stretch: 12.3 MB on disk, once",
        ]
        lines = [
            line
            for line in inspect(spec(resize, "data.cache_gb=0.01"), cut).summary
            if line[0] == "decoded"
        ]
        assert [text for _, text in lines] == [
            "32x32-stretch: 3.1 MB on disk, once",
            "64x64-stretch: per batch, since data.cache_gb is 0.01",
        ]


class TestTables:
    def test_classes_have_a_column_per_fold_and_for_what_is_in_none(self, spec: Spec):
        cut = cut_of([0, 0, 0, 0, 1, 1, 1], [0, 1, HOLDOUT, ALWAYS_TRAINED, 0, 1, ALWAYS_TRAINED])
        classes = table(spec(), cut, "Classes")
        assert classes.columns == (
            "class",
            "images",
            "fold 0",
            "fold 1",
            "always trained",
            "holdout",
        )
        assert classes.rows == (("a", "4", "1", "1", "1", "1"), ("b", "3", "1", "1", "1", "0"))

    def test_many_folds_have_short_heads(self, spec: Spec):
        classes = table(spec(), cut_of([0, 1] * 12, [row // 2 for row in range(24)]), "Classes")
        assert classes.columns == ("class", "images", *map(str, range(12)))
        assert classes.note == "0 to 11 are the folds"

    def test_groups_are_counted_by_their_size(self, spec: Spec):
        groups = ["alone", "pair", "pair", "two", "two", *(["many"] * 3)]
        cut = cut_of([0, 1] * 4, [0, 1] * 4, groups=tuple(groups))
        assert table(spec(), cut, "Groups").rows == (("1", "1"), ("2", "2"), ("3", "1"))

    def test_many_sizes_of_groups_are_put_together(self, spec: Spec):
        sizes = [*range(1, MAX_SIZES + 3), 1200]
        groups = tuple(f"g{size}" for size in sizes for _ in range(size))
        cut = cut_of(
            [0, 1] * (len(groups) // 2) + [0] * (len(groups) % 2), [0, 1] * (len(groups) // 2) + [0]
        )
        manifest = dataclasses.replace(cut.folds.manifest, groups=groups)
        folds = dataclasses.replace(cut.folds, manifest=manifest)
        rows = table(spec(), dataclasses.replace(cut, folds=folds), "Groups").rows
        assert len(rows) == MAX_SIZES
        assert rows[0] == ("1", "1")
        assert rows[-1] == (f"{MAX_SIZES} or more", "4")
        assert sum(int(count) for _, count in rows) == len(sizes)

    def test_image_sizes_are_the_most_frequent_ones_with_the_extremes(self, spec: Spec):
        sizes_N2 = np.array(
            [[480, 640]] * 6 + [[10 + at, 20] for at in range(MAX_SIZES + 2)], dtype=np.int32
        )
        count = len(sizes_N2)
        cut = cut_of([0, 1] * (count // 2), [0, 0, 1, 1] * (count // 4), sizes_N2=sizes_N2)
        found = table(spec(), cut, "Image sizes")
        assert found.note == "smallest 10 x 20, largest 480 x 640"
        assert found.rows[0] == ("480 x 640", "6")
        assert found.rows[-1] == ("3 other sizes", "3")
        assert len(found.rows) == MAX_SIZES + 1

    def test_repairs_and_rejections_are_counted_most_frequent_first(self, spec: Spec):
        rejected = [Rejected(9, "x", "no label", "")] * 2 + [Rejected(9, "x", "bad box", "")]
        repairs = {"CMYK turned to RGB": 1, "EXIF orientation applied": 1234}
        cut = cut_of([0, 0, 1, 1], [0, 1, 0, 1], rows=7, rejected=rejected, repairs=repairs)
        assert table(spec(), cut, "Repaired").rows == (
            ("EXIF orientation applied", "1,234"),
            ("CMYK turned to RGB", "1"),
        )
        assert table(spec(), cut, "Rejected").rows == (("no label", "2"), ("bad box", "1"))

    def test_what_is_empty_is_no_table(self, spec: Spec):
        cut = cut_of([0, 0, 1, 1], [0, 1, 0, 1])
        assert [found.title for found in inspect(spec(), cut).tables] == ["Classes", "Image sizes"]


class TestWarnings:
    def cut(self, *reasons: str) -> Cut:
        rejected = [Rejected(9, "x", reason, "") for reason in reasons]
        return cut_of([0, 1] * 10, [0, 0, 1, 1] * 5, rows=20, rejected=rejected)

    def test_more_rejected_rows_than_allowed(self, spec: Spec):
        assert inspect(spec(), self.cut("no label", "bad box")).warnings == ()  # 10 % of 20
        assert inspect(spec(), self.cut("no label", "bad box", "bad box")).warnings == (
            "3 of 20 rows are rejected, more than data.max_rejected (10%): `sweeps run` refuses. "
            "Repair them (rejected.csv says why), or raise it",
        )
        assert (
            inspect(
                spec("data.max_rejected=0.2"), self.cut("bad box", "bad box", "bad box")
            ).warnings
            == ()
        )

    def test_rows_that_were_meant_to_go_do_not_count(self, spec: Spec):
        assert (
            inspect(spec(), self.cut(*["near duplicate"] * 9, *["correction"] * 9)).warnings == ()
        )

    def test_classes_that_a_fold_lacks_or_has_too_many_of(self, spec: Spec):
        cut = cut_of([0] * 4 + [1] * 40, [0] * 3 + [1] + [0] * 30 + [1] * 10)
        summary = dict(inspect(spec(), cut).summary)
        assert summary["shares"] == "not even, see the warnings"
        assert inspect(spec(), cut).warnings == (
            "fold 0 has 30 images of class 'b', 20 would be even",
            "fold 1 has 10 images of class 'b', 20 would be even",
        )
        lacking = cut_of([0, 0, 1, 1], [0, 0, 0, 1])
        assert (
            "fold 1 has no image of class 'a': its F1 there is 0 for every trial"
            in inspect(spec(), lacking).warnings
        )

    def test_signs_of_leaks(self, spec: Spec):
        cut = cut_of(
            [0, 1, 0, 1], [0, 0, 1, 1], contents=[7, 8, 7, 9], clusters_N=np.array([0, 1, 2, 1])
        )
        assert [(sign.kind, sign.pairs) for sign in inspect(spec(), cut).signs] == [
            ("identical", ((0, 2),)),
            ("near_duplicate", ((1, 3),)),
        ]
        assert inspect(spec(), cut_of([0, 1, 0, 1], [0, 0, 1, 1])).signs == ()


class TestPage:
    def drawn(self, folder: Path, count: int) -> Path:
        for row in range(count):
            Image.new("RGB", (40, 20), (row % 256, 90, 120)).save(folder / f"{row}.png")
        return folder

    def test_shows_a_sheet_per_class_and_the_suspicious_pairs(self, spec: Spec, tmp_path: Path):
        cut = cut_of(
            [0, 1, 0, 1], [0, 0, 1, HOLDOUT], contents=[7, 8, 7, 8], root=self.drawn(tmp_path, 4)
        )
        page = page_of(inspect(spec(), cut), cut)
        assert page.title == "curve"
        assert [(sheet.title, sheet.note) for sheet in page.sheets] == [
            ("a", "2 images"),
            ("b", "2 images"),
        ]
        assert [[picture.caption for picture in sheet.pictures] for sheet in page.sheets] == [
            ["0.png", "2.png"],
            ["1.png", "3.png"],
        ]
        (suspicion,) = page.suspicions
        assert suspicion.text.startswith("2 files are in several folds, byte for byte")
        assert [(pair.left.caption, pair.right.caption, pair.note) for pair in suspicion.pairs] == [
            ("0.png", "2.png", "a, fold 0 | a, fold 1"),
            ("1.png", "3.png", "b, fold 0 | b, holdout"),
        ]
        with Image.open(io.BytesIO(page.sheets[0].pictures[0].jpeg)) as thumbnail:
            assert thumbnail.size == (THUMBNAIL, THUMBNAIL)

    def test_shows_images_from_the_whole_class_and_no_more_than_fit(
        self, spec: Spec, tmp_path: Path
    ):
        count = 60
        cut = cut_of(
            [0] * (count - 2) + [1, 1], [0, 1] * (count // 2), root=self.drawn(tmp_path, count)
        )
        first, second = page_of(inspect(spec(), cut), cut).sheets
        assert len(first.pictures) == MAX_PER_CLASS
        assert (first.pictures[0].caption, first.pictures[-1].caption) == ("0.png", "57.png")
        assert len(second.pictures) == 2

    def test_shows_some_of_many_classes(self, spec: Spec, tmp_path: Path):
        count = 2 * MAX_SHEETS + 40
        self.drawn(tmp_path, 1)
        cut = cut_of(
            [row // 2 for row in range(count)],
            [0, 1] * (count // 2),
            classes=tuple(f"class {label}" for label in range(count // 2)),
        )
        manifest = dataclasses.replace(cut.folds.manifest, root=tmp_path, paths=("0.png",) * count)
        cut = dataclasses.replace(cut, folds=dataclasses.replace(cut.folds, manifest=manifest))
        page = page_of(inspect(spec(), cut), cut)
        assert len(page.sheets) == MAX_SHEETS
        assert sum(len(sheet.pictures) for sheet in page.sheets) <= MAX_PICTURES
        assert len(page.tables[0].rows) == count // 2

    def test_an_image_that_went_away_is_left_out(self, spec: Spec, tmp_path: Path):
        cut = cut_of(
            [0, 1, 0, 1], [0, 0, 1, 1], contents=[7, 8, 7, 8], root=self.drawn(tmp_path, 4)
        )
        (tmp_path / "0.png").unlink()
        (tmp_path / "3.png").write_bytes(b"no image any more")
        page = page_of(inspect(spec(), cut), cut)
        assert [[picture.caption for picture in sheet.pictures] for sheet in page.sheets] == [
            ["2.png"],
            ["1.png"],
        ]
        assert page.suspicions[0].pairs == ()


def test_how_often_a_face_is_found_is_told_where_faces_are_cut_out(spec: Spec, tmp_path: Path):
    pytest.importorskip("cv2", reason="needs the extra 'crops', which CI installs")
    for row in range(4):
        Image.new("RGB", (64, 64), (row, 90, 120)).save(tmp_path / f"{row}.png")
    cut = cut_of([0, 1, 0, 1], [0, 0, 1, 1], root=tmp_path)
    summary = dict(inspect(spec("parameters.crop={values: [none, face]}"), cut).summary)
    assert summary["faces"] == "found in 0 of 4 images tried; the others are used whole"
    assert "faces" not in dict(inspect(spec(), cut).summary)
