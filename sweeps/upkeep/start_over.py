"""A sweep that changed before any of its trials completed starts over, under its name."""

import dataclasses
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from optuna.trial import TrialState

from sweeps.errors import InfrastructureError
from sweeps.paths import SweepFiles, artifacts_folder
from sweeps.running.finished_folds import finished_folds
from sweeps.study.artifacts import artifacts_of
from sweeps.study.records import REPLACED, is_history
from sweeps.study.stored_sweep import StoredSweep


@dataclasses.dataclass(frozen=True)
class Replaced:
    """What a sweep had before it started over.

    Attributes:
        trials: number of its trials; none of them was completed.
        folds: number of their finished folds.
        kept: the folder that has its files from now on; None without finished folds.
    """

    trials: int
    folds: int
    kept: Path | None

    def text(self, sweep: str, changes: Sequence[str]) -> str:
        """The news, in one line.

        Args:
            changes: what changed; empty for a start that was interrupted.
        """
        changed = f" and this changed: {'; '.join(changes)}" if changes else ""
        many = "1 trial is" if self.trials == 1 else f"{self.trials} trials are"
        folds = "1 finished fold is" if self.folds == 1 else f"{self.folds} finished folds are"
        kept = "" if self.kept is None else f"; {folds} kept in {self.kept}"
        return (
            f"sweep {sweep!r} starts over, because no trial had completed{changed} "
            f"({many} dropped{kept})"
        )


def may_start_over(sweep: StoredSweep) -> bool:
    """Whether no trial of the sweep itself is completed; those of other sweeps are taken again."""
    return not any(
        trial.state == TrialState.COMPLETE and not is_history(trial, sweep.name)
        for trial in sweep.trials()
    )


def start_over(
    sweep: StoredSweep, *, files: SweepFiles, runs: Path, confirm: Callable[[], None]
) -> Replaced:
    """Remove a sweep's trials from the storage, and its files from their place.

    The page and the costs of `sweeps check` stay. The storage is marked first: so a driver that
    follows a killed one calls this function again. The caller holds the sweep's lease.

    Args:
        files: the sweep's directory.
        runs: the runs folder.
        confirm: called before each write; raises if the lease is lost.

    Raises:
        InfrastructureError: the files cannot be moved.
    """
    trials = sweep.trials()
    confirm()
    sweep.set_attribute(REPLACED, True)
    aside = files.directory.with_name(f".replaced-{sweep.name}-{sweep.uuid[:8]}")
    try:
        confirm()
        if files.identity() == sweep.uuid:
            files.directory.rename(aside)
            _move_back(SweepFiles(aside).check.directory, files.check.directory)
        folds = sum(
            len(list(finished_folds(SweepFiles(aside).trial(trial.number)))) for trial in trials
        )
        if not folds:
            shutil.rmtree(aside, ignore_errors=True)
        for trial in trials:
            for name in artifacts_of(trial):
                (artifacts_folder(runs) / name).unlink(missing_ok=True)
    except OSError as error:
        raise InfrastructureError(
            f"{error.filename}: cannot be moved ({error.strerror}), so sweep {sweep.name!r} cannot "
            "start over. Repair that and run the same command again"
        ) from None
    confirm()
    sweep.delete()
    return Replaced(len(trials), folds, aside if folds else None)


def _move_back(source: Path, target: Path) -> None:
    if source.is_dir():
        target.parent.mkdir(parents=True, exist_ok=True)
        source.rename(target)
