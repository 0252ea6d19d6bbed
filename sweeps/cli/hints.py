"""Commands that a user can type next. They repeat the options that the user has given."""

import enum
import os
import shlex
from pathlib import Path
from typing import Any

import typer

from sweeps.cli.options import runs_folder, storage_url
from sweeps.secret_arguments import MOVED, VARIABLE

NOT_SHOWN = (
    "note: the URL of --storage has a password and is not shown: put it into $SWEEPS_STORAGE, "
    "where these commands look"
)
SECRET_SETTINGS = ("notify.webhook=",)  # of --set; $SWEEPS_WEBHOOK does the same


def given_again(context: typer.Context, *, without: tuple[str, ...] = ()) -> str:
    """The command that is running now, as a user would type it again.

    It has the options that were given, and none of the environment's. What holds a password is
    left out.

    Args:
        without: names of options that are of no use a second time, e.g. `update`.

    Example:
        `sweeps run mask.yaml --trials 20 --set folds.k=3`
    """
    words = ["sweeps", str(context.info_name)]
    for parameter in context.command.params:
        name = str(parameter.name)
        source = context.get_parameter_source(name)
        if source is None or source.name != "COMMANDLINE" or name in without:
            continue
        value = context.params[name]
        flag = parameter.opts[0] if parameter.opts[0].startswith("-") else None
        if isinstance(value, bool):
            words.append(str(flag))
            continue
        for each in value if isinstance(value, list | tuple) else [value]:
            text = _text(each)
            if not _is_secret(name, text):
                words += [text] if flag is None else [flag, text]
    return shlex.join(words)


def place(*, runs: Path, storage: str) -> str:
    """The options that lead other commands to the same sweeps; empty where they look by default.

    Args:
        storage: the URL of the storage. With a password it is not shown, see `hides_storage`.

    Example:
        >>> place(runs=Path("/data/runs"), storage="sqlite:////data/runs/sweeps.db")
        ' --runs /data/runs'
    """
    words = []
    if runs != runs_folder(None):
        words += ["--runs", str(runs)]
    if storage != storage_url(None, runs) and not _has_password(storage):
        words += ["--storage", storage]
    return f" {shlex.join(words)}" if words else ""


def hides_storage(storage: str) -> bool:
    """Whether `place` leaves out a URL that the user's shell does not have in its environment."""
    known = os.environ.get(VARIABLE) == storage and MOVED not in os.environ
    return _has_password(storage) and not known


def _text(value: Any) -> str:
    if isinstance(value, enum.Enum):
        value = value.value
    return f"{value:g}" if isinstance(value, float) else str(value)


def _is_secret(name: str, text: str) -> bool:
    if name == "storage":
        return _has_password(text)
    return name == "settings" and text.startswith(SECRET_SETTINGS)


def _has_password(url: str) -> bool:
    from sweeps.study.database import hidden

    return "***" in hidden(url)
