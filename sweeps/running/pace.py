"""How fast trials go: the time that a running trial and the sweep still need.

A worker process needs 10 to 60 seconds to start, and only its first trial waits for that. Therefore
all estimates count from a trial's first report.
"""

import dataclasses
import statistics
from collections.abc import Callable


@dataclasses.dataclass
class _Times:
    """Clock times of a trial, and the epochs that were done then."""

    started: float
    first: float | None = None
    first_done: int = 0
    last: float = 0.0
    last_done: int = 0

    @property
    def epoch_s(self) -> float | None:
        """Seconds of one epoch between the first and the last report; None with one report."""
        if self.first is None or self.last_done <= self.first_done:
            return None
        return (self.last - self.first) / (self.last_done - self.first_done)


class Pace:
    """The times of the trials of one driver. The caller of each method holds the driver's lock."""

    def __init__(self, clock: Callable[[], float], *, expected_s: float | None = None) -> None:
        """
        Args:
            clock: seconds; only differences of its values are used.
            expected_s: what a trial takes by `sweeps check --train`; it counts until a trial has
                ended.
        """
        self._clock = clock
        self._expected_s = expected_s
        self._running: dict[int, _Times] = {}
        self._durations_s: list[float] = []

    def started(self, number: int) -> None:
        """A trial goes to a worker now."""
        self._running[number] = _Times(self._clock())

    def reported(self, number: int, *, done: int) -> None:
        """A trial reports now.

        Args:
            done: its epochs up to now, over all folds.
        """
        times = self._running[number]
        now = self._clock()
        if times.first is None:
            times.first, times.first_done = now, done
        times.last, times.last_done = now, done

    def ended(self, number: int, *, counts: bool) -> None:
        """A trial leaves its worker now.

        Args:
            counts: whether other trials will take about as long, as they do not if it failed.
        """
        times = self._running.pop(number)
        if counts:
            self._durations_s.append(self._without_start(times))

    def left_s(self, number: int, *, total: int) -> float | None:
        """Seconds that a running trial still needs for `total` epochs; None before two reports."""
        times = self._running[number]
        if times.epoch_s is None:
            return None
        ahead = times.last + (total - times.last_done) * times.epoch_s - self._clock()
        return max(0.0, ahead)

    def eta_s(self, trials: int) -> float | None:
        """Seconds until `trials` trials are over; None if no trial has ended and none is expected.

        Args:
            trials: all trials that are not over, those that run included.
        """
        at_once = max(1, len(self._running))
        if self._durations_s:
            return max(0.0, trials * statistics.fmean(self._durations_s) / at_once)
        if self._expected_s is None:
            return None
        # no end of a trial corrects this yet, so the time must pass by itself
        begun = [times for times in self._running.values() if times.first is not None]
        done_s = sum(min(self._expected_s, self._without_start(times)) for times in begun)
        return max(0.0, (trials * self._expected_s - done_s) / at_once)

    def _without_start(self, times: _Times) -> float:
        """Seconds from the start of a trial's first epoch to now."""
        now = self._clock()
        if times.first is None or times.epoch_s is None:
            return now - times.started
        return min(now - times.started, now - times.first + times.first_done * times.epoch_s)
