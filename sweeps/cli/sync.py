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
    """Show a sweep in W&B, TensorBoard or MLflow.

    What they do not have yet is sent.
    """
    from sweeps.errors import TrackerError
    from sweeps.results.view import sweep_files
    from sweeps.tracking.orders import SHOWN
    from sweeps.tracking.sync import sync

    found = stored(sweep, storage, runs)
    files = sweep_files(found, runs=runs_folder(runs))
    refused: list[str] = []
    for synced in sync(found, files, to=tracker_names(to)):
        trials = f"{synced.trials} trial{'s' if synced.trials != 1 else ''}"
        print(f"{SHOWN[synced.tracker]} shows {trials} of {found.name}")
        refused += synced.refused
    if refused:
        raise TrackerError(
            "\n  ".join(["not sent, because it is refused:", *refused])
            + "\nThe same command tries it again"
        )
