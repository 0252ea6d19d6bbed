"""The cache folder: it holds only files that foldsweep can compute again.

These files are decoded images, facts about image files, and answers of libraries that take long
to load.
"""

import os
from pathlib import Path

from trainer.errors import DataError


def default_cache_folder() -> Path:
    """`$SWEEPS_CACHE`, or `~/.cache/foldsweep` if the variable is not set.

    The folder is safe to delete at any time.
    """
    folder = os.environ.get("SWEEPS_CACHE") or Path.home() / ".cache" / "foldsweep"
    return Path(folder).resolve()


def writable_cache_folder(folder: Path | None = None) -> Path:
    """The cache folder `folder`, or the default one. The function creates the folder if needed.

    Raises:
        DataError: the folder cannot be created or written to.
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
