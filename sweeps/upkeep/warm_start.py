"""`warm_start`: the finished trials of another sweep become history of this sweep.

Each start of this sweep adds the trials that the other sweep has finished since the last start.
"""

import contextlib
import dataclasses
from collections.abc import Callable, Collection, Iterator
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
class TakenOver:
    """What this sweep took over from another sweep at one start.

    Attributes:
        added: number of trials that are history of this sweep from now on.
        unfit: number of trained trials that were not taken over, because their parameters lie
            outside this sweep's search space.
    """

    added: int
    unfit: int


def warm_start(
    sweep: StoredSweep, spec: SweepSpec, *, runs: Path, confirm: Callable[[], None] = lambda: None
) -> dict[str, TakenOver]:
    """Add the new trials of the sweeps that `warm_start` names, where they fit the search space.

    The caller holds the lease of `sweep`. A source sweep that was read at an earlier start may be
    missing now, or its files may be missing: the trials that it gave before stay.

    Args:
        runs: the runs folder.
        confirm: called before each write; raises if the lease is lost.

    Returns:
        For each source sweep that gave trials or that was read for the first time, by its name:
        what was taken over.

    Raises:
        InputError: a source sweep that is named for the first time is not in the storage, or its
            scores cannot be compared, because it has another metric, other data or other folds.
    """
    done = dict(sweep.record().warm_started)
    sources = {
        name: _source(sweep, spec, name, runs=runs) for name in spec.warm_start if name not in done
    }
    for name in set(spec.warm_start) & done.keys():
        with contextlib.suppress(InputError):
            sources[name] = _source(sweep, spec, name, runs=runs)
    given: dict[str, TakenOver] = {}
    for name in (name for name in spec.warm_start if name in sources):
        known = set(_taken_before(sweep, name))
        taken = _take(sweep, spec, sources[name], known=known, confirm=confirm)
        if taken.added or name not in done:
            confirm()
            given[name] = taken
            done[name] = len(known) + taken.added
            sweep.set_attribute(WARM_STARTED, done)
    return given


def _take(
    sweep: StoredSweep,
    spec: SweepSpec,
    source: StoredSweep,
    *,
    known: Collection[int],
    confirm: Callable[[], None],
) -> TakenOver:
    """Add the trials of `source` to `sweep`, except the trials whose numbers are in `known`."""
    new = [trial for trial in trained(source.trials()) if trial.number not in known]
    space, _ = read_space(source.spec["parameters"])
    fitting = history(
        spec.space,
        new,
        source=source.name,
        source_space=space,
        defaults=sweep.record().defaults,
        source_defaults=source.record().defaults,
    )
    for trial in fitting:
        confirm()
        sweep.add(trial)
    return TakenOver(added=len(fitting), unfit=len(new) - len(fitting))


def _taken_before(sweep: StoredSweep, source: str) -> Iterator[int]:
    """Numbers of the trials of `source` that are history of `sweep` already."""
    for trial in sweep.trials():
        of = origin(trial, sweep=sweep.name)
        if is_history(trial, sweep.name) and of.sweep == source:
            yield of.number


def _source(sweep: StoredSweep, spec: SweepSpec, name: str, *, runs: Path) -> StoredSweep:
    """Open the source sweep called `name`.

    Raises:
        InputError: see `warm_start`.
    """
    known = [other for other in names(sweep.storage) if other != sweep.name]
    source = StoredSweep.find(sweep.storage, name) if name in known else None
    if source is None:
        raise InputError(
            f"warm_start: no sweep {name!r} in this storage.{did_you_mean(name, known)} "
            "`sweeps list` shows them"
        )
    metric = spec.fixed_part()["metric"]
    source_metric = source.spec["metric"]
    if source_metric != metric:
        raise InputError(
            f"warm_start: sweep {name!r} has scores of another kind "
            f"({source_metric['goal']} {source_metric['name']}; "
            f"here {metric['goal']} {metric['name']}). Leave it out"
        )
    source_files = SweepFiles.of(runs, name)
    own_files = SweepFiles.of(runs, sweep.name)
    if source_files.identity() != source.uuid:
        raise InputError(
            f"warm_start: {source_files.directory} has no files of sweep {name!r}. "
            "Give the --runs folder of both"
        )
    if source_files.folds_hash() != own_files.folds_hash():
        raise InputError(
            f"warm_start: sweep {name!r} has other images, labels or folds, "
            "so its scores cannot be compared. Leave it "
            f"out, or give both the same folds: folds: {{file: {source_files.folds_file}}}"
        )
    for file in sorted(source_files.code.glob("**/*")):
        own = own_files.directory / file.relative_to(source_files.directory)
        if file.is_file() and own.is_file() and own.read_bytes() != file.read_bytes():
            raise InputError(
                f"warm_start: sweep {name!r} began with another {file.name} ({file}), "
                "so its scores cannot be "
                "compared. Leave it out, or rename the function's file"
            )
    return source
