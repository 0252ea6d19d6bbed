"""What the Tab key offers: names of sweeps and search spaces.

The functions are called while a user waits with a finger on the key. So they import little, read
little, and offer nothing where something cannot be read: the shell then completes the names of
files as ever.
"""

import itertools
import os
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

MOST_ENTRIES = 1000  # of a folder that are looked at: a folder of images may have very many
MOST_FOLDERS = 100  # that are looked into
# shells insert a name as it is, so a name with other letters would be taken for something else
PLAIN = re.compile(r"[\w./~@%+=:,-]+")


def space_files(incomplete: str) -> list[str]:
    """The search spaces below the folder that is typed so far, one folder deep."""
    typed, slash, _ = incomplete.rpartition("/")
    folder = Path(os.path.expanduser(f"{typed}{slash}" or "."))
    here = list(_entries(folder))
    folders = itertools.islice((entry for entry in here if entry.is_dir()), MOST_FOLDERS)
    names = sorted(entry.name for entry in here)
    names += sorted(f"{each.name}/{entry.name}" for each in folders for entry in _entries(each))
    return [
        f"{typed}{slash}{name}"
        for name in names
        if name.endswith((".yaml", ".yml")) and PLAIN.fullmatch(name)
    ]


def sweep_names(url: str, runs: Path) -> list[str]:
    """The names of the sweeps in a SQLite file; of another storage, those with files here."""
    import sqlite3

    from sweeps.study.names import names_in

    kind, _, path = url.partition(":///")
    try:
        if kind == "sqlite":
            return names_in(Path(unquote(path.partition("?")[0])))
        begun = itertools.islice(runs.glob("*/sweep.json"), MOST_FOLDERS)
        return sorted(file.parent.name for file in begun)
    except (sqlite3.Error, OSError, ValueError):
        return []


def _entries(folder: "Path | os.DirEntry[str]") -> Iterator["os.DirEntry[str]"]:
    """The entries of a folder that are not hidden; none if it cannot be read."""
    try:
        with os.scandir(folder) as found:
            entries = list(itertools.islice(found, MOST_ENTRIES))
    except OSError:
        return
    yield from (entry for entry in entries if not entry.name.startswith("."))
