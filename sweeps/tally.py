"""Counts of a sweep's trials and the best of them, kept up to date trial by trial."""

import collections
import dataclasses

from optuna.trial import FrozenTrial, TrialState

from sweeps.study import RETRY_OF, TAKEN_FROM


def is_history(trial: FrozenTrial, sweep: str) -> bool:
    """Whether it is another sweep's trial, taken over by `warm_start`."""
    taken = trial.user_attrs.get(TAKEN_FROM, {})
    return bool(taken.get("sweep", sweep) != sweep) and not is_repeat(trial)


def is_repeat(trial: FrozenTrial) -> bool:
    """Whether it was asked for and took over the result of an equal trial instead of training again."""
    return "repeats" in trial.user_attrs.get(TAKEN_FROM, {})


def counts(trial: FrozenTrial, sweep: str) -> bool:
    """Whether it counts towards `run_cap`: history does not, and a retry has the place of what it repeats."""
    return RETRY_OF not in trial.user_attrs and not is_history(trial, sweep)


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
    goal: str
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
        sign = 1 if self.goal == "maximize" else -1
        key = (sign * trial.values[0], -trial.number)
        if self.best is None or key > (sign * self.best.values[0], -self.best.number):
            self.best = trial
