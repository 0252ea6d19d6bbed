"""Options that several commands share."""

import enum
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sweeps.cli.completion import space_files, sweep_names
from sweeps.errors import InputError

if TYPE_CHECKING:
    from optuna.storages import RDBStorage

    from sweeps.space.tracking import TrackerName
    from sweeps.study.stored_sweep import StoredSweep


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


def runs_folder(runs: Path | None) -> Path:
    """The folder of all results: `--runs`, else `$SWEEPS_RUNS`, else `runs`."""
    return runs or Path(os.environ.get("SWEEPS_RUNS") or "runs")


def storage_url(storage: str | None, runs: Path) -> str:
    """The URL from `--storage` or `$SWEEPS_STORAGE`, else of a SQLite file in the runs folder."""
    from sweeps.paths import default_storage

    return storage or os.environ.get("SWEEPS_STORAGE") or default_storage(runs)


def opened(storage: str | None, runs: Path | None) -> "RDBStorage":
    """The storage that the options name; the storage must exist.

    Raises:
        InputError: the storage does not exist or cannot be opened.
    """
    from sweeps.study.storage import open_storage

    return open_storage(storage_url(storage, runs_folder(runs)), must_exist=True)


def stored(sweep: str | None, storage: str | None, runs: Path | None) -> "StoredSweep":
    """The sweep that the options name: by its name, by its YAML, or the latest.

    Raises:
        InputError: the sweep or the storage does not exist.
    """
    from sweeps.results.view import find_sweep

    return find_sweep(opened(storage, runs), sweep_name(sweep))


def sweep_name(given: str | None) -> str | None:
    """The sweep's name, from a name, a caption, or the path of its YAML file; None stays None.

    Raises:
        InputError: the YAML file does not exist.
    """
    if given is None:
        return None
    from sweeps.space.sweep_names import sweep_name_of

    if not given.endswith((".yaml", ".yml")):
        return sweep_name_of(given)
    from sweeps.space.yaml_file import YamlFile

    path = Path(given)
    if not path.is_file():
        raise InputError(
            f"{path}: no such file. Give a sweep's name (`sweeps list` shows them) or its YAML"
        )
    return sweep_name_of(str(YamlFile(path).values.get("name") or path.stem))
