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
import logging
import queue
import threading
from collections.abc import Callable
from types import TracebackType

from sweeps.errors import SweepsError
from sweeps.paths import SweepFiles
from sweeps.results.view import SweepView
from sweeps.running.events import EndState, Event, TrialEnded, TrialStarted
from sweeps.study.records import Origin, origin, score_key
from sweeps.study.storage import STORAGE_ERRORS
from sweeps.study.stored_sweep import StoredSweep
from sweeps.upkeep.leftovers import (
    ALL,
    Part,
    Parts,
    claims,
    files_of,
    needed_elsewhere,
    remove,
    superfluous,
)
from trainer.metrics import Goal

logger = logging.getLogger(__name__)


CLOSING_S = 10.0  # for a file system that does not answer; what is left goes the next time


class Retention:
    """Takes away what ended trials no longer need while a sweep goes on; a context manager.

    It listens to the driver and works on a thread of its own. What it cannot remove is logged, and left to the next
    driver or to `sweeps gc`. Each trial costs the same, however many there were before.
    """

    def __init__(
        self,
        files: SweepFiles,
        sweep: StoredSweep,
        *,
        keep: int,
        then: Callable[[Event], None] = lambda event: None,
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
        self._thread = threading.Thread(
            target=self._work, name=f"retention {sweep.name}", daemon=True
        )

    def __enter__(self) -> "Retention":
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._queue.put(None)
        self._thread.join(CLOSING_S)

    def notify(self, event: Event) -> None:
        """Listen to the driver; neither blocks nor raises."""
        self._then(event)
        if isinstance(event, TrialStarted):
            self._started.add(event.number)
        elif (
            isinstance(event, TrialEnded) and event.number in self._started
        ):  # a result taken over has no files
            self._started.remove(event.number)
            self._queue.put(event)

    def _work(self) -> None:
        try:
            self._begin()
            while (event := self._queue.get()) is not None:
                self._ended(event)
        except (*STORAGE_ERRORS, SweepsError, OSError) as error:
            logger.warning(
                "superfluous files stay until `sweeps gc %s` (%s)", self._sweep.name, error
            )
        finally:
            self._sweep.storage.remove_session()  # this thread's connection

    def _begin(self) -> None:
        """Look at all trials so far: the last driver may have been killed, or have kept more."""
        view, name = SweepView.read(self._sweep), self._sweep.name
        self._goal = view.goal
        self._needed = self._claimed()
        ranked = view.ranked()[: self._keep]
        self._best = [
            (score_key(trial.values[0], trial.number, goal=self._goal), origin(trial, sweep=name))
            for trial in ranked
        ]
        wanted = self._needed | {of.number for _, of in self._best if of.sweep == name}
        for number, parts in superfluous(view.trials, wanted=wanted).items():
            self._remove(number, parts)

    def _ended(self, event: TrialEnded) -> None:
        if event.state == EndState.COMPLETED:
            assert event.score is not None
            self._remove(event.number, ALL - {Part.WEIGHTS})
            entry = (
                score_key(event.score, event.number, goal=self._goal),
                Origin(self._sweep.name, event.number),
            )
            if entry not in self._best:
                bisect.insort(self._best, entry, key=lambda known: known[0])
            worse = [
                of.number for _, of in self._best[self._keep :] if of.sweep == self._sweep.name
            ]
            del self._best[self._keep :]
            if worse:  # by now another sweep may have taken them over
                self._needed = self._claimed()
            for number in set(worse) - self._needed:
                self._remove(number, Parts({Part.WEIGHTS}))
        elif event.state == EndState.PRUNED:
            self._remove(event.number, ALL)
        elif event.state == EndState.FAILED:
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
