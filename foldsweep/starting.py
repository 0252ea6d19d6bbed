"""`foldsweep.run`: what `sweeps run` does, with a file or a dict as the search space."""

import contextlib
import dataclasses
import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from foldsweep.stored import Sweep
from foldsweep.stored import open as open_stored
from sweeps.errors import InputError, NothingCompletedError, SameFailureError, SpecError
from sweeps.paths import SweepFiles
from sweeps.preparing.feasible import further_problems
from sweeps.ray_tune.addresses import chosen_address
from sweeps.results.named import runs_folder, storage_url
from sweeps.running.described import nothing_completed
from sweeps.running.events import Notice, ProgressView, Silent
from sweeps.running.plain_lines import PlainLines
from sweeps.space.spec import SweepSpec
from sweeps.space.spec_reader import read_spec
from sweeps.space.tracking import TRACKERS, TrackerName
from sweeps.sweep import RunOptions, RunResult, RunState, run_sweep

Space = str | os.PathLike[str] | Mapping[str, Any]


def run(
    space: Space,
    *,
    name: str | None = None,
    trials: int | None = None,
    hours: float | None = None,
    set: Mapping[str, Any] | None = None,
    update: bool = False,
    storage: str | None = None,
    runs: str | os.PathLike[str] | None = None,
    address: str | None = None,
    local: bool = False,
    grace: float = 2.0,
    db_patience: float = 10.0,
    track: str | Iterable[str] = (),
    silent: bool = False,
) -> Sweep:
    """Start a sweep, or continue it, and wait for its end.

    Kernel > Interrupt (or Ctrl-C) ends it as the command: running trials save their state, and the
    same call continues them. A second one does not wait for the trials. Outside of the main thread
    no interrupt arrives: `sweeps stop` ends the sweep then.

    Args:
        space: the path of a search space file, or its content as a dict. Paths in a dict are
            relative to the working directory. NumPy's numbers and arrays, and ranges, are taken.
        name: the sweep's name in place of the one in the search space; a dict needs one or the
            other.
        trials: number of trials in all (`run_cap`).
        hours: hours in all (`budget.hours`).
        set: overrides of keys of the search space, e.g. `{"parameters.epochs.value": 3}`.
        update: True to go on with a search space whose ranges of numbers grew.
        storage: the database URL; None for `$SWEEPS_STORAGE`, else a SQLite file in the runs
            folder.
        runs: the folder of all results; None for `$SWEEPS_RUNS`, else `runs`.
        address: the address of a Ray cluster to join, or `auto` on one of its nodes. Without it and
            without `$RAY_ADDRESS`, Ray starts on this machine.
        local: True for one trial after another in this process, without Ray.
        grace: minutes that running trials have to save their state after a stop.
        db_patience: minutes that the storage may be silent.
        track: names of programs that show the sweep, too: wandb, tensorboard, mlflow.
        silent: True to print nothing; else there is a line for each event.

    Returns:
        The sweep, to be looked at.

    Raises:
        InputError: search space, data, storage or resources cannot be used, or another driver has
            the sweep.
        NothingCompletedError: the sweep ended without a completed trial.
        SameFailureError: trials failed for the same reason, one after another.
        InfrastructureError: Ray, the storage or the lease is lost; the same call continues.
        TrainerError: the data or the user functions cannot be used.
        KeyboardInterrupt: the sweep was interrupted, also by `sweeps stop`. The cells below are
            not run then.
    """
    view: ProgressView = Silent() if silent else PlainLines(sys.stdout)
    folder = runs_folder(None if runs is None else Path(runs))
    overrides = {"name": name, "run_cap": trials, "budget.hours": hours}
    given = {key: value for key, value in overrides.items() if value is not None}
    options = RunOptions(
        runs=folder,
        storage=storage_url(storage, folder),
        address=None if local else chosen_address(address),
        update=update,
        grace_s=60 * grace,
        patience_s=60 * db_patience,
        webhook=os.environ.get("SWEEPS_WEBHOOK") or None,
    )
    with _without_lines(isinstance(space, Mapping)):
        spec = _read(space, {**(set or {}), **given}, name=name).tracked_by(_trackers(track))
        for notice in spec.notices:
            view.notify(Notice(f"note: {notice}"))
        with _own_threads() if local else contextlib.nullcontext():
            result = run_sweep(spec, options, view=view)
    _conclude(spec, result, options, view)
    return open_stored(spec.name, storage=storage, runs=folder)


