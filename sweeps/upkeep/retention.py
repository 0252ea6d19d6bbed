"""Remove the files of ended trials that are no longer needed, while the sweep is in progress.

`garbage` removes the same files from a whole sweep later.

| trial              | results, curves, OOF | weights              | kept epochs | checkpoint |
|--------------------|----------------------|----------------------|-------------|------------|
| waiting, running   | stay                 | stay                 | stay        | stays      |
| complete           | stay                 | the best `keep` stay | go          | goes       |
| pruned             | stay                 | go                   | go          | goes       |
| failed             | stay                 | stay (1)             | stay        | goes       |
| failed and retried | stay                 | go (2)               | go          | goes       |

`error.txt`, the traceback of a failed trial, and `worker.log` stay: they take a few kilobytes, and
say why a trial failed long after it was retried. A retry does not take them over.

Refits (`sweeps refit`) stay, whatever becomes of their trial: a user asked for each of them.

(1) A retry takes over these weights.
(2) The retry has its own weights.

Another sweep may take over a trial's result. Then both sweeps rank the trial. The trial keeps its
weights as long as one of the two sweeps has it among its best `keep` trials.
"""

import bisect
import functools
import logging
import queue
import threading
from collections.abc import Callable

from sweeps.errors import InfrastructureError, LeaseLostError, SweepsError
from sweeps.paths import SweepFiles
from sweeps.results.view import SweepView
from sweeps.running.events import EndState, Event, TrialEnded, TrialStarted
from sweeps.study.database import reason
from sweeps.study.records import Origin, is_finish, origin, score_key
from sweeps.study.storage import STORAGE_ERRORS
from sweeps.study.stored_sweep import StoredSweep
from sweeps.threads import vital
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

# How long the end of a sweep waits for a file system that does not answer. The next driver removes
# the files that are left.
CLOSING_S = 10.0
RETRY_EVERY_S = 15.0  # time between two tries while the storage does not answer


class Retention:
    """Removes the files that ended trials no longer need, while a sweep is in progress.

    This is a context manager. It gets the driver's events and removes files on its own thread. A
    file that cannot be removed is logged; the next driver or `sweeps gc` tries again. While the
    storage does not answer, events wait. The work for one trial does not depend on the number of
    earlier trials.
    """

    def __init__(
        self,
        files: SweepFiles,
        sweep: StoredSweep,
        *,
        keep: int,
        fence: Callable[[], None] = lambda: None,
        on_end: Callable[[InfrastructureError], None] = lambda error: None,
        retry_every_s: float = RETRY_EVERY_S,
    ) -> None:
        """Prepare; nothing is removed yet.

        Args:
            keep: how many of the best complete trials keep their weights.
            fence: called before each removal, for example `Lease.confirm`. LeaseLostError means
                that another driver has the sweep, and ends all removal.
            on_end: called from the thread if a bug ends it.
        """
        self._files = files
        self._sweep = sweep
        self._keep = keep
        self._fence = fence
        self._on_end = on_end
        self._retry_every_s = retry_every_s
        self._goal = Goal.MAXIMIZE  # `_begin` reads the real goal from the storage
        self._needed: frozenset[int] = frozenset()
        self._finishing: set[int] = set()  # trials that finish pruned ones keep their weights
        self._best: list[tuple[tuple[float, int], Origin]] = []
        self._started: set[int] = set()
        self._queue: queue.SimpleQueue[TrialEnded | None] = queue.SimpleQueue()
        self._closing = threading.Event()
        self._waiting = False  # whether the last job failed and is tried again
        self._thread = threading.Thread(
            target=self._work, name=f"retention {sweep.name}", daemon=True
        )

    def __enter__(self) -> "Retention":
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._closing.set()
        self._queue.put(None)
        self._thread.join(CLOSING_S)

    def notify(self, event: Event) -> None:
        """Take an event of the driver; this method neither blocks nor raises."""
        if isinstance(event, TrialStarted):
            self._started.add(event.number)
            if event.finishes is not None:
                self._finishing.add(event.number)
        # a trial that took over an earlier result was never started, and has no files
        elif isinstance(event, TrialEnded) and event.number in self._started:
            self._started.remove(event.number)
            self._queue.put(event)

    def _work(self) -> None:
        with vital("the removal of superfluous files", on_end=self._on_end):
            try:
                self._until_closed()
            except LeaseLostError:
                pass  # the lease itself reports its loss
            finally:
                self._sweep.storage.remove_session()  # closes the connection of this thread

    def _until_closed(self) -> None:
        job: Callable[[], None] = self._begin
        while self._done(job):
            event = self._queue.get()
            if event is None:
                return
            job = functools.partial(self._ended, event)

    def _done(self, job: Callable[[], None]) -> bool:
        """Do a job, again and again until the storage answers; False if the sweep ends before."""
        while True:
            last = self._closing.is_set()
            try:
                job()
            except LeaseLostError:
                raise
            except (*STORAGE_ERRORS, SweepsError, OSError) as error:
                if last or not self._waiting:
                    until = f"`sweeps gc {self._sweep.name}`" if last else "the next try"
                    logger.warning("superfluous files stay until %s (%s)", until, reason(error))
                if last:
                    return False
                self._waiting = True
                self._closing.wait(self._retry_every_s)
            else:
                self._waiting = False
                return True

    def _begin(self) -> None:
        """Remove the superfluous files of all earlier trials.

        The last driver may have been killed before it removed them, or its `keep` was larger.
        """
        view = SweepView.read(self._sweep)
        name = self._sweep.name
        self._goal = view.goal
        self._needed = self._claimed()
        self._finishing |= {trial.number for trial in view.trials if is_finish(trial)}
        ranked = view.ranked()[: self._keep]
        self._best = [
            (score_key(trial.values[0], trial.number, goal=self._goal), origin(trial, sweep=name))
            for trial in ranked
        ]
        wanted = self._needed | self._finishing
        wanted |= {of.number for _, of in self._best if of.sweep == name}
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
            # another sweep may have taken over these trials since the last time
            if worse:
                self._needed = self._claimed()
            for number in set(worse) - self._needed - self._finishing:
                self._remove(number, Parts({Part.WEIGHTS}))
            del self._best[self._keep :]  # at the end: an error before has all of this done again
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
                self._fence()
                remove(path)
        except OSError as error:
            logger.warning("trial %d: superfluous files cannot be removed (%s)", number, error)
