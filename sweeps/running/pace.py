"""How fast trials go: the time that a running trial and the sweep still need.

A worker process needs 10 to 60 seconds to start, and only its first trial waits for that. Therefore
all estimates count from a trial's first report.
"""

import dataclasses
import statistics
from collections.abc import Callable

from sweeps.running.patience import Silence, longest_silence_s, usual_epoch_s

ASLEEP_S = 60.0  # a driver that has not looked for so long was stopped meanwhile


@dataclasses.dataclass
class _Times:
    """Clock times of a trial, and the epochs that were done then.

    Attributes:
        heard: when the trial last reported, or its worker began.
        starting: whether its worker has not reported yet.
    """

    started: float
    heard: float
    starting: bool = True
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

    def __init__(
        self, clock: Callable[[], float], *, expected_s: float | None = None, epochs: int = 1
    ) -> None:
        """
        Args:
            clock: seconds; only differences of its values are used.
            expected_s: what a trial takes by `sweeps check --train`; it counts until a trial has
                ended.
            epochs: number of epochs of a trial, over all folds.
        """
        self._clock = clock
        self._expected_s = expected_s
        self._expected_epoch_s = None if expected_s is None else expected_s / epochs
        self._running: dict[int, _Times] = {}
        self._durations_s: list[float] = []
        self._slowest_epoch_s: float | None = None  # of the workers that have ended
        self._looked_at = clock()  # for silence

    def started(self, number: int) -> None:
        """A trial goes to a worker now."""
        now = self._clock()
        self._running[number] = _Times(now, heard=now)

    def restarted(self, number: int) -> None:
        """Another worker process begins a running trial anew now."""
        times = self._running[number]
        self._keep_epoch(times)
        # what the last process reported says nothing about the time until the next report
        self._running[number] = _Times(times.started, heard=self._clock())

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
        times.heard, times.starting = now, False

    def ended(self, number: int, *, counts: bool) -> None:
        """A trial leaves its worker now.

        Args:
            counts: whether other trials will take about as long, as they do not if it failed.
        """
        times = self._running.pop(number)
        if counts:
            self._durations_s.append(self._without_start(times))
        self._keep_epoch(times)

    def silent(self, factor: float | None) -> list[Silence]:
        """The trials that have not reported for too long, each as if its worker begins anew now.

        The caller asks every second or so. If it did not, this process was stopped or had no time,
        and reports wait to be read: no silence has begun before now.

        Args:
            factor: see `longest_silence_s`.
        """
        now = self._clock()
        if now - self._looked_at > ASLEEP_S:
            for times in self._running.values():
                times.heard = now
        self._looked_at = now
        known = [self._slowest_epoch_s, *(times.epoch_s for times in self._running.values())]
        others = [epoch_s for epoch_s in known if epoch_s is not None]
        found = []
        for number, times in self._running.items():
            usual_s = usual_epoch_s(times.epoch_s, others, expected=self._expected_epoch_s)
            limit_s = longest_silence_s(usual_s, factor=factor, starting=times.starting)
            silent_s = now - times.heard
            if usual_s is not None and limit_s is not None and silent_s >= limit_s:
                found.append(Silence(number, silent_s, usual_s))
        for silence in found:
            self.restarted(silence.number)
        return found

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

    def _keep_epoch(self, times: _Times) -> None:
        if times.epoch_s is not None:
            self._slowest_epoch_s = max(times.epoch_s, self._slowest_epoch_s or 0.0)

    def _without_start(self, times: _Times) -> float:
        """Seconds from the start of a trial's first epoch to now."""
        now = self._clock()
        if times.first is None or times.epoch_s is None:
            return now - times.started
        return min(now - times.started, now - times.first + times.first_done * times.epoch_s)
