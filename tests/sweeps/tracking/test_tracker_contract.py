"""The promises of `Tracker`, kept by every implementation."""

import dataclasses
import importlib.util
from collections.abc import Callable
from pathlib import Path

import pytest

from sweeps.running.events import EndState
from sweeps.tracking.tensorboard import TensorBoardTracker
from sweeps.tracking.tracker import NullTracker, Orders, Tracker
from tests.fakes.wandb_server import ENTITY, WandbServer
from tests.sweeps.tracking.in_mlflow import in_mlflow, mlflow_tracker
from tests.sweeps.tracking.in_tensorboard import in_tensorboard
from tests.sweeps.tracking.in_wandb import die, run_id, shown, tracker_on
from tests.sweeps.tracking.told import EPOCHS, TRIAL, Shown, end, facts, nothing

NUMBERS = {"std": 0.01, "fold-0/score": 0.6}


@dataclasses.dataclass(frozen=True)
class Kind:
    """An implementation of `Tracker`.

    Attributes:
        make: a new tracker on the store in this folder, as a new process makes it.
        shown: what the program of the tracker shows of a trial.
        shows: whether it shows anything.
        needs: the library of an extra; without it, the tests are skipped.
    """

    make: Callable[[Path], Tracker]
    shown: Callable[[Path, int], Shown]
    shows: bool = True
    needs: str | None = None


KINDS = {
    "null": Kind(lambda folder: NullTracker(), nothing, shows=False),
    "tensorboard": Kind(lambda folder: TensorBoardTracker(facts(folder)), in_tensorboard),
    "mlflow": Kind(mlflow_tracker, in_mlflow, needs="mlflow"),
}


# W&B's client has threads that notice when its helper process was killed
pytestmark = [
    pytest.mark.filterwarnings(
        "ignore:Exception in thread:pytest.PytestUnhandledThreadExceptionWarning"
    ),
    pytest.mark.filterwarnings("ignore:Exception ignored:pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore:Read the `app_url` setting:DeprecationWarning"),
]
# MLflow uses what its own libraries call deprecated
QUIET = {"mlflow": pytest.mark.filterwarnings("ignore")}


@pytest.fixture(
    params=[pytest.param(name, marks=QUIET.get(name, ())) for name in (*KINDS, "wandb")]
)
def kind(request: pytest.FixtureRequest) -> Kind:
    if request.param == "wandb":
        return in_wandb(request.getfixturevalue("server"))
    kind = KINDS[request.param]
    if kind.needs is not None and importlib.util.find_spec(kind.needs) is None:
        pytest.skip(f"the extra foldsweep[{kind.needs}] is not installed")
    return kind


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """The sweep's directory, in a runs folder of its own."""
    (tmp_path / "runs" / "mask").mkdir(parents=True)
    return tmp_path / "runs" / "mask"


def in_wandb(server: WandbServer) -> Kind:
    """W&B with the stand-in of its server, which each test has anew."""

    def make(folder: Path) -> Tracker:
        die()
        return tracker_on(folder, project=f"in-{folder.parent.name}")

    def of_trial(folder: Path, number: int) -> Shown:
        assert server.unknown == []
        return shown(server.runs.get(f"{ENTITY}/in-{folder.parent.name}/{run_id(number)}"))

    return Kind(make, of_trial)


def told_all(tracker: Tracker, *, state: EndState = EndState.COMPLETED) -> None:
    tracker.begin(TRIAL)
    for epoch in EPOCHS:
        tracker.epoch(TRIAL, epoch)
    tracker.end(TRIAL, end(state, NUMBERS))


