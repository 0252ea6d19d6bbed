"""Counts of a sweep's trials and the best of them, kept up to date trial by trial."""

import collections
import dataclasses

from optuna.trial import FrozenTrial, TrialState

from sweeps.study.records import counts, is_history, is_repeat, score_key
from trainer.metrics import Goal


@dataclasses.dataclass
class Tally:
    """What a driver shows of its sweep at any time; nothing in it grows with the sweep.

    Attributes:
        asked: trials that count towards the cap, in whatever state.
        history: finished trials of other sweeps.
        taken_over: trials of this one that took a result over.
        best: the best complete trial of this sweep; ties go to the lower number.
    """

    sweep: str
    goal: Goal
    asked: int = 0
    history: int = 0
    taken_over: int = 0
    best: FrozenTrial | None = None
    states: collections.Counter[TrialState] = dataclasses.field(default_factory=collections.Counter)

    def add(self, trial: FrozenTrial) -> None:
        """A trial that was not there before."""
        self.asked += counts(trial, self.sweep)
        self.taken_over += is_repeat(trial)
        if is_history(trial, self.sweep):
            self.history += 1
        else:
            self.states[trial.state] += 1
            self._compare(trial)

    def change(self, trial: FrozenTrial, *, before: TrialState) -> None:
        """A trial has another state now."""
        self.states[before] -= 1
        self.states[trial.state] += 1
        self._compare(trial)

    def _compare(self, trial: FrozenTrial) -> None:
        if trial.state != TrialState.COMPLETE:
            return
        if self.best is None or self._key(trial) < self._key(self.best):
            self.best = trial

    def _key(self, trial: FrozenTrial) -> tuple[float, int]:
        return score_key(trial.values[0], trial.number, goal=self.goal)
