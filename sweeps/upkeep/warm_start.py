"""`warm_start`: another sweep's finished trials become this one's history, at every start those that are new."""

import contextlib
import dataclasses
from collections.abc import Collection, Iterator
from pathlib import Path

from sweeps.errors import InputError, did_you_mean
from sweeps.paths import SweepFiles
from sweeps.results.view import names
from sweeps.search.history import history, trained
from sweeps.space.language import read_space
from sweeps.space.spec import SweepSpec
from sweeps.study.records import WARM_STARTED, is_history, origin
from sweeps.study.stored_sweep import StoredSweep


@dataclasses.dataclass(frozen=True)
class Taken:
    """What a sweep gave at one start.

    Attributes:
        added: trials that are history from now on.
        unfit: its other trained trials: this space could not have asked them.
    """

    added: int
    unfit: int


def warm_start(sweep: StoredSweep, spec: SweepSpec, *, runs: Path) -> dict[str, Taken]:
    """Add what the sweeps that `warm_start` names have completed since the last start, where it fits the space.

    The caller has the lease. A sweep that was looked at before may be gone, or its files: its trials stay.

    Returns:
        By name the sweeps that gave trials, and those that were looked at for the first time.

    Raises:
        InputError: a sweep named for the first time is not in the storage, or its scores cannot be compared: another
            metric, other data or folds.
    """
    done = dict(sweep.record().warm_started)
    sources = {
        name: _source(sweep, spec, name, runs=runs) for name in spec.warm_start if name not in done
    }
    for name in set(spec.warm_start) & done.keys():
        with contextlib.suppress(InputError):
            sources[name] = _source(sweep, spec, name, runs=runs)
    given: dict[str, Taken] = {}
    for name in (name for name in spec.warm_start if name in sources):
        known = set(_taken_before(sweep, name))
        taken = _take(sweep, spec, sources[name], known=known)
        if taken.added or name not in done:
            given[name], done[name] = taken, len(known) + taken.added
            sweep.set_attribute(WARM_STARTED, done)
    return given


def _take(
    sweep: StoredSweep, spec: SweepSpec, source: StoredSweep, *, known: Collection[int]
) -> Taken:
    """Add a sweep's trials except those with these numbers."""
    new = [trial for trial in trained(source.trials()) if trial.number not in known]
    space, _ = read_space(source.spec["parameters"])
    fitting = history(spec.space, new, source=source.name, source_space=space)
    for trial in fitting:
        sweep.add(trial)
    return Taken(added=len(fitting), unfit=len(new) - len(fitting))


def _taken_before(sweep: StoredSweep, source: str) -> Iterator[int]:
    """Numbers of the trials of `source` that are history already."""
    for trial in sweep.trials():
        of = origin(trial, sweep=sweep.name)
        if is_history(trial, sweep.name) and of.sweep == source:
            yield of.number


def _source(sweep: StoredSweep, spec: SweepSpec, name: str, *, runs: Path) -> StoredSweep:
    known = [other for other in names(sweep.storage) if other != sweep.name]
    source = StoredSweep.find(sweep.storage, name) if name in known else None
    if source is None:
        raise InputError(
            f"warm_start: no sweep {name!r} in this storage.{did_you_mean(name, known)} `sweeps list` shows them"
        )
    then, now = source.spec["metric"], spec.fixed_part()["metric"]
    if then != now:
        raise InputError(
            f"warm_start: sweep {name!r} has scores of another kind ({then['goal']} {then['name']}; "
            f"here {now['goal']} {now['name']}). Leave it out"
        )
    theirs, ours = SweepFiles.of(runs, name), SweepFiles.of(runs, sweep.name)
    if theirs.identity() != source.uuid:
        raise InputError(
            f"warm_start: {theirs.directory} has no files of sweep {name!r}. Give the --runs folder of both"
        )
    if theirs.folds_hash() != ours.folds_hash():
        raise InputError(
            f"warm_start: sweep {name!r} has other images, labels or folds, so its scores cannot be compared. Leave it "
            f"out, or give both the same folds: folds: {{file: {theirs.folds_file}}}"
        )
    for file in sorted(theirs.code.glob("**/*")):
        here = ours.directory / file.relative_to(theirs.directory)
        if file.is_file() and here.is_file() and here.read_bytes() != file.read_bytes():
            raise InputError(
                f"warm_start: sweep {name!r} began with another {file.name} ({file}), so its scores cannot be "
                "compared. Leave it out, or rename the function's file"
            )
    return source
