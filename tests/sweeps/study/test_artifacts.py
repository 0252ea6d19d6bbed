"""Files become artifacts of a trial, as Optuna and its dashboard read them."""

import json
import os
from pathlib import Path

import optuna
import pytest
from optuna.artifacts import FileSystemArtifactStore, download_artifact, get_all_artifact_meta
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import TrialState

from sweeps.study.artifacts import attach


@pytest.fixture
def study() -> optuna.Study:
    return optuna.create_study()


def attached(study: optuna.Study, trial_id: int, path: Path, store: Path) -> None:
    attach(study._storage, trial_id, path, store=store, owner="sweep/0")


def test_optuna_lists_and_reads_an_attached_file(study: optuna.Study, tmp_path: Path):
    trial = study.ask()
    path = tmp_path / "curves.svg"
    path.write_text("<svg/>")
    attached(study, trial._trial_id, path, tmp_path / "store")
    frozen = study.get_trials(deepcopy=False)[0]
    (meta,) = get_all_artifact_meta(frozen, storage=study._storage)
    assert (meta.filename, meta.mimetype, meta.encoding) == ("curves.svg", "image/svg+xml", None)
    download_artifact(
        artifact_store=FileSystemArtifactStore(tmp_path / "store"),
        artifact_id=meta.artifact_id,
        file_path=str(tmp_path / "again.svg"),
    )
    assert (tmp_path / "again.svg").read_text() == "<svg/>"


def test_a_repeated_write_replaces_the_file(study: optuna.Study, tmp_path: Path):
    trial = study.ask()
    path = tmp_path / "error.txt"
    for text in ("first", "second"):
        path.unlink(missing_ok=True)
        path.write_text(text)
        attached(study, trial._trial_id, path, tmp_path / "store")
    (meta,) = get_all_artifact_meta(study.get_trials()[0], storage=study._storage)
    assert (tmp_path / "store" / meta.artifact_id).read_text() == "second"
    assert len(list((tmp_path / "store").iterdir())) == 1


def test_a_file_system_without_links_gets_a_copy(
    study: optuna.Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def refuse(*paths: object) -> None:
        raise OSError("no links here")

    monkeypatch.setattr(os, "link", refuse)
    path = tmp_path / "errors.jpg"
    path.write_bytes(b"picture")
    attached(study, study.ask()._trial_id, path, tmp_path / "store")
    (copy,) = (tmp_path / "store").iterdir()
    assert copy.read_bytes() == b"picture"
    assert not copy.samefile(path)


def test_a_trial_that_is_over_takes_no_file(study: optuna.Study, tmp_path: Path):
    trial = study.ask()
    study.tell(trial, state=TrialState.FAIL)
    path = tmp_path / "error.txt"
    path.touch()
    with pytest.raises(UpdateFinishedTrialError):
        attached(study, trial._trial_id, path, tmp_path / "store")


def test_the_attribute_is_that_of_optuna(study: optuna.Study, tmp_path: Path):
    path = tmp_path / "confusion.svg"
    path.write_text("<svg/>")
    for_ours, for_optunas = study.ask(), study.ask()
    attached(study, for_ours._trial_id, path, tmp_path / "store")
    optuna.artifacts.upload_artifact(
        artifact_store=FileSystemArtifactStore(tmp_path / "store"),
        file_path=str(path),
        study_or_trial=for_optunas,
    )
    ours, theirs = (
        [json.loads(value) for value in trial.system_attrs.values()] for trial in study.trials
    )
    assert [each | {"artifact_id": ""} for each in ours] == [
        each | {"artifact_id": ""} for each in theirs
    ]
