"""`sweeps check`: validate a search space and its data. The command starts no sweep."""

import functools
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sweeps.cli.options import (
    Json,
    Name,
    Runs,
    Settings,
    Space,
    Storage,
    runs_folder,
    settings_of,
    storage_url,
)
from sweeps.errors import InputError, SweepsError
from trainer.cores import cores
from trainer.errors import TrainerError

if TYPE_CHECKING:
    from sweeps.paths import SweepFiles
    from sweeps.preparing.inspection import Inspection
    from sweeps.space.parameters import Parameter
    from sweeps.space.spec import SweepSpec
    from sweeps.upkeep.taken import NameUse
    from trainer.data.cleaning import Rejected
    from trainer.data.cut import Cut

MAX_ROWS = 40  # rows of one table that are printed on the terminal


SpaceOnly = Annotated[
    bool,
    typer.Option(
        "--space-only",
        help=(
            "Check W&B's language alone: any W&B sweep file will do. Parameters may have any name."
        ),
    ),
]

Train = Annotated[
    bool,
    typer.Option(
        "--train",
        help="Train some steps of every combination, too: what fails, what fits, what it costs.",
    ),
]
Minutes = Annotated[
    float, typer.Option(min=0.0, help="With --train: begin no rehearsal after so many minutes.")
]


Fix = Annotated[
    bool,
    typer.Option(
        "--fix",
        help="Print the file in our words, with what is missing: check F --fix > space.yaml",
    ),
]


def check(
    space: Space,
    name: Name = None,
    settings: Settings = None,
    storage: Storage = None,
    runs: Runs = None,
    space_only: SpaceOnly = False,
    fix: Fix = False,
    train: Train = False,
    minutes: Minutes = 5.0,
    as_json: Json = False,
) -> None:
    """Check a search space, its data and its folds.

    Shows what a sweep would do, and starts nothing. Every image is read once to find what is
    unreadable, repeated or leaking; what was learned is remembered.
    """
    if train and (fix or space_only):
        raise InputError("--train needs the data: leave --fix and --space-only out")
    settings_given = settings_of(settings, name=name)
    if fix:
        if space_only or as_json or settings_given:
            raise InputError("--fix goes without --set, --name, --space-only and --json")
        _fix(space)
    elif space_only:
        _check_language(space, settings_given, as_json=as_json)
    elif as_json and not train:
        raise InputError(
            "--json goes with --space-only or --train; the page of `sweeps check` has the data"
        )
    else:
        folder = runs_folder(runs)
        rehearsed_for = minutes if train else None
        _check_all(
            space,
            settings_given,
            runs=folder,
            storage=storage_url(storage, folder),
            minutes=rehearsed_for,
            as_json=as_json,
        )


def _fix(space: Path) -> None:
    from sweeps.space.fixing import fix
    from sweeps.space.schema import FILE_NAME

    fixed = fix(space)
    print(fixed.text, end="")
    for line in fixed.changes:
        print(f"changed    {line}", file=sys.stderr)
    for line in fixed.left:
        print(f"left       {line}", file=sys.stderr)
    if fixed.needs_data:
        print("left       data.source: write the path of your images", file=sys.stderr)
    print(f"editors    sweeps schema --out {FILE_NAME}   beside the new file", file=sys.stderr)


def _check_language(space: Path, settings: list[str], *, as_json: bool) -> None:
    from sweeps.space.space_only import read_space_only

    found = read_space_only(space, settings=settings)
    if as_json:
        print(json.dumps(found.as_json(), indent=2, default=str))
        return
    top = found.top
    aim = f"{top.metric.goal} {top.metric.name}, " if top.metric else ""
    print(f"sweep      {top.name}: {aim}method {top.method} ({found.search})")
    if top.early_terminate.type != "none":
        given = top.early_terminate.model_dump(exclude={"type"}, exclude_none=True)
        print(
            f"early end  {top.early_terminate.type}: "
            f"{', '.join(f'{key} {value}' for key, value in given.items())}"
        )
    print(f"points     {_points(found.grid_points())}")
    _print_parameters(found.space.parameters)
    for line in found.notices:
        print(f"note: {line}", file=sys.stderr)
    if found.to_run:
        print("`sweeps run` would still need:", file=sys.stderr)
        for problem in found.to_run:
            print(f"  {problem}", file=sys.stderr)
        print(f"`sweeps check {space} --fix > space.yaml` writes most of it", file=sys.stderr)


