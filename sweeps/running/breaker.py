"""The breaker ends a sweep whose trials all fail for one reason, before all of its cap has failed.

A missing library, a hub that is gone or a broken user function fails every trial alike. The trials
of the breaker are repeated when the sweep is continued.
"""

from collections.abc import Mapping
from typing import Any

from sweeps.running.events import EndState
from sweeps.study.reasons import SameFailure, kind_of
from sweeps.study.records import ENDED_ELSEWHERE
from trainer.errors import LOWER_RATE, SMALLER_BATCH

FIRST = 3  # equal failures that end a sweep in which no trial has worked yet
LATER = 10  # equal failures in a row that end a sweep in which a trial has worked
# Failures that the values of a trial cause: the first trials may have been unlucky draws.
OF_VALUES = (LOWER_RATE, SMALLER_BATCH)


class Breaker:
    """Counts equal failures in a row.

    Attributes:
        tripped: the equal failures that end the sweep, or None. Failures of trials that end
            afterwards are added to it.
    """

    def __init__(self, *, worked: bool) -> None:
        """Begin to count.

        Args:
            worked: whether a trial of the sweep was completed or pruned before.
        """
        self.tripped: SameFailure | None = None
        self._worked = worked
        self._kind = ""
        self._row: list[int] = []
        self._reason = ""

    def ended(
        self, number: int, state: EndState, reason: str, params: Mapping[str, Any]
    ) -> SameFailure | None:
        """Take the end of a trial.

        Args:
            reason: why the trial failed, if it did.
            params: see `kind_of`.

        Returns:
            `tripped`, if this trial belongs to it.
        """
        if state is EndState.INTERRUPTED or reason == ENDED_ELSEWHERE:
            return None  # says nothing about the trial
        failed = state is EndState.FAILED
        kind = kind_of(reason, params) if failed else ""
        if self.tripped is not None and kind != self._kind:
            return None
        if not failed:
            self._worked = True
        if kind != self._kind:
            self._kind, self._row, self._reason = kind, [], reason
        if not failed:
            return None
        self._row.append(number)
        patient = self._worked or any(advice in reason for advice in OF_VALUES)
        if self.tripped or len(self._row) >= (LATER if patient else FIRST):
            self.tripped = SameFailure(self._reason, tuple(self._row))
        return self.tripped

    @property
    def notice(self) -> str | None:
        """Why the sweep ends, as one line for the user; None if it goes on."""
        if self.tripped is None:
            return None
        which = "last" if self._worked else "first"
        return (
            f"the {which} {self.tripped.count} trials failed for the same reason: the sweep stops"
        )
