"""Tells one tracker every epoch exactly once and in order, from live reports and from the records.

Live reports come at once, but some may be missing: the queue of the driver drops when it is full,
and a tracker process that was killed has lost what it had. The records have everything, but later.
So a live epoch is told at once if it follows the last one that was told; else it is held back until
the records fill the gap.
"""

import dataclasses
from collections.abc import Container

from sweeps.running.events import EndState
from sweeps.tracking.recorded import Recorded
from sweeps.tracking.tracker import Epoch, Tracker, Trial


@dataclasses.dataclass
class _Progress:
    """What the tracker was told of one trial.

    Attributes:
        trial: the trial since its `begin`; None before.
        last: fold and epoch of the last epoch that was told.
        held: live epochs that cannot be told yet, by step.
        ended: the state of the last `end`; None while the trial is in progress.
    """

    trial: Trial | None = None
    last: tuple[int, int] | None = None
    held: dict[int, Epoch] = dataclasses.field(default_factory=dict)
    ended: EndState | None = None

    @property
    def open(self) -> bool:
        return self.trial is not None and self.ended is None

    @property
    def over(self) -> bool:
        return self.ended not in (None, EndState.INTERRUPTED)


class Teller:
    """What one tracker has been told in this process, and what it may be told next."""

    def __init__(self, tracker: Tracker, *, without: Container[int] = ()) -> None:
        """Prepare; nothing is told yet.

        Args:
            without: numbers of trials that are not told, because the tracker's program refuses
                them.
        """
        self._tracker = tracker
        self._without = without
        self._trials: dict[int, _Progress] = {}

    def live(self, number: int, epoch: Epoch) -> None:
        """Take an epoch that was just reported: tell it, or keep it until what is missing comes."""
        if number in self._without:
            return
        progress = self._trials.setdefault(number, _Progress())
        if progress.over or (progress.last or (0, 0)) >= (epoch.fold, epoch.epoch):
            return
        progress.held[epoch.step] = epoch
        if progress.open:
            self._tell_held(progress, ())

    def records(self, found: Recorded) -> None:
        """Take what the records hold of a trial, and tell what is new in it."""
        if found.trial.number in self._without:
            return
        progress = self._trials.setdefault(found.trial.number, _Progress())
        if progress.over or not self._news(progress, found):
            return
        if not progress.open:
            self._tracker.begin(found.trial)
            progress.trial = found.trial
            progress.ended = None
        for epoch in found.epochs:
            # what was reported live has the better time
            self._tell(progress, progress.held.get(epoch.step, epoch))
        self._tell_held(progress, found.finished)
        if found.end is not None:
            self._tracker.end(found.trial, found.end)
            progress.ended = found.end.state

    @property
    def trials(self) -> int:
        """Number of trials that the tracker was told of."""
        return sum(progress.trial is not None for progress in self._trials.values())

    def over(self, number: int) -> bool:
        """Whether the tracker is told nothing more of the trial: it ended, or is refused."""
        return number in self._without or self._progress(number).over

    def begun(self, number: int) -> bool:
        """Whether the trial is in progress as the tracker shows it, or over."""
        return self.over(number) or self._progress(number).open

    def lacking(self) -> set[int]:
        """Numbers of the trials in progress with epochs that wait for earlier ones."""
        return {n for n, progress in self._trials.items() if progress.open and progress.held}

    def _progress(self, number: int) -> _Progress:
        return self._trials.get(number, _Progress())

    @staticmethod
    def _news(progress: _Progress, found: Recorded) -> bool:
        """Whether the records say more of an interrupted trial than that it is interrupted."""
        if progress.ended is None or found.end is None or found.end.state != progress.ended:
            return True
        newest = found.epochs[-1] if found.epochs else None
        return newest is not None and (newest.fold, newest.epoch) > (progress.last or (0, 0))

    def _tell(self, progress: _Progress, epoch: Epoch) -> None:
        assert progress.trial is not None
        if (progress.last or (0, 0)) < (epoch.fold, epoch.epoch):
            self._tracker.epoch(progress.trial, epoch)
            progress.last = (epoch.fold, epoch.epoch)
        progress.held.pop(epoch.step, None)

    def _tell_held(self, progress: _Progress, finished: tuple[int, ...]) -> None:
        for step in sorted(progress.held):
            epoch = progress.held[step]
            if not follows(progress.last, epoch, finished):
                break
            self._tell(progress, epoch)


def follows(last: tuple[int, int] | None, epoch: Epoch, finished: tuple[int, ...]) -> bool:
    """Whether no epoch is missing between the last one that was told and this one.

    Args:
        last: fold and epoch; None if none was told.
        finished: number of epochs of each finished fold. A fold run may end early, so only its
            result says which of its epochs was the last.

    Example:
        >>> epoch = Epoch(fold=1, epoch=1, step=11, time=0.0, value=0.5, metrics={})
        >>> follows((0, 7), epoch, finished=(7,)), follows((0, 7), epoch, finished=())
        (True, False)
    """
    if last is None:
        return (epoch.fold, epoch.epoch) == (0, 1)
    fold, number = last
    if epoch.fold == fold:
        return epoch.epoch == number + 1
    ended = fold < len(finished) and finished[fold] == number
    return ended and (epoch.fold, epoch.epoch) == (fold + 1, 1)
