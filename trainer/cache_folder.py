"""The cache folder: it holds only files that foldsweep can compute again.

These files are decoded images, facts about image files, and answers of libraries that take long
to load.
"""

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from trainer.errors import DataError
from trainer.files import write_json


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


def remembered(kind: str, question: Mapping[str, Any], answer: Callable[[], Any]) -> Any:
    """The answer to a question, from the cache folder if it was asked before.

    Args:
        kind: the name of a folder in the cache folder.
        question: JSON-like values; everything that the answer depends on.
        answer: returns the answer, a JSON-like value. It is called only if no answer is stored.

    Raises:
        DataError: the cache folder cannot be written.
    """
    digest = hashlib.sha256(json.dumps(question, sort_keys=True).encode()).hexdigest()[:32]
    path = writable_cache_folder() / kind / f"{digest}.json"
    try:
        return json.loads(path.read_text())["answer"]
    except (OSError, ValueError, LookupError, TypeError):  # no stored answer, or a damaged file
        found = answer()
    write_json(path, {"answer": found, "question": question})
    return found
