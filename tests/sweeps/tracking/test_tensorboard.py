"""What TensorBoard is shown, and that its files survive a crash."""

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from sweeps.errors import TrackerError
from sweeps.paths import SweepFiles, TrialFiles
from sweeps.running.events import EndState
from sweeps.tracking.event_file import NAME, EventFile, read_events, scalar
from sweeps.tracking.tensorboard import STARTED, STATE, TensorBoardTracker
from tests.sweeps.tracking.in_tensorboard import in_tensorboard, scalars, texts
from tests.sweeps.tracking.told import EPOCHS, TRIAL, end, facts

ROOT = Path(__file__).parents[3]


@pytest.fixture
def run(tmp_path: Path) -> TrialFiles:
    """The run of the trial."""
    return SweepFiles(SweepFiles(tmp_path).tensorboard).trial(TRIAL.number)


def told(folder: Path, state: EndState = EndState.COMPLETED) -> None:
    tracker = TensorBoardTracker(facts(folder))
    tracker.begin(TRIAL)
    for epoch in EPOCHS:
        tracker.epoch(TRIAL, epoch)
    tracker.end(TRIAL, end(state, {"std": 0.0625, "fold-0/score": 0.5}))


def test_the_folds_of_a_trial_lie_over_each_other(tmp_path: Path, run: TrialFiles):
    told(tmp_path)
    for fold in (0, 1):
        assert scalars(run.fold(fold), "fold/f1") == [(1, 0.5625), (2, 0.625)]
        assert scalars(run.fold(fold), "fold/loss") == [(1, 0.5), (2, 0.25)]


def test_every_event_has_the_time_of_its_epoch(tmp_path: Path, run: TrialFiles):
    told(tmp_path)
    events = [e for e in read_events(run.fold(1)) if e.summary.value]
    assert [event.wall_time for event in events] == [epoch.time for epoch in EPOCHS[2:]]


def test_the_parameters_and_the_score_of_a_trial_are_in_one_run(tmp_path: Path, run: TrialFiles):
    for _ in range(2):
        told(tmp_path)
    (started,) = [
        value
        for event in read_events(run.directory)
        for value in event.summary.value
        if value.tag == STARTED
    ]
    assert b"optimizer" in started.metadata.plugin_data.content
    assert scalars(run.directory, "valid/f1") == [(6, 0.625)]
    assert scalars(run.directory, "summary/std") == [(6, 0.0625)]
    assert scalars(run.directory, "summary/fold-0/score") == [(6, 0.5)]


def test_the_pictures_of_a_trial_are_shown_but_no_svg(tmp_path: Path, run: TrialFiles):
    Image.new("RGB", (30, 20)).save(tmp_path / "errors.jpg")
    (tmp_path / "curves.svg").write_text("<svg/>")
    (tmp_path / "broken.png").write_text("no picture")
    pictures = {path.stem: path for path in tmp_path.iterdir()}
    tracker = TensorBoardTracker(facts(tmp_path))
    tracker.begin(TRIAL)
    for _ in range(2):
        tracker.end(TRIAL, end(EndState.COMPLETED, {}, pictures=pictures))
    shown = [
        value
        for event in read_events(run.directory)
        for value in event.summary.value
        if value.WhichOneof("value") == "image"
    ]
    assert [(each.tag, each.image.width, each.image.height) for each in shown] == [
        ("errors", 30, 20)
    ]
    assert shown[0].image.encoded_image_string == (tmp_path / "errors.jpg").read_bytes()


def test_a_parameter_may_be_a_list_or_a_mapping(tmp_path: Path, run: TrialFiles):
    tracker = TensorBoardTracker(facts(tmp_path))
    params = {"heads": ["joint", "separate"], "ema": True, "crop": None}
    tracker.begin(dataclasses.replace(TRIAL, params=params))
    assert STARTED in EventFile(run.directory).tags


def test_a_pruned_trial_says_why(tmp_path: Path, run: TrialFiles):
    told(tmp_path, EndState.PRUNED)
    assert texts(run.directory, STATE) == ["pruned: no chance"]
    assert scalars(run.directory, "valid/f1") == []


@pytest.mark.parametrize("lost", [1, 4, 11, 15, 30])
def test_a_record_that_a_crash_left_unfinished_is_written_again(
    tmp_path: Path, run: TrialFiles, lost: int
):
    tracker = TensorBoardTracker(facts(tmp_path))
    tracker.begin(TRIAL)
    for epoch in EPOCHS[:2]:
        tracker.epoch(TRIAL, epoch)
    for file in (run.directory / NAME, run.fold(0) / NAME):
        file.write_bytes(file.read_bytes()[:-lost])
    told(tmp_path)
    shown = in_tensorboard(tmp_path, TRIAL.number)
    assert shown.steps == [epoch.step for epoch in EPOCHS]
    assert shown.fold_epochs == [(epoch.fold, epoch.epoch) for epoch in EPOCHS]


def test_a_run_of_another_file_is_left_alone(tmp_path: Path):
    EventFile(tmp_path).add([scalar("a", 1.0)], step=3, time=0.0)
    (tmp_path / "events.out.tfevents.1.other").write_bytes(b"")
    again = EventFile(tmp_path)
    assert (again.last_step, again.tags) == (3, {"a"})


def test_a_folder_that_cannot_be_written_is_an_error_of_the_tracker(tmp_path: Path):
    tmp_path.joinpath("tensorboard").touch()
    with pytest.raises(TrackerError, match="TensorBoard's files cannot be written"):
        TensorBoardTracker(facts(tmp_path)).begin(TRIAL)


def test_torch_is_not_imported_with_tensorboards_library():
    """It takes longer than all the rest of the process that shows a sweep."""
    program = (
        "import sys; from sweeps.tracking import tensorboard; assert 'torch' not in sys.modules; "
        "import torch; from sweeps.tracking.event_protocol import hparams; hparams({'lr': 1.0}, {})"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT)
