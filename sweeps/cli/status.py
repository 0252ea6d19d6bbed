"""`sweeps status`: how far a sweep is."""

import dataclasses
import json

from sweeps.cli.options import Json, Runs, Storage, SweepName, runs_folder, storage_url, sweep_name


def status(sweep: SweepName = None, as_json: Json = False, storage: Storage = None, runs: Runs = None) -> None:
    """Show how far a sweep is and who drives it."""
    from sweeps.results import failures, find_sweep, notes, summarise
    from sweeps.study import open_storage

    opened = open_storage(storage_url(storage, runs_folder(runs)), must_exist=True)
    found = find_sweep(opened, sweep_name(sweep))
    summary, failed, noted = summarise(found), failures(found), notes(found)
    if as_json:
        print(json.dumps({**dataclasses.asdict(summary), "failures": failed, "notes": noted}, indent=2))
        return
    score = "none yet" if summary.best_score is None else f"{summary.best_score:.4f}"
    print(f"sweep      {summary.sweep}")
    ended = summary.completed + summary.pruned + summary.failed
    done = summary.run_cap is not None and ended >= summary.run_cap
    print(
        f"driver     {summary.holder or ('none: all trials are done' if done else 'none: `sweeps run` continues it')}"
    )
    of = f" of {summary.run_cap}" if summary.run_cap else ""
    print(
        f"trials     {summary.completed} completed, {summary.pruned} pruned, {summary.failed} failed, "
        f"{summary.running} running, {summary.interrupted} interrupted{of}"
    )
    print(f"best       {score} ({summary.metric}, {summary.goal})")
    print(f"started    {summary.started or 'not yet'}")
    print(f"time spent {summary.elapsed_s / 60:.1f} min")
    for number, reason in failed.items():
        print(f"failed     trial {number}: {reason}")
    for number, lines in noted.items():
        for line in lines:
            print(f"note       trial {number}: {line}")
