"""A sweep's data: which earlier folds images keep, what is written down,
what is said about a change.
"""

import csv
import dataclasses
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from sweeps.paths import SweepFiles
from sweeps.preparing.data import (
    changes,
    check_data,
    cut_sweep,
    earlier_folds,
    with_folds,
    write_data,
)
from sweeps.space.spec import SweepSpec
from trainer.data.cut import Cut
from trainer.data.data_set import ReadOptions
from trainer.data.fold_files import load_folds
from trainer.errors import ConfigError, DataError
from trainer.images.preprocessing import Preprocessing

Make = Callable[..., SweepSpec]
KEYS = {
    "group": {"group": "person"},
    "label": {"label": ["label", "person"]},
    "keep": {"keep": "one_per_cluster"},
    "box": {"box": ["l", "t", "r", "b"]},
    "image": {"image": "file"},
    "layout": {"layout": "profile_folders"},
    "age borders": {"age_borders": [20, 40]},
    "exclude": {"exclude": ["test"]},
    "folder": {"folder": "images"},
    "suffix": {"suffix": ".png"},
    "class columns": {"class_columns": ["a", "b"]},
}


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    return tmp_path / "runs"


def spec_of(
    make_spec: Make, images: Path, *, folds: dict[str, Any] | None = None, **data: Any
) -> SweepSpec:
    return make_spec(data={"source": str(images), **data}, folds=folds or {"k": 2})


def written(spec: SweepSpec, directory: Path) -> Cut:
    """Cut a sweep's data and write them down, as `sweeps prepare` does."""
    directory.mkdir(parents=True, exist_ok=True)
    cut = cut_sweep(spec, SweepFiles(directory))
    write_data(SweepFiles(directory), cut, spec)
    return cut


def age(directory: Path, *, seconds: float) -> None:
    """Make a folds file that many seconds older than the epoch's second day."""
    os.utime(directory / "folds.npz", (86_400 - seconds, 86_400 - seconds))


# --- which earlier folds


def test_without_a_runs_folder_or_a_cut_alike_there_are_no_earlier_folds(
    make_spec: Make, images: Path, runs: Path
) -> None:
    spec = spec_of(make_spec, images)
    assert earlier_folds(spec, SweepFiles(runs / "toy")) is None
    (runs / "other").mkdir(parents=True)
    (runs / "a-file").write_text("")
    assert earlier_folds(spec, SweepFiles(runs / "toy")) is None


def test_a_sweep_keeps_its_own_folds_even_if_another_sweep_cut_alike_is_newer(
    make_spec: Make, images: Path, runs: Path
) -> None:
    spec = spec_of(make_spec, images)
    written(spec, runs / "toy")
    written(spec, runs / "other")
    age(runs / "toy", seconds=100)
    assert earlier_folds(spec, SweepFiles(runs / "toy")) == runs / "toy" / "folds.npz"


def test_a_new_sweep_takes_the_folds_of_the_newest_sweep_cut_alike(
    make_spec: Make, images: Path, runs: Path
) -> None:
    spec = spec_of(make_spec, images)
    for name, seconds in (("a", 50), ("b", 10), ("c", 90)):
        written(spec, runs / name)
        age(runs / name, seconds=seconds)
    written(spec_of(make_spec, images, folds={"k": 3}), runs / "newer but of other folds")
    assert earlier_folds(spec, SweepFiles(runs / "toy")) == runs / "b" / "folds.npz"


@pytest.mark.parametrize("own", [True, False], ids=["its own", "another sweep's"])
@pytest.mark.parametrize(
    "folds",
    [
        {"k": 3},
        {"k": 2, "seed": 1},
        {"k": 2, "holdout": 0.2},
        {"column": "fold"},
        {"k": 2, "rare": "train"},
    ],
    ids=str,
)
def test_folds_that_were_cut_otherwise_are_not_taken(
    make_spec: Make, images: Path, runs: Path, folds: dict[str, Any], own: bool
) -> None:
    written(spec_of(make_spec, images), runs / "first")
    assert (
        earlier_folds(
            spec_of(make_spec, images, folds=folds), SweepFiles(runs / ("first" if own else "toy"))
        )
        is None
    )