def _read(space: Space, overrides: Mapping[str, Any], *, name: str | None) -> SweepSpec:
    """Read and validate a search space: a file, or the content of one."""
    settings = settings_of(overrides)
    if not isinstance(space, Mapping):
        return read_spec(Path(space), settings=settings, also=further_problems)
    name = name or space.get("name")
    if not name:
        raise InputError(
            "a search space that is a dict needs a name: name='...', or a key 'name' in it"
        )
    # the name is the path in messages, and the working directory is the folder of user functions
    return read_spec(
        Path(str(name)), settings=settings, text=json_of(space, "space"), also=further_problems
    )


def settings_of(overrides: Mapping[str, Any]) -> list[str]:
    """Overrides as the texts that `--set` takes.

    Example:
        >>> settings_of({"run_cap": 20, "parameters.lr": {"min": 1e-4, "max": 0.01}})
        ['run_cap=20', 'parameters.lr={"min": 0.0001, "max": 0.01}']
    """
    return [f"{key}={json_of(value, key)}" for key, value in overrides.items()]


def json_of(value: Any, where: str) -> str:
    """A value of a search space as JSON, which is YAML; NumPy's values and ranges become lists.

    Args:
        where: what is named in the error.

    Raises:
        InputError: the value has something in it that a file cannot have.

    Example:
        >>> json_of({"values": range(1, 4), "source": Path("data/train.csv")}, "space")
        '{"values": [1, 2, 3], "source": "data/train.csv"}'
    """

    def plain(other: object) -> Any:
        if isinstance(other, range):
            return list(other)
        if isinstance(other, os.PathLike):
            return os.fspath(other)
        if hasattr(other, "tolist"):  # an array or a number of NumPy
            return other.tolist()
        raise InputError(
            f"{where}: {other!r} is a {type(other).__name__}. A search space has texts, numbers, "
            "True, False, None, lists and dicts"
        )

    try:
        return json.dumps(value, default=plain, ensure_ascii=False)
    except (TypeError, ValueError) as error:  # a key is no text, or a value contains itself
        raise InputError(f"{where}: cannot be written as a search space ({error})") from None


@contextlib.contextmanager
def _without_lines(is_dict: bool) -> Iterator[None]:
    """Let the problems of a dict have no lines: there is no file to look them up in."""
    try:
        yield
    except SpecError as error:
        if not is_dict:
            raise
        problems = [dataclasses.replace(problem, line=0) for problem in error.problems]
        raise SpecError(error.source, problems, first=error.first, last=error.last) from None


@contextlib.contextmanager
def _own_threads() -> Iterator[None]:
    """Give torch its number of CPU threads back, which trials in this process change."""
    import torch

    before = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _trackers(track: str | Iterable[str]) -> tuple[TrackerName, ...]:
    names = [track] if isinstance(track, str) else list(track)
    for name in names:
        if name not in TRACKERS:
            raise InputError(f"track: unknown tracker {name!r}. Known: {', '.join(TRACKERS)}")
    return tuple(known for known in TRACKERS if known in names)


def _conclude(spec: SweepSpec, result: RunResult, options: RunOptions, view: ProgressView) -> None:
    """Tell how the sweep ended, by an exception if the command would have an exit code."""
    if result.state is RunState.NOT_BEGUN:
        raise KeyboardInterrupt(
            f"sweep {spec.name!r} was asked to stop before its first trial; the same call starts it"
        )
    if result.state is RunState.INTERRUPTED:
        raise KeyboardInterrupt(
            f"sweep {spec.name!r} is interrupted, its state is saved; the same call continues it"
        )
    if result.state is RunState.DONE_BEFORE:
        view.notify(Notice("all trials are done already; more with trials or a larger run_cap"))
        return
    if result.state is RunState.BROKEN and result.broken is not None:
        first = SweepFiles(options.runs / spec.name).trial(result.broken.trials[0])
        raise SameFailureError(result.broken.ends_a_sweep(first.error))
    if result.state is RunState.DRAINED:
        view.notify(Notice("stopped as asked; the same call goes on with more trials"))
    if not result.has_results and result.snapshot is not None:
        shown_by = f"foldsweep.open({spec.name!r}).trials"
        raise NothingCompletedError(nothing_completed(result.snapshot, shown_by=shown_by))
