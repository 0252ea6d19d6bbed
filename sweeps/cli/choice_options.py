"""Options of the commands that choose what a sweep ships."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sweeps.cli.options import begun_sweeps, opened, sweep_name
from sweeps.errors import InputError

if TYPE_CHECKING:
    from optuna.storages import RDBStorage

    from sweeps.results.choice import Wish

MOST_MEMBERS = 25

From = Annotated[
    list[str] | None,
    typer.Option(
        "--from",
        metavar="SWEEP|FILE.npz",
        help="Another sweep over the same folds, or predictions made elsewhere. Repeatable.",
        autocompletion=begun_sweeps,
    ),
]
MaxMembers = Annotated[
    int,
    typer.Option(
        "--max-members", min=1, max=MOST_MEMBERS, help="The most members of the ensemble."
    ),
]
Trial = Annotated[
    int | None,
    typer.Option("--trial", metavar="N", min=0, help="One trial (default: what `best` ships)."),
]
TopK = Annotated[
    int | None,
    typer.Option("--topk", metavar="K", min=1, help="The best trials with equal weights."),
]
Refit = Annotated[
    bool,
    typer.Option("--refit", help="The models of `sweeps refit` in place of the fold models."),
]


def wish_of(
    others: list[str] | None,
    storage: str | None,
    runs: Path | None,
    *,
    max_members: int,
    rule: str = "best",
) -> "Wish":
    """What the options `--from`, `--max-members` and `--rule` ask of the choice.

    Raises:
        InputError: a sweep or a file does not exist, or a file has no predictions.
    """
    from sweeps.results.choice import Wish
    from sweeps.results.foreign import read_foreign
    from sweeps.results.view import SweepView, find_sweep

    names = [name for name in others or () if not name.endswith(".npz")]
    files = [Path(name) for name in others or () if name.endswith(".npz")]
    twice = [file.name for file in files if [f.name for f in files].count(file.name) > 1]
    if twice:
        raise InputError(f"--from: two files are called {twice[0]}. Rename one of them")
    database: RDBStorage | None = opened(storage, runs) if names else None
    return Wish(
        others=[
            SweepView.read(find_sweep(database, sweep_name(name)))
            for name in names
            if database is not None
        ],
        foreign=[read_foreign(file) for file in files],
        max_members=max_members,
        rule=rule,
    )