@pytest.mark.parametrize("own", [True, False], ids=["its own", "another sweep's"])
@pytest.mark.parametrize("data", KEYS.values(), ids=KEYS)
def test_folds_of_data_with_other_groups_or_classes_are_not_taken(
    make_spec: Make, images: Path, runs: Path, data: dict[str, Any], own: bool
) -> None:
    written(spec_of(make_spec, images), runs / "first")
    assert (
        earlier_folds(
            spec_of(make_spec, images, **data), SweepFiles(runs / ("first" if own else "toy"))
        )
        is None
    )


@pytest.mark.parametrize("own", [True, False], ids=["its own", "another sweep's"])
@pytest.mark.parametrize(
    "data",
    [
        {"corrections": "fixes.csv"},
        {"fill": "black"},
        {"bad_boxes": "clip"},
        {"max_rejected": 0.5},
        {"cache_gb": 1},
    ],
    ids=str,
)
def test_corrections_and_cleaning_do_not_move_images(
    make_spec: Make, images: Path, runs: Path, data: dict[str, Any], own: bool
) -> None:
    written(spec_of(make_spec, images), runs / "first")
    changed = spec_of(make_spec, images, **data)
    assert (
        earlier_folds(changed, SweepFiles(runs / ("first" if own else "toy")))
        == runs / "first" / "folds.npz"
    )


def test_to_say_that_folders_are_classes_does_not_move_images(
    make_spec: Make, images: Path, runs: Path
) -> None:
    written(spec_of(make_spec, images), runs / "first")
    spelled_out = spec_of(make_spec, images, layout="class_folders")
    assert earlier_folds(spelled_out, SweepFiles(runs / "first")) == runs / "first" / "folds.npz"


def test_a_source_is_the_same_however_its_path_is_written(
    make_spec: Make, images: Path, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(spec_of(make_spec, images), runs / "first")
    monkeypatch.chdir(images.parent)
    assert (
        earlier_folds(spec_of(make_spec, Path("train.csv")), SweepFiles(runs / "toy"))
        == runs / "first" / "folds.npz"
    )


def test_after_the_data_moved_a_sweep_keeps_its_own_folds_and_a_new_one_starts_from_scratch(
    make_spec: Make, images: Path, runs: Path
) -> None:
    written(spec_of(make_spec, images), runs / "first")
    moved = images.parent.rename(images.parent.with_name("moved")) / "train.csv"
    assert (
        earlier_folds(spec_of(make_spec, moved), SweepFiles(runs / "first"))
        == runs / "first" / "folds.npz"
    )
    assert earlier_folds(spec_of(make_spec, moved), SweepFiles(runs / "toy")) is None


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "{}", '{"data": {}}'])
def test_a_damaged_note_of_a_cut_is_no_earlier_cut(
    make_spec: Make, images: Path, runs: Path, text: str
) -> None:
    spec = spec_of(make_spec, images)
    written(spec, runs / "first")
    (runs / "first" / "cut.json").write_text(text)
    assert earlier_folds(spec, SweepFiles(runs / "first")) is None
    assert earlier_folds(spec, SweepFiles(runs / "toy")) is None


def test_a_sweep_that_died_before_its_folds_were_written_is_cut_anew(
    make_spec: Make, images: Path, runs: Path
) -> None:
    spec = spec_of(make_spec, images)
    folds = written(spec, runs / "toy").folds
    (runs / "toy" / "folds.npz").unlink()
    assert earlier_folds(spec, SweepFiles(runs / "toy")) is None
    assert cut_sweep(spec, SweepFiles(runs / "toy")).folds.hash == folds.hash


