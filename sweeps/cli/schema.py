"""`sweeps schema`: what editors know of a search space."""

from pathlib import Path
from typing import Annotated

import typer

from sweeps.errors import InputError


def schema(
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="Write it to a file."),
    ] = None,
) -> None:
    """Print the JSON schema of a search space.

    VS Code (with Red Hat's YAML extension), PyCharm and others complete and check a search space
    while you write it, if its first line names the schema:

    \b
      # yaml-language-server: $schema=.foldsweep.schema.json

    `sweeps init` and `sweeps demo` write both.
    """
    from sweeps.paths import make_folder
    from sweeps.space.schema import schema_text, write_schema

    if out is None:
        print(schema_text(), end="")
        return
    if out.is_dir():
        raise InputError(f"--out {out}: it is a folder. Name a file in it")
    make_folder(out.parent, option="--out")
    write_schema(out)
