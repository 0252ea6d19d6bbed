"""`sweeps retry`: repeat a failed trial with its seed and its finished folds, as a new trial."""

import dataclasses
import json
import os
import shutil
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path

from optuna.trial import FrozenTrial, TrialState, create_trial

from sweeps.errors import InfrastructureError, InputError
from sweeps.paths import SweepFiles, TrialFiles
from sweeps.study.records import retrying, root_of
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
    """A failed trial and the new trial that repeats it.

    Attributes:
        failed: number of the failed trial.
        number: number of the new trial.
        folds: how many finished folds the new trial takes over.
    """

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
    """Add a new trial for each failed trial. The caller holds the sweep's lease.

    The next driver hands out the new trials.

    Args:
        numbers: numbers of failed trials; without numbers, all trials whose last try failed.
        files: the sweep's directory.
        confirm: called before each write to the storage; raises if the lease is lost.

    Raises:
        InputError: a trial is unknown, did not fail, or has a retry that did not fail. The message
            lists all such trials.
        InfrastructureError: the files of a new trial cannot be written, or another program adds
            trials to the sweep.
    """
    trials = sweep.trials()
    return [
        _retry(sweep, trial, number=number, files=files, confirm=confirm)
        for number, trial in enumerate(choose(trials, numbers), start=len(trials))
    ]


def choose(trials: Sequence[FrozenTrial], numbers: Collection[int] = ()) -> list[FrozenTrial]:
    """The failed trials that are to be repeated: of several tries at one trial, the last try.

    Args:
        trials: all trials of a sweep, sorted by number.
        numbers: see `retry_failed`.

    Raises:
        InputError: see `retry_failed`.
    """
    last_tries = {root_of(trial): trial for trial in trials}  # a later try replaces an earlier
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

    With `checkpoint: best`, one epoch is chosen for all folds from the kept epochs. Then a fold
    without kept epochs has to be trained again.
    """
    needs_epochs = _common_epoch(trial.config)
    for fold in trial.folds():
        whole = all((fold / name).is_file() for name in (RESULT, OOF, CURVE, WEIGHTS))
        if whole and (not needs_epochs or _kept_epochs(fold)):
            yield fold


def _common_epoch(config: Path) -> bool:
    try:
        return bool(json.loads(config.read_text()).get("checkpoint") == "best")
    except (FileNotFoundError, ValueError):  # the trial failed before it wrote its configuration
        return False


def _kept_epochs(fold: Path) -> list[Path]:
    """The folders with the kept epochs of a fold run, see trainer.training.kept_epochs.

    Hidden folders are being removed, so they do not count.
    """
    return [path for path in fold.iterdir() if path.is_dir() and not path.name.startswith(".")]


def _retry(
    sweep: StoredSweep,
    failed: FrozenTrial,
    *,
    number: int,
    files: SweepFiles,
    confirm: Callable[[], None],
) -> Retry:
    """Add a new trial for one failed trial.

    The files are written before the storage. Therefore a new trial in the storage always has the
    files that it takes over.
    """
    source = files.trial(failed.number).directory
    target = files.trial(number).directory
    try:
        folds = _take_over_folds(source, target)
    except OSError as error:
        raise InfrastructureError(
            f"{target}: the finished folds of trial {failed.number} cannot be put there "
            f"({error.strerror}). Nothing was changed; run the same command again"
        ) from None
    confirm()
    added = add_retry(sweep, failed)
    if added != number:
        raise InfrastructureError(f"another program adds trials to sweep {sweep.name!r}; stopping")
    return Retry(failed.number, number, folds)


def _take_over_folds(source: Path, target: Path) -> int:
    """Put the finished folds of a failed trial into the directory of its retry.

    The new directory appears complete or not at all.

    Returns:
        The number of finished folds.
    """
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    folds = list(finished_folds(TrialFiles(source)))
    try:
        for fold in folds:
            for file in [fold / name for name in (OOF, CURVE, WEIGHTS)] + [
                path for folder in _kept_epochs(fold) for path in folder.iterdir()
            ]:
                _link_or_copy(file, temporary / file.relative_to(source))
            _link_or_copy(fold / RESULT, temporary / fold.name / RESULT)
        # an existing directory belongs to a trial that was never recorded
        shutil.rmtree(target, ignore_errors=True)
        if folds:
            temporary.replace(target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return len(folds)


def _link_or_copy(source: Path, target: Path) -> None:
    """Give a file a second name, or copy the file where hard links are impossible.

    A second name is safe, because no program changes these files in place.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def add_retry(sweep: StoredSweep, failed: FrozenTrial) -> int:
    """Store a waiting trial with the parameters of a failed trial.

    Returns:
        The number of the new trial.
    """
    trial = create_trial(
        state=TrialState.WAITING,
        params=failed.params,
        distributions=failed.distributions,
        user_attrs=retrying(failed),
    )
    return sweep.add(trial)
