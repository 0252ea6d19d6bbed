"""Which files of ended trials go: decided here, and removed as a sweep goes on. `garbage` cleans up a whole sweep.

| trial               | results, curves, OOF | weights                              | kept epochs | checkpoint |
|---------------------|----------------------|--------------------------------------|-------------|------------|
| waiting, running    | stay                 | stay                                 | stay        | stays      |
| complete            | stay                 | of the best `keep` stay              | go          | goes       |
| pruned              | stay                 | go                                   | go          | goes       |
| failed              | stay                 | stay, for a retry takes them over    | stay        | goes       |
| failed and retried  | stay                 | go: the retry has its own            | go          | goes       |

A trial whose result another sweep took over is ranked there, too: it keeps its weights while either of the two ranks it
high enough.
"""

import bisect
import contextlib
import enum
import logging
import queue
import shutil
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType

from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState

from sweeps.errors import SweepsError
from sweeps.events import EndState, Event, TrialEnded, TrialStarted
from sweeps.paths import SweepFiles, TrialFiles
from sweeps.ranking import rank
from sweeps.records import Origin, origin, root_of, score_key
from sweeps.results import SweepView, names
from sweeps.spec import SweepSpec
from sweeps.study import STORAGE_ERRORS, StoredSweep
from sweeps.yaml_file import YamlFile
from trainer.metrics import Goal
from trainer.result import CHECKPOINT, WEIGHTS

logger = logging.getLogger(__name__)

CLOSING_S = 10.0  # for a file system that does not answer; what is left goes the next time


class Part(enum.Enum):
    """What of a trial's directory may go."""

    WEIGHTS = "weights"
    EPOCHS = "epochs"  # see trainer.kept_epochs
    CHECKPOINT = "checkpoint"


Parts = frozenset[Part]
NOTHING, ALL = Parts(), Parts(Part)


def best_origins(trials: Iterable[FrozenTrial], *, sweep: str, goal: Goal, keep: int) -> set[Origin]:
    """The trials, of this sweep or others, whose weights a sweep keeps."""
    return {origin(trial, sweep=sweep) for trial in rank(trials, goal=goal, sweep=sweep)[:keep]}


def superfluous(
    trials: Iterable[FrozenTrial], *, wanted: Collection[int], failed_too: bool = False
) -> dict[int, Parts]:
    """What of each trial's directory is no longer needed, by number.

    Args:
        trials: all of one sweep.
        wanted: numbers of the complete trials that keep their weights.
        failed_too: failed trials lose what a retry would take over; a retry then trains their folds again.
    """
    known = list(trials)
    last_tries = {root_of(trial): trial.number for trial in known}  # by number

    def parts(trial: FrozenTrial) -> Parts:
        if not trial.state.is_finished():
            return NOTHING
        if trial.state == TrialState.COMPLETE:
            return ALL - {Part.WEIGHTS} if trial.number in wanted else ALL
        to_be_retried = last_tries[root_of(trial)] == trial.number
        if trial.state == TrialState.FAIL and to_be_retried and not failed_too:
            return Parts({Part.CHECKPOINT})
        return ALL

    return {trial.number: parts(trial) for trial in known}


def files_of(trial: TrialFiles, parts: Parts) -> Iterator[Path]:
    """The files and folders in a trial's directory that are these parts of it; it need not exist."""
    for fold in trial.folds() if parts else ():
        if Part.WEIGHTS in parts and (fold / WEIGHTS).exists():
            yield fold / WEIGHTS
        if Part.CHECKPOINT in parts and (fold / CHECKPOINT).exists():
            yield fold / CHECKPOINT
        if Part.EPOCHS in parts:  # the only folders of a fold run, also while they are being removed
            yield from (path for path in fold.iterdir() if path.is_dir())


def remove(path: Path) -> None:
    """Remove a file or a folder; what is gone already is no error.

    Raises:
        OSError: it cannot be removed.
    """
    with contextlib.suppress(FileNotFoundError):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def keep_of(files: SweepFiles) -> int:
    """How many trials keep their weights, as the sweep's search space says.

    Raises:
        InputError: its copy in the sweep's directory is missing or damaged.
    """
    return int(YamlFile(files.spec).values.get("keep", SweepSpec.model_fields["keep"].default))


