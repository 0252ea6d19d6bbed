"""Write a file whole or not at all.

Each write goes to a temporary name in the same folder. After an fsync, `os.replace` gives the file
its final name.
"""

import contextlib
import csv
import errno
import hashlib
import io
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

FULL_BYTES = 2**20  # below this free space, a failed write counts as caused by a full disk


@contextlib.contextmanager
def atomic_write(path: Path) -> Iterator[BinaryIO]:
    """Open `path` for writing. The file appears only if the block ends without an error.

    The temporary name contains the process id. Therefore two processes never write to the same
    temporary file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def is_disk_full(error: BaseException | None, folder: Path) -> bool:
    """Whether an error comes from a write to a full disk, or from a used-up quota.

    Some libraries that write in C have error messages of their own, or messages that do not give
    the reason. For torch's file writer, the function therefore compares the free space of the disk
    of `folder` with FULL_BYTES.
    """
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        if "No space left on device" in str(error) or "Disk quota exceeded" in str(error):
            return True
        if isinstance(error, RuntimeError) and "PytorchStreamWriter" in str(error):
            return shutil.disk_usage(folder).free < FULL_BYTES
        error = error.__cause__ or error.__context__
    return False


def file_digest(path: Path) -> str:
    """16 hex digits that identify a file's content, or "missing" if there is no file."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()[:16]
    except FileNotFoundError:
        return "missing"


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON, whole or not at all.

    Raises:
        ValueError: `value` contains NaN or an infinity, which JSON does not have.
    """
    with atomic_write(path) as file:
        file.write(json.dumps(value, indent=2, allow_nan=False).encode() + b"\n")


def write_csv(
    path: Path, header: Iterable[str], rows: Iterable[Iterable[object]], *, separator: str = ","
) -> None:
    """Write a header and rows as UTF-8 CSV with Unix line ends, whole or not at all."""
    content = csv_bytes(header, rows, separator=separator)
    with atomic_write(path) as file:
        file.write(content)


def csv_bytes(
    header: Iterable[str], rows: Iterable[Iterable[object]], *, separator: str = ","
) -> bytes:
    """Return a header and rows as UTF-8 CSV with Unix line ends.

    Example:
        >>> csv_bytes(["path", "class"], [["a.png", "cat, or dog"]])
        b'path,class\\na.png,"cat, or dog"\\n'
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n", delimiter=separator)
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue().encode()


def fold_directory(trial: Path, fold: int) -> Path:
    """The directory of fold run number `fold`, below the directory of its trial."""
    return trial / f"fold-{fold}"


def fold_directories(trial: Path) -> list[Path]:
    """The directories of all fold runs of a trial that have begun, in the order of the folds."""
    return sorted(trial.glob("fold-*"), key=lambda path: (len(path.name), path.name))


def refit_directory(trial: Path, number: int) -> Path:
    """The directory of refit number `number`, a training on all images, beside the fold runs."""
    return trial / f"refit-{number}"


def refit_directories(trial: Path) -> list[Path]:
    """The directories of all refits of a trial that have begun, in the order of their numbers."""
    return sorted(trial.glob("refit-*"), key=lambda path: (len(path.name), path.name))
