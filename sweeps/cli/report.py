"""`sweeps report`: one page that explains a sweep."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sweeps.cli.options import Json, Runs, Storage, SweepName, runs_folder, stored
from sweeps.errors import InputError

if TYPE_CHECKING:
    from sweeps.results.chosen import Choice
    from sweeps.results.view import SweepView

PAGE_SUFFIXES = (".html", ".htm")


def report(
    sweep: SweepName = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", metavar="FILE", help="The file (default <runs>/<sweep>/report.html)."
        ),
    ] = None,
    as_json: Json = False,
    as_markdown: Annotated[
        bool, typer.Option("--markdown", help="Print Markdown: sentences and tables.")
    ] = False,
    in_browser: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
    storage: Storage = None,
    runs: Runs = None,
) -> None:
    """Write one page that explains a sweep.

    What is best, what matters, what went wrong.
    """
    _refuse(out, as_json=as_json, as_markdown=as_markdown, in_browser=in_browser)
    from sweeps.paths import SweepFiles, make_folder
    from sweeps.reporting.document import json_text, markdown, write_html
    from sweeps.reporting.report import make_report, refuse_unfinished
    from sweeps.results.view import SweepView, sweep_files

    folder = runs_folder(runs)
    view = SweepView.read(stored(sweep, storage, runs))
    sweep_files(view.sweep, runs=folder)  # refuses the folder of another sweep
    refuse_unfinished(view)
    path = out or SweepFiles(folder / view.name).report
    if not (as_json or as_markdown):
        make_folder(path.parent, option="--out")
        if path.is_dir():
            raise InputError(f"--out {path}: a folder. Give the name of a file, e.g. report.html")
    made = make_report(view, runs=folder, choice=_choice(view, folder))
    if as_json:
        print(json_text(made))
    elif as_markdown:
        print(markdown(made), end="")
    else:
        write_html(made, path)
        print(path)
        if in_browser:
            _open(path)


def _refuse(out: Path | None, *, as_json: bool, as_markdown: bool, in_browser: bool) -> None:
    """Check the options.

    Raises:
        InputError: they contradict each other.
    """
    if as_json and as_markdown:
        raise InputError("--json and --markdown are two forms of the same report: give one of them")
    if (as_json or as_markdown) and (out is not None or in_browser):
        form = "--json" if as_json else "--markdown"
        raise InputError(f"{form} prints the report, so it goes with neither --out nor --open")
    if out is not None and out.suffix.lower() not in PAGE_SUFFIXES:
        raise InputError(f"--out {out}: it is a page for a browser, so its name ends in .html")


def _choice(view: "SweepView", runs: Path) -> "Choice | None":
    """What the sweep ships; None, with a note, if nothing can be chosen."""
    from sweeps.cli.progress import telling
    from sweeps.results.choice import choose

    if not view.ranked():
        return None
    try:
        with telling() as tell:
            return choose(view, runs=runs, tell=tell)
    except InputError as error:
        print(f"note: {error}", file=sys.stderr)
        return None


def _open(path: Path) -> None:
    import webbrowser

    if not webbrowser.open(path.resolve().as_uri()):
        print(f"note: no browser was found; open {path}", file=sys.stderr)