class TestTracker:
    def test_every_step_is_shown_once_in_order(self, kind: Kind, directory: Path):
        tracker = kind.make(directory)
        told_all(tracker)
        tracker.close()
        shown = kind.shown(directory, TRIAL.number)
        if kind.shows:
            assert shown.steps == [epoch.step for epoch in EPOCHS]
            assert shown.values == [epoch.value for epoch in EPOCHS]
            assert shown.fold_epochs == [(epoch.fold, epoch.epoch) for epoch in EPOCHS]
            assert (shown.ended, shown.score) == (EndState.COMPLETED, 0.625)

    def test_what_is_told_twice_is_shown_once(self, kind: Kind, directory: Path):
        tracker = kind.make(directory)
        told_all(tracker)
        told_all(tracker)
        tracker.close()
        assert kind.shown(directory, TRIAL.number) == reference(kind, directory)

    @pytest.mark.parametrize(
        "calls",
        [
            pytest.param(calls, marks=pytest.mark.slow if calls % 3 else ())
            for calls in range(len(EPOCHS) + 3)
        ],
    )
    def test_after_a_crash_at_any_call_everything_is_shown_once(
        self, kind: Kind, directory: Path, calls: int
    ):
        """The first tracker is never closed: it was killed after this number of calls."""
        killed = kind.make(directory)
        for call in (
            lambda: killed.begin(TRIAL),
            *(lambda epoch=epoch: killed.epoch(TRIAL, epoch) for epoch in EPOCHS),
            lambda: killed.end(TRIAL, end(EndState.COMPLETED, NUMBERS)),
        )[:calls]:
            call()
        again = kind.make(directory)
        told_all(again)
        again.close()
        assert kind.shown(directory, TRIAL.number) == reference(kind, directory)

    def test_a_step_before_the_last_known_one_is_skipped(self, kind: Kind, directory: Path):
        tracker = kind.make(directory)
        tracker.begin(TRIAL)
        for epoch in (EPOCHS[1], EPOCHS[0], EPOCHS[2]):
            tracker.epoch(TRIAL, epoch)
        tracker.close()
        if kind.shows:
            shown = kind.shown(directory, TRIAL.number)
            assert shown.steps == [EPOCHS[1].step, EPOCHS[2].step]

    def test_a_continued_trial_goes_on_where_it_was(self, kind: Kind, directory: Path):
        tracker = kind.make(directory)
        tracker.begin(TRIAL)
        tracker.epoch(TRIAL, EPOCHS[0])
        tracker.end(TRIAL, end(EndState.INTERRUPTED, {}))
        tracker.close()
        later = kind.make(directory)
        told_all(later)
        later.close()
        assert kind.shown(directory, TRIAL.number) == reference(kind, directory)

    def test_a_pruned_trial_has_no_score(self, kind: Kind, directory: Path):
        tracker = kind.make(directory)
        told_all(tracker, state=EndState.PRUNED)
        tracker.close()
        if kind.shows:
            shown = kind.shown(directory, TRIAL.number)
            assert (shown.ended, shown.score) == (EndState.PRUNED, None)

    def test_trials_in_progress_at_the_same_time_do_not_mix(self, kind: Kind, directory: Path):
        tracker = kind.make(directory)
        other = dataclasses.replace(TRIAL, number=8)
        tracker.begin(TRIAL)
        tracker.begin(other)
        for epoch in EPOCHS:
            tracker.epoch(other, dataclasses.replace(epoch, value=epoch.value / 2))
            tracker.epoch(TRIAL, epoch)
        tracker.end(TRIAL, end(EndState.COMPLETED, NUMBERS))
        tracker.close()
        if kind.shows:
            assert kind.shown(directory, TRIAL.number).values == [e.value for e in EPOCHS]
            shown = kind.shown(directory, 8)
            assert shown.values == [e.value / 2 for e in EPOCHS]
            assert shown.ended is None

    def test_it_is_closed_twice_without_harm(self, kind: Kind, directory: Path):
        tracker = kind.make(directory)
        told_all(tracker)
        tracker.close()
        tracker.close()
        assert kind.shown(directory, TRIAL.number) == reference(kind, directory)

    def test_without_a_user_nobody_orders_anything(self, kind: Kind, directory: Path):
        tracker = kind.make(directory)
        assert tracker.orders() == Orders()
        tracker.close()


def reference(kind: Kind, folder: Path) -> Shown:
    """What is shown if everything is told once, without a crash, in another runs folder."""
    once = folder.parents[1] / "once" / "mask"
    once.mkdir(parents=True)
    tracker = kind.make(once)
    told_all(tracker)
    tracker.close()
    return kind.shown(once, TRIAL.number)


def test_the_facts_name_the_key_of_the_metric(tmp_path: Path):
    assert facts(tmp_path).field == "f1"
