"""Reads the records of a running sweep as seldom as can be.

The storage belongs to the driver, whose recorder waits for whoever reads it: SQLite lets nobody
write meanwhile. So of a trial in progress only the files are looked at, after one look at the
storage; and the storage is asked for its end when the driver said that it has ended.
"""

from collections.abc import Callable, Iterator

from optuna.trial import FrozenTrial, TrialState

from sweeps.paths import SweepFiles
from sweeps.study.stored_sweep import StoredSweep
from sweeps.tracking.lines import About, News
from sweeps.tracking.recorded import Recorded, read_recorded
from sweeps.tracking.tracker import SweepFacts


class Records:
    """The records of a sweep, for one thread."""

    def __init__(self, sweep: StoredSweep, facts: SweepFacts) -> None:
        self._sweep = sweep
        self.facts = facts
        self._running: dict[int, FrozenTrial] = {}  # as the storage had them when they began

    def all(self, *, but: Callable[[int], bool] = lambda number: False) -> Iterator[Recorded]:
        """All trials that were trained, by number.

        Args:
            but: whether a trial is left out.
        """
        for trial in self._sweep.trials():
            found = None if but(trial.number) else read_recorded(trial, self.facts)
            if found is not None:
                yield found

    def in_progress(self, number: int) -> Recorded | None:
        """A trial that a worker has; None if the worker has not begun it yet."""
        trial = self._running.get(number)
        if trial is None and self._has_configuration(number):
            trial = self._sweep.trial(number)
            if trial is not None and trial.state == TrialState.RUNNING:
                self._running[number] = trial
        return None if trial is None else read_recorded(trial, self.facts)

    def ended(self, number: int) -> tuple[bool, Recorded | None]:
        """Whether the storage has the end of a trial; and the trial, None if it was not trained."""
        trial = self._sweep.trial(number)
        if trial is None or trial.state == TrialState.RUNNING:
            return False, None
        self._running.pop(number, None)
        return True, read_recorded(trial, self.facts)

    def release(self) -> None:
        """Close the connection that this thread has to the storage."""
        self._sweep.storage.remove_session()

    def _has_configuration(self, number: int) -> bool:
        return SweepFiles(self.facts.directory).trial(number).config.is_file()


class Due:
    """The trials whose records are to be looked at, and why.

    Attributes:
        starting: a worker has the trial, and the tracker does not show it in progress yet.
        working: the files of the trial have more to tell.
        ending: the trial ended, and its end has not been seen in the storage yet.
    """

    def __init__(self) -> None:
        self.starting: set[int] = set()
        self.working: set[int] = set()
        self.ending: set[int] = set()

    def __bool__(self) -> bool:
        return bool(self.starting or self.working or self.ending)

    def take(self, news: News, *, begun: bool) -> None:
        """Note what follows from news.

        Args:
            begun: whether the tracker shows the trial.
        """
        if news.about is About.ENDED:
            self.starting.discard(news.trial)
            self.working.discard(news.trial)
            self.ending.add(news.trial)
            return
        self.ending.discard(news.trial)  # an interrupted trial that goes on
        if news.about is About.FOLD:
            self.working.add(news.trial)
        if news.about is About.STARTED or not begun:
            self.starting.add(news.trial)
