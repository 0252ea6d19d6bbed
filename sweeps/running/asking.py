"""Which trial comes next: interrupted trials first, then proposals of the sampler, up to the cap.

After them come the trials that are suspected of having killed a driver or a machine, each of them
with nothing beside it (see `deaths`). At the end of the sweep, trials that finish pruned ones
follow.

A trial starts only after the storage has recorded it. Until then the trial is pending, and the
caller has to ask again later.
"""

import concurrent.futures
import dataclasses
import enum
from collections.abc import Callable, Collection

from optuna.trial import FrozenTrial, TrialState

from sweeps.running.events import EndState, Event, Notice, TrialEnded
from sweeps.running.finishing import Finishing
from sweeps.search.mirror import Mirror
from sweeps.study.recorder import Recorder
from sweeps.study.records import CAP, reason

# A proposal is usually recorded within 10 ms. After this time the caller has to ask again.
ASK_WAIT_S = 0.25
# Results of equal earlier trials that one call of `next` may reuse before it answers WAIT.
REPEATS = 20
# After so many known proposals in a row, the sampler has nothing new to propose. After three of
# them, each further proposal has drawn 64 points before, see `search.sampling`.
MOST_REPEATS = 200
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
    """A trial that starts as soon as the storage has recorded it.

    Attributes:
        continued: whether the trial was interrupted before.
        recorded: a future that is done as soon as the storage has recorded the trial's start.
        alone: whether nothing may run beside the trial.
        wait_s: how long the next caller waits for `recorded`, in seconds.
    """

    number: int
    continued: bool
    recorded: concurrent.futures.Future[None]
    alone: bool = False
    wait_s: float = ASK_WAIT_S

    def is_recorded(self) -> bool:
        """Wait up to `wait_s` for the storage.

        Returns:
            Whether the storage has recorded the trial's start.
        """
        try:
            self.recorded.result(timeout=self.wait_s)
        except concurrent.futures.TimeoutError:
            self.wait_s = 0.0  # the storage is slow or gone: later callers must not wait again
            return False
        return True


class Asking:
    """The trials of a sweep that have not begun yet.

    The caller of each method holds the driver's lock.

    A proposal with the parameters of a finished trial takes over the result of that trial. It
    starts nothing and does not count towards the cap. When all other trials are over, pruned trials
    are finished, see `finishing`.

    Attributes:
        cap: number of trials of the sweep in all; None if only the budget ends the sweep.
        pending: the trial whose start is not recorded or not handed out yet, or None.
    """

    def __init__(
        self,
        mirror: Mirror,
        recorder: Recorder,
        *,
        cap: int | None,
        finishing: Finishing,
        notify: Callable[[Event], None],
        suspects: Collection[int] = (),
    ) -> None:
        """
        Args:
            suspects: numbers of the interrupted trials that run last and alone.
        """
        self._mirror = mirror
        self._recorder = recorder
        self._notify = notify
        self._finishing = finishing
        self._waiting = [
            trial.number
            for trial in mirror.trials()
            if trial.state == TrialState.WAITING and trial.number not in suspects
        ]
        self._suspects = sorted(suspects)
        self._alone: int | None = None  # the suspect that was begun last
        self._repeats = 0
        self.cap = cap
        self.pending: Pending | None = None

    @property
    def waiting(self) -> int:
        """Number of trials that are still to be continued, or to finish pruned ones."""
        return len(self._waiting) + len(self._suspects) + self._finishing.expected

    @property
    def exhausted(self) -> bool:
        """Whether no trial is left to begin."""
        return (
            not self._waiting
            and not self._suspects
            and self.pending is None
            and not self._below_cap()
            and self._finishing.over
        )

    def next(self, *, idle: bool) -> Pending | Next:
        """The pending trial, else an interrupted trial, else a new trial, else a suspected one.

        Args:
            idle: whether no trial runs.
        """
        if self.pending is not None:
            return self.pending
        if self._alone is not None and not idle:
            return Next.WAIT
        self._alone = None
        found = self._continued() if self._waiting else self._proposed()
        if found is Next.FINISHED and self._suspects:
            found = self._suspected() if idle else Next.WAIT
        elif found is Next.FINISHED and not self._finishing.over:
            found = self._finished() if idle else Next.WAIT
        if isinstance(found, Pending):
            self.pending = found
        return found

    def begin(self, pending: Pending) -> bool:
        """Hand a pending trial out.

        Returns:
            False if another thread has handed out the trial in the meantime.
        """
        if self.pending is not pending:
            return False
        self.pending = None
        return True

    def continue_later(self, number: int) -> None:
        """Put an interrupted trial at the end of the trials that are to be continued."""
        (self._suspects if number == self._alone else self._waiting).append(number)

    def _continued(self) -> Pending:
        return self._restarted(self._waiting.pop(0))

    def _suspected(self) -> Pending:
        self._alone = self._suspects.pop(0)
        return dataclasses.replace(self._restarted(self._alone), alone=True)

    def _restarted(self, number: int) -> Pending:
        self._mirror.change(number, TrialState.RUNNING)
        return Pending(number, continued=True, recorded=self._recorder.restart(number))

    def _finished(self) -> Pending | Next:
        """A trial that finishes a pruned one, after all other trials are over."""
        self._waiting += self._finishing.add()
        if self._waiting:
            return self._continued()
        return Next.FINISHED if self._finishing.over else Next.WAIT

    def _proposed(self) -> Pending | Next:
        for _ in range(REPEATS):
            if not self._below_cap():
                return Next.FINISHED
            if self._mirror.exhausted():
                return self._close("every point of the search space has been tried")
            if self._repeats >= MOST_REPEATS:
                return self._close(
                    f"the last {self._repeats} proposals had all been tried before: "
                    "nothing new comes"
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
    score = trial.value if trial.state == TrialState.COMPLETE else None
    return TrialEnded(
        trial.number, _ENDS[trial.state], score, reason(trial), best=False, seconds=0.0
    )
