import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from optuna.storages import RDBStorage
from optuna.trial import TrialState, create_trial
from PIL import Image

from sweeps.errors import InputError, LeaseLostError
from sweeps.paths import SweepFiles
from sweeps.preparing.data import cut_sweep, with_folds
from sweeps.preparing.opening import open_sweep, user_files
from sweeps.space.spec import SweepSpec
from sweeps.space.yaml_file import YamlFile
from sweeps.study.stored_sweep import StoredSweep
from trainer.data.fold_files import save_folds

Make = Callable[..., SweepSpec]
URL = "postgresql://user:secret@host/db"


@pytest.fixture
def files(tmp_path: Path) -> SweepFiles:
    return SweepFiles.of(tmp_path / "runs", "toy")


@pytest.fixture
def begin(
    sqlite_storage: RDBStorage, files: SweepFiles, images: Path
) -> Callable[..., StoredSweep]:
    """Open the sweep as `sweeps run` does."""

    def begin(spec: SweepSpec, **options: Any) -> StoredSweep:
        cut = cut_sweep(spec, files)
        spec = with_folds(spec, cut.folds)
        return open_sweep(sqlite_storage, spec, cut, files=files, storage_url=URL, **options)

    return begin


Begin = Callable[..., StoredSweep]


# --- begin and continue


def test_a_new_sweep_gets_a_folder_and_a_study_of_one_identity(
    begin: Begin, make_spec: Make, files: SweepFiles, sqlite_storage: RDBStorage
) -> None:
    spec = make_spec()
    sweep = begin(spec)
    names = {
        "cut.json",
        "folds.npz",
        "labels.json",
        "manifest.csv",
        "rejected.csv",
        "spec.yaml",
        "sweep.json",
    }
    assert {path.name for path in files.directory.iterdir()} == names
    assert files.identity() == sweep.uuid
    assert files.folds().hash == cut_sweep(spec, files).folds.hash
    assert YamlFile(files.directory / "spec.yaml").values == spec.raw
    assert StoredSweep.find(sqlite_storage, "toy") == sweep


def test_the_sweeps_file_says_what_it_is_without_a_password(
    begin: Begin, make_spec: Make, files: SweepFiles
) -> None:
    sweep = begin(make_spec())
    values = json.loads((files.directory / "sweep.json").read_text())
    assert values.keys() == {
        "format",
        "uuid",
        "name",
        "created",
        "foldsweep",
        "storage",
        "folds_hash",
        "weights",
    }
    assert (values["format"], values["uuid"], values["name"]) == (1, sweep.uuid, "toy")
    assert values["storage"] == "postgresql://user:***@host/db"
    assert values["folds_hash"] == files.folds().hash


def test_nothing_is_written_by_a_driver_that_lost_the_sweep_while_it_read_the_data(
    begin: Begin, make_spec: Make, files: SweepFiles, sqlite_storage: RDBStorage
) -> None:
    def lost() -> None:
        raise LeaseLostError("another driver took over")

    with pytest.raises(LeaseLostError):
        begin(make_spec(), confirm=lost)
    assert not files.directory.exists()
    assert StoredSweep.find(sqlite_storage, "toy") is None
    begin(make_spec())
    written = files.spec.stat().st_mtime_ns
    with pytest.raises(LeaseLostError):
        begin(make_spec(), confirm=lost)
    assert files.spec.stat().st_mtime_ns == written


def test_a_sweep_is_continued(begin: Begin, make_spec: Make) -> None:
    assert begin(make_spec()) == begin(make_spec())


@pytest.mark.parametrize(
    "change",
    [
        {"run_cap": 100},
        {"run_cap": None, "budget": {"hours": 1}},
        {"resources": {"cpu": 2}},
        {"retries": 5, "keep": 1},
        {"start_with": [{"lr": 0.001}], "warm_start": ["another"]},
        {"metric": {"name": "valid/f1", "goal": "maximize", "target": 0.9}},
        {"description": "another"},
        {"project": "mask"},
    ],
)
def test_what_does_not_change_a_score_may_change(
    begin: Begin, make_spec: Make, files: SweepFiles, change: dict[str, Any]
) -> None:
    first = begin(make_spec())
    changed = make_spec(**change)
    assert begin(changed) == first
    assert YamlFile(files.directory / "spec.yaml").values == changed.raw


