"""Which trial comes next: interrupted ones first, then proposals of the sampler, up to the cap.

A trial starts only once the storage knows of it. Until then it is pending, and whoever asked comes back later.
"""

import concurrent.futures
import dataclasses
import enum
from collections.abc import Callable

from optuna.trial import FrozenTrial, TrialState

from sweeps.running.events import EndState, Event, Notice, TrialEnded
from sweeps.search.mirror import Mirror
from sweeps.study.recorder import Recorder
from sweeps.study.records import CAP, reason

ASK_WAIT_S = (
    0.25  # a proposal is usually recorded within 10 ms; past this the caller comes back later
)
REPEATS = 20  # results taken over before the caller gets an answer
MOST_REPEATS = 200  # in a row, after which a sampler has nothing new to propose
STATES: dict[EndState, TrialState] = {
    EndState.COMPLETED: TrialState.COMPLETE,
    EndState.PRUNED: TrialState.PRUNED,
    EndState.FAILED: TrialState.FAIL,
    EndState.INTERRUPTED: TrialState.WAITING,
}
_ENDS = {state: end for end, state in STATES.items()}


class Next(enum.Enum):
    """Answers of `Driver.next` other than a trial."""

    WAIT = "ask again"
    FINISHED = "nothing more to start"


@dataclasses.dataclass
class Pending:
    """A trial that starts once the storage knows of it.

    Attributes:
        continued: it was interrupted before.
        recorded: is done once the storage knows.
        wait_s: how long the next caller waits for that.
    """

    number: int
    continued: bool
    recorded: concurrent.futures.Future[None]
    wait_s: float = ASK_WAIT_S

    def is_recorded(self) -> bool:
        """Wait a moment for the storage; whether it knows of the trial."""
        try:
            self.recorded.result(timeout=self.wait_s)
        except concurrent.futures.TimeoutError:
            self.wait_s = 0.0  # the storage is slow or gone: do not hold up the caller again
            return False
        return True


class Asking:
    """The trials of a sweep that have not begun yet. Its caller holds the driver's lock.

    Attributes:
        cap: number of trials in all, None if only the budget ends the sweep.
        pending: the trial that is on its way into the storage.
    """

    def __init__(
        self,
        mirror: Mirror,
        recorder: Recorder,
        *,
        cap: int | None,
        notify: Callable[[Event], None],
    ) -> None:
        self._mirror = mirror
        self._recorder = recorder
        self._notify = notify
        self._waiting = [
            trial.number for trial in mirror.trials() if trial.state == TrialState.WAITING
        ]
        self._repeats = 0
        self.cap = cap
        self.pending: Pending | None = None

    @property
    def waiting(self) -> int:
        """How many interrupted trials are to be continued."""
        return len(self._waiting)

    @property
    def exhausted(self) -> bool:
        """Whether nothing is left to begin."""
        return not self._waiting and self.pending is None and not self._below_cap()

    def next(self) -> Pending | Next:
        """The trial on its way into the storage, else an interrupted one, else a new one."""
        if self.pending is not None:
            return self.pending
        found = self._continued() if self._waiting else self._proposed()
        if isinstance(found, Pending):
            self.pending = found
        return found

    def begin(self, pending: Pending) -> bool:
        """Hand a pending trial out; whether nobody else did meanwhile."""
        if self.pending is not pending:
            return False
        self.pending = None
        return True

    def continue_later(self, number: int) -> None:
        """Put an interrupted trial at the end of those that are to be continued."""
        self._waiting.append(number)

    def _continued(self) -> Pending:
        number = self._waiting.pop(0)
        self._mirror.change(number, TrialState.RUNNING)
        return Pending(number, continued=True, recorded=self._recorder.restart(number))

    def _proposed(self) -> Pending | Next:
        for _ in range(REPEATS):
            if not self._below_cap():
                return Next.FINISHED
            if self._mirror.exhausted():
                return self._close("every point of the search space has been tried")
            if self._repeats >= MOST_REPEATS:
                return self._close(
                    f"the last {self._repeats} proposals had all been tried before: nothing new comes"
                )
            trial = self._mirror.propose()
            recorded = self._recorder.start(trial)
            if trial.state == TrialState.RUNNING:
                self._repeats = 0
                return Pending(trial.number, continued=False, recorded=recorded)
            self._repeats += 1
            self._notify(_taken_over(trial))
        return Next.WAIT

    def _below_cap(self) -> bool:
        return self.cap is None or self._mirror.tally.asked < self.cap

    def _close(self, reason: str) -> Next:
        self._notify(Notice(reason))
        self.cap = self._mirror.tally.asked
        self._recorder.about_sweep(CAP, self.cap)
        return Next.FINISHED


def _taken_over(trial: FrozenTrial) -> TrialEnded:
    score = trial.values[0] if trial.values else None
    return TrialEnded(
        trial.number, _ENDS[trial.state], score, reason(trial), best=False, seconds=0.0
    )
