"""The trackers by their names in a search space."""

import importlib.util
from collections.abc import Callable
from typing import Any

from sweeps.errors import InputError
from sweeps.paths import SweepFiles
from sweeps.space.tracking import TrackerName, Tracking, WandbOptions
from sweeps.tracking import wandb_choice
from sweeps.tracking.mlflow_runs import default_uri
from sweeps.tracking.tracker import SweepFacts, Tracker


def _tensorboard(facts: SweepFacts, tracking: Tracking) -> Tracker:
    from sweeps.tracking.tensorboard import TensorBoardTracker

    return TensorBoardTracker(facts)


def _mlflow(facts: SweepFacts, tracking: Tracking) -> Tracker:
    from sweeps.tracking.mlflow_runs import MlflowTracker

    return MlflowTracker(facts, uri=None if tracking.mlflow is None else tracking.mlflow.uri)


def _wandb(facts: SweepFacts, tracking: Tracking) -> Tracker:
    return wandb_choice.make(facts, tracking.wandb or WandbOptions())


# imports nothing of a tracker's library before it is made
MAKERS: dict[TrackerName, Callable[[SweepFacts, Tracking], Tracker]] = {
    "wandb": _wandb,
    "tensorboard": _tensorboard,
    "mlflow": _mlflow,
}


def tracking_of(facts: SweepFacts) -> Tracking:
    """The section `tracking` of a sweep's present search space."""
    section: dict[str, Any] = facts.spec.get("tracking") or {}
    return Tracking.model_validate(section)


def make_tracker(name: TrackerName, facts: SweepFacts) -> Tracker:
    """The tracker of this name for a sweep, with the options of its search space.

    Raises:
        TrackerError: its program cannot be reached.
    """
    return MAKERS[name](facts, tracking_of(facts).also([name]))


def ready(tracking: Tracking, *, sweep: str) -> tuple[tuple[TrackerName, ...], tuple[str, ...]]:
    """The trackers that can show a sweep while it runs, and what the user should know of others.

    Raises:
        InputError: the credentials for W&B cannot be any.
    """
    names = tracking.names
    if tracking.wandb is None or "wandb" not in names or wandb_choice.is_sent(tracking.wandb):
        return names, ()
    others = tuple(name for name in names if name != "wandb")
    return others, (wandb_choice.OFFLINE.format(sweep=sweep),)


def places(tracking: Tracking, files: SweepFiles) -> list[str]:
    """Where the trackers show a sweep: an address, or the command that opens one.

    An address of MLflow has no password, see `sweeps.space.tracking`.
    """
    found = []
    if "wandb" in tracking.names and (place := wandb_choice.place(files)) is not None:
        found.append(place)
    if "tensorboard" in tracking.names:
        found.append(f"tensorboard --logdir {files.tensorboard}")
    if tracking.mlflow is not None:
        uri = tracking.mlflow.uri or default_uri(files.directory.parent)
        is_server = uri.startswith(("http:", "https:"))
        found.append(uri if is_server else f"mlflow ui --backend-store-uri {uri}")
    return found


def refuse_unusable(tracking: Tracking, *, sweep: str) -> None:
    """Check before a sweep runs that the trackers can be used.

    Raises:
        InputError: a library is not installed, or W&B refuses the login or the project.
    """
    if "mlflow" in tracking.names and importlib.util.find_spec("mlflow") is None:
        raise InputError(
            "tracking.mlflow: MLflow is not installed. Install it with "
            "pip install 'foldsweep[mlflow]', or leave it out"
        )
    wandb = tracking.wandb if "wandb" in tracking.names else None
    if wandb is not None and wandb_choice.is_sent(wandb):
        wandb_choice.refuse_unusable(wandb, sweep=sweep)
