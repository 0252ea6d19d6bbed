"""Folds fit the rarest class, and a group is suggested only where folds can be cut with it."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sweeps.preparing.grouping import Grouped, grouped
from sweeps.preparing.layouts import Layout
from trainer.errors import DataError


def read(
    folder: Path,
    labels: str,
    *,
    groups: Sequence[object] = (),
    folds: Sequence[object] = (),
) -> Grouped:
    """What is chosen for a table with one image per label."""
    rows = ["path,label,owner,fold"]
    for number, label in enumerate(labels):
        noise = np.random.default_rng(number).integers(0, 255, (8, 8), dtype=np.uint8)
        # letters, as numbers would be counters of one name
        name = f"{chr(97 + number // 26)}{chr(97 + number % 26)}.png"
        Image.fromarray(noise).save(folder / name)
        group = groups[number] if groups else number
        rows.append(f"{name},{label},{group},{folds[number] if folds else ''}")
    (folder / "t.csv").write_text("\n".join(rows) + "\n")
    layout = Layout(
        "a table",
        {"source": str(folder / "t.csv")},
        fold_column="fold" if folds else None,
        groups=("owner",) if groups else (),
    )
    return grouped(layout)


@pytest.mark.parametrize(
    ("labels", "options"),
    [
        ("aaaaaabbbbb", {"k": 5, "seed": 42}),
        ("aaaaaabbbb", {"k": 4, "seed": 42}),
        ("aaaaaabbb", {"k": 3, "seed": 42}),
        ("aaaaaabbbbbc", {"k": 5, "seed": 42, "rare": "train"}),
        ("aaaaaabbbbcc", {"k": 4, "seed": 42, "rare": "train"}),
        ("aaaaaabb", {"k": 2, "seed": 42}),  # of two classes, both must be held out
        ("aabbc", {"k": 2, "seed": 42, "rare": "train"}),
    ],
)
def test_the_folds_fit_the_rarest_class(tmp_path: Path, labels: str, options: dict[str, object]):
    assert read(tmp_path, labels).read.options == options


def test_classes_of_one_image_each_cannot_be_cut(tmp_path: Path):
    with pytest.raises(DataError, match="2 of 2 classes have fewer images than the 2 folds"):
        read(tmp_path, "ab")


def test_a_column_becomes_the_group_with_the_reason(tmp_path: Path):
    found = read(tmp_path, "aabb" * 6, groups=[number // 2 for number in range(24)])
    assert found.data["group"] == "owner"
    assert found.remarks["group"] == (
        "column owner looks like it says which images belong together (12 groups of 24 images)"
    )
    assert found.read.options == {"k": 5, "seed": 42}
    assert found.advice == ()


def test_a_group_with_which_no_folds_can_be_cut_is_left_out_and_named(tmp_path: Path):
    found = read(tmp_path, "aabb" * 6, groups=[number // 2 % 2 for number in range(24)])
    assert "group" not in found.data
    (advice,) = found.advice
    assert advice.startswith(
        "group: owner is left out. column owner looks like it says which images belong together, "
        f"but: {tmp_path}: 2 of 2 classes have fewer groups than the 2 folds"
    )


def test_a_group_with_most_images_is_left_out(tmp_path: Path):
    found = read(tmp_path, "ab" * 12, groups=["big" if n < 8 else n for n in range(24)])
    assert "group" not in found.data
    assert found.advice == (
        "group: owner is left out. column owner looks like it says which images belong together, "
        "but 8 of 24 images would be in one group (big)",
    )


def test_a_column_fixes_the_folds(tmp_path: Path):
    found = read(tmp_path, "ab" * 6, folds=[number // 4 for number in range(12)])
    assert found.read.options == {"column": "fold"}
    assert found.read.folds.k == 3


def test_a_column_of_folds_that_cannot_be_used_is_said_and_others_are_cut(tmp_path: Path):
    found = read(tmp_path, "aaaaaabbbbbb", folds=[0] * 6 + [1] * 6)  # each fold is a class
    assert found.read.options == {"k": 5, "seed": 42}
    assert found.remarks["folds"].startswith("column fold does not fix the folds: ")