def test_a_pinned_file_without_k_does_not_pass_its_number_of_folds_on_to_others(
    make_spec: Make, images: Path, runs: Path, tmp_path: Path
) -> None:
    """The file has 2 folds and no holdout; a sweep that says nothing asks for 5."""
    written(spec_of(make_spec, images), tmp_path / "elsewhere")
    pinned = spec_of(make_spec, images, folds={"file": str(tmp_path / "elsewhere" / "folds.npz")})
    assert written(pinned, runs / "pinned").folds.k == 2
    default = spec_of(make_spec, images, folds={"seed": 42})
    assert default.folds.k == 5
    assert earlier_folds(default, SweepFiles(runs / "toy")) is None
    assert (
        earlier_folds(spec_of(make_spec, images), SweepFiles(runs / "toy"))
        == runs / "pinned" / "folds.npz"
    )


# --- cut


def rewrite(source: Path, change: Callable[[list[str]], list[str]]) -> None:
    head, *rows = source.read_text().splitlines()
    source.write_text("\n".join([head, *change(rows)]) + "\n")


def test_a_new_sweep_on_grown_and_corrected_data_keeps_every_images_fold(
    make_spec: Make, images: Path, runs: Path
) -> None:
    first = written(spec_of(make_spec, images), runs / "first").folds
    for row in range(4):
        Image.new("RGB", (8, 8), (0, 50 * row, 9)).save(images.parent / f"new{row}.png")
    rewrite(images, lambda rows: [*(f"new{row}.png,a" for row in range(4)), *reversed(rows[1:])])
    cut = cut_sweep(spec_of(make_spec, images), SweepFiles(runs / "toy"))
    then = dict(zip(first.manifest.paths, first.fold_N.tolist(), strict=True))
    now = dict(zip(cut.folds.manifest.paths, cut.folds.fold_N.tolist(), strict=True))
    assert {path: now[path] for path in then if path in now} == {
        path: then[path] for path in then if path in now
    }
    assert changes(cut) == "images keep their folds (4 images are new, 1 are gone)"


def test_nothing_is_said_where_nothing_changed(make_spec: Make, images: Path, runs: Path) -> None:
    spec = spec_of(make_spec, images)
    assert changes(written(spec, runs / "first")) is None
    assert changes(cut_sweep(spec, SweepFiles(runs / "toy"))) is None


def test_images_that_moved_with_their_groups_are_counted(
    make_spec: Make, images: Path, runs: Path
) -> None:
    header, *rows = images.read_text().splitlines()
    images.write_text(
        "\n".join([f"{header},person", *(f"{line},p{at}" for at, line in enumerate(rows))]) + "\n"
    )
    spec = spec_of(make_spec, images, group="person")
    first = written(spec, runs / "first").folds
    home = first.fold_N[0]
    friends = [f"p{row}" for row in range(12) if first.fold_N[row] == home][:2]
    stranger = next(f"p{row}" for row in range(12) if first.fold_N[row] != home)
    text = images.read_text()
    for person in (friends[1], stranger):
        text = text.replace(f",{person}\n", f",{friends[0]}\n")
    images.write_text(text)
    found = changes(cut_sweep(spec, SweepFiles(runs / "toy")))
    assert found == (
        "images keep their folds (0 images are new, 0 are gone, 1 moved because their groups grew "
        "together)"
    )


def test_the_spec_says_how_many_folds_the_data_have(
    make_spec: Make, images: Path, tmp_path: Path
) -> None:
    folds = written(
        spec_of(make_spec, images, folds={"k": 3, "holdout": 0.25}), tmp_path / "runs" / "first"
    ).folds
    pinned = spec_of(make_spec, images, folds={"file": "x.npz"})
    assert (with_folds(pinned, folds).folds.k, with_folds(pinned, folds).folds.holdout) == (3, 0.25)
    assert with_folds(pinned, dataclasses.replace(folds, k=1)).folds.k == 1


# --- what is written