def _check_all(
    space: Path,
    settings: list[str],
    *,
    runs: Path,
    storage: str,
    minutes: float | None,
    as_json: bool,
) -> None:
    """Check everything; rehearse trials, too, for at most `minutes` if that is a number."""
    from sweeps.cli.progress import reading_images
    from sweeps.paths import SweepFiles, make_folder
    from sweeps.preparing.artefacts import artefacts
    from sweeps.preparing.check_page import write_page
    from sweeps.preparing.data import changes, cut_sweep, with_folds, write_data
    from sweeps.preparing.feasible import check_spec, check_trainable, further_problems
    from sweeps.preparing.inspection import inspect, page_of
    from sweeps.preparing.weights import begin_fetch
    from sweeps.space.spec_reader import read_spec
    from trainer.data.cleaning import write_rejected
    from trainer.data.data_set import ReadOptions

    spec = read_spec(space, settings=settings, also=further_problems)
    for line in spec.notices:
        print(f"note: {line}", file=sys.stderr)
    told = spec.notices
    spec = check_spec(spec)
    for line in spec.notices[len(told) :]:
        print(f"note: {line}", file=sys.stderr)
    fetch = begin_fetch(spec)
    check_trainable(spec, lost=fetch.lost)
    fetch.start()
    files = SweepFiles.of(runs, spec.name)
    rejected: list[Rejected] = []
    try:
        with reading_images() as progress:
            read = ReadOptions(
                fingerprints=True, tolerant=True, on_rejected=rejected.extend, progress=progress
            )
            cut = cut_sweep(spec, files, read=read)
            fetch.result(functools.partial(progress, "pretrained weights"))
    except (SweepsError, TrainerError):
        # the user needs the reasons all the more when a later step refuses the data
        if rejected:
            make_folder(files.check.directory)
            write_rejected(rejected, files.check.rejected)
        raise
    inspection = inspect(spec, cut)
    spec = with_folds(spec, cut.folds)
    use = _name_use(spec, cut, files=files, storage_url=storage, runs=runs)
    # the page of a sweep that has begun is not replaced by that of other data
    page_files = SweepFiles.of(runs, use.free)
    if not as_json:
        _print_space(spec)
        _print_data(inspection)
    make_folder(page_files.check.directory)
    write_data(page_files.check, cut, spec)
    write_page(page_of(inspection, cut), page_files.check.page)
    for line in [*cut.data.notes, *filter(None, [changes(cut), use.note])]:
        print(f"note: {line}", file=sys.stderr)
    suspected = (sign.text for sign in inspection.signs)
    for line in [*inspection.warnings, *suspected, *artefacts(spec)]:
        print(f"warning: {line}", file=sys.stderr)
    if minutes is not None:
        from sweeps.cli.check_train import rehearse, show

        show(spec, rehearse(spec, cut, page_files, minutes=minutes), as_text=not as_json)
    print(f"page       {SweepFiles(runs / use.free).check.page}", file=sys.stderr)
    if use.refusal is not None:
        raise InputError(use.refusal)


def _name_use(
    spec: "SweepSpec", cut: "Cut", *, files: "SweepFiles", storage_url: str, runs: Path
) -> "NameUse":
    """See `name_use`; a storage that cannot be asked is no reason to check nothing."""
    from sweeps.upkeep.taken import NameUse, name_use

    try:
        return name_use(spec, cut, files=files, storage_url=storage_url, runs=runs)
    except SweepsError as error:
        print(f"warning: whether the name is taken is not known: {error}", file=sys.stderr)
        return NameUse(spec.name)


def _print_space(spec: "SweepSpec") -> None:
    from sweeps.running.finishing import most_to_finish
    from sweeps.space.parameters import grid_size
    from sweeps.space.spec import MAX_GRID

    print(
        f"sweep      {spec.name}: {spec.metric.goal} {spec.metric.name}, method {spec.method} "
        f"({spec.search})"
    )
    ends = [f"{spec.trial_cap} trials"] if spec.trial_cap else []
    ends += [f"{spec.budget.hours} hours"] if spec.budget.hours else []
    ends += [f"{spec.budget.gpu_hours} GPU-hours"] if spec.budget.gpu_hours else []
    ends += [] if spec.metric.target is None else [f"a score of {spec.metric.target:g}"]
    folds = "1 fold" if spec.folds.k == 1 else f"{spec.folds.k} folds"
    epochs = "1 epoch" if spec.max_epochs == 1 else f"{spec.max_epochs} epochs"
    print(f"end        {' or '.join(ends)}, {folds} each, up to {epochs} a fold")
    rules = [str(spec.early_terminate.type)] if spec.early_terminate.type != "none" else []
    rules += ["the fold race"] if spec.folds.race_rule and spec.folds_comparable else []
    most = most_to_finish(spec, trials=spec.trial_cap or 0, finished=0)
    finished = f"; up to {most} that help the ensemble are finished at the end" if most else ""
    print(f"early end  {' and '.join(rules) or 'none: every trial trains all folds'}{finished}")
    gpu = (
        "one GPU where there is one"
        if spec.resources.gpu is None
        else f"{spec.resources.gpu:g} GPU"
    )
    cpu = (
        "its GPU's share of the CPUs"
        if spec.resources.cpu == "auto"
        else f"{spec.resources.cpu:g} CPU"
    )
    print(f"resources  {cpu} and {gpu} per trial; this machine has {cores()} CPU")
    try:
        points = grid_size(spec.space, at_most=MAX_GRID)
    except ValueError:
        points = None
    print(f"points     {_points(points)}")
    _print_parameters(spec.space.parameters)


def _points(points: int | None) -> str:
    from sweeps.space.spec import MAX_GRID

    return (
        "a continuous space"
        if points is None
        else f"{points:,}{' or more' if points == MAX_GRID else ''}"
    )


def _print_parameters(parameters: "Iterable[Parameter]") -> None:
    from sweeps.space.domains import Constant

    for parameter in parameters:
        kind = "fixed " if isinstance(parameter.domain, Constant) else "sampled"
        when = "".join(
            f"  when {name} in {', '.join(map(str, values))}" for name, values in parameter.when
        )
        print(f"  {kind:8}{parameter.name:14} {parameter.domain}{when}")


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
