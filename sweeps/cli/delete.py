"""`sweeps delete`: remove a whole sweep."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from sweeps.cli.options import Runs, Storage, begun_sweeps, runs_folder, stored
from sweeps.errors import InputError

if TYPE_CHECKING:
    from sweeps.upkeep.deletion import Deletable


def delete(
    sweep: Annotated[
        str,
        typer.Argument(
            metavar="SWEEP",
            help="A sweep's name or its YAML.",
            show_default=False,
            autocompletion=begun_sweeps,
        ),
    ],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    storage: Storage = None,
    runs: Runs = None,
) -> None:
    """Delete a sweep for ever.

    Its files and its trials in the storage go. Its data, the decoded images and what W&B and others
    show of it stay. A sweep that is running now is refused, and one whose trials another sweep took
    over.
    """
    from sweeps.upkeep.deletion import deletable, delete

    folder = runs_folder(runs)
    found = deletable(stored(sweep, storage, runs), runs=folder)
    print(_loss(found), file=sys.stderr)
    if not yes:
        if not sys.stdin.isatty():
            raise InputError(f"sweep {found.sweep.name!r} is not deleted: add --yes to do it")
        typer.confirm(f"delete sweep {found.sweep.name}?", abort=True, err=True)
    delete(found, runs=folder)
    print(f"deleted {found.sweep.name}")


def _loss(found: "Deletable") -> str:
    """What is lost, for a user who has to decide."""
    from sweeps.cli.gc import size_text
    from sweeps.cli.tables import format_time

    spent = f"{format_time(found.elapsed_s)} of work"
    if found.gpu_s:
        spent += f", {found.gpu_s / 3600:.1f} GPU hours"
    files = "no files here" if found.files is None else f"{size_text(found.size_bytes)} of files"
    trials = f"{found.trials} trials, {found.complete} of them complete"
    return f"sweep {found.sweep.name}: {trials}, {spent}, {files}"