def test_the_same_data_may_lie_elsewhere(begin: Begin, make_spec: Make, images: Path) -> None:
    begin(make_spec())
    images.parent.rename(images.parent.with_name("moved"))
    begin(make_spec(data={"source": str(images.parent.with_name("moved") / "train.csv")}))


def test_a_pinned_sweep_goes_on_without_the_file_it_was_pinned_to(
    begin: Begin, make_spec: Make, images: Path, files: SweepFiles
) -> None:
    pin = files.directory.parent / "pin.npz"
    pin.parent.mkdir()
    save_folds(cut_sweep(make_spec(folds={"k": 3, "holdout": 0.25}), files).folds, pin)
    sweep = begin(make_spec(folds={"file": str(pin)}))
    assert (sweep.spec["folds"]["k"], sweep.spec["folds"]["holdout"]) == (3, 0.25)
    assert begin(make_spec(folds={"file": str(pin)})) == sweep
    pin.unlink()
    assert begin(make_spec(folds={"k": 3, "holdout": 0.25})) == sweep


def test_a_fixed_cut_is_continued(begin: Begin, make_spec: Make, images: Path) -> None:
    header, *rows = images.read_text().splitlines()
    lines = [f"{header},fold", *(f"{line},{'0' if at < 6 else ''}" for at, line in enumerate(rows))]
    images.write_text("\n".join(lines) + "\n")
    spec = make_spec(folds={"column": "fold"})
    assert begin(spec) == begin(spec)
    assert begin(spec).spec["folds"]["k"] == 1


def changed(make_spec: Make, **parameters: Any) -> SweepSpec:
    base = {
        "lr": {"distribution": "log_uniform_values", "min": 1e-4, "max": 1e-1},
        "focal_gamma": {"min": 1, "max": 5},
        "optimizer": {"values": ["adamw", "sgd"]},
    }
    return make_spec(parameters={**base, **parameters})


def test_a_changed_space_shows_what_changed(begin: Begin, make_spec: Make) -> None:
    begin(changed(make_spec))
    now = changed(
        make_spec,
        lr={"distribution": "log_uniform_values", "min": 1e-3, "max": 1e-1},
        optimizer={"values": ["sgd", "adamw"]},
        dropout={"value": 0.5},
    )
    with pytest.raises(InputError, match="changed since it began") as caught:
        begin(now.model_copy(update={"seed": 8}))
    assert str(caught.value) == (
        "the search space of sweep 'toy' changed since it began, "
        "so new trials could not be compared with its old ones:\n"
        "  parameters.dropout.value: was (absent), is 0.5\n"
        "  parameters.lr.min: was 0.0001, is 0.001\n"
        "  parameters.optimizer.values: was ['adamw', 'sgd'], is ['sgd', 'adamw']\n"
        "  seed: was 7, is 8\n"
        "Change it back, or give the search space another name and `warm_start: [toy]`, "
        "which takes the finished trials over. Of the parameters only the range of a number can "
        "grow; run_cap, budget, resources, retries, stuck_after, keep, start_with, warm_start, "
        "tracking, folds.finish and metric.target may change"
    )


WIDER = {"distribution": "log_uniform_values", "min": 1e-5, "max": 1}


def test_a_wider_range_is_shown_and_has_to_be_confirmed(
    begin: Begin, make_spec: Make, files: SweepFiles
) -> None:
    first = begin(changed(make_spec))
    before = (files.directory / "spec.yaml").read_bytes()
    wider = changed(make_spec, lr=WIDER)
    for _ in range(2):
        with pytest.raises(InputError, match="grew") as caught:
            begin(wider)
        assert str(caught.value) == (
            "the search space of sweep 'toy' grew:\n"
            "  parameters.lr.max: was 0.1, is 1\n"
            "  parameters.lr.min: was 0.0001, is 1e-05\n"
            "Add --update to go on with the wider one"
        )
    assert (files.directory / "spec.yaml").read_bytes() == before
    assert begin(changed(make_spec)) == first


