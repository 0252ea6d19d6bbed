"""Counts of a sweep's trials, and the best trial. Each new or changed trial updates them."""

import bisect
import collections
import dataclasses

from optuna.trial import FrozenTrial, TrialState

from sweeps.study.records import counts, is_finish, is_history, is_repeat, origin, score_key
from trainer.metrics import Goal

LEADERS = 3


@dataclasses.dataclass
class Tally:
    """The counts that a driver shows of its sweep at any time.

    The size of a tally does not grow with the number of trials.

    Attributes:
        asked: number of trials that count towards the cap, in any state.
        history: number of finished trials of other sweeps.
        taken_over: number of this sweep's trials that took over the result of an equal trial.
        finishes: number of trials that finish pruned ones, in any state.
        leaders: the best complete trials of this sweep, at most LEADERS, best first; ties go to
            the lower number.
        states: number of this sweep's trials in each state.
    """

    sweep: str
    goal: Goal
    asked: int = 0
    history: int = 0
    taken_over: int = 0
    finishes: int = 0
    leaders: list[FrozenTrial] = dataclasses.field(default_factory=list)
    states: collections.Counter[TrialState] = dataclasses.field(default_factory=collections.Counter)

    @property
    def best(self) -> FrozenTrial | None:
        """The best complete trial of this sweep."""
        return self.leaders[0] if self.leaders else None

    @property
    def worked(self) -> bool:
        """Whether a trial of this sweep was completed or pruned."""
        return bool(self.states[TrialState.COMPLETE] or self.states[TrialState.PRUNED])

    def add(self, trial: FrozenTrial) -> None:
        """Count a new trial."""
        self.asked += counts(trial, self.sweep)
        self.taken_over += is_repeat(trial)
        self.finishes += is_finish(trial)
        if is_history(trial, self.sweep):
            self.history += 1
        else:
            self.states[trial.state] += 1
            self._compare(trial)

    def change(self, trial: FrozenTrial, *, before: TrialState) -> None:
        """Count a trial whose state has changed from `before`."""
        self.states[before] -= 1
        self.states[trial.state] += 1
        self._compare(trial)

    def _compare(self, trial: FrozenTrial) -> None:
        """Put the trial among the leaders, if it is complete and good enough."""
        if trial.state != TrialState.COMPLETE:
            return
        bisect.insort(self.leaders, trial, key=self._key)
        # a trial that took over the result of another one is no second leader
        firsts = {origin(leader, sweep=self.sweep): leader for leader in reversed(self.leaders)}
        self.leaders[:] = [leader for leader in self.leaders if leader in firsts.values()][:LEADERS]

    def _key(self, trial: FrozenTrial) -> tuple[float, int]:
        return score_key(trial.values[0], trial.number, goal=self.goal)
