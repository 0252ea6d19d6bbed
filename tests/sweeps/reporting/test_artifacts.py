"""The pictures of trials: drawn when a trial ends, and stored with it."""

import shutil
from pathlib import Path
from xml.etree import ElementTree

import pytest
from optuna.artifacts import get_all_artifact_meta
from PIL import Image

from sweeps.errors import LeaseLostError
from sweeps.paths import SweepFiles, artifacts_folder
from sweeps.preparing import inspection
from sweeps.reporting import artifacts
from sweeps.reporting.artifacts import TrialPictures
from sweeps.running.events import EndState
from sweeps.study.storage import open_storage
from trainer.errors import DataError
from trainer.images.images import Pixels
from trainer.images.manifest import Manifest
from trainer.training.oof import OOF

ERRING = 1  # a trial with wrong answers
ALL = ["curves.svg", "confusion.svg", "errors.jpg"]


@pytest.fixture
def files(people: Path) -> SweepFiles:
    """The files of a trained sweep, without the pictures of a trial with wrong answers."""
    files = SweepFiles.of(people, "people")
    for name in ALL:
        (files.trial(ERRING).directory / name).unlink()
    return files


@pytest.fixture
def draw(files: SweepFiles, trained_sweep: Path, monkeypatch: pytest.MonkeyPatch) -> TrialPictures:
    monkeypatch.setenv("SWEEPS_CACHE", str(trained_sweep / "cache"))
    return TrialPictures(files, metric="valid/f1", field="f1")


def names(draw: TrialPictures, state: EndState) -> list[str]:
    return [path.name for path in draw(ERRING, state)]


def test_every_trial_of_a_sweep_has_its_pictures_as_artifacts(trained_sweep: Path):
    runs = trained_sweep / "runs"
    storage = open_storage(f"sqlite:///{runs}/sweeps.db", must_exist=True)
    (study,) = storage.get_all_studies()
    for trial in storage.get_all_trials(study._study_id):
        own = SweepFiles.of(runs, "people").trial(trial.number).directory
        drawn = {path.name: path.read_bytes() for path in own.iterdir() if path.name in ALL}
        assert {"curves.svg", "confusion.svg"} <= drawn.keys()
        store = artifacts_folder(runs)
        assert drawn == {
            meta.filename: (store / meta.artifact_id).read_bytes()
            for meta in get_all_artifact_meta(trial, storage=storage)
        }
    assert any(key.startswith("dashboard:plot_data:folds:") for key in study.system_attrs)
    storage.engine.dispose()


@pytest.mark.parametrize(
    ("state", "expected"),
    [(EndState.COMPLETED, ALL), (EndState.PRUNED, ALL[:1]), (EndState.FAILED, ALL[:1])],
)
def test_what_is_drawn_depends_on_how_the_trial_ended(
    draw: TrialPictures, files: SweepFiles, state: EndState, expected: list[str]
):
    assert names(draw, state) == expected
    assert sorted(expected) == sorted(
        path.name for path in files.trial(ERRING).directory.iterdir() if path.name in ALL
    )


def test_no_file_is_written_once_another_driver_has_the_sweep(
    draw: TrialPictures, files: SweepFiles, monkeypatch: pytest.MonkeyPatch
):
    """To draw takes a moment, so each file is written under a lease that is fresh then."""
    asked: list[int] = []

    def fence() -> None:
        asked.append(1)
        if len(asked) == 2:
            raise LeaseLostError("another driver took over")

    monkeypatch.setattr(draw, "_fence", fence)
    drawing = draw(ERRING, EndState.COMPLETED)
    assert next(drawing).name == "curves.svg"
    with pytest.raises(LeaseLostError):
        next(drawing)
    assert [name for name in ALL if (files.trial(ERRING).directory / name).exists()] == ALL[:1]


def test_a_trial_without_a_finished_fold_has_no_picture(draw: TrialPictures, files: SweepFiles):
    for fold in files.trial(ERRING).folds():
        shutil.rmtree(fold)
    assert names(draw, EndState.PRUNED) == []


def test_drawings_are_whole_files_with_their_own_style(draw: TrialPictures):
    for path in list(draw(ERRING, EndState.COMPLETED))[:2]:
        text = path.read_text()
        root = ElementTree.fromstring(text)
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
        assert "var(--link)" in text
        assert "--link: #" in text


def test_images_come_from_the_decoded_ones(draw: TrialPictures, monkeypatch: pytest.MonkeyPatch):
    decoded: list[int] = []
    monkeypatch.setattr(artifacts, "small_image", lambda manifest, row: decoded.append(row))
    assert names(draw, EndState.COMPLETED) == ALL
    assert decoded == []


def test_without_decoded_images_the_files_are_read(
    draw: TrialPictures, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setenv("SWEEPS_CACHE", str(tmp_path / "empty"))
    read: list[int] = []

    def small_image(manifest: Manifest, row: int) -> Pixels | None:
        read.append(row)
        return None if len(read) == 1 else inspection.small_image(manifest, row)

    monkeypatch.setattr(artifacts, "small_image", small_image)
    *_, sheet = draw(ERRING, EndState.COMPLETED)
    shown = len(read) - 1  # the one that cannot be read is left out
    assert shown > 0
    with Image.open(sheet) as image:
        assert image.width == 8 + min(6, shown) * 136


def test_names_in_other_alphabets_are_given_as_numbers():
    lines = artifacts._lines(["dog", "고양이"], actual=0, said=1, sure=0.875)
    assert lines == ("actual dog", "said class 1 (88%)")


def test_curves_are_drawn_before_damaged_predictions_are_found(
    draw: TrialPictures, files: SweepFiles
):
    (files.trial(ERRING).fold(1) / OOF).write_bytes(b"damaged")
    drawing = draw(ERRING, EndState.COMPLETED)
    assert next(drawing).name == "curves.svg"
    with pytest.raises(DataError):
        next(drawing)
