"""`warm_start`: another sweep's finished trials become this one's history, once."""

from pathlib import Path

from optuna.trial import FrozenTrial

from sweeps.errors import InputError, did_you_mean
from sweeps.history import history
from sweeps.messages import CODE_FOLDER
from sweeps.prepare import SweepFiles
from sweeps.results import names
from sweeps.spec import SweepSpec
from sweeps.study import TAKEN_FROM, WARM_STARTED, StoredSweep
from sweeps.tally import is_history


def warm_start(sweep: StoredSweep, spec: SweepSpec, *, runs: Path) -> dict[str, int]:
    """Add the complete trials of the sweeps that `warm_start` names, where they fit the space.

    The caller has the lease. A sweep whose trials were taken over stays out of it later on; one that was cut off
    midway is finished.

    Returns:
        How many trials each sweep gave, by name; sweeps that had been taken over before are left out.

    Raises:
        InputError: no such sweep in the storage, or its scores cannot be compared: another metric, other data or folds.
    """
    done = dict(sweep.attributes().get(WARM_STARTED, {}))
    wanted = [name for name in spec.warm_start if name not in done]
    sources = {name: _source(sweep, spec, name, runs=runs) for name in wanted}
    for name, source in sources.items():
        known = {t.user_attrs[TAKEN_FROM]["trial"] for t in sweep.trials() if _is_from(t, name, sweep.name)}
        fitting = history(spec.space, source.trials(), source=name)
        for trial in fitting:
            if trial.user_attrs[TAKEN_FROM]["trial"] not in known:
                sweep.add(trial)
        done[name] = len(fitting)
        sweep.set_attribute(WARM_STARTED, done)
    return {name: done[name] for name in wanted}


def _is_from(trial: FrozenTrial, source: str, sweep: str) -> bool:
    return is_history(trial, sweep) and bool(trial.user_attrs[TAKEN_FROM]["sweep"] == source)


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
            f"out, or give both the same folds: folds: {{file: {theirs.directory / 'folds.npz'}}}"
        )
    for file in sorted((theirs.directory / CODE_FOLDER).glob("**/*")):
        here = ours.directory / file.relative_to(theirs.directory)
        if file.is_file() and here.is_file() and here.read_bytes() != file.read_bytes():
            raise InputError(
                f"warm_start: sweep {name!r} began with another {file.name} ({file}), so its scores cannot be "
                "compared. Leave it out, or rename the function's file"
            )
    return source
