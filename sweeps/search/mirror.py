"""A copy of the stored study in memory.

A driver decides from this copy, so that no decision waits for the database.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Any

import optuna
from optuna.storages import InMemoryStorage
from optuna.trial import FrozenTrial, TrialState, create_trial

from sweeps.search.history import refitted, repeated
from sweeps.search.pruning import fold_reason, stop_reason
from sweeps.search.race import Standing, non_finite_reason
from sweeps.search.sampling import propose
from sweeps.search.tally import Tally
from sweeps.space.parameters import grid_size
from sweeps.space.spec import SweepSpec
from sweeps.study.records import (
    FOLD_SCORES,
    NOTES,
    REASON,
    finishing,
    fold_scores,
    is_finish,
    notes,
    numbers,
    origin,
    taken_from,
)


class Mirror:
    """An in-memory Optuna study with the same trials as the stored study.

    The trials have the same numbers, states, parameters, reports and attributes. Their
    distributions are those of the present space, because a range may have grown, see `refitted`.

    Attributes:
        tally: counts of the trials.
    """

    def __init__(self, spec: SweepSpec, trials: Iterable[FrozenTrial]) -> None:
        self._spec = spec
        self._storage = InMemoryStorage()
        self._study = optuna.create_study(
            storage=self._storage, study_name=spec.name, direction=spec.metric.goal.value
        )
        self._study_id = self._storage.get_study_id_from_name(spec.name)
        self._study.add_trials(refitted(spec.space, trials))
        self._standings: list[Standing] = []
        self._points: set[str] = set()
        self._size_at_least = 0.0
        self._size_known = False
        self.tally = Tally(spec.name, spec.metric.goal)
        for trial in self.trials():
            self._count(trial)

    def trials(self) -> list[FrozenTrial]:
        """All trials, ordered by number; the caller must not change them."""
        return self._study.get_trials(deepcopy=False)

    def __getitem__(self, number: int) -> FrozenTrial:
        return self._storage.get_trial(self._id(number))

    def propose(self) -> FrozenTrial:
        """Add the next trial and return it.

        The new trial is RUNNING, unless a finished trial has the same parameters. Then the new
        trial takes over the result of that trial and is finished, too.

        Raises:
            IndexError: every point of a grid has been tried.
        """
        number = len(self.trials())
        trial = propose(self._study, self._spec, number=number)
        assert trial.number == number
        known = repeated(self.trials()[:-1], trial)
        if known is not None:
            self._take_over(trial, known)
        self._count(self[number])
        return self[number]

    def finish(self, number: int) -> FrozenTrial:
        """Add a waiting trial that finishes the pruned trial `number`, and return it."""
        pruned = self[number]
        self._study.add_trial(
            create_trial(
                state=TrialState.WAITING,
                params=pruned.params,
                distributions=pruned.distributions,
                user_attrs=finishing(pruned),
            )
        )
        added = self.trials()[-1]
        self._count(added)
        return added

    def report(self, number: int, step: int, value: float) -> None:
        """Store the value of one epoch."""
        self._storage.set_trial_intermediate_value(self._id(number), step, value)

    def stop_reason(self, number: int) -> str | None:
        """Why a trial should be stopped after its last report, or None.

        A trial that finishes a pruned one goes on: the rules have judged these parameters before.
        """
        trial = self[number]
        return None if is_finish(trial) else stop_reason(self._study, trial, self._spec)

    def fold_finished(self, number: int, fold_scores: tuple[float, ...]) -> str | None:
        """Why a trial with these scores of finished folds should be stopped, or None.

        A trial that finishes a pruned one goes on, see `stop_reason`, while it can have a score.
        """
        if is_finish(self[number]):
            return non_finite_reason(fold_scores)
        return fold_reason(self._standings, fold_scores, spec=self._spec)

    def change(
        self,
        number: int,
        state: TrialState,
        *,
        score: float | None = None,
        attributes: Mapping[str, Any] | None = None,
    ) -> None:
        """Give a trial another state.

        A pruned trial gets the value of its last report, as from Optuna's own `tell`. The Optuna
        dashboard leaves trials without a value out of its plots.

        Args:
            score: the score of a completed trial; None for every other state.
            attributes: user attributes to add to the trial.
        """
        before = self[number].state
        value = _last_value(self[number]) if state == TrialState.PRUNED else score
        for key, content in (attributes or {}).items():
            self._storage.set_trial_user_attr(self._id(number), key, content)
        self._storage.set_trial_state_values(
            self._id(number), state, None if value is None else [value]
        )
        self.tally.change(self[number], before=before)
        self._add_standing(self[number])

    def exhausted(self) -> bool:
        """Whether every point of a finite space has been proposed.

        The answer does not depend on the sampler. The points of the space are counted only as far
        as needed.
        """
        while len(self._points) >= self._size_at_least and not self._size_known:
            at_most = 2 * len(self._points) + 16
            try:
                self._size_at_least = grid_size(self._spec.space, at_most=at_most)
            except ValueError:  # the space is continuous
                self._size_at_least = math.inf
            self._size_known = self._size_at_least != at_most
        return len(self._points) >= self._size_at_least

    def _take_over(self, trial: FrozenTrial, known: FrozenTrial) -> None:
        """Copy the result of the finished trial `known` to `trial`."""
        trial_id = self._id(trial.number)
        attributes = taken_from(origin(known, sweep=self._spec.name), repeats=known.number)
        attributes[REASON] = f"the result of trial {known.number}, which has the same parameters"
        attributes |= {FOLD_SCORES: list(fold_scores(known)), NOTES: notes(known)}
        attributes |= numbers(known)
        for key, value in attributes.items():
            if value not in ("", []):
                self._storage.set_trial_user_attr(trial_id, key, value)
        for step, value in known.intermediate_values.items():
            self._storage.set_trial_intermediate_value(trial_id, step, value)
        self._storage.set_trial_state_values(trial_id, known.state, known.values)

    def _count(self, trial: FrozenTrial) -> None:
        """Add a new trial to the tally, to the fold race and to the set of proposed points."""
        self.tally.add(trial)
        self._add_standing(trial)
        self._points.add(repr(sorted(trial.params.items())))  # as text, 1, 1.0 and True differ

    def _add_standing(self, trial: FrozenTrial) -> None:
        """Add a trial that is over and has fold scores to those that the fold race knows."""
        scores = fold_scores(trial)
        if trial.state.is_finished() and scores:
            self._standings.append(Standing(trial.number, scores))

    def _id(self, number: int) -> int:
        return self._storage.get_trial_id_from_study_id_trial_number(self._study_id, number)


def _last_value(trial: FrozenTrial) -> float | None:
    """The value of the trial's last report; None without a report, and if it is NaN."""
    if trial.last_step is None:
        return None
    value = trial.intermediate_values[trial.last_step]
    return None if math.isnan(value) else value
