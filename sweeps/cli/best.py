"""`sweeps best`: print the leaderboard of a sweep, its ensemble and what to expect of it."""

import enum
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sweeps.cli.choice_options import From, MaxMembers, wish_of
from sweeps.cli.hints import place
from sweeps.cli.options import (
    Json,
    Runs,
    Storage,
    SweepName,
    runs_folder,
    storage_url,
    stored,
)
from sweeps.errors import InputError

if TYPE_CHECKING:
    from sweeps.results.choice import Wish
    from sweeps.results.view import SweepView
    from sweeps.shipping.holdout import Look


class Rule(enum.StrEnum):
    """Which single trial is chosen."""

    BEST = "best"
    ONE_SE = "one_se"


def best(
    sweep: SweepName = None,
    topk: Annotated[int, typer.Option("--topk", min=1, help="How many trials.")] = 5,
    others: From = None,
    max_members: MaxMembers = 5,
    rule: Annotated[
        Rule,
        typer.Option(
            "--rule",
            help="The best trial, or the cheapest within one standard error of the best.",
        ),
    ] = Rule.BEST,
    everything: Annotated[
        bool, typer.Option("--all", help="All trials; pruned and failed ones with their reasons.")
    ] = False,
    fast: Annotated[
        bool, typer.Option("--fast", help="Only the table: no estimates, no ensemble.")
    ] = False,
    holdout: Annotated[
        bool,
        typer.Option("--holdout", help="Score what ships once on the images of folds.holdout."),
    ] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print the table as CSV.")] = False,
    as_json: Json = False,
    storage: Storage = None,
    runs: Runs = None,
) -> None:
    """Show the best trials and the ensemble.

    With what to expect of them on new images.
    """
    from sweeps.cli.leaderboard_table import (
        leaderboard_csv,
        print_alone,
        print_choice,
        print_leaderboard,
        print_lines,
    )
    from sweeps.cli.progress import telling
    from sweeps.results.choice import choose
    from sweeps.results.leaderboard import leaderboard, refuse_empty
    from sweeps.results.view import SweepView

    if as_csv and as_json:
        raise InputError("--csv and --json are two forms of the same table: give one of them")
    if fast and holdout:
        raise InputError("--fast chooses nothing, so there is nothing for --holdout to score")
    folder = runs_folder(runs)
    view = SweepView.read(stored(sweep, storage, runs))
    choice = None
    held = None
    if view.ranked() and not fast:
        wish = wish_of(others, storage, runs, max_members=max_members, rule=rule)
        with telling() as tell:
            choice = choose(view, runs=folder, wish=wish, tell=tell)
        held = _on_holdout(view, wish, runs=folder) if holdout else None
    found = leaderboard(
        view,
        runs=folder,
        topk=len(view.trials) if everything else topk,
        choice=choice,
        everything=everything,
    )
    for line in found.damaged if choice is None else ():
        print(f"warning: {line}", file=sys.stderr)
    if as_json:
        look = {} if held is None else {"holdout": held[0].as_json()}
        print(json.dumps({**found.as_json(), **look}, indent=2))
        return
    refuse_empty(found)
    if as_csv:
        print(leaderboard_csv(found), end="")
        return
    print_leaderboard(found)
    if choice is not None:
        print_choice(choice)
    folder = runs_folder(runs)
    print_alone(found, place(runs=folder, storage=storage_url(storage, folder)))
    if held is not None:
        from sweeps.shipping.holdout import explain

        print_lines("holdout", explain(*held, metric=found.metric))


def _on_holdout(view: "SweepView", wish: "Wish", *, runs: Path) -> "tuple[Look, list[Look]]":
    """Score what ships on the holdout."""
    from sweeps.cli.progress import reading_images
    from sweeps.results.view import sweep_files
    from sweeps.shipping.holdout import score_holdout
    from sweeps.shipping.members import with_weights
    from sweeps.shipping.predicting import computing
    from sweeps.shipping.shipped import what_ships

    files = sweep_files(view.sweep, runs=runs)
    shipped = what_ships(view, runs=runs, wish=wish)
    with (
        computing(address=None, device="auto", files=files, source="") as compute,
        reading_images() as progress,
    ):
        return score_holdout(
            shipped,
            files=files,
            kept=lambda: with_weights(view, runs=runs),
            say=lambda text: print(f"note: {text}", file=sys.stderr, flush=True),
            compute=compute(progress),
        )
