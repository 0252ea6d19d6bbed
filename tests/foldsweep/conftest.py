"""A sweep that a notebook ran for real, once for all tests; sweeps whose trials train nothing."""

import contextlib
import dataclasses
import inspect
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import foldsweep
from sweeps.running.local import run_local
from sweeps.running.messages import Assignment, Outcome, OutcomeState, TrialReporter
from tests.sweeps.conftest import _own_folders  # noqa: F401
from tests.sweeps.trained import write_people

GOOD = ({"lr": 0.01}, {"lr": 0.0003})
BAD = {"lr": 1e-7}


def people_space(folder: Path) -> dict[str, Any]:
    """Three trials as a dict: the fold race stops the third one after its first fold."""
    return {
        "name": "people",
        "method": "random",
        "metric": {"name": "valid/f1", "goal": "maximize"},
        "run_cap": 3,
        "seed": 3,
        "data": {
            "source": folder / "photos" / "train.csv",
            "image": "file",
            "label": ["tone", "time"],
            "group": "person",
        },
        "folds": {"k": 2, "race": {"min_evidence": 1, "error_rate": 0.3}, "finish": 0},
        "resources": {"gpu": 0},
        "start_with": [*GOOD, BAD],
        "parameters": {
            "backbone": {"value": "test_resnet"},
            "weights": {"value": "none"},
            "resize": {"value": 16},
            "batch_size": {"value": 8},
            "epochs": {"value": 3},
            "optimizer": {"value": "adamw"},
            "scheduler": {"value": "none"},
            "loss": {"value": "cross_entropy"},
            "lr": {"distribution": "log_uniform_values", "min": 1e-7, "max": 0.02},
        },
    }


@dataclasses.dataclass(frozen=True)
class Trained:
    """Where the sweep lies, and what running it printed."""

    folder: Path
    printed: str

    @property
    def runs(self) -> Path:
        return self.folder / "runs"

    @property
    def space(self) -> dict[str, Any]:
        return people_space(self.folder)

    def open(self) -> foldsweep.Sweep:
        return foldsweep.open("people", runs=self.runs)


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """Two complete trials and a pruned one; no test changes them."""
    folder = tmp_path_factory.mktemp("notebook")
    write_people(folder / "photos")
    printed = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(printed):
        patch.setenv("SWEEPS_CACHE", str(folder / "cache"))
        foldsweep.run(people_space(folder), runs=folder / "runs", local=True)
    return Trained(folder, printed.getvalue())


@pytest.fixture
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The working directory of a notebook."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def untrained(monkeypatch: pytest.MonkeyPatch, trained: Trained) -> dict[str, Any]:
    """The search space of that sweep, where trials train nothing: they score 0.5 and more."""

    def trial(assignment: Assignment, reporter: TrialReporter) -> Outcome:
        return Outcome(OutcomeState.COMPLETED, (0.5, 0.5 + 0.1 * assignment.number))

    monkeypatch.setattr(run_local, "__kwdefaults__", {"trial": trial})
    monkeypatch.setenv("SWEEPS_CACHE", str(trained.folder / "cache"))
    return trained.space


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch, untrained: dict[str, Any]) -> dict[str, Any]:
    """The search space of that sweep, where all trials fail alike."""

    def trial(assignment: Assignment, reporter: TrialReporter) -> Outcome:
        return Outcome(OutcomeState.FAILED, reason="out of luck")

    monkeypatch.setattr(run_local, "__kwdefaults__", {"trial": trial})
    return untrained


@pytest.fixture
def options_of() -> Callable[[Callable[..., Any]], set[str]]:
    """The names of a function's parameters."""
    return lambda function: set(inspect.signature(function).parameters) - {"self"}
