"""Which files of ended trials are no longer needed."""

import contextlib
import enum
import logging
import shutil
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path

from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState

from sweeps.errors import SweepsError
from sweeps.paths import SweepFiles, TrialFiles
from sweeps.results.ranking import rank
from sweeps.results.view import SweepView, names
from sweeps.space.spec import SweepSpec
from sweeps.space.yaml_file import YamlFile
from sweeps.study.records import Origin, is_finish, origin, root_of
from sweeps.study.stored_sweep import StoredSweep
from trainer.metrics import Goal
from trainer.training.result import CHECKPOINT, WEIGHTS

logger = logging.getLogger(__name__)


class Part(enum.Enum):
    """One kind of files in a trial's directory that may be removed."""

    WEIGHTS = "weights"
    EPOCHS = "epochs"  # see trainer.training.kept_epochs
    CHECKPOINT = "checkpoint"


Parts = frozenset[Part]

NOTHING = Parts()
ALL = Parts(Part)


def best_origins(
    trials: Iterable[FrozenTrial], *, sweep: str, goal: Goal, keep: int
) -> set[Origin]:
    """The trials whose weights a sweep keeps: its `keep` best trials, and those that finish others.

    A trial that finishes a pruned trial was trained for the ensemble, however it ranks. The sweep
    may have taken over some of these trials from other sweeps.
    """
    ranked = rank(trials, goal=goal, sweep=sweep)
    kept = [*ranked[:keep], *filter(is_finish, ranked[keep:])]
    return {origin(trial, sweep=sweep) for trial in kept}


def superfluous(
    trials: Iterable[FrozenTrial], *, wanted: Collection[int], include_failed: bool = False
) -> dict[int, Parts]:
    """The parts of each trial's directory that are no longer needed, by trial number.

    Args:
        trials: all trials of one sweep, sorted by number.
        wanted: numbers of the complete trials that keep their weights.
        include_failed: whether failed trials lose the files that a retry would take over. A retry
            then trains the finished folds again.

    Example:
        >>> from optuna.trial import create_trial
        >>> complete = create_trial(value=0.9)
        >>> superfluous([complete], wanted=[]) == {complete.number: ALL}
        True
        >>> superfluous([complete], wanted=[complete.number]) == {
        ...     complete.number: ALL - {Part.WEIGHTS}
        ... }
        True
    """
    known = list(trials)
    last_tries = {
        root_of(trial): trial.number for trial in known
    }  # a later try replaces an earlier

    def parts(trial: FrozenTrial) -> Parts:
        if not trial.state.is_finished():
            return NOTHING
        if trial.state == TrialState.COMPLETE:
            return ALL - {Part.WEIGHTS} if trial.number in wanted else ALL
        to_be_retried = last_tries[root_of(trial)] == trial.number
        if trial.state == TrialState.FAIL and to_be_retried and not include_failed:
            return Parts({Part.CHECKPOINT})
        return ALL

    return {trial.number: parts(trial) for trial in known}


def files_of(trial: TrialFiles, parts: Parts) -> Iterator[Path]:
    """The files and folders of these parts in a trial's directory.

    The directory may be missing: then there are none.
    """
    for fold in trial.folds() if parts else ():
        if Part.WEIGHTS in parts and (fold / WEIGHTS).exists():
            yield fold / WEIGHTS
        if Part.CHECKPOINT in parts and (fold / CHECKPOINT).exists():
            yield fold / CHECKPOINT
        # the kept epochs are the only folders of a fold run, also while they are being removed
        if Part.EPOCHS in parts:
            yield from (path for path in fold.iterdir() if path.is_dir())


def remove(path: Path) -> None:
    """Remove a file or a folder. A path that does not exist is no error.

    Raises:
        OSError: the file or folder cannot be removed.
    """
    with contextlib.suppress(FileNotFoundError):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def keep_of(files: SweepFiles) -> int:
    """How many trials keep their weights, according to the sweep's search space.

    Raises:
        InputError: the copy of the search space in the sweep's directory is missing or damaged.
    """
    return int(YamlFile(files.spec).values.get("keep", SweepSpec.model_fields["keep"].default))


def claims(storage: RDBStorage, *, runs: Path) -> dict[str, set[Origin]]:
    """The trials whose weights must stay for sweeps that took over trials of other sweeps.

    A sweep without files needs no weights.

    Returns:
        For each sweep that took over trials, by its name: the trials whose weights it keeps.
    """
    found: dict[str, set[Origin]] = {}
    for name in names(storage):
        files = SweepFiles.of(runs, name)
        stored = StoredSweep.find(storage, name)
        if stored is not None and stored.record().warm_started and files.spec.is_file():
            view = SweepView.read(stored)
            try:
                keep = keep_of(files)
            except SweepsError as error:
                # the damaged file of one sweep is no reason to keep the weights of all other sweeps
                logger.warning("%s", error)
                keep = SweepSpec.model_fields["keep"].default
            found[name] = best_origins(view.trials, sweep=name, goal=view.goal, keep=keep)
    return found


def needed_elsewhere(claimed: Mapping[str, Collection[Origin]], *, sweep: str) -> frozenset[int]:
    """Numbers of the trials of `sweep` whose weights another sweep needs, see `claims`."""
    others = (origins for name, origins in claimed.items() if name != sweep)
    return frozenset(of.number for origins in others for of in origins if of.sweep == sweep)