def test_with_update_the_sweep_goes_on_in_the_wider_range(
    begin: Begin, make_spec: Make, files: SweepFiles
) -> None:
    first = begin(changed(make_spec))
    wider = changed(make_spec, lr=WIDER)
    grown = begin(wider, update=True)
    assert (grown.study_id, grown.uuid) == (first.study_id, first.uuid)
    assert grown.spec["parameters"]["lr"] == WIDER
    assert YamlFile(files.directory / "spec.yaml").values == wider.raw
    assert begin(wider) == begin(wider, update=True) == grown  # once is enough
    with pytest.raises(InputError, match=r"  parameters\.lr\.max: was 1, is 0\.1\n"):
        begin(changed(make_spec), update=True)  # and there is no way back


def test_update_is_no_word_for_other_changes(
    begin: Begin, make_spec: Make, files: SweepFiles
) -> None:
    first = begin(changed(make_spec))
    before = (files.directory / "spec.yaml").read_bytes()
    more = changed(make_spec, lr=WIDER, optimizer={"values": ["adamw", "sgd", "adam"]})
    with pytest.raises(InputError, match="changed since it began") as caught:
        begin(more, update=True)
    assert (
        "  parameters.optimizer.values: was ['adamw', 'sgd'], is ['adamw', 'sgd', 'adam']\n"
        in str(caught.value)
    )
    assert "give the search space another name and `warm_start: [toy]`" in str(caught.value)
    assert (files.directory / "spec.yaml").read_bytes() == before
    assert begin(changed(make_spec)) == first


def test_a_wider_range_over_other_data_is_refused(
    begin: Begin, make_spec: Make, images: Path
) -> None:
    first = begin(changed(make_spec))
    text = images.read_text()
    images.write_text(text.replace("\n0.png,a", "\n0.png,b"))
    with pytest.raises(InputError, match="the data of sweep 'toy' changed since it began"):
        begin(changed(make_spec, lr=WIDER), update=True)
    images.write_text(text)
    assert begin(changed(make_spec)) == first


def test_a_parameter_that_is_left_out_is_a_change(begin: Begin, make_spec: Make) -> None:
    begin(changed(make_spec, dropout={"value": 0.5}))
    with pytest.raises(InputError, match=r"  parameters\.dropout\.value: was 0\.5, is \(absent\)"):
        begin(changed(make_spec))


def test_whole_bounds_turned_into_real_ones_are_a_change(begin: Begin, make_spec: Make) -> None:
    begin(changed(make_spec))
    with pytest.raises(InputError, match=r"parameters\.focal_gamma\.max: was 5, is 5\.0"):
        begin(changed(make_spec, focal_gamma={"min": 1.0, "max": 5.0}))


def test_another_order_of_a_grids_parameters_is_a_change(begin: Begin, make_spec: Make) -> None:
    axes = {"optimizer": {"values": ["adamw", "sgd"]}, "lr": {"values": [0.1, 0.2]}}
    begin(make_spec(method="grid", parameters=axes))
    with pytest.raises(InputError, match="changed since it began"):
        begin(make_spec(method="grid", parameters=dict(reversed(axes.items()))))


@pytest.mark.parametrize("change", ["label", "correction", "row", "content", "folds"])
def test_changed_data_are_refused(
    begin: Begin, make_spec: Make, images: Path, files: SweepFiles, change: str
) -> None:
    begin(make_spec())
    spec = make_spec()
    if change == "label":
        images.write_text(images.read_text().replace("\n0.png,a", "\n0.png,b"))
    elif change == "correction":
        (images.parent / "fixes.csv").write_text("path,label\n0.png,b\n")
        spec = make_spec(
            data={"source": str(images), "corrections": str(images.parent / "fixes.csv")}
        )
    elif change == "row":
        images.write_text(images.read_text().replace("11.png,c\n", ""))
    elif change == "content":
        Image.new("RGB", (8, 8), "blue").save(images.parent / "0.png")
    else:
        folds = files.folds()
        save_folds(
            dataclasses.replace(folds, fold_N=1 - folds.fold_N), files.directory / "folds.npz"
        )
    with pytest.raises(InputError, match="changed since it began") as caught:
        begin(spec)
    assert str(caught.value) == (
        f"the data of sweep 'toy' changed since it began: images, labels or folds of {images} "
        f"are not those of {files.directory / 'folds.npz'}. "
        "Its trials cannot be compared with new ones: choose another name, "
        "under which unchanged images keep their folds"
    )


