"""From two sections of a YAML file to folds: pinned files, fixed columns, groups,
and rows in any order.
"""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from trainer.data.cut import Cut, cut_data
from trainer.data.fold_column import HOLDOUT
from trainer.data.fold_files import save_folds
from trainer.data.options import DataOptions, FoldOptions
from trainer.errors import DataError

Rows = list[dict[str, object]]
Write = Callable[..., Path]


def people(count: int = 24) -> Rows:
    """Two photos each of `count` persons in three classes."""
    return [
        {"path": f"{at}.png", "label": "abc"[at // 2 % 3], "person": f"p{at // 2}"}
        for at in range(2 * count)
    ]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a CSV and, where there are none yet, a different random image for each of its paths."""

    def write(rows: Rows, *, name: str = "train.csv") -> Path:
        for row in rows:
            file = tmp_path / str(row["path"])
            if not file.exists():
                # from its name, so that an image is the same whatever stands before it
                noise = np.random.default_rng(list(file.name.encode())).integers(
                    0, 256, (12, 12, 3)
                )
                Image.fromarray(noise.astype(np.uint8)).save(file)
        with (tmp_path / name).open("w", newline="") as stream:
            writer = csv.DictWriter(stream, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
        return tmp_path / name

    return write


def cut(
    source: Path, *, folds: dict[str, Any] | None = None, earlier: Path | None = None, **data: Any
) -> Cut:
    return cut_data(
        DataOptions(source=str(source), **data), FoldOptions(**(folds or {"k": 3})), earlier=earlier
    )


def fold_of(cut: Cut) -> dict[str, int]:
    return dict(zip(cut.folds.manifest.paths, cut.folds.fold_N.tolist(), strict=True))


def kept(cut: Cut, folder: Path) -> Path:
    """Freeze the folds to a file."""
    save_folds(cut.folds, folder / "folds.npz")
    return folder / "folds.npz"


def test_the_data_are_cut_as_both_sections_say(write: Write) -> None:
    found = cut(write(people()), folds={"k": 4, "seed": 3, "holdout": 0.25}, group="person")
    assert (found.folds.k, found.folds.seed, found.folds.holdout, found.earlier) == (
        4,
        3,
        0.25,
        None,
    )
    assert found.folds.manifest.classes == ("a", "b", "c")
    assert found.folds.manifest.groups == tuple(f"p{at // 2}" for at in range(48))
    assert (found.folds.fold_N == HOLDOUT).sum() == 12
    places = fold_of(found)
    assert all(places[f"{at}.png"] == places[f"{at + 1}.png"] for at in range(0, 48, 2))


# --- the order of the rows


def shuffled(rows: Rows) -> Rows:
    return [rows[at] for at in np.random.default_rng(0).permutation(len(rows))]


@pytest.mark.parametrize("group", [None, "person"])
def test_a_csv_in_another_order_gives_every_image_the_same_fold(
    write: Write, group: str | None
) -> None:
    rows = people()
    assert fold_of(cut(write(rows), group=group)) == fold_of(
        cut(write(shuffled(rows)), group=group)
    )


def test_images_without_a_group_keep_their_fold_in_another_order(write: Write) -> None:
    rows: Rows = [
        {**row, "person": row["person"] if at % 4 else ""} for at, row in enumerate(people())
    ]
    assert fold_of(cut(write(rows), group="person")) == fold_of(
        cut(write(shuffled(rows)), group="person")
    )


def test_boxes_of_an_image_without_a_group_stay_on_one_side(write: Write) -> None:
    box = {"l": 0, "t": 0, "r": 8, "b": 8}
    rows: Rows = [{**row, "person": "", **box, "l": side} for row in people(9) for side in (0, 1)]
    found = cut(write(rows), group="person", box=["l", "t", "r", "b"])
    places: dict[str, set[int]] = {}
    for path, fold in zip(found.folds.manifest.paths, found.folds.fold_N.tolist(), strict=True):
        places.setdefault(path, set()).add(fold)
    assert len(found.folds.manifest) == 36
    assert all(len(place) == 1 for place in places.values())


def test_near_duplicates_keep_their_fold_in_another_order(write: Write, tmp_path: Path) -> None:
    rows = people(18)
    for person in range(18):
        smooth = np.random.default_rng(person).integers(0, 256, (4, 4, 3)).astype(np.uint8)
        for at in (2 * person, 2 * person + 1):
            Image.fromarray(smooth).resize((64 + at % 2, 64), Image.Resampling.BICUBIC).save(
                tmp_path / f"{at}.png"
            )
    first = cut(write(rows), group="near_duplicates")
    places = fold_of(first)
    assert len(set(first.folds.manifest.groups or ())) == 18
    assert all(places[f"{at}.png"] == places[f"{at + 1}.png"] for at in range(0, 36, 2))
    assert fold_of(cut(write(shuffled(rows)), group="near_duplicates")) == places


# --- earlier folds


def test_added_removed_corrected_and_moved_rows_leave_every_other_image_where_it_was(
    write: Write, tmp_path: Path
) -> None:
    rows = people()
    first = cut(write(rows), group="person")
    new: Rows = [
        {"path": f"new{at}.png", "label": "abc"[at % 3], "person": f"new{at}"} for at in range(6)
    ]
    (tmp_path / "corrections.csv").write_text("path,label\n2.png,c\n8.png,drop\n")
    source = write(shuffled([*new, *rows[2:]]))
    second = cut(
        source,
        group="person",
        corrections=str(tmp_path / "corrections.csv"),
        earlier=kept(first, tmp_path),
    )
    then = fold_of(first)
    now = fold_of(second)
    assert then.keys() - now.keys() == {"0.png", "1.png", "8.png"}
    assert now.keys() - then.keys() == {f"new{at}.png" for at in range(6)}
    assert {path: now[path] for path in now if path in then} == {
        path: then[path] for path in now if path in then
    }
    assert second.earlier is not None
    assert second.earlier.hash == first.folds.hash


def test_a_pinned_file_goes_before_the_earlier_folds(write: Write, tmp_path: Path) -> None:
    source = write(people())
    pinned = cut(source, folds={"k": 3, "seed": 1})
    other = cut(source, folds={"k": 3, "seed": 2})
    assert fold_of(pinned) != fold_of(other)
    save_folds(pinned.folds, tmp_path / "pinned.npz")
    found = cut(
        source, folds={"k": 3, "file": str(tmp_path / "pinned.npz")}, earlier=kept(other, tmp_path)
    )
    assert fold_of(found) == fold_of(pinned)
    assert found.folds.hash == pinned.folds.hash


def test_a_pinned_file_decides_the_number_of_folds_and_the_holdout(
    write: Write, tmp_path: Path
) -> None:
    source = write(people())
    first = cut(source, folds={"k": 3, "holdout": 0.25}, group="person")
    found = cut(source, folds={"file": str(kept(first, tmp_path))}, group="person")
    assert (found.folds.k, found.folds.holdout) == (3, 0.25)
    assert fold_of(found) == fold_of(first)
    assert found.folds.hash == first.folds.hash


def test_another_number_of_folds_than_the_pinned_file_has_is_refused(
    write: Write, tmp_path: Path
) -> None:
    source = write(people())
    file = kept(cut(source), tmp_path)
    with pytest.raises(DataError, match=r"^the earlier folds are 3 and not 4: set folds\.k to 3$"):
        cut(source, folds={"k": 4, "file": str(file)})


def test_a_pinned_file_that_is_missing_is_refused_before_an_image_is_read(
    write: Write, tmp_path: Path
) -> None:
    source = write(people())
    (tmp_path / "0.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"nowhere\.npz: no such folds file$"):
        cut(source, folds={"file": str(tmp_path / "nowhere.npz")}, max_rejected=0.0)


# --- fixed folds


def test_a_column_fixes_the_folds_and_earlier_ones_do_not_matter(
    write: Write, tmp_path: Path
) -> None:
    rows: Rows = [{**row, "part": at // 6 % 2} for at, row in enumerate(people())]
    source = write(rows)
    earlier = kept(cut(source, folds={"k": 3}), tmp_path)
    found = cut(source, folds={"column": "part"}, earlier=earlier)
    assert (found.folds.k, found.earlier) == (2, None)
    assert found.folds.fold_N.tolist() == [row["part"] for row in rows]


def test_a_validation_csv_is_the_one_held_out_fold(write: Write) -> None:
    rows = people()
    train = write(rows[:36])
    valid = write(rows[36:], name="valid.csv")
    found = cut(train, valid=str(valid), folds={"column": "fold"})
    assert found.folds.k == 1
    assert found.folds.train_rows(0).tolist() == list(range(36))
    assert found.folds.valid_rows(0).tolist() == list(range(36, 48))


def test_a_validation_csv_is_cut_with_the_rest_when_no_column_is_named(write: Write) -> None:
    rows = people()
    found = cut(write(rows[:36]), valid=str(write(rows[36:], name="valid.csv")))
    assert (found.folds.k, len(found.folds.scored_rows())) == (3, 48)


def test_a_person_in_both_csvs_is_refused_and_named(write: Write) -> None:
    rows = people()
    train = write(rows[:37])
    valid = write(rows[37:], name="valid.csv")
    with pytest.raises(DataError, match="groups have images on both sides of a split") as caught:
        cut(train, valid=str(valid), folds={"column": "fold"}, group="person")
    assert str(caught.value).endswith("\n  p18: always trained, fold 0")


def test_a_class_of_the_validation_csv_alone_is_refused_by_name(write: Write) -> None:
    rows = people()
    train = write([row for row in rows[:36] if row["label"] != "b"])
    valid = write(rows[36:], name="valid.csv")
    with pytest.raises(
        DataError, match="1 classes are held out without being trained on"
    ) as caught:
        cut(train, valid=str(valid), folds={"column": "fold"})
    assert str(caught.value).endswith("\n  'b': all 4 images are in fold 0")


def test_a_folds_file_of_other_images_is_refused_since_it_would_pin_nothing(
    write: Write, tmp_path: Path
) -> None:
    pinned = kept(cut(write(people())), tmp_path)
    (tmp_path / "moved").mkdir()
    others = [{**row, "path": f"moved/{row['path']}"} for row in people()]
    with pytest.raises(
        DataError, match=r"folds\.npz: none of its 48 images is in .*look like '0\.png', those of"
    ):
        cut(write(others, name="others.csv"), folds={"file": str(pinned)})


# --- what is said of the data


def test_one_line_counts_what_was_found_and_rejected(write: Write) -> None:
    rows = people()
    assert cut(write(rows)).counts() == "48 images, 3 classes, 3 folds; no row rejected"
    rows += [{**rows[0], "label": ""}, rows[0], {**rows[1], "label": ""}]
    assert cut(write(rows), group="person").counts() == (
        "48 images, 3 classes, 24 groups, 3 folds; 3 of 51 rows rejected "
        "(2 no label, 1 duplicate row)"
    )


def test_groups_written_as_whole_and_as_real_numbers_stay_on_one_side(write: Write) -> None:
    rows = [
        {**row, "person": f"{at // 2}{'.0' if at % 2 else ''}"} for at, row in enumerate(people())
    ]
    found = cut(write(rows), group="person")
    assert len(set(found.folds.manifest.groups)) == 24
    assert len(found.data.notes) == 1
    places = fold_of(found)
    assert all(places[f"{at}.png"] == places[f"{at + 1}.png"] for at in range(0, 48, 2))


def test_a_column_of_words_holds_one_part_out_and_shows_another_to_no_fold_run(
    write: Write,
) -> None:
    words = ["train", "Train", "val", "test"]
    rows: Rows = [{**row, "split": words[at // 6 % 4]} for at, row in enumerate(people())]
    found = cut(write(rows), folds={"column": "split"})
    assert found.folds.k == 1
    assert [len(rows_M) for rows_M in (found.folds.train_rows(0), found.folds.valid_rows(0))] == [
        24,
        12,
    ]
    assert (found.folds.fold_N == HOLDOUT).sum() == 12


def test_names_that_look_alike_are_warned_of_beside_uneven_folds(write: Write) -> None:
    rows = [{**row, "label": "Cat" if row["label"] == "a" else row["label"]} for row in people()]
    rows[0]["label"] = rows[6]["label"] = rows[12]["label"] = "cat"
    assert cut(write(rows)).warnings()[0] == (
        "classes that differ only in spaces, capitals or spelling: 'Cat' and 'cat'. "
        "If they mean one class, correct the labels"
    )


def test_groups_that_look_alike_are_warned_of_and_names_of_images_are_not(write: Write) -> None:
    rows = [{**row, "person": f"{'P' if at % 2 else 'p'} {at // 2}"} for at, row in
            enumerate(people())]  # fmt: skip
    assert cut(write(rows), group="person").warnings()[0].startswith("groups that differ only in")
    assert cut(write(rows), group="near_duplicates").warnings() == []
