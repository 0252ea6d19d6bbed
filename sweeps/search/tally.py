"""Counts of a sweep's trials, and the best trial. Each new or changed trial updates them."""

import collections
import dataclasses

from optuna.trial import FrozenTrial, TrialState

from sweeps.study.records import counts, is_finish, is_history, is_repeat, score_key
from trainer.metrics import Goal


@dataclasses.dataclass
class Tally:
    """The counts that a driver shows of its sweep at any time.

    The size of a tally does not grow with the number of trials.

    Attributes:
        asked: number of trials that count towards the cap, in any state.
        history: number of finished trials of other sweeps.
        taken_over: number of this sweep's trials that took over the result of an equal trial.
        finishes: number of trials that finish pruned ones, in any state.
        best: the best complete trial of this sweep; ties go to the lower number.
        states: number of this sweep's trials in each state.
    """

    sweep: str
    goal: Goal
    asked: int = 0
    history: int = 0
    taken_over: int = 0
    finishes: int = 0
    best: FrozenTrial | None = None
    states: collections.Counter[TrialState] = dataclasses.field(default_factory=collections.Counter)

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
        """Make the trial the best trial, if it is complete and better."""
        if trial.state != TrialState.COMPLETE:
            return
        if self.best is None or self._key(trial) < self._key(self.best):
            self.best = trial

    def _key(self, trial: FrozenTrial) -> tuple[float, int]:
        return score_key(trial.values[0], trial.number, goal=self.goal)
