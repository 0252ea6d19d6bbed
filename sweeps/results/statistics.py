"""What the trials of a sweep say of its parameters: fold-adjusted scores, differences, importance.

This module only reads.

Shapes: T trials, K folds.
"""

import dataclasses
import functools
import math
from collections.abc import Mapping
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from sweeps.results.differences import Differences, differences
from sweeps.results.fold_adjusted import FoldAdjusted, fold_adjusted
from sweeps.results.importance import Importance, importance
from sweeps.results.view import SweepView
from sweeps.space.domains import Categorical
from sweeps.space.language import read_space
from sweeps.space.parameters import Space
from sweeps.study.records import fold_scores, is_history, is_repeat, with_fold_scores
from trainer.metrics import Goal
from trainer.seeds import derive


@dataclasses.dataclass(frozen=True, eq=False)
class Statistics:
    """The trials of a sweep with a finished fold, and what they say of the parameters.

    The differences and the importance are computed when they are first asked for.

    Attributes:
        trials: complete and pruned trials of the sweep itself, each result once, ordered by number.
        values: for each of them the values of the parameters that vary, as in the search space.
        adjusted: their fold-adjusted scores.
    """

    space: Space
    goal: Goal
    trials: tuple[FrozenTrial, ...]
    values: tuple[Mapping[str, Any], ...]
    adjusted: FoldAdjusted

    @classmethod
    def of(cls, view: SweepView) -> "Statistics":
        """Take the trials of a sweep that was read."""
        space, _ = read_space(view.sweep.spec["parameters"])
        trials = [
            trial
            for trial in with_fold_scores(view.trials)
            if not is_history(trial, view.name)
            and not is_repeat(trial)
            and all(map(math.isfinite, fold_scores(trial)))
        ]
        if "best" in space.values_of("checkpoint"):
            # the folds of a complete trial have one epoch in common, those of a pruned one have not
            trials = [trial for trial in trials if trial.state == TrialState.COMPLETE]
        return cls(
            space,
            view.goal,
            tuple(trials),
            tuple(values_of(space, trial) for trial in trials),
            fold_adjusted([fold_scores(trial) for trial in trials]),
        )

    @property
    def completed(self) -> int:
        """How many of the trials are complete."""
        return sum(trial.state == TrialState.COMPLETE for trial in self.trials)

    @functools.cached_property
    def differences(self) -> Differences:
        """By how much the values of each parameter differ."""
        return differences(self.space, self.values, self.adjusted.scores_T, goal=self.goal)

    @functools.cached_property
    def importance(self) -> Importance:
        """How much each parameter matters."""
        seed = derive(0, "importance")
        return importance(self.space, self.values, self.adjusted.scores_T, seed=seed)


def values_of(space: Space, trial: FrozenTrial) -> dict[str, Any]:
    """The values of a trial's parameters that vary; for example, a list is stored as text."""
    found = {}
    for parameter in space.varying():
        if parameter.name in trial.params:
            label, domain = trial.params[parameter.name], parameter.domain
            found[parameter.name] = (
                domain.value_of(label) if isinstance(domain, Categorical) else label
            )
    return found
