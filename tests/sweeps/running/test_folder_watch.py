import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from sweeps.errors import InfrastructureError
from sweeps.paths import SweepFiles
from sweeps.running.folder_watch import watched_folder
from tests.sweeps.study.waiting import until

SOON_S = 0.01


@pytest.fixture
def files(tmp_path: Path) -> SweepFiles:
    files = SweepFiles(tmp_path / "runs" / "toy")
    files.directory.mkdir(parents=True)
    files.about.write_text(json.dumps({"uuid": "ours"}))
    return files


def delete(files: SweepFiles) -> None:
    shutil.rmtree(files.directory)


def replace(files: SweepFiles) -> None:
    files.about.write_text(json.dumps({"uuid": "another"}))


def damage(files: SweepFiles) -> None:
    files.about.write_text("{")


@pytest.mark.parametrize("harm", [delete, replace, damage])
def test_a_folder_that_is_gone_is_told_once_and_named(
    files: SweepFiles, harm: Callable[[SweepFiles], None]
):
    told: list[InfrastructureError] = []
    with watched_folder(files, identity="ours", on_gone=told.append, every_s=SOON_S):
        harm(files)
        until(lambda: told)
    (error,) = told
    assert str(error).startswith(f"{files.directory} is not the folder of this sweep any more: ")


def test_a_folder_that_is_there_is_looked_at_until_the_end(
    files: SweepFiles, monkeypatch: pytest.MonkeyPatch
):
    """A file system that loses it for a moment is no reason to end."""
    answers = iter([True, False, True, False])
    looks: list[bool] = []

    def is_there(*_: object) -> bool:
        looks.append(next(answers, True))
        return looks[-1]

    monkeypatch.setattr("sweeps.running.folder_watch._is_there", is_there)
    with watched_folder(files, identity="ours", on_gone=pytest.fail, every_s=SOON_S):
        until(lambda: len(looks) > 8)
