"""`sweeps gc`: find and remove the files on disk that a whole sweep no longer needs.

The table in `retention` lists these files. This module removes files inside the directories of
trials, and temporary files beside these directories. All other files in a sweep's directory are
small, and `sweeps check` or other programs may have written them: they stay.
"""

import collections
import dataclasses
import os
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Literal

from sweeps.errors import InputError
from sweeps.paths import TrialFiles
from sweeps.results.view import SweepView, sweep_files
from sweeps.study.lease import Lease
from sweeps.study.records import Origin
from sweeps.study.stored_sweep import StoredSweep
from sweeps.upkeep.leftovers import (
    Part,
    Parts,
    best_origins,
    files_of,
    keep_of,
    needed_elsewhere,
    remove,
    superfluous,
)
from trainer.training.result import WEIGHTS

Kind = Literal["weights", "checkpoints", "temporary", "unknown"]
# What is removed only if asked: the files that a retry of a failed trial would take over; and
# refits, because a user has asked for each of them.
Asked = Literal["failed", "refits"]
# A worker on another machine may still be writing a temporary file that is younger than this.
OLD_S = 3600.0
_TRIAL = re.compile(r"trial-(\d{4,})")


@dataclasses.dataclass(frozen=True)
class Collected:
    """What was removed of one sweep, or would be removed.

    Attributes:
        sweep: name of the sweep.
        keep: how many of the sweep's best trials keep their weights.
        weights: number of files with weights; a trial has one such file per fold and per refit.
        checkpoints: number of files and folders that only a continued fold run would need.
        temporary: number of files and folders whose writing process died.
        unknown: number of directories of trials that the storage does not know.
        freed_bytes: bytes that the removal frees. A file that has another hard link elsewhere
            counts as 0 bytes.
        skipped: why the sweep was not examined, or None.
    """

    sweep: str
    keep: int | None = None
    weights: int = 0
    checkpoints: int = 0
    temporary: int = 0
    unknown: int = 0
    freed_bytes: int = 0
    skipped: str | None = None


def collect(
    sweep: StoredSweep,
    *,
    runs: Path,
    claimed: Mapping[str, Collection[Origin]],
    now: float,
    keep: int | None = None,
    include: Collection[Asked] = (),
    dry_run: bool = False,
) -> Collected:
    """Remove the files that a sweep no longer needs.

    Args:
        runs: the runs folder.
        claimed: the trials whose weights other sweeps need, see `claims`.
        now: the current time, in seconds since 1970.
        keep: how many of the best trials keep their weights; None for the number in the sweep's
            search space.
        include: what is removed, too. Failed trials, see `superfluous`; and the refits of all
            trials, except those with a file that was changed within the last hour, which may be in
            training.
        dry_run: only count what would be removed, and remove nothing.

    Raises:
        SweepBusyError: a driver holds the sweep's lease.
        InputError: the sweep's files are not in `runs`, or a file cannot be removed.
        LeaseLostError: a driver has taken the lease in the meantime; what is left stays.
    """
    files = sweep_files(sweep, runs=runs)
    keep = keep or keep_of(files)
    with Lease.acquire(sweep.storage.engine, sweep.name) as lease:
        view = SweepView.read(sweep)
        best = best_origins(view.trials, sweep=sweep.name, goal=view.goal, keep=keep)
        wanted = needed_elsewhere(claimed, sweep=sweep.name) | {
            of.number for of in best if of.sweep == sweep.name
        }
        parts = superfluous(view.trials, wanted=wanted, include_failed="failed" in include)
        before = now - OLD_S
        found = list(find_leftovers(files.directory, parts, before=before))
        if "refits" in include:
            found += find_refits(files.directory, before=before)
        size = freed_bytes(path for _, path in found)
        if not dry_run:
            _remove_all((path for _, path in found), confirm=lease.confirm)
    count = collections.Counter(kind for kind, _ in found)
    return Collected(
        sweep.name,
        keep,
        weights=count["weights"],
        checkpoints=count["checkpoints"],
        temporary=count["temporary"],
        unknown=count["unknown"],
        freed_bytes=size,
    )


def find_leftovers(
    directory: Path, parts: Mapping[int, Parts], *, before: float
) -> Iterator[tuple[Kind, Path]]:
    """Find the files and folders in a sweep's directory that may be removed.

    Args:
        parts: the parts that may be removed, for all trials that the storage knows; see
            `superfluous`.
        before: seconds since 1970; temporary files that were changed later stay.
    """
    for entry in sorted(directory.iterdir()):
        match = _TRIAL.fullmatch(entry.name)
        if match is None:
            if _is_old_temporary(entry, before):
                yield "temporary", entry
        elif int(match[1]) not in parts:
            yield "unknown", entry
        else:
            yield from _leftovers_of_trial(entry, parts[int(match[1])], before=before)


def find_refits(directory: Path, *, before: float) -> Iterator[tuple[Kind, Path]]:
    """Find the folders of all refits in a sweep's directory that may be removed.

    Args:
        before: seconds since 1970; a refit with a file that was changed later stays.
    """
    for trial in sorted(entry for entry in directory.iterdir() if _TRIAL.fullmatch(entry.name)):
        for refit in TrialFiles(trial).refits():
            if all(file.lstat().st_mtime < before for file in refit.iterdir()):
                yield "weights" if (refit / WEIGHTS).exists() else "checkpoints", refit


def _leftovers_of_trial(
    directory: Path, parts: Parts, *, before: float
) -> Iterator[tuple[Kind, Path]]:
    gone = set()
    for part in Part:
        for path in files_of(TrialFiles(directory), parts & {part}):
            gone.add(path)
            yield "weights" if part is Part.WEIGHTS else "checkpoints", path
    for folder, folders, files in os.walk(directory):
        folders[:] = [name for name in folders if Path(folder, name) not in gone]
        yield from (
            ("temporary", path)
            for name in files
            if _is_old_temporary(path := Path(folder, name), before)
        )


def _is_old_temporary(path: Path, before: float) -> bool:
    if not (path.name.startswith(".") and path.name.endswith(".tmp")):
        return False
    return path.lstat().st_mtime < before


def freed_bytes(paths: Iterable[Path]) -> int:
    """Number of bytes that the removal of these files and folders frees.

    A file may have several hard links. Its bytes count only if all of them are removed.
    """
    names_gone: collections.Counter[tuple[int, int]] = collections.Counter()
    total = 0
    for path in paths:
        for file in path.rglob("*") if path.is_dir() else (path,):
            status = file.lstat()
            key = (status.st_dev, status.st_ino)
            names_gone[key] += 1
            if not file.is_dir() and names_gone[key] == status.st_nlink:
                total += status.st_size
    return total


def _remove_all(paths: Iterable[Path], *, confirm: Callable[[], None]) -> None:
    for path in paths:
        confirm()
        try:
            remove(path)
        except OSError as error:
            raise InputError(
                f"{error.filename or path}: cannot be removed ({error.strerror})"
            ) from None
