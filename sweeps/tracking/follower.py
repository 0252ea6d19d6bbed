"""Keeps one tracker up to date with a sweep, on a thread of its own.

Trackers do not wait for each other: one whose server hangs delays nobody but itself.
"""

import contextlib
import dataclasses
import logging
import queue
import threading
import time
from collections.abc import Callable, Iterator

from filelock import FileLock, Timeout

from sweeps.errors import SweepsError
from sweeps.study.stored_sweep import StoredSweep
from sweeps.tracking.lines import News
from sweeps.tracking.orders import Order, change
from sweeps.tracking.recorded import Recorded, read_recorded
from sweeps.tracking.teller import Teller
from sweeps.tracking.tracker import Orders, SweepFacts, Tracker

logger = logging.getLogger(__name__)

INBOX = 10_000  # news that wait for a slow tracker; the records have what is dropped
BUSY_POLL_S = 0.5


@dataclasses.dataclass(frozen=True)
class FollowTimes:
    """How often a follower does what, in seconds.

    Attributes:
        look_soon: reads the records of the trials that have news. Not at once, because a reader of
            SQLite holds up the driver's recorder.
        look_every: reads the records of the trials that are in progress.
        ask_every: asks the tracker for orders.
        retry_after: makes a new tracker after an error.
    """

    look_soon: float = 1.0
    look_every: float = 5.0
    ask_every: float = 10.0
    retry_after: float = 60.0


class Records:
    """The records of a sweep, as trackers are told them."""

    def __init__(self, sweep: StoredSweep, facts: SweepFacts) -> None:
        self._sweep = sweep
        self.facts = facts

    def all(self, *, but: Callable[[int], bool] = lambda number: False) -> Iterator[Recorded]:
        """All trials that were trained, by number.

        Args:
            but: whether a trial is left out.
        """
        for trial in self._sweep.trials():
            found = None if but(trial.number) else read_recorded(trial, self.facts)
            if found is not None:
                yield found

    def one(self, number: int) -> Recorded | None:
        """One trial; None if it was not trained, or is not there yet."""
        trial = self._sweep.trial(number)
        return None if trial is None else read_recorded(trial, self.facts)

    def release(self) -> None:
        """Close the connection that this thread has to the storage."""
        self._sweep.storage.remove_session()


def shown_by(tracker: str, facts: SweepFacts) -> FileLock:
    """The lock of the one process that shows a sweep in a tracker.

    Two processes would each send what the other one sends. The lock ends with its process.
    """
    return FileLock(facts.directory / f".{tracker}.lock")


def tell_all(tracker: Tracker, records: Records, *, teller: Teller | None = None) -> Teller:
    """Tell a tracker all that the records hold."""
    teller = teller or Teller(tracker)
    for found in records.all(but=teller.over):
        teller.records(found)
    return teller


class Follower:
    """Tells a tracker what is in the records and what comes in, until `finish`.

    After an error, a new tracker is made and told everything again.

    Attributes:
        behind: whether the tracker lacks something at the end; the records have it.
    """

    def __init__(
        self,
        name: str,
        make: Callable[[SweepFacts], Tracker],
        records: Records,
        *,
        on_order: Callable[[Order], None],
        times: FollowTimes = FollowTimes(),
    ) -> None:
        """Start the thread.

        Args:
            name: the name of the tracker.
            on_order: called from the thread.
        """
        self._name = name
        self._make = make
        self._records = records
        self._on_order = on_order
        self._times = times
        self._inbox: queue.Queue[News] = queue.Queue(INBOX)
        self._ending = threading.Event()
        self._answer: Orders | None = None  # the last answer of the tracker
        self.behind = True
        self._thread = threading.Thread(target=self._work, name=f"tracker {name}", daemon=True)
        self._thread.start()

    def news(self, news: News) -> None:
        """Take news; it is dropped if the tracker is far behind."""
        try:
            self._inbox.put_nowait(news)
        except queue.Full:
            logger.debug("%s: dropped news of trial %d", self._name, news.trial)

    def finish(self) -> None:
        """Tell what is left and close the tracker; `join` waits for that."""
        self._ending.set()

    def join(self, timeout_s: float) -> None:
        """Wait for the end of the thread."""
        self._thread.join(timeout_s)

    def _work(self) -> None:
        try:
            while not self._once():
                if self._ending.is_set():
                    return
                self._ending.wait(self._times.retry_after)
            self.behind = False
        finally:
            self._records.release()

    def _once(self) -> bool:
        """Make a tracker and tell it everything; returns whether all of it arrived."""
        try:
            with self._locked():
                tracker = self._make(self._records.facts)
                try:
                    self._follow(tracker)
                finally:
                    tracker.close()
        except SweepsError as error:
            logger.warning("%s: %s", self._name, error)
            return False
        except Exception:  # the boundary to libraries of others, which raise what they like
            logger.exception("%s: a new try in %.0f s", self._name, self._times.retry_after)
            return False
        return True

    def _locked(self) -> contextlib.AbstractContextManager[object]:
        """Take the lock; `sweeps sync` may have it for a while."""
        lock = shown_by(self._name, self._records.facts)
        while True:
            try:
                return lock.acquire(timeout=BUSY_POLL_S)
            except Timeout:
                if self._ending.is_set():
                    raise SweepsError("another process shows this sweep there") from None

    def _follow(self, tracker: Tracker) -> None:
        teller = tell_all(tracker, self._records)
        times = self._times
        soon_at = look_at = ask_at = time.monotonic()
        changed: set[int] = set()
        while not (self._ending.is_set() and self._inbox.empty()):
            try:
                changed |= self._take(self._inbox.get(timeout=BUSY_POLL_S), teller)
            except queue.Empty:
                if self._ending.is_set():
                    break
            now = time.monotonic()
            if now >= look_at:
                changed |= set(teller.open())
                look_at = now + times.look_every
            if changed and now >= soon_at:
                self._look(changed, teller)
                changed.clear()
                soon_at = time.monotonic() + times.look_soon
            if now >= ask_at:
                self._ask(tracker)
                ask_at = now + times.ask_every
        tell_all(tracker, self._records, teller=teller)

    def _take(self, news: News, teller: Teller) -> set[int]:
        """Take news, and return the trials whose records have more of them."""
        if news.started:
            teller.expect(news.trial)
        told = news.epoch is not None and teller.live(news.trial, news.epoch)
        return set() if told else {news.trial}

    def _look(self, numbers: set[int], teller: Teller) -> None:
        for number in sorted(numbers):
            found = self._records.one(number)
            if found is not None:
                teller.records(found)

    def _ask(self, tracker: Tracker) -> None:
        answer = tracker.orders()
        order = change(self._answer, answer, by=self._name)
        self._answer = answer
        if order is not None:
            self._on_order(order)
