"""`sweeps list`: list all sweeps of a storage."""

import dataclasses
import json
import sys

from sweeps.cli.options import Json, Runs, Storage, opened


def list_sweeps(as_json: Json = False, storage: Storage = None, runs: Runs = None) -> None:
    """List all sweeps in the storage."""
    from sweeps.cli.tables import print_table
    from sweeps.results.summary import summarise
    from sweeps.results.view import SweepView, find_sweep, names, newer

    found = opened(storage, runs)
    unreadable = newer(found)
    readable = [name for name in names(found) if name not in unreadable]
    summaries = [summarise(SweepView.read(find_sweep(found, name))) for name in readable]
    for name in unreadable:
        print(
            f"note: sweep {name!r} was made by a newer version of foldsweep. Update: pip install "
            "-U foldsweep",
            file=sys.stderr,
        )
    if as_json:
        print(json.dumps([dataclasses.asdict(summary) for summary in summaries], indent=2))
        return
    rows = []
    for s in summaries:
        best = "-" if s.best_score is None else f"{s.best_score:.4f}"
        counts = [str(number) for number in (s.completed, s.pruned, s.failed)]
        rows.append([s.sweep, *counts, best, s.metric, s.started or "-", str(s.holder or "-")])
    columns = ("sweep", "completed", "pruned", "failed", "best", "metric", "started", "driver")
    print_table(columns, rows, right=columns[1:5])
