"""`sweeps check`: validate a search space and look at its data; start nothing."""

import os
import sys
from typing import TYPE_CHECKING

from sweeps.cli.best import format_value
from sweeps.cli.options import Runs, Settings, Space, runs_folder

if TYPE_CHECKING:
    from sweeps.inspection import Inspection
    from sweeps.space import Domain
    from sweeps.spec import SweepSpec
    from trainer.data.cleaning import Rejected

MAX_ROWS = 40  # of a table on the terminal
CHECK_FOLDER = "check"  # below the sweep's folder


def check(space: Space, settings: Settings = None, runs: Runs = None) -> None:
    """Validate a search space, its data and its folds; show what a sweep would do. Starts nothing.

    Every image is read once to find what is unreadable, repeated or leaking; what was learned is remembered.
    """
    from sweeps.check_page import write_page
    from sweeps.cli.progress import reading_images
    from sweeps.data import changes, check_data, cut_sweep, with_folds, write_data
    from sweeps.feasible import check_feasible, try_own_functions
    from sweeps.inspection import inspect, page_of
    from sweeps.prepare import SweepFiles
    from sweeps.spec_reader import read_spec
    from sweeps.study import make_folder
    from trainer.data.cleaning import write_rejected

    spec = read_spec(space, settings=settings or [])
    check_data(spec)
    check_feasible(spec, space)
    try_own_functions(spec)
    directory = SweepFiles.of(runs_folder(runs), spec.name).directory
    rejected = directory / CHECK_FOLDER / "rejected.csv"

    def keep_rejected(entries: "list[Rejected]") -> None:
        if entries:  # whatever is refused after this
            make_folder(rejected.parent)
            write_rejected(entries, rejected)

    with reading_images() as progress:
        cut = cut_sweep(spec, directory, fingerprints=True, tolerant=True, on_rejected=keep_rejected, progress=progress)
    inspection = inspect(spec, cut)
    _print_space(with_folds(spec, cut.folds))
    _print_data(inspection)
    make_folder(directory / CHECK_FOLDER)
    write_data(directory / CHECK_FOLDER, cut, spec)
    write_page(page_of(inspection, cut), directory / CHECK_FOLDER / "check.html")
    for line in [*spec.notices, *filter(None, [changes(cut)])]:
        print(f"note: {line}", file=sys.stderr)
    for line in [*inspection.warnings, *(sign.text for sign in inspection.signs)]:
        print(f"warning: {line}", file=sys.stderr)
    print(f"page       {runs_folder(runs) / spec.name / CHECK_FOLDER / 'check.html'}", file=sys.stderr)


def _print_space(spec: "SweepSpec") -> None:
    from sweeps.space import Constant

    print(f"sweep      {spec.name}: {spec.metric.goal} {spec.metric.name}, method {spec.method} ({spec.search})")
    ends = [f"{spec.trial_cap} trials"] if spec.trial_cap else []
    ends += [f"{spec.budget.hours} hours"] if spec.budget.hours else []
    folds = "1 fold" if spec.folds.k == 1 else f"{spec.folds.k} folds"
    epochs = "1 epoch" if spec.max_epochs == 1 else f"{spec.max_epochs} epochs"
    print(f"end        {' or '.join(ends)}, {folds} each, up to {epochs} a fold")
    gpu = "one GPU where there is one" if spec.resources.gpu is None else f"{spec.resources.gpu:g} GPU"
    print(f"resources  {spec.resources.cpu} CPU and {gpu} per trial; this machine has {os.cpu_count()} CPU")
    print(f"points     {_points(spec)}")
    for parameter in spec.space.parameters:
        kind = "fixed " if isinstance(parameter.domain, Constant) else "sampled"
        when = "".join(f"  when {name} in {', '.join(map(str, values))}" for name, values in parameter.when)
        print(f"  {kind:8}{parameter.name:14} {_describe(parameter.domain)}{when}")


def _points(spec: "SweepSpec") -> str:
    from sweeps.space import grid_size
    from sweeps.spec import MAX_GRID

    try:
        points = grid_size(spec.space, at_most=MAX_GRID)
    except ValueError:
        return "a continuous space"
    return f"{points:,}{' or more' if points == MAX_GRID else ''}"


def _describe(domain: "Domain") -> str:
    from sweeps.space import Categorical, Constant

    if isinstance(domain, Constant):
        return str(domain.value)
    if isinstance(domain, Categorical):
        return ", ".join(map(str, domain.values))
    how = "whole numbers " if domain.integer else "log scale " if domain.log else ""
    step = f" in steps of {format_value(domain.q)}" if domain.q else ""
    return f"{how}{format_value(domain.low)} to {format_value(domain.high)}{step}"


def _print_data(inspection: "Inspection") -> None:
    from sweeps.cli.tables import print_table

    for name, value in inspection.summary:
        print(f"{name:10} {value}")
    for table in inspection.tables:
        print(f"\n{table.title}" + (f" ({table.note})" if table.note else ""))
        rows = table.rows[:MAX_ROWS]
        print_table(table.columns, rows, right=table.columns[1:])
        if len(table.rows) > MAX_ROWS:
            print(f"and {len(table.rows) - MAX_ROWS:,} more on the page")
    print()
