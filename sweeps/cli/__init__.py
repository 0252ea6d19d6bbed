"""The command `sweeps`.

Each command imports heavy libraries inside its function, because `sweeps --help` must be quick.
"""

import logging
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from sweeps.cli.best import best
from sweeps.cli.check import check
from sweeps.cli.compare import compare
from sweeps.cli.compare_submissions import compare_submissions
from sweeps.cli.dashboard import dashboard
from sweeps.cli.delete import delete
from sweeps.cli.demo import demo
from sweeps.cli.export import export
from sweeps.cli.fail import fail
from sweeps.cli.gc import gc
from sweeps.cli.groups import Explained, Groups
from sweeps.cli.init import init
from sweeps.cli.list import list_sweeps
from sweeps.cli.pack import pack
from sweeps.cli.predict import predict
from sweeps.cli.prepare import prepare
from sweeps.cli.refit import refit
from sweeps.cli.report import report
from sweeps.cli.retry import retry
from sweeps.cli.run import run
from sweeps.cli.schema import schema
from sweeps.cli.score import score
from sweeps.cli.status import status
from sweeps.cli.stop import stop
from sweeps.cli.streams import steady_streams
from sweeps.cli.suspects import suspects
from sweeps.cli.sync import sync
from sweeps.errors import (
    EXIT_INTERRUPTED,
    ClusterLostError,
    InfrastructureError,
    InputError,
    SweepsError,
)
from sweeps.running.signals import ending_signals
from trainer.errors import TrainerError
from trainer.files import is_disk_full

app = typer.Typer(
    name="sweeps",
    cls=Groups,
    help=(
        "Find out which backbone, optimizer, schedule and loss to trust for an image "
        "classification task."
    ),
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(ctx: typer.Context, asked: bool) -> None:
    if asked and not ctx.resilient_parsing:  # so does completion call it
        import importlib.metadata

        print(f"foldsweep {importlib.metadata.version('foldsweep')}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Log details to stderr.")
    ] = False,
) -> None:
    logging.basicConfig(
        level=logging.INFO if verbose else logging.WARNING,
        format="%(levelname)s %(name)s: %(message)s",
    )


COMMANDS: dict[str, tuple[Callable[..., None], ...]] = {
    "Before a sweep": (init, demo, check, prepare, schema),
    "A sweep": (run, status, stop, fail, retry, list_sweeps),
    "What came out": (best, compare, report, suspects, dashboard, sync, export),
    "What leaves it": (predict, refit, pack, score, compare_submissions),
    "Tidying up": (gc, delete),
}
for heading, commands in COMMANDS.items():
    for command in commands:
        name = "list" if command is list_sweeps else command.__name__.replace("_", "-")
        app.command(name, cls=Explained, rich_help_panel=heading)(command)


def _leave(*_: object) -> None:
    print("interrupted", file=sys.stderr)
    sys.exit(EXIT_INTERRUPTED)


def main() -> None:
    """Run the command line.

    An error that a user can cause becomes one block on stderr and an exit code. A bug keeps its
    traceback. What becomes of stdout and stderr changes no exit code.
    """
    try:
        _run()
    except SystemExit as end:
        from sweeps.processes import end_beside_hanging_threads

        end_beside_hanging_threads(end.code if isinstance(end.code, int) else int(bool(end.code)))
        raise


def _run() -> None:
    """Run the command and end the process."""
    for number in ending_signals():  # while trials run, `sweeps run` has its own handler
        signal.signal(number, _leave)
    with steady_streams():
        _run_command()


def _run_command() -> None:
    try:
        app(prog_name="sweeps")
    except SweepsError as error:
        print(f"error: {error}", file=sys.stderr)
        if isinstance(error, ClusterLostError) or isinstance(error.__cause__, ClusterLostError):
            sys.stderr.flush()
            # With sys.exit, Ray's exit handler would wait for the lost head and then set exit
            # code 1.
            os._exit(error.exit_code)
        sys.exit(error.exit_code)
    except OSError as error:
        if not is_disk_full(error, Path.cwd()):
            raise
        print(
            f"error: {error}. Free some space and run the same command again to continue",
            file=sys.stderr,
        )
        sys.exit(InfrastructureError.exit_code)
    except TrainerError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(
            InfrastructureError.exit_code
            if is_disk_full(error, Path.cwd())
            else InputError.exit_code
        )
