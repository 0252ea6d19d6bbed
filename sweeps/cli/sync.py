"""`sweeps sync`: show a sweep in W&B, TensorBoard or MLflow after the fact."""

from typing import Annotated

import typer

from sweeps.cli.options import Runs, Storage, SweepName, Tracker, runs_folder, stored, tracker_names


def sync(
    sweep: SweepName = None,
    to: Annotated[
        list[Tracker] | None,
        typer.Option(
            "--to",
            metavar="NAME",
            help="wandb, tensorboard or mlflow (default: those of the search space). Repeatable.",
        ),
    ] = None,
    storage: Storage = None,
    runs: Runs = None,
) -> None:
    """Show a sweep in W&B, TensorBoard or MLflow: sends what they do not have yet."""
    from sweeps.results.view import sweep_files
    from sweeps.tracking.orders import SHOWN
    from sweeps.tracking.sync import sync

    found = stored(sweep, storage, runs)
    files = sweep_files(found, runs=runs_folder(runs))
    for name, trials in sync(found, files, to=tracker_names(to)):
        print(f"{SHOWN[name]} shows {trials} trial{'s' if trials != 1 else ''} of {found.name}")