def test_another_fill_colour_is_a_change_of_the_data(
    begin: Begin, make_spec: Make, images: Path
) -> None:
    begin(make_spec())
    with pytest.raises(InputError, match="the data of sweep 'toy' changed since it began"):
        begin(make_spec(data={"source": str(images), "fill": "black"}))


def test_other_weights_for_the_preprocessing_are_a_change(
    begin: Begin, make_spec: Make, images: Path
) -> None:
    begin(make_spec())
    with pytest.raises(InputError, match=r"  data\.face_weights: was None, is other\.onnx\n"):
        begin(make_spec(data={"source": str(images), "face_weights": "other.onnx"}))


def test_a_folder_of_another_sweep_is_refused(
    begin: Begin, make_spec: Make, files: SweepFiles
) -> None:
    begin(make_spec())
    (files.directory / "sweep.json").write_text('{"uuid": "another"}')
    with pytest.raises(InputError, match="belongs to another sweep") as caught:
        begin(make_spec())
    assert str(caught.value) == (
        f"sweep 'toy' is in the storage postgresql://user:***@host/db, but {files.directory} "
        "belongs to another sweep of that name. Give the --runs folder it was started with, "
        "or choose another name"
    )


def test_a_stored_sweep_without_its_files_is_refused(
    begin: Begin, make_spec: Make, files: SweepFiles
) -> None:
    begin(make_spec())
    files.directory.rename(files.directory.with_name("elsewhere"))
    with pytest.raises(InputError, match=r"runs/toy has no files of it\. Give the --runs folder"):
        begin(make_spec())


def test_trials_of_a_sweep_that_is_not_in_the_storage_are_not_continued(
    begin: Begin, make_spec: Make, files: SweepFiles, sqlite_storage: RDBStorage
) -> None:
    sqlite_storage.delete_study(begin(make_spec()).study_id)
    (files.directory / "trial-0000").mkdir()
    with pytest.raises(InputError, match="not in the storage") as caught:
        begin(make_spec())
    assert str(caught.value) == (
        f"{files.directory} holds the trials of a sweep that is not in the storage "
        "postgresql://user:***@host/db. Give its --storage, or move the folder away, "
        "or choose another name"
    )


def test_a_sweep_that_died_between_its_folder_and_its_study_begins(
    begin: Begin, make_spec: Make, files: SweepFiles, sqlite_storage: RDBStorage
) -> None:
    first = begin(make_spec())
    sqlite_storage.delete_study(first.study_id)
    again = begin(make_spec(seed=8))
    assert again.uuid == first.uuid == files.identity()
    assert again.spec["seed"] == 8


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", "null"])
def test_a_damaged_sweep_file_is_refused(
    begin: Begin, make_spec: Make, files: SweepFiles, text: str
) -> None:
    begin(make_spec())
    (files.directory / "sweep.json").write_text(text)
    with pytest.raises(
        InputError, match=r"sweep\.json: damaged\. Move the folder away to start the sweep anew$"
    ):
        begin(make_spec())


def test_a_folder_without_a_sweep_has_no_identity(files: SweepFiles) -> None:
    assert files.identity() is None


def test_a_continued_sweep_keeps_its_trials(
    begin: Begin, make_spec: Make, sqlite_storage: RDBStorage
) -> None:
    sqlite_storage.create_new_trial(
        begin(make_spec()).study_id, template_trial=create_trial(value=0.5)
    )
    assert [trial.state for trial in begin(make_spec()).trials()] == [TrialState.COMPLETE]


# --- the user's own functions


