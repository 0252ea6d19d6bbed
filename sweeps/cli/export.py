"""`sweeps export`: write a sweep's trials, fold runs and epochs as tables, or one trial as YAML."""

import functools
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sweeps.cli.options import Runs, Storage, SweepName, runs_folder, stored
from sweeps.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable

    from sweeps.reporting.export import Table


def export(
    sweep: SweepName = None,
    *,
    trials: Annotated[
        Path | None,
        typer.Option("--trials", metavar="FILE", help="A row per trial (.csv or .parquet)."),
    ] = None,
    folds: Annotated[
        Path | None, typer.Option("--folds", metavar="FILE", help="A row per finished fold run.")
    ] = None,
    epochs: Annotated[
        Path | None, typer.Option("--epochs", metavar="FILE", help="A row per epoch.")
    ] = None,
    trial: Annotated[
        int | None,
        typer.Option("--trial", metavar="N", help="Print a YAML that trains this trial alone."),
    ] = None,
    storage: Storage = None,
    runs: Runs = None,
) -> None:
    """Write tables of all trials, or one trial as YAML.

    Pruned and failed trials are included, and tables of fold runs and epochs can be had, too.
    """
    from sweeps.reporting.export import epochs_table, folds_table, trials_table, write_tables
    from sweeps.reporting.trial_file import trial_file
    from sweeps.results.view import SweepView, sweep_files

    wanted = [path for path in (trials, folds, epochs) if path is not None]
    if trial is not None and wanted:
        raise InputError("--trial prints one trial, and the other options write tables: give one")
    if trial is None and not wanted:
        raise InputError("nothing to export: give --trials, --folds or --epochs, or --trial N")
    if len(set(wanted)) < len(wanted):
        raise InputError(f"{wanted[0]}: each table needs a file of its own")
    found = stored(sweep, storage, runs)
    files = sweep_files(found, runs=runs_folder(runs))
    view = SweepView.read(found)
    if trial is not None:
        file = trial_file(view, files, trial)
        for note in file.notes:
            print(f"note: {note}", file=sys.stderr)
        print(file.text, end="")
        return
    makers: dict[Path | None, Callable[[], Table]] = {
        trials: functools.partial(trials_table, view),
        folds: functools.partial(folds_table, view, files),
        epochs: functools.partial(epochs_table, view, files),
    }
    tables = {path: make for path, make in makers.items() if path is not None}
    for path, rows in write_tables(tables).items():
        print(f"{path}: {rows} row{'' if rows == 1 else 's'}")
