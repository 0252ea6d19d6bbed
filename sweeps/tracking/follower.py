"""Keeps one tracker up to date with a sweep, on a thread of its own.

Trackers do not wait for each other: one whose server hangs delays nobody but itself.
"""

import contextlib
import dataclasses
import logging
import queue
import threading
import time
from collections.abc import Callable

from filelock import FileLock, Timeout

from sweeps.errors import SweepsError, TrialRefusedError
from sweeps.tracking.lines import News
from sweeps.tracking.orders import Order, change
from sweeps.tracking.reading import Due, Records
from sweeps.tracking.teller import Teller
from sweeps.tracking.tracker import Orders, SweepFacts, Tracker

logger = logging.getLogger(__name__)

INBOX = 10_000  # news that wait for a slow tracker; the records have what is dropped
BUSY_POLL_S = 0.5


@dataclasses.dataclass(frozen=True)
class FollowTimes:
    """How often a follower does what, in seconds.

    Attributes:
        look_soon: from news of a trial to the look at its records. Not at once: the recorder writes
            behind the driver, and a reader of SQLite holds it up.
        look_again: looks at the files of the trials of which epochs are missing.
        look_lost: reads the whole sweep after news was lost; at most this often.
        look_all: reads the whole sweep in any case.
        ask_every: asks the tracker for orders.
        retry_after: makes a new tracker after an error.
    """

    look_soon: float = 1.0
    look_again: float = 5.0
    look_lost: float = 10.0
    look_all: float = 600.0
    ask_every: float = 10.0
    retry_after: float = 60.0


@dataclasses.dataclass
class _Timer:
    """Says once in `every` seconds that it is time.

    Attributes:
        at: the next time, by the clock `time.monotonic`.
    """

    every: float
    at: float

    def rings(self, now: float) -> bool:
        if now < self.at:
            return False
        self.at = now + self.every
        return True


def shown_by(tracker: str, facts: SweepFacts) -> FileLock:
    """The lock of the one process that shows a sweep in a tracker.

    Two processes would each send what the other one sends. The lock ends with its process.
    """
    return FileLock(facts.directory / f".{tracker}.lock")


def tell_all(records: Records, teller: Teller) -> None:
    """Tell a tracker all that the records hold."""
    for found in records.all(but=teller.over):
        teller.records(found)


class Follower:
    """Tells a tracker what is in the records and what comes in, until `finish`.

    After an error, a new tracker is made and told everything again; but not a trial that its
    program refuses.

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
        say: Callable[[str], None],
        times: FollowTimes = FollowTimes(),
    ) -> None:
        """Start the thread.

        Args:
            name: the name of the tracker.
            on_order: called from the thread.
            say: gets a sentence that the user should read; called from the thread.
        """
        self._name = name
        self._make = make
        self._records = records
        self._on_order = on_order
        self._say = say
        self._times = times
        self._inbox: queue.Queue[News] = queue.Queue(INBOX)
        self._due = Due()
        self._lost = threading.Event()  # news was dropped since the last look at the whole sweep
        self._ending = threading.Event()
        self._refused: set[int] = set()  # numbers of the trials that the program refuses
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
            self._lost.set()

    def finish(self) -> None:
        """Tell what is left and close the tracker; `join` waits for that."""
        self._ending.set()

    def join(self, timeout_s: float) -> None:
        """Wait for the end of the thread."""
        self._thread.join(timeout_s)

    def _work(self) -> None:
        try:
            refused = 0
            while not self._once():
                if len(self._refused) > refused:  # the others need not wait
                    refused = len(self._refused)
                    continue
                if self._ending.is_set():
                    return
                self._ending.wait(self._times.retry_after)
            self.behind = bool(self._refused)
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
        except TrialRefusedError as error:
            self._refused.add(error.trial)
            logger.warning("%s: %s", self._name, error)
            again = f"`sweeps sync {self._records.facts.name}` tries this one again"
            self._say(f"{error}. The other trials are shown; {again}")
            return False
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
        teller = Teller(tracker, without=self._refused)
        self._tell_all(teller)
        times, now = self._times, time.monotonic()
        soon, ask = _Timer(times.look_soon, now), _Timer(times.ask_every, now)
        again = _Timer(times.look_again, now + times.look_again)
        lost = _Timer(times.look_lost, now + times.look_lost)
        every = _Timer(times.look_all, now + times.look_all)
        while not (self._ending.is_set() and self._inbox.empty()):
            if not self._due:
                soon.at = time.monotonic() + times.look_soon
            try:
                self._take(self._inbox.get(timeout=BUSY_POLL_S), teller)
            except queue.Empty:
                if self._ending.is_set():
                    break
            now = time.monotonic()
            if again.rings(now):
                self._due.working |= teller.lacking()
            if soon.rings(now):
                self._look(teller)
            if (self._lost.is_set() and lost.rings(now)) or every.rings(now):
                self._tell_all(teller)
            if ask.rings(now):
                self._ask(tracker)
        self._tell_all(teller)

    def _take(self, news: News, teller: Teller) -> None:
        if news.epoch is not None:
            teller.live(news.trial, news.epoch)
        self._due.take(news, begun=teller.begun(news.trial))
        if news.lost:
            self._lost.set()

    def _tell_all(self, teller: Teller) -> None:
        self._lost.clear()  # before the look: what is lost meanwhile needs another one
        tell_all(self._records, teller)

    def _look(self, teller: Teller) -> None:
        """Look at the records of the trials that are due."""
        due = self._due
        for number in sorted(due.ending):
            stored, found = self._records.ended(number)
            if found is not None:
                teller.records(found)
            if stored:
                due.ending.discard(number)
        for number in sorted(due.starting | due.working):
            found = self._records.in_progress(number)
            if found is not None:
                teller.records(found)
        due.working.clear()
        due.starting = {number for number in due.starting if not teller.begun(number)}

    def _ask(self, tracker: Tracker) -> None:
        answer = tracker.orders()
        order = change(self._answer, answer, by=self._name)
        self._answer = answer
        if order is not None:
            self._on_order(order)
