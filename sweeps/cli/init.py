"""`sweeps init`: write a search space for somebody's data."""

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from sweeps.errors import InputError

HOURS = 1.0  # that a first sweep may take


def init(
    data: Annotated[
        str,
        typer.Argument(
            metavar="DATA",
            help="A folder of images, a CSV or Parquet file, or a folder with one of these.",
            show_default=False,
        ),
    ],
    out: Annotated[
        str | None,
        typer.Option(
            "--out",
            metavar="F",
            help="Where to write it (default search_spaces/<name>.yaml); - prints it.",
        ),
    ] = None,
    hours: Annotated[
        float, typer.Option("--hours", metavar="H", help="How long the sweep may take.")
    ] = HOURS,
    force: Annotated[bool, typer.Option("--force", help="Write over a file that exists.")] = False,
) -> None:
    """Write a search space for your data.

    It has comments and runs as it is. Every image is read once; layout, columns, classes, groups
    and folds are found, and it is measured what this machine can train in the time. Starts nothing.
    """
    from sweeps.cli.progress import reading_images
    from sweeps.preparing.draft_file import draft_text
    from sweeps.preparing.first_space import draft_space, sweep_name
    from sweeps.space.schema import FILE_NAME
    from sweeps.space.sweep_names import name_problem
    from trainer.data.cut import Cut

    if not 0 < hours < 1e6:
        raise InputError(f"--hours: a number of hours above 0, got {hours:g}")
    printed = out == "-"
    path = Path(out) if out and not printed else Path("search_spaces") / f"{sweep_name(data)}.yaml"
    if not printed:
        _refuse_target(path, force=force)
    name = None if out is None or printed or name_problem(path.stem) else path.stem
    with reading_images() as progress:
        draft = draft_space(data, name=name, hours=hours, progress=progress)
    text = draft_text(draft, path=shlex.quote(str(path)))
    if printed:
        print(text, end="")
    else:
        _write(path, text)
    read = draft.grouped.read
    print(f"layout     {draft.what}", file=sys.stderr)
    print(f"data       {Cut(read.found, read.folds, None).counts()}", file=sys.stderr)
    for line in [*read.found.notes, *draft.grouped.advice]:
        print(f"note: {line}", file=sys.stderr)
    if printed:
        print(f"editors    sweeps schema --out {FILE_NAME}   beside the new file", file=sys.stderr)
        return
    print(f"space      {path}", file=sys.stderr)
    quoted = shlex.quote(str(path))
    print(f"next       sweeps check {quoted}", file=sys.stderr)
    print(f"           sweeps run {quoted}", file=sys.stderr)


def _refuse_target(path: Path, *, force: bool) -> None:
    """Refuse a file that must not or cannot be written, before the images are read.

    Raises:
        InputError: this is the case.
    """
    if path.suffix not in (".yaml", ".yml"):
        raise InputError(f"{path}: a search space is a .yaml file. Write --out {path}.yaml")
    if path.is_dir():
        raise InputError(f"{path} is a folder. Name a file with --out")
    if path.exists() and not force:
        raise InputError(
            f"{path} exists. Write over it with --force, or name another file with --out"
        )


def _write(path: Path, text: str) -> None:
    """Write the search space, and beside it the schema that its first line names."""
    from sweeps.paths import make_folder
    from sweeps.space.schema import FILE_NAME, write_schema
    from trainer.files import atomic_write

    make_folder(path.parent, option="another file with --out")
    write_schema(path.with_name(FILE_NAME))
    with atomic_write(path) as file:
        file.write(text.encode())