def test_what_was_cut_is_written_where_people_look_for_it(
    make_spec: Make, images: Path, runs: Path
) -> None:
    (images.parent / "3.png").write_bytes(b"no image")
    images.write_text(
        images.read_text()
        .replace("path,label", "path,label,person")
        .replace("\n5.png,c", "\n5.png,")
    )
    rewrite(images, lambda rows: [f"{line},p{at}" for at, line in enumerate(rows)])
    spec = spec_of(
        make_spec,
        images,
        group="person",
        max_rejected=0.2,
        corrections=str(images.parent / "fixes.csv"),
    )
    (images.parent / "fixes.csv").write_text("path,label\n0.png,b\n")
    cut = written(spec, runs / "toy")
    names = {path.name for path in (runs / "toy").iterdir()}
    assert names == {"manifest.csv", "labels.json", "rejected.csv", "cut.json", "folds.npz"}
    with (runs / "toy" / "manifest.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["path"] for row in rows] == [f"{at}.png" for at in range(12) if at not in (3, 5)]
    assert rows[0] == {
        "path": "0.png", "class": "b", "index": "1",
        "fold": str(cut.folds.fold_N[0]), "group": "p0",
    }  # fmt: skip
    labels = json.loads((runs / "toy" / "labels.json").read_text())
    assert labels == {"classes": {"0": "a", "1": "b", "2": "c"}}
    with (runs / "toy" / "rejected.csv").open(newline="") as stream:
        rejected = list(csv.reader(stream))
    assert rejected[0] == ["line", "path", "reason", "detail"]
    assert [line[:3] for line in rejected[1:]] == [
        ["5", "3.png", "unreadable"],
        ["7", "5.png", "no label"],
    ]
    assert load_folds(runs / "toy" / "folds.npz").hash == cut.folds.hash
    note = json.loads((runs / "toy" / "cut.json").read_text())
    assert note["data"]["source"] == str(images.resolve())
    assert note["data"]["group"] == "person"
    assert note["folds"] == {"k": 2, "seed": 42, "holdout": 0.0, "column": None}


def test_a_joint_class_has_its_parts_in_the_label_map(
    make_spec: Make, images: Path, runs: Path
) -> None:
    images.write_text(images.read_text().replace("path,label", "path,label,size"))
    rewrite(
        images,
        lambda rows: [f"{line},{'big' if at < 6 else 'small'}" for at, line in enumerate(rows)],
    )
    written(spec_of(make_spec, images, label=["size", "label"]), runs / "toy")
    labels = json.loads((runs / "toy" / "labels.json").read_text())
    assert labels["classes"]["4"] == "small / b"
    assert labels["parts"]["4"] == {"size": "small", "label": "b"}


# --- before anything starts


def test_a_mistake_in_the_table_is_found_without_reading_an_image(
    make_spec: Make, images: Path
) -> None:
    (images.parent / "3.png").write_bytes(b"no image")
    check_data(spec_of(make_spec, images))
    with pytest.raises(
        DataError, match=r"no column 'person' \(data\.group\)\. Columns there: 'path', 'label'$"
    ):
        check_data(spec_of(make_spec, images, group="person"))


def test_weights_that_are_missing_are_found_before_anything_starts(
    make_spec: Make, images: Path
) -> None:
    parameters = {
        "backbone": {"value": "test_resnet"},
        "background": {"values": ["keep", "remove"]},
    }
    data = {"source": str(images), "background_weights": "nowhere.onnx"}
    with pytest.raises(ConfigError, match=r"nowhere\.onnx|rembg"):
        check_data(make_spec(parameters=parameters, data=data))


def test_the_choices_of_a_space_are_decoded_on_the_way_and_only_once(
    make_spec: Make, images: Path, runs: Path
) -> None:
    spec = make_spec(parameters={"resize": {"values": [8, "8", "8x8", "8x16"]}})
    assert spec.choices() == (Preprocessing((8, 8)), Preprocessing((8, 16)))
    told: list[tuple[str, int, int]] = []

    def tell(what: str, done: int, total: int) -> None:
        told.append((what, done, total))

    cut = cut_sweep(
        spec, SweepFiles(runs / "toy"), read=ReadOptions(choices=spec.choices(), progress=tell)
    )
    assert told[-1] == ("reading images", 12, 12)
    assert cut.data.plan.kept == spec.choices()
    told.clear()
    cut_sweep(
        spec, SweepFiles(runs / "toy"), read=ReadOptions(choices=spec.choices(), progress=tell)
    )
    assert told == []
