"""`sweeps gc`: remove files that sweeps no longer need."""

import dataclasses
import json
import sys
import time
from typing import TYPE_CHECKING, Annotated

import typer

from sweeps.cli.options import Json, Runs, Storage, begun_sweeps, opened, runs_folder, sweep_name
from sweeps.errors import InputError

if TYPE_CHECKING:
    from sweeps.upkeep.garbage import Collected

KINDS = ("weights", "checkpoints", "temporary", "unknown")


def gc(
    sweep: Annotated[
        str | None,
        typer.Argument(
            metavar="[SWEEP]",
            help="A sweep's name or its YAML (default: all of them).",
            show_default=False,
            autocompletion=begun_sweeps,
        ),
    ] = None,
    keep: Annotated[
        int | None,
        typer.Option(
            "--keep",
            metavar="N",
            min=1,
            help="Best trials that keep their weights (default: keep, else 20).",
        ),
    ] = None,
    failed: Annotated[
        bool,
        typer.Option(
            "--failed", help="Also weights of failed trials; a retry then trains their folds again."
        ),
    ] = False,
    refits: Annotated[
        bool, typer.Option("--refits", help="Also models that `sweeps refit` trained.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    as_json: Json = False,
    storage: Storage = None,
    runs: Runs = None,
) -> None:
    """Free disk space.

    Weights beyond the best trials go, and what interrupted and dead processes left behind. Results,
    curves and out-of-fold predictions stay. A sweep that is running now is left alone.
    """
    from sweeps.results.view import find_sweep, names
    from sweeps.upkeep.garbage import Asked, Collected, collect
    from sweeps.upkeep.leftovers import claims

    folder = runs_folder(runs)
    found = opened(storage, runs)
    chosen = names(found) if sweep is None else [find_sweep(found, sweep_name(sweep)).name]
    claimed = claims(found, runs=folder)
    asked: dict[Asked, bool] = {"failed": failed, "refits": refits}
    include = [what for what, wanted in asked.items() if wanted]
    done: list[Collected] = []
    for name in chosen:
        try:
            stored = find_sweep(found, name)
            done.append(
                collect(
                    stored,
                    runs=folder,
                    claimed=claimed,
                    now=time.time(),
                    keep=keep,
                    include=include,
                    dry_run=dry_run,
                )
            )
        except InputError as error:
            if sweep is not None:
                raise
            done.append(Collected(name, skipped=str(error)))
    if as_json:
        rows = [dataclasses.asdict(collected) for collected in done]
        print(
            json.dumps({"dry_run": dry_run, "sweeps": rows, "freed_bytes": _freed(done)}, indent=2)
        )
        return
    _print(done, dry_run=dry_run)


def _print(done: "list[Collected]", *, dry_run: bool) -> None:
    from sweeps.cli.tables import print_table

    for collected in done:
        if collected.skipped is not None:
            print(f"note: {collected.sweep}: skipped. {collected.skipped}", file=sys.stderr)
    rows = [
        [
            collected.sweep,
            *(str(getattr(collected, kind)) for kind in KINDS),
            size_text(collected.freed_bytes),
        ]
        for collected in done
        if collected.skipped is None
    ]
    if len(rows) > 1:
        rows.append(
            [
                "all",
                *(str(sum(getattr(collected, kind) for collected in done)) for kind in KINDS),
                size_text(_freed(done)),
            ]
        )
    columns = ("sweep", *KINDS, "would be freed" if dry_run else "freed")
    print_table(columns, rows, right=columns[1:])


def _freed(done: "list[Collected]") -> int:
    return sum(collected.freed_bytes for collected in done)


def size_text(size_bytes: float) -> str:
    """The size with a decimal unit that people can read, such as 1.2 GB."""
    unit, *larger = ("B", "kB", "MB", "GB", "TB")
    while size_bytes >= 1000 and larger:
        size_bytes /= 1000
        unit, *larger = larger
    return f"{size_bytes:.0f} {unit}" if unit == "B" else f"{size_bytes:.1f} {unit}"
