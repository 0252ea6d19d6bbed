"""`sweeps delete`: remove a whole sweep, its files and its trials in the storage."""

import dataclasses
import shutil
import uuid
from pathlib import Path

from optuna.trial import TrialState

from sweeps.errors import InputError
from sweeps.paths import SweepFiles, artifacts_folder
from sweeps.study.artifacts import artifacts_of
from sweeps.study.lease import Lease
from sweeps.study.stored_sweep import StoredSweep
from sweeps.upkeep.leftovers import claims


@dataclasses.dataclass(frozen=True)
class Deletable:
    """What is lost with a sweep.

    Attributes:
        files: the sweep's directory; None if the runs folder has none of it.
        complete: number of its complete trials.
        gpu_s: seconds times GPUs that its trials have had.
        size_bytes: of the files.
    """

    sweep: StoredSweep
    files: Path | None
    trials: int
    complete: int
    gpu_s: float
    elapsed_s: float
    size_bytes: int


def deletable(sweep: StoredSweep, *, runs: Path) -> Deletable:
    """Look at a sweep that may be deleted.

    Raises:
        InputError: another sweep ranks trials of this one, so it needs their files.
    """
    needing = sorted(
        name
        for name, origins in claims(sweep.storage, runs=runs).items()
        if name != sweep.name and any(origin.sweep == sweep.name for origin in origins)
    )
    if needing:
        raise InputError(
            f"sweep {sweep.name!r} cannot be deleted: {', '.join(map(repr, needing))} took over "
            "trials of it (warm_start) and needs their files. Delete that first"
        )
    files = SweepFiles.of(runs, sweep.name)
    own = files.directory if files.identity() == sweep.uuid else None
    trials = sweep.trials()
    record = sweep.record()
    return Deletable(
        sweep,
        own,
        trials=len(trials),
        complete=sum(trial.state == TrialState.COMPLETE for trial in trials),
        gpu_s=record.gpu_s,
        elapsed_s=record.elapsed_s,
        size_bytes=0 if own is None else _size_bytes(own),
    )


def delete(found: Deletable, *, runs: Path) -> None:
    """Delete a sweep.

    The directory first gets a name that no sweep can have. So a process that is killed in this
    function leaves a sweep that is there, or one that is gone with some files to be removed: the
    next call of this function removes them.

    Raises:
        SweepBusyError: a driver holds the sweep's lease.
        InputError: a file cannot be removed.
    """
    sweep = found.sweep
    with Lease.acquire(sweep.storage.engine, sweep.name) as lease:
        artifacts = [
            artifacts_folder(runs) / name
            for trial in sweep.trials()
            for name in artifacts_of(trial)
        ]
        lease.confirm()
        try:
            if found.files is not None:
                found.files.rename(found.files.with_name(f"{_trash(sweep.name)}{uuid.uuid4().hex}"))
            sweep.delete()
            for path in artifacts:
                path.unlink(missing_ok=True)
            for folder in runs.glob(f"{_trash(sweep.name)}*"):
                shutil.rmtree(folder)
        except OSError as error:
            raise InputError(
                f"{error.filename}: cannot be removed ({error.strerror}). "
                "Remove it yourself; nothing reads it any more"
            ) from None


def _trash(name: str) -> str:
    return f".deleted-{name}-"  # a sweep's name begins with no dot


def _size_bytes(directory: Path) -> int:
    return sum(path.lstat().st_size for path in directory.rglob("*") if path.is_file())
