"""`sweeps retry`: repeat a failed trial with its seed and its finished folds, as a new trial."""

import dataclasses
from collections.abc import Callable, Collection, Sequence

from optuna.trial import FrozenTrial, TrialState, create_trial

from sweeps.errors import InfrastructureError, InputError
from sweeps.paths import SweepFiles
from sweeps.running.finished_folds import take_over_folds
from sweeps.study.records import BROKEN, retrying, root_of
from sweeps.study.stored_sweep import StoredSweep

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
        confirm: called before each write; raises if the lease is lost.

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


def repeat_broken(
    sweep: StoredSweep, *, files: SweepFiles, confirm: Callable[[], None]
) -> list[Retry]:
    """Add a new trial for each of the trials whose equal failures ended the last driver.

    So the failed trials take nothing of the cap. The caller holds the sweep's lease.

    Args:
        files, confirm: see `retry_failed`.

    Raises:
        InfrastructureError: see `retry_failed`.
    """
    broken = sweep.record().broken
    if not broken:
        return []
    trials = sweep.trials()
    # `sweeps retry`, or a call of this function that was killed, may have repeated some of them
    left = [trial for trial in choose(trials) if trial.number in broken]
    added = [
        _retry(sweep, trial, number=number, files=files, confirm=confirm)
        for number, trial in enumerate(left, start=len(trials))
    ]
    confirm()
    sweep.set_attribute(BROKEN, [])
    return added


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
    confirm()
    try:
        folds = take_over_folds(source, target)
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