@pytest.fixture
def own(make_spec: Make, tmp_path: Path) -> Make:
    """A search space with functions of two files beside it;
    a change of `code` changes the first.
    """

    def make(code: str = "def kappa(*_): return 1.0", **changes: Any) -> SweepSpec:
        (tmp_path / "my_task.py").write_text(code)
        (tmp_path / "nets").mkdir(exist_ok=True)
        (tmp_path / "nets" / "small.py").write_text("def net(*_): ...")
        metric = {"name": "my_task.py:kappa", "goal": "maximize"}
        parameters = {
            "loss": {"values": ["focal", "my_task.py:mae"]},
            "backbone": {"value": "nets/small.py:net"},
        }
        return make_spec(**{"metric": metric, "parameters": parameters, **changes})

    return make


def test_the_users_files_are_named_once(own: Make, make_spec: Make) -> None:
    assert user_files(own()) == ("my_task.py", "nets/small.py")
    assert user_files(make_spec()) == ()


def test_a_sweep_takes_a_copy_of_the_users_files(
    begin: Begin, own: Make, files: SweepFiles
) -> None:
    begin(own())
    code = files.directory / "code"
    assert (code / "my_task.py").read_text() == "def kappa(*_): return 1.0"
    assert (code / "nets" / "small.py").read_text() == "def net(*_): ..."
    assert sorted(path.name for path in code.rglob("*.py")) == ["my_task.py", "small.py"]


def test_a_sweep_goes_on_with_the_same_files(begin: Begin, own: Make) -> None:
    assert begin(own()) == begin(own())


def test_a_changed_file_is_refused(begin: Begin, own: Make, files: SweepFiles) -> None:
    begin(own())
    with pytest.raises(InputError, match="changed since sweep") as caught:
        begin(own("def kappa(*_): return 2.0"))
    assert str(caught.value) == (
        f"my_task.py changed since sweep 'toy' began ({files.directory}/code/my_task.py is what it "
        "began with), so new trials could not be compared with its old ones. Change it back, "
        "or give the search space another name"
    )
    assert (files.directory / "code" / "my_task.py").read_text() == "def kappa(*_): return 1.0"


def test_a_copy_that_is_gone_is_refused(begin: Begin, own: Make, files: SweepFiles) -> None:
    begin(own())
    (files.directory / "code" / "my_task.py").unlink()
    with pytest.raises(InputError, match=r"my_task\.py changed since sweep 'toy' began"):
        begin(own())


def test_another_function_of_the_same_file_is_a_change_of_the_space(
    begin: Begin, own: Make
) -> None:
    begin(own())
    with pytest.raises(
        InputError, match=r"  metric\.name: was my_task\.py:kappa, is my_task\.py:tau\n"
    ):
        begin(own(metric={"name": "my_task.py:tau", "goal": "maximize"}))


def test_files_of_a_sweep_that_died_before_its_study_are_taken_anew(
    begin: Begin, own: Make, files: SweepFiles, sqlite_storage: RDBStorage
) -> None:
    sqlite_storage.delete_study(begin(own()).study_id)
    begin(own("def kappa(*_): return 2.0"))
    assert (files.directory / "code" / "my_task.py").read_text() == "def kappa(*_): return 2.0"


@pytest.mark.parametrize("weights", ["pretrained", "none", "mine.safetensors"])
def test_weights_belong_to_the_fixed_part(begin: Begin, make_spec: Make, weights: str) -> None:
    begin(make_spec(parameters={"weights": {"value": weights}}))
    with pytest.raises(
        InputError, match=rf"  parameters\.weights\.value: was {weights}, is other\.pt\n"
    ):
        begin(make_spec(parameters={"weights": {"value": "other.pt"}}))


def test_changed_weights_are_refused(begin: Begin, make_spec: Make, tmp_path: Path) -> None:
    weights = tmp_path / "mine.safetensors"
    weights.write_bytes(b"one")
    spec = make_spec(parameters={"weights": {"values": ["none", str(weights)]}})
    assert begin(spec) == begin(spec)
    weights.write_bytes(b"two")
    with pytest.raises(InputError, match="changed since sweep") as caught:
        begin(spec)
    assert str(caught.value) == (
        f"{weights} changed since sweep 'toy' began, so new trials could not be compared with its "
        "old ones. Bring the weights back, or give the search space another name"
    )
