"""W&B as a choice of a search space: whether it can be used, its tracker, where the sweep is."""

import json
import os
from pathlib import Path

from sweeps.errors import TrackerError
from sweeps.paths import SweepFiles
from sweeps.space.tracking import WandbOptions
from sweeps.tracking.tracker import SweepFacts, Tracker
from trainer.files import atomic_write

KEPT = "sweep.json"  # beside the notes of `wandb_runs`
OFFLINE = (
    "tracking.wandb: nobody is logged in to W&B here, so this sweep is not shown there while it "
    "runs. `wandb login` or WANDB_API_KEY, then `sweeps sync {sweep} --to wandb`, sends it later"
)


def is_sent(options: WandbOptions) -> bool:
    """Whether a running sweep is sent to W&B, see WandbOptions.mode."""
    from sweeps.tracking.wandb_client import is_online

    return is_online(options.mode, os.environ)


def refuse_unusable(options: WandbOptions, *, sweep: str) -> None:
    """Check what W&B would refuse: the name of the project, the login.

    A server that does not answer is no error: the records are sent when it does.

    Raises:
        InputError: W&B refuses the name or the login, or nobody is logged in.
    """
    from sweeps.tracking.wandb_client import log_in, release
    from sweeps.tracking.wandb_sweep import check_project

    check_project(options.project or sweep)
    try:
        log_in(options.entity)
    except TrackerError:
        return
    finally:
        release(within_s=3)


def make(facts: SweepFacts, options: WandbOptions) -> Tracker:
    """Return the tracker of a sweep; the sweep at W&B keeps its id from process to process."""
    from sweeps.tracking.wandb_runs import WandbTracker

    project = options.project or facts.name
    kept = _Kept(SweepFiles(facts.directory).wandb / KEPT, project, options.entity)
    return WandbTracker(
        facts,
        project=project,
        entity=options.entity,
        sweep_id=kept.read(),
        keep_sweep_id=kept.write,
    )


def place(files: SweepFiles) -> str | None:
    """Where W&B shows a sweep; None if it was never sent there."""
    try:
        kept = json.loads((files.wandb / KEPT).read_text())
        return f"W&B: sweep {kept['id']} in project {kept['project']}"
    except (OSError, ValueError, KeyError, TypeError):
        return None


class _Kept:
    """The file with the id of the sweep at W&B. The id of another project is not used."""

    def __init__(self, path: Path, project: str, entity: str | None) -> None:
        self._path = path
        self._place = {"project": project, "entity": entity}

    def read(self) -> str | None:
        try:
            found = json.loads(self._path.read_text())
            return str(found["id"]) if found.items() >= self._place.items() else None
        except (OSError, ValueError, KeyError, AttributeError):
            return None

    def write(self, sweep_id: str) -> None:
        with atomic_write(self._path) as stream:
            stream.write(json.dumps({**self._place, "id": sweep_id}).encode())