def claims(storage: RDBStorage, *, runs: Path) -> dict[str, set[Origin]]:
    """The trials whose weights are kept by sweeps that took over trials of others, by the name of these sweeps.

    A sweep without files keeps none.
    """
    found: dict[str, set[Origin]] = {}
    for name in names(storage):
        files, stored = SweepFiles.of(runs, name), StoredSweep.find(storage, name)
        if stored is not None and stored.record().warm_started and files.spec.is_file():
            view = SweepView.read(stored)
            try:
                keep = keep_of(files)
            except SweepsError as error:  # one sweep's damaged file is no reason to keep all others' weights
                logger.warning("%s", error)
                keep = SweepSpec.model_fields["keep"].default
            found[name] = best_origins(view.trials, sweep=name, goal=view.goal, keep=keep)
    return found


def needed_elsewhere(claimed: Mapping[str, Collection[Origin]], *, sweep: str) -> frozenset[int]:
    """Numbers of the trials of `sweep` that keep their weights for another sweep, see `claims`."""
    others = (origins for name, origins in claimed.items() if name != sweep)
    return frozenset(of.number for origins in others for of in origins if of.sweep == sweep)


class Retention:
    """Takes away what ended trials no longer need while a sweep goes on; a context manager.

    It listens to the driver and works on a thread of its own. What it cannot remove is logged, and left to the next
    driver or to `sweeps gc`. Each trial costs the same, however many there were before.
    """

    def __init__(
        self, files: SweepFiles, sweep: StoredSweep, *, keep: int, then: Callable[[Event], None] = lambda event: None
    ) -> None:
        """Prepare; nothing is removed yet.

        Args:
            keep: how many of the best complete trials keep their weights.
            then: told every event after this.
        """
        self._files, self._sweep, self._keep, self._then = files, sweep, keep, then
        self._goal = Goal.MAXIMIZE  # until the storage is read
        self._needed: frozenset[int] = frozenset()
        self._best: list[tuple[tuple[float, int], Origin]] = []
        self._started: set[int] = set()
        self._queue: queue.SimpleQueue[TrialEnded | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name=f"retention {sweep.name}", daemon=True)

    def __enter__(self) -> "Retention":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._queue.put(None)
        self._thread.join(CLOSING_S)

    def notify(self, event: Event) -> None:
        """Listen to the driver; neither blocks nor raises."""
        self._then(event)
        if isinstance(event, TrialStarted):
            self._started.add(event.number)
        elif isinstance(event, TrialEnded) and event.number in self._started:  # a result taken over has no files
            self._started.remove(event.number)
            self._queue.put(event)

    def _work(self) -> None:
        try:
            self._begin()
            while (event := self._queue.get()) is not None:
                self._ended(event)
        except (*STORAGE_ERRORS, SweepsError, OSError) as error:
            logger.warning("superfluous files stay until `sweeps gc %s` (%s)", self._sweep.name, error)
        finally:
            self._sweep.storage.remove_session()  # this thread's connection

    def _begin(self) -> None:
        """Look at all trials so far: the last driver may have been killed, or have kept more."""
        view, name = SweepView.read(self._sweep), self._sweep.name
        self._goal = view.goal
        self._needed = self._claimed()
        ranked = view.ranked()[: self._keep]
        self._best = [
            (score_key(trial.values[0], trial.number, goal=self._goal), origin(trial, sweep=name)) for trial in ranked
        ]
        wanted = self._needed | {of.number for _, of in self._best if of.sweep == name}
        for number, parts in superfluous(view.trials, wanted=wanted).items():
            self._remove(number, parts)

    def _ended(self, event: TrialEnded) -> None:
        if event.state is EndState.COMPLETED:
            assert event.score is not None
            self._remove(event.number, ALL - {Part.WEIGHTS})
            entry = (score_key(event.score, event.number, goal=self._goal), Origin(self._sweep.name, event.number))
            if entry not in self._best:
                bisect.insort(self._best, entry, key=lambda known: known[0])
            worse = [of.number for _, of in self._best[self._keep :] if of.sweep == self._sweep.name]
            del self._best[self._keep :]
            if worse:  # by now another sweep may have taken them over
                self._needed = self._claimed()
            for number in set(worse) - self._needed:
                self._remove(number, Parts({Part.WEIGHTS}))
        elif event.state is EndState.PRUNED:
            self._remove(event.number, ALL)
        elif event.state is EndState.FAILED:
            self._remove(event.number, Parts({Part.CHECKPOINT}))

    def _claimed(self) -> frozenset[int]:
        claimed = claims(self._sweep.storage, runs=self._files.directory.parent)
        return needed_elsewhere(claimed, sweep=self._sweep.name)

    def _remove(self, number: int, parts: Parts) -> None:
        try:
            for path in list(files_of(self._files.trial(number), parts)):
                remove(path)
        except OSError as error:
            logger.warning("trial %d: superfluous files cannot be removed (%s)", number, error)
