"""`sweeps sync` and `sweeps run --track`: a sweep in TensorBoard, during and after the fact."""

from collections.abc import Callable
from pathlib import Path

import pytest

from sweeps.cli.options import Tracker
from sweeps.errors import TrialRefusedError
from sweeps.paths import SweepFiles
from sweeps.running.events import EndState
from sweeps.running.local import run_local
from sweeps.space.tracking import TRACKERS
from sweeps.tracking import choice
from sweeps.tracking.follower import shown_by
from sweeps.tracking.tensorboard import TensorBoardTracker
from sweeps.tracking.tracker import End, Trial
from tests.sweeps.cli.conftest import Ended
from tests.sweeps.tracking.in_tensorboard import in_tensorboard
from tests.sweeps.tracking.simulated import STEPS, SimulatedTrials, TrackedSweep

Call = Callable[..., Ended]


@pytest.fixture
def tracked(tmp_path: Path) -> TrackedSweep:
    """Three trials that ran without a tracker."""
    sweep = TrackedSweep(tmp_path / "runs")
    (sweep.folder / "sweep.json").write_text('{"uuid": "an identity"}')
    with sweep.driver() as driver:
        run_local(driver, trial=SimulatedTrials())
    return sweep


def sync(sweeps: Call, sweep: TrackedSweep, *arguments: object) -> Ended:
    url = f"sqlite:///{sweep.folder}/sweeps.db"
    return sweeps("sync", "curve", "--storage", url, *arguments)


def test_the_options_name_all_trackers():
    assert tuple(tracker.value for tracker in Tracker) == TRACKERS


def test_a_sweep_is_shown_after_the_fact_and_nothing_twice(sweeps: Call, tracked: TrackedSweep):
    for _ in range(2):
        ended = sync(sweeps, tracked, "--to", "tensorboard")
        assert ended == Ended(0, "TensorBoard shows 3 trials of curve\n", "")
    for number in range(3):
        assert in_tensorboard(tracked.folder, number).steps == STEPS


def test_without_to_it_goes_where_the_search_space_says(sweeps: Call, tracked: TrackedSweep):
    text = tracked.files.spec.read_text()
    tracked.files.spec.write_text(text + "tracking: {tensorboard: true}\n")
    assert sync(sweeps, tracked).out == "TensorBoard shows 3 trials of curve\n"


def test_no_tracker_at_all_is_an_error_that_names_them(sweeps: Call, tracked: TrackedSweep):
    assert sync(sweeps, tracked) == Ended(
        2,
        "",
        "error: sweep 'curve' names no tracker. Give one with --to (wandb, tensorboard, mlflow), "
        "or a section `tracking` in its search space\n",
    )


def test_an_unknown_tracker_is_refused_with_the_known_ones(sweeps: Call):
    ended = sweeps("sync", "--to", "neptune")
    assert ended.code == 2
    assert "'neptune' is not one of 'wandb', 'tensorboard', 'mlflow'" in ended.err


def test_mlflow_must_be_installed(
    sweeps: Call, tracked: TrackedSweep, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    ended = sync(sweeps, tracked, "--to", "mlflow")
    assert (ended.code, ended.err) == (
        2,
        "error: tracking.mlflow: MLflow is not installed. Install it with "
        "pip install 'foldsweep[mlflow]', or leave it out\n",
    )


def test_it_is_not_sent_while_a_running_sweep_shows_itself(sweeps: Call, tracked: TrackedSweep):
    with shown_by("tensorboard", tracked.facts):
        ended = sync(sweeps, tracked, "--to", "tensorboard")
    assert (ended.code, ended.err) == (
        2,
        "error: another process shows sweep 'curve' in TensorBoard at this moment: a running "
        "`sweeps run` or `sweeps sync`. Try again when it is done\n",
    )


def test_a_folder_that_cannot_be_written_is_one_clear_error(sweeps: Call, tracked: TrackedSweep):
    tracked.files.tensorboard.touch()
    ended = sync(sweeps, tracked, "--to", "tensorboard")
    assert ended.code == 3
    assert ended.err.startswith(f"error: {tracked.files.tensorboard}/trial-0000: TensorBoard's")


def test_what_a_program_refuses_is_named_when_the_others_are_there(
    sweeps: Call, tracked: TrackedSweep, monkeypatch: pytest.MonkeyPatch
):
    class Refusing(TensorBoardTracker):
        def end(self, trial: Trial, end: End) -> None:
            if trial.number in (0, 2):
                raise TrialRefusedError(f"W&B refuses trial {trial.number}: no", trial=trial.number)
            super().end(trial, end)

    monkeypatch.setitem(choice.MAKERS, "tensorboard", lambda facts, tracking: Refusing(facts))
    assert sync(sweeps, tracked, "--to", "tensorboard") == Ended(
        3,
        "TensorBoard shows 1 trial of curve\n",
        "error: not sent, because it is refused:\n"
        "  W&B refuses trial 0: no\n"
        "  W&B refuses trial 2: no\n"
        "The same command tries it again\n",
    )
    assert in_tensorboard(tracked.folder, 1).ended is EndState.COMPLETED
    assert in_tensorboard(tracked.folder, 2).ended is None


def test_a_sweep_that_is_not_there_is_an_error(sweeps: Call, tmp_path: Path):
    ended = sweeps("sync", "nothing", "--to", "tensorboard")
    assert (ended.code, ended.out) == (2, "")
    assert "no sweeps stored here yet" in ended.err


def test_run_shows_the_sweep_where_track_says(sweeps: Call, space: Callable[..., Path], home: Path):
    ended = sweeps("run", space(), "--local", "--track", "tensorboard", "--plain")
    assert ended.code == 0, ended.err
    assert ended.err.endswith("           tensorboard --logdir runs/tiny/tensorboard\n")
    files = SweepFiles(home / "runs" / "tiny")
    for number in (0, 1):
        shown = in_tensorboard(files.directory, number)
        assert shown.fold_epochs == [(0, 1), (1, 1)]
        assert shown.score is not None
    assert "tensorboard: true" in files.spec.read_text()
