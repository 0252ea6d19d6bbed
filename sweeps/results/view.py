"""A stored sweep, read once for a command; and functions that find stored sweeps.

This module only reads.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial

from sweeps.errors import InputError, did_you_mean
from sweeps.paths import SweepFiles
from sweeps.results.ranking import rank
from sweeps.space.spec import METRIC_NAMES, user_metric
from sweeps.study.holder import Holder
from sweeps.study.lease import find_holders
from sweeps.study.records import FORMAT, SweepRecord
from sweeps.study.stored_sweep import StoredSweep
from trainer.metrics import Goal


@dataclasses.dataclass(frozen=True)
class SweepView:
    """The content of a stored sweep at the time when it was read.

    A command reads the sweep once, because reading takes longer than all other steps together.

    Attributes:
        trials: all trials, ordered by number.
        record: the attributes of the sweep as a whole.
    """

    sweep: StoredSweep
    trials: Sequence[FrozenTrial]
    record: SweepRecord
    goal: Goal

    @classmethod
    def read(cls, sweep: StoredSweep) -> "SweepView":
        """Read the sweep from the storage now."""
        return cls(sweep, sweep.trials(), sweep.record(), sweep.goal())

    @property
    def name(self) -> str:
        """Name of the sweep."""
        return self.sweep.name

    @property
    def metric(self) -> str:
        """Name of the metric, as in the search space."""
        name = str(self.sweep.spec["metric"]["name"])
        assert name in METRIC_NAMES or user_metric(name)
        return name

    def trial(self, number: int) -> FrozenTrial:
        """The trial with this number.

        Raises:
            InputError: there is no such trial.
        """
        if not 0 <= number < len(self.trials):
            last = len(self.trials) - 1
            known = f"they are numbered 0 to {last}" if self.trials else "there is none yet"
            raise InputError(f"trial {number}: sweep {self.name!r} has no such trial, {known}")
        return self.trials[number]

    def ranked(self) -> list[FrozenTrial]:
        """The complete trials on the sweep's leaderboard, best first."""
        return rank(self.trials, goal=self.goal, sweep=self.name)


def names(storage: RDBStorage) -> list[str]:
    """Names of the stored sweeps, ordered by the start of the last driver, latest at the end."""
    found = {
        study.study_name: SweepRecord.of(study.user_attrs, study.system_attrs)
        for study in storage.get_all_studies()
    }
    of_foldsweep = [name for name, record in found.items() if record.identity]
    return sorted(of_foldsweep, key=lambda name: found[name].driven)


def newer(storage: RDBStorage) -> list[str]:
    """Names of the sweeps that a newer version of foldsweep stored.

    This version cannot read those sweeps.
    """
    return [
        s.study_name
        for s in storage.get_all_studies()
        if SweepRecord.of(s.user_attrs, s.system_attrs).format > FORMAT
    ]


def preparing(storage: RDBStorage) -> dict[str, Holder]:
    """The drivers of sweeps that are not stored yet, because their images are being read."""
    known = {study.study_name for study in storage.get_all_studies()}
    return {
        name: holder
        for name, holder in find_holders(storage.engine).items()
        if name not in known and not holder.is_dead_on_this_machine()
    }


def find_sweep(storage: RDBStorage, name: str | None) -> StoredSweep:
    """The stored sweep of this name, or the latest sweep.

    Args:
        name: name of a sweep; None for the latest sweep.

    Raises:
        InputError: there is no such sweep.
    """
    known = names(storage)
    if not known:
        raise InputError(
            "no sweeps in this storage yet. `sweeps run SPACE` starts one; "
            "--storage names another place"
        )
    if name is None:
        name = known[-1]
    sweep = StoredSweep.find(storage, name) if name in known else None
    if sweep is None:
        raise InputError(
            f"no sweep {name!r} in this storage.{did_you_mean(name, known)} "
            "`sweeps list` shows them"
        )
    return sweep


def sweep_files(sweep: StoredSweep, *, runs: Path) -> SweepFiles:
    """The directory of a stored sweep.

    Raises:
        InputError: there is no directory, or the directory belongs to another sweep of the same
            name.
    """
    files = SweepFiles.of(runs, sweep.name)
    identity = files.identity()
    if identity != sweep.uuid:
        what = "has no files of it" if identity is None else "belongs to another sweep of that name"
        raise InputError(
            f"sweep {sweep.name!r} is in the storage, but {files.directory} {what}. "
            "Give the --runs folder it was started with"
        )
    return files
