"""A file is whole or absent: temporary name in the same folder, fsync, `os.replace`."""

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

FULL_BYTES = 2**20  # free space below which a failed write is put down to the disk


@contextlib.contextmanager
def atomic_write(path: Path) -> Iterator[BinaryIO]:
    """Open `path` for writing; it appears only when the block ends without an error.

    The temporary name holds the process id, so two processes never write into each other's file.
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
    """Whether an error comes from writing to a disk (or a quota) that is full.

    Libraries that write in C say so in words of their own, or in none: then the disk itself is looked at.
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
    """What a file's content is known by; "missing" where there is none."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()[:16]
    except FileNotFoundError:
        return "missing"


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON, whole or not at all. NaN is refused: JSON has none."""
    with atomic_write(path) as file:
        file.write(json.dumps(value, indent=2, allow_nan=False).encode() + b"\n")


def write_csv(path: Path, header: Iterable[str], rows: Iterable[Iterable[object]]) -> None:
    """Write a header and rows as UTF-8 CSV with Unix line ends, whole or not at all."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    with atomic_write(path) as file:
        file.write(text.getvalue().encode())


def fold_directory(trial: Path, fold: int) -> Path:
    """Where fold run number `fold` of a trial lies."""
    return trial / f"fold-{fold}"


def fold_directories(trial: Path) -> list[Path]:
    """The directories of all fold runs of a trial that have begun, by number."""
    return sorted(trial.glob("fold-*"), key=lambda path: (len(path.name), path.name))
