"""`sweeps stop`: ask the driver of a sweep to stop; the driver may be on any machine."""

from typing import Annotated

import typer

from sweeps.cli.options import Runs, Storage, SweepName, opened, sweep_name


def stop(
    sweep: SweepName = None,
    now: Annotated[
        bool,
        typer.Option(
            "--now", help="Interrupt running trials; they leave a checkpoint to continue from."
        ),
    ] = False,
    storage: Storage = None,
    runs: Runs = None,
) -> None:
    """Stop a running sweep.

    No new trials start, and running ones finish. `sweeps run` continues the sweep.
    """
    from sweeps.results.view import find_sweep, preparing
    from sweeps.study.lease import find_holder, request_stop

    found = opened(storage, runs)
    # a driver takes the lease before it prepares the data, and stores the sweep after that
    name = sweep_name(sweep) or next(reversed(preparing(found)), None)
    if name is None or find_holder(found.engine, name) is None:
        name = find_sweep(found, name).name
    holder = request_stop(found.engine, name, now=now)
    if now:
        print(f"asked {holder} to stop sweep {name} now: running trials leave a checkpoint")
    else:
        print(f"asked {holder} to drain sweep {name}: running trials finish, no new ones start")
        print(f"at once    sweeps stop {name} --now")
    print(f"progress   sweeps status {name}")
