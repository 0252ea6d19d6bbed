"""Trackers by their names, and what is said where one is missing."""

import importlib.util
import sys
from pathlib import Path

import pytest

from sweeps import InputError, RunOptions, run_sweep
from sweeps.errors import TrackerError
from sweeps.paths import SweepFiles
from sweeps.space.spec import SweepSpec
from sweeps.space.tracking import MlflowOptions, Tracking
from sweeps.tracking import choice
from sweeps.tracking.choice import make_tracker, places, ready, refuse_unusable, tracking_of
from sweeps.tracking.mlflow_runs import INSTALL, MlflowTracker, default_uri
from sweeps.tracking.tensorboard import TensorBoardTracker
from sweeps.tracking.tracker import NullTracker, SweepFacts, Tracker
from tests.sweeps.study.stored_trials import Make
from tests.sweeps.tracking.told import facts


@pytest.fixture
def no_mlflow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setitem(sys.modules, "mlflow", None)


def test_a_tracker_is_made_by_its_name(tmp_path: Path):
    assert isinstance(make_tracker("tensorboard", facts(tmp_path)), TensorBoardTracker)


def test_a_tracker_has_the_options_of_the_search_space(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    seen: list[Tracking] = []

    def make(facts: SweepFacts, tracking: Tracking) -> Tracker:
        seen.append(tracking)
        return NullTracker()

    monkeypatch.setitem(choice.MAKERS, "mlflow", make)
    plain = facts(tmp_path)
    make_tracker("mlflow", plain)
    section = {"mlflow": {"uri": "http://host"}}
    named = SweepFacts(**{**vars(plain), "spec": {**plain.spec, "tracking": section}})
    make_tracker("mlflow", named)
    assert [tracking.mlflow and tracking.mlflow.uri for tracking in seen] == [None, "http://host"]
    assert tracking_of(plain) == Tracking()


def test_those_that_are_asked_for_are_ready():
    assert ready(Tracking(tensorboard=True), sweep="mask") == (("tensorboard",), ())
    assert ready(Tracking(), sweep="mask") == ((), ())


@pytest.mark.parametrize(
    ("tracking", "found"),
    [
        (Tracking(), []),
        (Tracking(tensorboard=True), ["tensorboard --logdir /runs/mask/tensorboard"]),
        (
            Tracking(mlflow=MlflowOptions()),
            ["mlflow ui --backend-store-uri sqlite:////runs/mlflow.db"],
        ),
        (Tracking(mlflow=MlflowOptions(uri="https://host/ml")), ["https://host/ml"]),
    ],
)
def test_a_user_is_told_where_to_look(tracking: Tracking, found: list[str]):
    assert places(tracking, SweepFiles(Path("/runs/mask"))) == found


@pytest.mark.usefixtures("no_mlflow")
class TestWithoutMlflow:
    TEXT = (
        "tracking.mlflow: MLflow is not installed. Install it with "
        "pip install 'foldsweep[mlflow]', or leave it out"
    )

    def test_a_sweep_that_asks_for_it_does_not_begin(self, make_spec: Make, tmp_path: Path):
        spec: SweepSpec = make_spec(tracking={"mlflow": {}})
        with pytest.raises(InputError) as error:
            run_sweep(spec, RunOptions(runs=tmp_path / "runs", address=None))
        assert str(error.value) == self.TEXT
        assert not (tmp_path / "runs").exists()

    def test_others_do_not_need_it(self):
        refuse_unusable(Tracking(tensorboard=True), sweep="mask")

    def test_a_process_that_does_not_find_it_says_how_to_install_it(self, tmp_path: Path):
        with pytest.raises(TrackerError) as error:
            MlflowTracker(facts(tmp_path))
        assert str(error.value) == INSTALL


def test_the_default_store_of_mlflow_is_a_database_in_the_runs_folder():
    assert default_uri(Path("/my runs")) == "sqlite:////my%20runs/mlflow.db"
