"""The section `tracking`: what it may say, and that it is no part of a sweep's identity."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sweeps.errors import SpecError
from sweeps.space.spec import SweepSpec
from sweeps.space.spec_reader import read_spec
from sweeps.space.tracking import MlflowOptions, Tracking, WandbOptions

Make = Callable[..., SweepSpec]


def test_nothing_is_tracked_unless_it_is_asked_for(make_spec: Make):
    assert make_spec().tracking.names == ()


@pytest.mark.parametrize(
    ("section", "names"),
    [
        ({"wandb": {}}, ("wandb",)),
        ({"wandb": {"project": "masks", "entity": "team", "mode": "online"}}, ("wandb",)),
        ({"wandb": {"mode": "off"}, "tensorboard": True}, ("tensorboard",)),
        ({"wandb": None, "tensorboard": False, "mlflow": {}}, ("mlflow",)),
        ({"mlflow": {"uri": "http://host:5000"}, "tensorboard": True}, ("tensorboard", "mlflow")),
    ],
)
def test_the_section_names_trackers(make_spec: Make, section: Any, names: tuple[str, ...]):
    assert make_spec(tracking=section).tracking.names == names


def problem_of(make_spec: Make, section: Any) -> str:
    with pytest.raises(SpecError) as error:
        make_spec(tracking=section)
    (problem,) = error.value.problems
    return f"{'.'.join(map(str, problem.path))}: {problem.text}"


@pytest.mark.parametrize(
    ("section", "problem"),
    [
        (
            {"tensorbord": True},
            "tracking.tensorbord: unknown key. Did you mean 'tensorboard'? "
            "Allowed here: mlflow, tensorboard, wandb",
        ),
        (
            {"wandb": {"team": "x"}},
            "tracking.wandb.team: unknown key. Allowed here: entity, mode, project",
        ),
        (
            {"wandb": True},
            "tracking.wandb: expected a mapping with entity, mode, project, got True",
        ),
        (
            True,
            "tracking: expected a mapping with mlflow, tensorboard, wandb, got True",
        ),
        (
            {"mlflow": {"uri": "mlruns"}},
            "tracking.mlflow.uri: expected the address of a server or database, such as "
            "http://host:5000 or sqlite:///mlflow.db (MLflow 3 refuses folders), got 'mlruns'",
        ),
        (
            {"mlflow": {"uri": "https://me:secret@host"}},
            "tracking.mlflow.uri: has a password, and this file is copied into the folder of the "
            "sweep. Give MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD in the environment",
        ),
    ],
)
def test_a_mistake_is_told_with_its_place(make_spec: Make, section: Any, problem: str):
    assert problem_of(make_spec, section) == problem


def test_an_unknown_mode_is_told_with_the_known_ones(make_spec: Make):
    problem = problem_of(make_spec, {"wandb": {"mode": "offline"}})
    assert problem.startswith("tracking.wandb.mode: ")
    assert all(mode in problem for mode in ("auto", "online", "off"))


def test_it_may_change_when_a_sweep_is_continued(make_spec: Make):
    plain = make_spec().fixed_part()
    assert make_spec(tracking={"wandb": {}, "tensorboard": True}).fixed_part() == plain


class TestAlso:
    def test_trackers_are_added_and_those_of_the_file_stay(self):
        online = WandbOptions(project="masks", mode="online")
        tracking = Tracking(wandb=online).also(["wandb", "tensorboard", "mlflow"])
        assert tracking == Tracking(wandb=online, tensorboard=True, mlflow=MlflowOptions())

    def test_one_that_was_off_is_on_with_its_options(self):
        tracking = Tracking(wandb=WandbOptions(project="masks", mode="off")).also(["wandb"])
        assert tracking.wandb == WandbOptions(project="masks", mode="auto")

    def test_the_written_search_space_has_them_too(
        self, space_file: Callable[..., Path], make_spec: Make
    ):
        spec = make_spec(tracking={"mlflow": {"uri": "http://host"}}).tracked_by(["wandb"])
        assert spec.raw["tracking"] == {"wandb": {}, "mlflow": {"uri": "http://host"}}
        path = space_file()
        path.write_text(json.dumps(spec.raw))
        assert read_spec(path).tracking == spec.tracking

    def test_without_new_ones_the_search_space_is_the_same(self, make_spec: Make):
        spec = make_spec(tracking={"tensorboard": True})
        assert spec.tracked_by(["tensorboard"]) is spec
