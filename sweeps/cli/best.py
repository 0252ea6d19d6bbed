"""`sweeps best`: print the leaderboard of a sweep."""

import json
from typing import Annotated

import typer

from sweeps.cli.options import Json, Runs, Storage, SweepName, runs_folder, stored
from sweeps.errors import NothingCompletedError


def best(
    sweep: SweepName = None,
    topk: Annotated[int, typer.Option("--topk", min=1, help="How many trials.")] = 5,
    as_json: Json = False,
    storage: Storage = None,
    runs: Runs = None,
) -> None:
    """Show a sweep's best trials with their fold scores."""
    from sweeps.cli.tables import print_leaderboard
    from sweeps.results.leaderboard import leaderboard
    from sweeps.results.view import SweepView

    found = leaderboard(
        SweepView.read(stored(sweep, storage, runs)), runs=runs_folder(runs), topk=topk
    )
    if as_json:
        print(json.dumps(found.as_json(), indent=2))
        return
    if not found.trials:
        raise NothingCompletedError(
            f"sweep {found.sweep!r} has no completed trial yet "
            f"({found.pruned} pruned, {found.failed} failed). `sweeps status` shows how it goes"
        )
    print_leaderboard(found)
