"""`sweeps list`: list all sweeps of a storage."""

import json
import sys

from sweeps.cli.options import Json, Runs, Storage, opened
from sweeps.results.named import nothing_yet


def list_sweeps(as_json: Json = False, storage: Storage = None, runs: Runs = None) -> None:
    """List all sweeps."""
    from sweeps.cli.tables import print_table
    from sweeps.results.summary import State, summarise
    from sweeps.results.view import SweepView, find_sweep, names, newer, preparing

    if nothing_yet(storage, runs):
        print("no sweeps yet. `sweeps run SPACE` starts one", file=sys.stderr)
        if as_json:
            print("[]")
        return
    found = opened(storage, runs)
    begun = preparing(found)
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
        listed = [summary.as_json() for summary in summaries]
        listed += [
            {"sweep": name, "state": State.PREPARING, "holder": holder.as_json()}
            for name, holder in begun.items()
        ]
        print(json.dumps(listed, indent=2))
        return
    rows = []
    for s in summaries:
        best = "-" if s.best_score is None else f"{s.best_score:.4f}"
        counts = [str(number) for number in (s.completed, s.pruned, s.failed)]
        rows.append([s.sweep, *counts, best, s.metric, s.started or "-", str(s.holder or "-")])
    for name, holder in begun.items():
        doing = f"{holder}: {holder.doing or 'starting'}"
        rows.append([name, "0", "0", "0", "-", "-", "-", doing])
    columns = ("sweep", "completed", "pruned", "failed", "best", "metric", "started", "driver")
    print_table(columns, rows, right=columns[1:5])
