"""`sweeps status`: show the progress of a sweep."""

import dataclasses
import json
from typing import TYPE_CHECKING

from sweeps.cli.options import Json, Runs, Storage, SweepName, runs_folder, stored

if TYPE_CHECKING:
    from sweeps.results.summary import Summary


def status(
    sweep: SweepName = None, as_json: Json = False, storage: Storage = None, runs: Runs = None
) -> None:
    """Show how far a sweep is, who drives it and what is left of its budget."""
    from sweeps.paths import SweepFiles
    from sweeps.results.summary import failures, notes, summarise
    from sweeps.results.view import SweepView

    view = SweepView.read(stored(sweep, storage, runs))
    summary = summarise(view)
    failed = failures(view)
    noted = notes(view)
    if as_json:
        print(
            json.dumps(
                {**dataclasses.asdict(summary), "failures": failed, "notes": noted}, indent=2
            )
        )
        return
    score = "none yet" if summary.best_score is None else f"{summary.best_score:.4f}"
    print(f"sweep      {summary.sweep}")
    print(f"driver     {summary.holder or _nobody(summary)}")
    print(f"trials     {_counts(summary)}")
    print(f"best       {score} ({summary.metric}, {summary.goal})")
    print(f"started    {summary.started or 'not yet'}")
    gpu = f", {summary.gpu_hours:.2f} GPU-hours" if summary.gpu_hours else ""
    print(f"time spent {summary.elapsed_s / 60:.1f} min{gpu}")
    print(f"left       {_left(summary)}")
    for number, reason in failed.items():
        print(f"failed     trial {number}: {reason}")
    files = SweepFiles(runs_folder(runs) / summary.sweep)
    errors = [path for number in failed if (path := files.trial(number).error).is_file()]
    if errors:
        found = errors[0] if len(errors) == 1 else files.every_error
        print(f"traceback  {found}")
    for number, lines in noted.items():
        for line in lines:
            print(f"note       trial {number}: {line}")


def _nobody(summary: "Summary") -> str:
    if summary.left.trials == 0 and not summary.running + summary.interrupted:
        return "none: all trials are done"
    if 0 in (summary.left.hours, summary.left.gpu_hours):
        return "none: the budget is used up"
    if summary.target_reached:
        return "none: the target is reached"
    return "none: `sweeps run` continues it"


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
