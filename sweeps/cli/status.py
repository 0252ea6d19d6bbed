"""`sweeps status`: show the progress of a sweep."""

import dataclasses
import json
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sweeps.cli.options import (
    Json,
    Runs,
    Storage,
    SweepName,
    opened,
    runs_folder,
    sweep_name,
)
from sweeps.cli.tables import PIPE_WIDTH
from sweeps.errors import InputError

if TYPE_CHECKING:
    from sweeps.results.summary import Summary
    from sweeps.results.view import SweepView
    from sweeps.study.holder import Holder
    from sweeps.study.stored_sweep import StoredSweep


WATCH_EVERY_S = 2.0
NUMBERS = 5  # trials that failed alike and are named
PIPE_LINES = 50  # lines of the view in a pipe or a file


def status(
    sweep: SweepName = None,
    as_json: Json = False,
    watch: Annotated[
        bool,
        typer.Option("--watch", help="Show the live view until Ctrl-C, from any machine."),
    ] = False,
    storage: Storage = None,
    runs: Runs = None,
) -> None:
    """Show how far a sweep is.

    And who drives it, what is left of its budget, and why trials failed.
    """
    from sweeps.paths import SweepFiles
    from sweeps.results.summary import failure_groups, failures, notes, summarise
    from sweeps.results.view import SweepView, find_sweep, preparing

    if watch and as_json:
        raise InputError("--watch draws a view, and --json prints once: give one of them")
    found = opened(storage, runs)
    name = sweep_name(sweep)
    begun = preparing(found)
    if name in begun or (name is None and begun):
        name = name or list(begun)[-1]
        _print_preparing(name, begun[name], as_json=as_json)
        return
    stored = find_sweep(found, name)
    if watch:
        _watch(stored)
        return
    view = SweepView.read(stored)
    summary = summarise(view)
    failed = failures(view)
    groups = failure_groups(view)
    noted = notes(view)
    if as_json:
        more = {
            "failures": failed,
            "failure_groups": [
                {"count": each.count, **dataclasses.asdict(each)} for each in groups
            ],
            "notes": noted,
        }
        print(json.dumps({**summary.as_json(), **_now(view), **more}, indent=2))
        return
    score = "none yet" if summary.best_score is None else f"{summary.best_score:.4f}"
    command = view.record.command or "sweeps run"
    print(f"sweep      {summary.sweep}")
    print(f"driver     {summary.holder or _nobody(summary, command)}")
    if summary.holder is not None and summary.holder.doing:
        print(f"doing      {summary.holder.doing}")
    print(f"trials     {_counts(summary)}")
    print(f"best       {score} ({summary.metric}, {summary.goal})")
    print(f"started    {summary.started or 'not yet'}")
    gpu = f", {summary.gpu_hours:.2f} GPU-hours" if summary.gpu_hours else ""
    print(f"time spent {summary.elapsed_s / 60:.1f} min{gpu}")
    print(f"left       {_left(summary)}")
    for group in groups:
        reason = failed[group.trials[0]] if group.count == 1 else group.reason
        print(f"failed     {_which(group.trials)}: {reason}")
    files = SweepFiles(runs_folder(runs) / summary.sweep)
    errors = [path for number in failed if (path := files.trial(number).error).is_file()]
    if errors:
        place = errors[0] if len(errors) == 1 else files.every_error
        print(f"traceback  {place}")
    for number, lines in noted.items():
        for line in lines:
            print(f"note       trial {number}: {line}")


def _print_preparing(name: str, holder: "Holder", *, as_json: bool) -> None:
    """Print what is known of a sweep that is not stored yet."""
    from sweeps.results.summary import State

    if as_json:
        known = {"sweep": name, "state": State.PREPARING, "holder": holder.as_json()}
        print(json.dumps(known, indent=2))
        return
    print(f"sweep      {name}")
    print(f"driver     {holder}")
    print(f"doing      {holder.doing or 'starting'}")
    print("trials     none yet")


def _now(view: "SweepView") -> dict[str, Any]:
    """The running trials with their last reports, and the seconds left, for JSON."""
    from sweeps.running.watched import stored_snapshot

    snapshot = stored_snapshot(view)
    trials = [
        {
            "trial": trial.number,
            "fold": trial.fold,
            "epoch": trial.epoch,
            "epochs": trial.epochs,
            "value": trial.value,
            "params": trial.params,
        }
        for trial in snapshot.running
    ]
    return {"running_trials": trials, "left_s": snapshot.eta_s}


def _watch(sweep: "StoredSweep") -> None:
    """Draw the live view of a sweep every `WATCH_EVERY_S` seconds, until its driver is gone.

    Where there is no terminal, draw it once.
    """
    from rich.console import Console
    from rich.live import Live

    from sweeps.cli.live_view import draw
    from sweeps.cli.progress import render
    from sweeps.results.view import SweepView
    from sweeps.running.events import Phase
    from sweeps.running.watched import stored_snapshot

    console = Console()
    snapshot = stored_snapshot(SweepView.read(sweep))
    if not console.is_terminal:
        print("\n".join(draw(sweep.name, snapshot, width=PIPE_WIDTH, height=PIPE_LINES)))
        return
    with Live(console=console, auto_refresh=False) as live:
        while True:
            live.update(render(sweep.name, snapshot, console=console), refresh=True)
            if snapshot.phase is Phase.NOT_DRIVEN:
                return
            time.sleep(WATCH_EVERY_S)
            snapshot = stored_snapshot(SweepView.read(sweep))


def _which(trials: Sequence[int]) -> str:
    """The trials of one line. Example: `12 trials (0, 1, 2, 3, 4, ...)`."""
    if len(trials) == 1:
        return f"trial {trials[0]}"
    shown = [str(number) for number in trials[:NUMBERS]]
    return f"{len(trials)} trials ({', '.join(shown + ['...'] * (len(trials) > NUMBERS))})"


def _nobody(summary: "Summary", command: str) -> str:
    """Why nobody drives the sweep.

    Args:
        command: what a user types to continue it.
    """
    if summary.broken:
        return (
            f"none: {summary.broken} trials in a row failed for the same reason; "
            f"`{command}` repeats them"
        )
    if summary.left.trials == 0 and not summary.running + summary.interrupted:
        return "none: all trials are done"
    if 0 in (summary.left.hours, summary.left.gpu_hours):
        return "none: the budget is used up"
    if summary.target_reached:
        return "none: the target is reached"
    return f"none: `{command}` continues it"


def _counts(summary: "Summary") -> str:
    of = f" of {summary.run_cap}" if summary.run_cap else ""
    line = (
        f"{summary.completed} completed, {summary.pruned} pruned, {summary.failed} failed, "
        f"{summary.running} running, {summary.interrupted} interrupted{of}"
    )
    more = {
        "whose results were taken over from equal trials": summary.taken_over,
        "that repeat failed ones": summary.retried,
        "that finish pruned ones": summary.finishes,
        "of other sweeps as history": summary.history,
    }
    return line + "".join(f"; {count} {what}" for what, count in more.items() if count)


def _left(summary: "Summary") -> str:
    left = summary.left
    parts = []
    if left.trials is not None:
        parts.append("1 trial" if left.trials == 1 else f"{left.trials} trials")
    if left.hours is not None:
        parts.append(f"{left.hours:.2f} hours")
    if left.gpu_hours is not None:
        parts.append(f"{left.gpu_hours:.2f} GPU-hours")
    if summary.target is not None:
        parts.append(
            f"the target of {summary.target:g}" + (" is reached" if summary.target_reached else "")
        )
    return ", or ".join(parts) or "no limit"
