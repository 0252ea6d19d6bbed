"""Options that several commands share."""

import enum
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sweeps.cli.completion import space_files, sweep_names
from sweeps.results.named import opened as opened
from sweeps.results.named import runs_folder as runs_folder
from sweeps.results.named import storage_url as storage_url
from sweeps.results.named import stored as stored
from sweeps.results.named import sweep_name as sweep_name

if TYPE_CHECKING:
    from sweeps.space.tracking import TrackerName


class Tracker(enum.Enum):
    """The names of `sweeps.space.tracking.TRACKERS`, which is not imported for `--help`."""

    WANDB = "wandb"
    TENSORBOARD = "tensorboard"
    MLFLOW = "mlflow"


def tracker_names(given: list[Tracker] | None) -> "tuple[TrackerName, ...]":
    """The values of an option that names trackers."""
    return tuple(tracker.value for tracker in given or ())


def begun_sweeps(ctx: typer.Context, incomplete: str) -> list[str]:
    """What completes the name of a sweep: those that are stored, else search spaces."""
    folder = runs_folder(ctx.params.get("runs"))
    names = sweep_names(storage_url(ctx.params.get("storage"), folder), folder)
    return [name for name in names if name.startswith(incomplete)] or space_files(incomplete)


Storage = Annotated[
    str | None,
    typer.Option(
        "--storage",
        metavar="URL",
        help="Database URL (default $SWEEPS_STORAGE, else <runs>/sweeps.db).",
    ),
]
Runs = Annotated[
    Path | None,
    typer.Option(
        "--runs", metavar="DIR", help="Folder of all results (default $SWEEPS_RUNS, else runs)."
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Space = Annotated[
    Path,
    typer.Argument(
        metavar="SPACE",
        help="The search space (YAML).",
        show_default=False,
        autocompletion=space_files,
    ),
]
Common = Annotated[bool, typer.Option("--common", help="Use only the images that both files have.")]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="key=value",
        help="Override a key of the search space, e.g. run_cap=20. Repeatable.",
    ),
]
Name = Annotated[
    str | None,
    typer.Option("--name", metavar="NAME", help="Another name for the sweep (name)."),
]
SweepName = Annotated[
    str | None,
    typer.Argument(
        metavar="[SWEEP]",
        help="A sweep's name or its YAML (default: the latest).",
        show_default=False,
        autocompletion=begun_sweeps,
    ),
]


def settings_of(settings: list[str] | None, *, name: str | None) -> list[str]:
    """The overrides of `--set` and `--name`; `--name` is text, whatever it looks like."""
    return [*(settings or []), *([] if name is None else [f"name={json.dumps(name)}"])]
