"""`sweeps run`: start a sweep, or continue it."""

import os
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from sweeps.cli.hints import NOT_SHOWN, given_again, hides_storage, place
from sweeps.cli.options import (
    Name,
    Runs,
    Settings,
    Space,
    Storage,
    Tracker,
    runs_folder,
    settings_of,
    storage_url,
    tracker_names,
)
from sweeps.errors import (
    EXIT_INTERRUPTED,
    InputError,
    NothingCompletedError,
    SameFailureError,
)
from trainer.errors import TrainerError

if TYPE_CHECKING:
    from sweeps.space.spec import SweepSpec
    from sweeps.sweep import RunOptions, RunResult


def run(
    context: typer.Context,
    space: Space,
    name: Name = None,
    storage: Storage = None,
    runs: Runs = None,
    trials: Annotated[
        int | None, typer.Option("--trials", metavar="N", min=1, help="Trials in all (run_cap).")
    ] = None,
    hours: Annotated[
        float | None, typer.Option("--hours", metavar="H", help="Hours in all (budget.hours).")
    ] = None,
    settings: Settings = None,
    update: Annotated[
        bool,
        typer.Option("--update", help="Go on with a search space that grew: wider numeric ranges."),
    ] = False,
    address: Annotated[
        str | None,
        typer.Option(
            "--address",
            help="Join the Ray cluster at host:port, or auto (default $RAY_ADDRESS, else local).",
        ),
    ] = None,
    local: Annotated[
        bool, typer.Option("--local", help="One trial after another in this process, no Ray.")
    ] = False,
    grace: Annotated[
        float,
        typer.Option(
            "--grace",
            metavar="MIN",
            min=0,
            help="Minutes that running trials have to save their state after a stop.",
        ),
    ] = 2.0,
    db_patience: Annotated[
        float,
        typer.Option(
            "--db-patience", metavar="MIN", min=0, help="Minutes that the storage may be silent."
        ),
    ] = 10.0,
    track: Annotated[
        list[Tracker] | None,
        typer.Option(
            "--track",
            metavar="NAME",
            help="Show it in wandb, tensorboard or mlflow, too. Repeatable.",
        ),
    ] = None,
    plain: Annotated[
        bool, typer.Option("--plain", help="One line per event instead of the live view.")
    ] = False,
) -> None:
    """Start a sweep, or continue it.

    Interrupted trials come first, then new ones.
    """
    from sweeps.preparing.feasible import further_problems
    from sweeps.space.spec_reader import read_spec

    overrides = settings_of(settings, name=name)
    if trials is not None:
        overrides.append(f"run_cap={trials}")
    if hours is not None:
        overrides.append(f"budget.hours={float(hours)}")
    spec = read_spec(space, settings=overrides, also=further_problems)
    spec = spec.tracked_by(tracker_names(track))
    for notice in spec.notices:
        print(f"note: {notice}", file=sys.stderr)

    from sweeps.cli.progress import choose_progress
    from sweeps.cli.streams import courtesy
    from sweeps.ray_tune.addresses import chosen_address
    from sweeps.sweep import RunOptions, run_sweep

    options = RunOptions(
        runs=runs_folder(runs),
        storage=storage_url(storage, runs_folder(runs)),
        address=None if local else chosen_address(address),
        update=update,
        grace_s=60 * grace,
        patience_s=60 * db_patience,
        webhook=os.environ.get("SWEEPS_WEBHOOK") or None,
        command=given_again(context, without=("update", "plain")),
    )
    with choose_progress(plain=plain) as progress:
        result = run_sweep(spec, options, view=progress)
    with courtesy():  # the sweep is stored, whatever becomes of its table
        _conclude(spec, result, options)


def _conclude(spec: "SweepSpec", result: "RunResult", options: "RunOptions") -> None:
    """Print how the sweep ended and what to do next; an exception carries the exit code."""
    from sweeps.paths import SweepFiles
    from sweeps.running.described import nothing_completed
    from sweeps.sweep import RunState

    if result.state is RunState.NOT_BEGUN:
        raise typer.Exit(EXIT_INTERRUPTED)
    if result.state is RunState.DONE_BEFORE:
        print(
            "all trials are done already; more with --trials or a larger run_cap", file=sys.stderr
        )
        return
    if result.state is RunState.INTERRUPTED:
        if result.has_results:
            _show_so_far(spec.name, options)
        print(f"interrupted; `{options.command}` continues it", file=sys.stderr)
        _note_hidden(options)
        raise typer.Exit(EXIT_INTERRUPTED)
    if result.broken is not None and result.state is RunState.BROKEN:
        if result.has_results:
            _show_so_far(spec.name, options)
        failed = SweepFiles(options.runs / spec.name).trial(result.broken.trials[0])
        raise SameFailureError(result.broken.ends_a_sweep(failed.error))
    if result.state is RunState.DRAINED:
        print(f"stopped as asked; `{options.command}` goes on with more trials", file=sys.stderr)
    end = result.snapshot
    if not result.has_results and end is not None:
        shown_by = f"sweeps status {spec.name}{_place(options)}"
        raise NothingCompletedError(nothing_completed(end, shown_by=shown_by))
    _show_best(spec, options)


def _show_so_far(name: str, options: "RunOptions") -> None:
    """Print the leaderboard; to choose an ensemble would keep the user waiting."""
    from sweeps.cli.leaderboard_table import print_leaderboard
    from sweeps.results.leaderboard import leaderboard
    from sweeps.results.view import SweepView, find_sweep
    from sweeps.study.storage import open_storage

    view = SweepView.read(find_sweep(open_storage(options.url), name))
    try:
        print_leaderboard(leaderboard(view, runs=options.runs, topk=3))
    except TrainerError as error:  # the sweep itself has ended well
        print(f"warning: no leaderboard: {error}", file=sys.stderr)


def _show_best(spec: "SweepSpec", options: "RunOptions") -> None:
    from sweeps.cli.leaderboard_table import print_alone, print_choice, print_leaderboard
    from sweeps.cli.progress import telling
    from sweeps.paths import SweepFiles
    from sweeps.results.choice import choose
    from sweeps.results.leaderboard import leaderboard
    from sweeps.results.view import SweepView, find_sweep
    from sweeps.study.storage import open_storage
    from sweeps.tracking.choice import places

    name = spec.name
    view = SweepView.read(find_sweep(open_storage(options.url), name))
    choice = None
    try:
        with telling() as tell:
            choice = choose(view, runs=options.runs, tell=tell)
    except (InputError, TrainerError) as error:  # the sweep itself has ended well
        print(f"warning: no ensemble was chosen: {error}", file=sys.stderr)
    found = leaderboard(view, runs=options.runs, topk=3, choice=choice)
    print_leaderboard(found)
    if choice is not None:
        print_choice(choice)
    print(f"files      {options.runs / name}", file=sys.stderr)
    where = _place(options)
    print(f"more       sweeps best {name} --topk 10{where}", file=sys.stderr)
    print_alone(found, where)
    print(f"pictures   sweeps dashboard{where}", file=sys.stderr)
    for shown in places(spec.tracking, SweepFiles(options.runs / name)):
        print(f"           {shown}", file=sys.stderr)
    _note_hidden(options)


def _place(options: "RunOptions") -> str:
    return place(runs=options.runs, storage=options.url)


def _note_hidden(options: "RunOptions") -> None:
    if hides_storage(options.url):
        print(NOT_SHOWN, file=sys.stderr)
