"""What `sweeps run` would find under the name of a search space."""

import dataclasses
import itertools
from collections.abc import Collection
from pathlib import Path

from sweeps.errors import InputError, SweepChangedError
from sweeps.paths import SweepFiles
from sweeps.preparing.opening import refuse_changes, refuse_other_sweep
from sweeps.results.view import names
from sweeps.space.spec import SweepSpec
from sweeps.study.database import parse_url, sqlite_file
from sweeps.study.storage import open_storage
from sweeps.study.stored_sweep import StoredSweep
from sweeps.upkeep.start_over import may_start_over
from trainer.data.cut import Cut


@dataclasses.dataclass(frozen=True)
class NameUse:
    """The use of a name by a sweep that has begun.

    Attributes:
        note: what `sweeps run` would do with the sweep of this name, in one line; None if there is
            none.
        refusal: why `sweeps run` would refuse the search space under this name, and a free name;
            None if it would not.
        free: a name that is free: the name itself unless it is refused.
    """

    free: str
    note: str | None = None
    refusal: str | None = None


def name_use(
    spec: SweepSpec, cut: Cut, *, files: SweepFiles, storage_url: str, runs: Path
) -> NameUse:
    """Look up the name of a search space; nothing is changed.

    Args:
        spec: the search space with the folds of `cut`.
        files: the directory of a sweep of this name.
        runs: the runs folder.

    Raises:
        InputError: the storage cannot be opened.
    """
    name = spec.name
    file = sqlite_file(parse_url(storage_url))
    storage = open_storage(storage_url) if file is None or file.is_file() else None
    try:
        stored = None if storage is None else StoredSweep.find(storage, name)
        if stored is not None and stored.record().replaced:
            return NameUse(name)
        refuse_other_sweep(stored, name, files=files, storage_url=storage_url)
        if stored is None:
            return NameUse(name)
        try:
            refuse_changes(stored, spec, cut, files=files)
        except SweepChangedError as error:
            if not may_start_over(stored):
                raise
            changes = "; ".join(error.what)
            note = (
                f"sweep {name!r} has begun, and this changed since: {changes}. No trial has "
                "completed, so `sweeps run` drops its trials and starts over"
            )
            return NameUse(name, note)
    except InputError as error:
        free = _free_name(name, taken=[] if storage is None else names(storage), runs=runs)
        return NameUse(
            free,
            refusal=f"`sweeps run` would refuse this search space: {error}\n"
            f"A name that is free: --name {free}",
        )
    trials = len(stored.trials())
    many = "1 trial" if trials == 1 else f"{trials:,} trials"
    return NameUse(name, f"sweep {name!r} has begun and has {many}: `sweeps run` continues it")


def _free_name(name: str, *, taken: Collection[str], runs: Path) -> str:
    """The first of name-2, name-3, ... that neither the storage nor the runs folder knows."""
    candidates = (f"{name}-{number}" for number in itertools.count(2))
    return next(
        candidate
        for candidate in candidates
        if candidate not in taken and SweepFiles.of(runs, candidate).identity() is None
    )
