"""What options and environment variables name: the runs folder, the storage, a stored sweep.

The commands and `foldsweep` share it. Libraries are imported when they are needed, because
`sweeps --help` must be quick.
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from sweeps.errors import InputError

if TYPE_CHECKING:
    from optuna.storages import RDBStorage

    from sweeps.study.stored_sweep import StoredSweep


def runs_folder(runs: Path | None) -> Path:
    """The folder of all results: `--runs`, else `$SWEEPS_RUNS`, else `runs`."""
    return runs or Path(os.environ.get("SWEEPS_RUNS") or "runs")


def storage_url(storage: str | None, runs: Path) -> str:
    """The URL from `--storage` or `$SWEEPS_STORAGE`, else of a SQLite file in the runs folder."""
    from sweeps.paths import default_storage

    return storage or os.environ.get("SWEEPS_STORAGE") or default_storage(runs)


def opened(storage: str | None, runs: Path | None) -> "RDBStorage":
    """The storage that the options name; the storage must exist.

    Raises:
        InputError: the storage does not exist or cannot be opened.
    """
    from sweeps.study.storage import open_storage

    return open_storage(storage_url(storage, runs_folder(runs)), must_exist=True)


def nothing_yet(storage: str | None, runs: Path | None) -> bool:
    """Whether the user named no storage, and the default one is not there yet."""
    from sweeps.paths import STORAGE_FILE

    named = storage or os.environ.get("SWEEPS_STORAGE")
    return not named and not (runs_folder(runs) / STORAGE_FILE).exists()


def stored(sweep: str | None, storage: str | None, runs: Path | None) -> "StoredSweep":
    """The sweep that the options name: by its name, by its YAML, or the latest.

    Raises:
        InputError: the sweep or the storage does not exist.
    """
    from sweeps.results.view import find_sweep

    return find_sweep(opened(storage, runs), sweep_name(sweep))


def sweep_name(given: str | None) -> str | None:
    """The sweep's name, from a name, a caption, or the path of its YAML file; None stays None.

    Raises:
        InputError: the YAML file does not exist.
    """
    if given is None:
        return None
    from sweeps.space.sweep_names import sweep_name_of

    if not given.endswith((".yaml", ".yml")):
        return sweep_name_of(given)
    from sweeps.space.yaml_file import YamlFile

    path = Path(given)
    if not path.is_file():
        raise InputError(
            f"{path}: no such file. Give a sweep's name (`sweeps list` shows them) or its YAML"
        )
    return sweep_name_of(str(YamlFile(path).values.get("name") or path.stem))
