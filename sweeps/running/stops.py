"""Which running trials have to stop, and the files by which their workers learn of it."""

import contextlib
import math
from collections.abc import Callable

from sweeps.paths import SweepFiles
from sweeps.running.attempt import excuse


class Stops:
    """The stops of one driver. The caller of each method but `asked` holds the driver's lock.

    A file that cannot be written, for example on a full disk, costs time only: a trial that is to
    stop ends at its next report then, and one that is to be interrupted at the end of its fold run.

    Attributes:
        every: whether all trials have to stop now and are continued later.
    """

    def __init__(
        self, files: SweepFiles, *, driver: str, grace_s: float, clock: Callable[[], float]
    ) -> None:
        """
        Args:
            driver: the driver's id, which is part of the names of the files.
            grace_s: how long the trials have to end after `interrupt`.
            clock: seconds; only differences of its values are used.
        """
        self.every = False
        self._files = files
        self._driver = driver
        self._grace_s = grace_s
        self._clock = clock
        self._asked_at = math.inf
        self._on_purpose = False
        self._reasons: dict[int, str] = {}

    def interrupt(self, *, on_purpose: bool = True) -> None:
        """Let all trials stop, to be continued later.

        Args:
            on_purpose: whether a user or a limit of the sweep ends the trials, and nothing broke.
        """
        self._on_purpose = on_purpose and (self._on_purpose or not self.every)
        if not self.every:
            self.every = True
            self._asked_at = self._clock()
            with contextlib.suppress(OSError):
                self._files.stop(self._driver).touch()

    @property
    def grace_over(self) -> bool:
        """Whether `interrupt` was called so long ago that all trials should have ended."""
        return self._clock() - self._asked_at >= self._grace_s

    def answer(self, number: int, reason: str) -> None:
        """Remember why a trial has to stop that is told so as the answer to its report."""
        self._reasons[number] = reason

    def order(self, number: int, reason: str) -> None:
        """Let a trial stop before its next report; an earlier reason stays."""
        if number not in self._reasons:
            self._reasons[number] = reason
            with contextlib.suppress(OSError):
                self._files.trial(number).stop(self._driver).touch()

    def asked(self, number: int) -> bool:
        """Whether a trial has to stop now."""
        return self.every or number in self._reasons

    def alone(self, number: int) -> bool:
        """Whether this trial has to stop, and not all trials."""
        return number in self._reasons

    def over(self, number: int) -> str | None:
        """Forget a trial that has ended or is given up, and return why it had to stop."""
        if self._on_purpose:
            excuse(self._files.trial(number), driver=self._driver)
        with contextlib.suppress(OSError):
            self._files.trial(number).stop(self._driver).unlink()
        return self._reasons.pop(number, None)

    def close(self) -> None:
        """Remove the file for all trials."""
        with contextlib.suppress(OSError):
            self._files.stop(self._driver).unlink()
