"""`data.group: folder` and `file_name`: images belong together by their paths."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from trainer.data.data_set import read_data_set
from trainer.data.options import DataOptions


def picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(path)


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    for name in ("cat/ann/1.png", "cat/ann/2.png", "cat/bob/1.png", "dog/rex_01.png"):
        picture(tmp_path / name)
    picture(tmp_path / "dog/rex_02.png")
    picture(tmp_path / "dog/3.png")
    return tmp_path


def groups(source: Path, group: str) -> list[str]:
    found = read_data_set(DataOptions(source=str(source), group=group)).manifest
    assert found.groups is not None
    return list(found.groups)


def test_the_images_of_one_folder_are_a_group(pets: Path):
    assert groups(pets, "folder") == ["cat/ann", "cat/ann", "cat/bob", "dog", "dog", "dog"]


def test_file_names_that_differ_in_a_counter_are_a_group_and_plain_counters_are_alone(pets: Path):
    assert groups(pets, "file_name") == [
        "image cat/ann/1.png",
        "image cat/ann/2.png",
        "image cat/bob/1.png",
        "image dog/3.png",
        "rex",
        "rex",
    ]


def test_a_column_of_this_name_goes_first(pets: Path):
    (pets / "t.csv").write_text(
        "path,label,folder\ncat/ann/1.png,cat,x\ncat/ann/2.png,cat,y\ndog/3.png,dog,\n"
    )
    assert groups(pets / "t.csv", "folder") == ["x", "y", "image dog/3.png"]


def test_a_table_without_such_a_column_has_the_groups_of_its_paths(pets: Path):
    (pets / "t.csv").write_text("path,label\ncat/ann/1.png,cat\ncat/ann/2.png,cat\ndog/3.png,dog\n")
    assert groups(pets / "t.csv", "folder") == ["cat/ann", "cat/ann", "dog"]
