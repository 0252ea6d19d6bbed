"""`sweeps fail`: end trials by hand that are not over."""

import contextlib
import sys
from typing import Annotated

import typer

from sweeps.cli.options import Runs, Storage, SweepName, stored
from sweeps.errors import SweepBusyError


def fail(
    trials: Annotated[
        list[int],
        typer.Option("--trial", metavar="N", min=0, help="A trial that is not over. Repeatable."),
    ],
    sweep: SweepName = None,
    reason: Annotated[
        str | None, typer.Option("--reason", metavar="TEXT", help="Why, for `sweeps status`.")
    ] = None,
    storage: Storage = None,
    runs: Runs = None,
) -> None:
    """End trials by hand, as failed.

    An interrupted trial fails at once. A running one stops at its next report, and its sweep goes
    on.
    """
    from sweeps.study.lease import Lease
    from sweeps.upkeep.fail import BY_HAND, not_over

    found = stored(sweep, storage, runs)
    with contextlib.ExitStack() as stack:
        driven = False
        try:
            stack.enter_context(Lease.acquire(found.storage.engine, found.name))
        except SweepBusyError:  # its driver takes note, as it does of the dashboard's `Fail Trial`
            driven = True
        for trial in not_over(found.trials(), trials):
            found.fail(trial.number, reason or BY_HAND)
            running = driven and trial.state.name == "RUNNING"
            print(
                f"trial {trial.number} stops at its next report, the sweep goes on"
                if running
                else f"trial {trial.number} has failed: {reason or BY_HAND}"
            )
    again = " ".join(f"--trial {number}" for number in sorted(set(trials)))
    print(f"again      sweeps retry {found.name} {again}", file=sys.stderr)
