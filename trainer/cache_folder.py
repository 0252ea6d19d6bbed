"""The folder of everything that can be computed again.

Decoded images lie there, facts about files, and answers of libraries that take long to load.
"""

import os
from pathlib import Path

from trainer.errors import DataError


def default_cache_folder() -> Path:
    """`$SWEEPS_CACHE`, else `~/.cache/foldsweep`. Safe to delete at any time."""
    folder = os.environ.get("SWEEPS_CACHE") or Path.home() / ".cache" / "foldsweep"
    return Path(folder).resolve()


def writable_cache_folder(folder: Path | None = None) -> Path:
    """The cache folder, made if it is absent.

    Raises:
        DataError: it cannot be written.
    """
    folder = folder or default_cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        writable = os.access(folder, os.W_OK)
    except OSError:
        writable = False
    if not writable:
        raise DataError(
            f"{folder}: the cache folder cannot be written. Set $SWEEPS_CACHE to one that can"
        )
    return folder
