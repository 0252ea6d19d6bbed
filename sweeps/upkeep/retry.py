"""`sweeps retry`: a failed trial again, under a new number, with its seed and its finished folds."""

import dataclasses
import json
import os
import shutil
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path

from optuna.trial import FrozenTrial, TrialState, create_trial

from sweeps.errors import InfrastructureError, InputError
from sweeps.paths import SweepFiles, TrialFiles
from sweeps.study.records import RETRY_OF, root_of
from sweeps.study.stored_sweep import StoredSweep
from trainer.training.oof import OOF
from trainer.training.result import CURVE, RESULT, WEIGHTS

_STATES = {
    TrialState.COMPLETE: "completed",
    TrialState.PRUNED: "was pruned",
    TrialState.RUNNING: "is marked running; `sweeps run` continues it",
    TrialState.WAITING: "is to be continued by `sweeps run`",
}


@dataclasses.dataclass(frozen=True)
class Retry:
    """A failed trial, the trial that repeats it, and how many finished folds that one begins with."""

    failed: int
    number: int
    folds: int


def retry_failed(
    sweep: StoredSweep,
    numbers: Collection[int] = (),
    *,
    files: SweepFiles,
    confirm: Callable[[], None],
) -> list[Retry]:
    """Add a trial for each failed one, to be handed out by the next driver. The caller holds the sweep's lease.

    Args:
        numbers: of failed trials; without any, all whose last try failed.
        confirm: makes sure of the lease before anything is stored.

    Raises:
        InputError: one of them is unknown, did not fail, or has a retry that did not fail; all such are named.
        InfrastructureError: the files of the new trial cannot be written, or another program adds trials.
    """
    trials = sweep.trials()
    return [
        _retry(sweep, trial, number=number, files=files, confirm=confirm)
        for number, trial in enumerate(choose(trials, numbers), start=len(trials))
    ]


def choose(trials: Sequence[FrozenTrial], numbers: Collection[int] = ()) -> list[FrozenTrial]:
    """The failed trials to be repeated: of several tries at one trial the last.

    Raises:
        InputError: see `retry_failed`.
    """
    last_tries = {root_of(trial): trial for trial in trials}  # trials come by number
    if not numbers:
        return [trial for trial in last_tries.values() if trial.state == TrialState.FAIL]
    known = {trial.number: trial for trial in trials}
    chosen: dict[int, FrozenTrial] = {}
    problems = []
    for number in sorted(set(numbers)):
        trial = known.get(number)
        if trial is None:
            problems.append(
                f"there is no trial {number}"
                + (f", only 0 to {len(known) - 1}" if known else " yet")
            )
        elif trial.state != TrialState.FAIL:
            problems.append(f"trial {number} did not fail: it {_STATES[trial.state]}")
        elif (last := last_tries[root_of(trial)]).state != TrialState.FAIL:
            problems.append(
                f"trial {number} was retried already: trial {last.number} {_STATES[last.state]}"
            )
        else:
            chosen[last.number] = last
    if problems:
        raise InputError(
            "\n".join(["--trial: " + "; ".join(problems), "`sweeps status` lists the failed ones"])
        )
    return list(chosen.values())


def finished_folds(trial: TrialFiles) -> Iterator[Path]:
    """The fold runs in a failed trial's directory that a retry need not train again.

    Where one epoch is chosen for all folds (`checkpoint: best`), a fold whose kept epochs are gone has no choice left.
    """
    needs_epochs = _common_epoch(trial.config)
    for fold in trial.folds():
        whole = all((fold / name).is_file() for name in (RESULT, OOF, CURVE, WEIGHTS))
        if whole and (not needs_epochs or _kept_epochs(fold)):
            yield fold


def _common_epoch(config: Path) -> bool:
    try:
        return bool(json.loads(config.read_text()).get("checkpoint") == "best")
    except (FileNotFoundError, ValueError):  # it failed before it began
        return False


def _kept_epochs(fold: Path) -> list[Path]:
    """The folders of a fold run, see trainer.training.kept_epochs; hidden ones are on their way out."""
    return [path for path in fold.iterdir() if path.is_dir() and not path.name.startswith(".")]


def _retry(
    sweep: StoredSweep,
    failed: FrozenTrial,
    *,
    number: int,
    files: SweepFiles,
    confirm: Callable[[], None],
) -> Retry:
    """Files first: a trial that is in the storage has all it begins with."""
    source, target = (files.trial(n).directory for n in (failed.number, number))
    try:
        folds = _take_folds(source, target)
    except OSError as error:
        raise InfrastructureError(
            f"{target}: the finished folds of trial {failed.number} cannot be put there ({error.strerror}). "
            "Nothing was changed; run the same command again"
        ) from None
    confirm()
    added = add_retry(sweep, failed)
    if added != number:
        raise InfrastructureError(f"another program adds trials to sweep {sweep.name!r}; stopping")
    return Retry(failed.number, number, folds)


def _take_folds(source: Path, target: Path) -> int:
    """Put the finished folds of one trial into another's directory, which appears whole or not at all."""
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    folds = list(finished_folds(TrialFiles(source)))
    try:
        for fold in folds:
            for file in [fold / name for name in (OOF, CURVE, WEIGHTS)] + [
                path for folder in _kept_epochs(fold) for path in folder.iterdir()
            ]:
                _take(file, temporary / file.relative_to(source))
            _take(fold / RESULT, temporary / fold.name / RESULT)
        shutil.rmtree(target, ignore_errors=True)  # of a number that was never recorded
        if folds:
            temporary.replace(target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return len(folds)


def _take(source: Path, target: Path) -> None:
    """A second name for a file, which nobody changes in place; a copy where file systems have one name each."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def add_retry(sweep: StoredSweep, failed: FrozenTrial) -> int:
    """Store a waiting trial with the parameters of a failed one; returns its number."""
    trial = create_trial(
        state=TrialState.WAITING,
        params=failed.params,
        distributions=failed.distributions,
        user_attrs={RETRY_OF: root_of(failed)},
    )
    return sweep.add(trial)
