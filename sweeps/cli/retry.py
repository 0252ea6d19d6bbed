"""`sweeps retry`: have failed trials evaluated again."""

import sys
from typing import Annotated

import typer

from sweeps.cli.options import Runs, Storage, SweepName, runs_folder, stored


def retry(
    sweep: SweepName = None,
    trials: Annotated[
        list[int] | None,
        typer.Option(
            "--trial", metavar="N", min=0, help="A failed trial (default: all of them). Repeatable."
        ),
    ] = None,
    storage: Storage = None,
    runs: Runs = None,
) -> None:
    """Have failed trials evaluated again.

    As new trials with the same seed, which keep the folds that are finished.
    """
    from sweeps.results.view import sweep_files
    from sweeps.study.lease import Lease
    from sweeps.upkeep.retry import retry_failed

    found = stored(sweep, storage, runs)
    files = sweep_files(found, runs=runs_folder(runs))
    with Lease.acquire(found.storage.engine, found.name) as lease:
        added = retry_failed(found, trials or (), files=files, confirm=lease.confirm)
    for retried in added:
        kept = (
            "no finished fold"
            if not retried.folds
            else f"{retried.folds} finished fold{'s' if retried.folds != 1 else ''}"
        )
        print(f"trial {retried.number} repeats trial {retried.failed}, with {kept} of it")
    command = found.record().command or "sweeps run SPACE"
    what = (
        f"`{command}` runs them" if added else f"sweep {found.name!r} has no failed trial to retry"
    )
    print(what, file=sys.stderr)
