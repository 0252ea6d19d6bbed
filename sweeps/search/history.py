"""Finished trials whose results are used again.

There are three cases: a sweep proposes the same point twice, a sweep takes over trials of another
sweep, and a sweep continues with a grown search space.
"""

import copy
import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from optuna.trial import FrozenTrial, TrialState, create_trial

from sweeps.search.distributions import distribution, distributions, labels, values_of
from sweeps.space.parameters import Space, Values
from sweeps.space.spec import max_epochs
from sweeps.study.records import FOLD_SCORES, Origin, fold_scores, numbers, taken_from, took_over
from trainer.config import TrainConfig, nested

NOTHING: Mapping[str, Any] = {}


def repeated(study_trials: Iterable[FrozenTrial], trial: FrozenTrial) -> FrozenTrial | None:
    """The finished trial with exactly the parameters of a newly proposed `trial`, or None.

    Among several such trials, a completed trial is preferred to a pruned trial. Then a trained
    trial is preferred to a trial that took its result over. Then the lower number is preferred.
    Therefore, if the returned trial took its result over, the result is from another sweep.
    """
    wanted = trial.params
    same = [
        other
        for other in study_trials
        if other.params == wanted
        and other.state in (TrialState.COMPLETE, TrialState.PRUNED)
        # 1 == True == 1.0 in Python, but these are different parameters
        and all(type(other.params[name]) is type(value) for name, value in wanted.items())
    ]
    return min(
        same, key=lambda t: (t.state != TrialState.COMPLETE, took_over(t), t.number), default=None
    )


def trained(trials: Iterable[FrozenTrial]) -> list[FrozenTrial]:
    """The completed trials that their sweep trained itself.

    A result that was taken over counts only in the sweep that trained it.
    """
    return [t for t in trials if t.state == TrialState.COMPLETE and not took_over(t)]


def history(
    space: Space,
    trials: Iterable[FrozenTrial],
    *,
    source: str,
    source_space: Space,
    defaults: Mapping[str, Any] = NOTHING,
    source_defaults: Mapping[str, Any] = NOTHING,
) -> list[FrozenTrial]:
    """Trained trials of another sweep, converted to trials of `space`, in the same order.

    A trial is converted if some point of `space` makes the same TrainConfig in every field. Then
    the score has the same meaning in both sweeps. A field that varies in one space may be constant
    or left to its default in the other space. All other trials are left out.

    Args:
        source: name of the other sweep, for TAKEN_FROM.
        source_space: space of the other sweep.
        defaults: values of fields that `space` does not name, see `SweepRecord.defaults`.
        source_defaults: the same for `source_space`.
    """
    fitted = (
        (trial, _equal_point(trial, Fields(source_space, source_defaults), Fields(space, defaults)))
        for trial in trained(trials)
    )
    return [
        create_trial(
            state=TrialState.COMPLETE,
            value=trial.values[0],
            params=labels(space, values),
            distributions=distributions(space, values),
            user_attrs={
                **_scores(trial),
                **numbers(trial),
                **taken_from(Origin(source, trial.number)),
            },
            intermediate_values=_renumbered(
                trial.intermediate_values,
                source_epochs=max_epochs(source_space),
                epochs=max_epochs(space),
            ),
        )
        for trial, values in fitted
        if values is not None
    ]


def refitted(space: Space, trials: Iterable[FrozenTrial]) -> list[FrozenTrial]:
    """Copies of a sweep's own trials, with the distributions of its present space.

    Only the distributions change. The copies are for the study that models learn from: a model
    leaves out a parameter whose distribution differs between trials, and it differs after a range
    grew.
    """
    now = {parameter.name: distribution(parameter) for parameter in space.varying()}
    copies = [copy.copy(trial) for trial in trials]
    for trial in copies:
        trial.distributions = {
            name: now.get(name, was) for name, was in trial.distributions.items()
        }
    return copies


@dataclasses.dataclass(frozen=True)
class Fields:
    """A search space, and the values of fields that it does not name."""

    space: Space
    defaults: Mapping[str, Any]

    def config(self, values: Values) -> TrainConfig:
        """The configuration of a trial with these values, without rules for null."""
        # The seed and the metric belong to the sweep, not to the trial. The name of any user metric
        # is set because a configuration that monitors a user metric is valid only with such a
        # metric.
        given = {**self.defaults, **values, "metric": "any.py:metric"}
        return TrainConfig(**nested(given)).settled()


def _equal_point(trial: FrozenTrial, there: Fields, here: Fields) -> Values | None:
    """The point of the space `here` that makes the same TrainConfig as a trial, or None."""
    try:
        source_values = values_of(there.space, trial.params)
        config = there.config(source_values)
        values = here.space.resolve(
            lambda parameter: parameter.domain.take(
                _value_of(parameter.name, source_values, config)
            )
        )
        return values if here.config(values) == config else None
    # no such value (StopIteration), no such entry, or values that pydantic refuses (ValueError)
    except (StopIteration, KeyError, ValueError):
        return None


def _value_of(name: str, values: Values, config: TrainConfig) -> Any:
    """The value of a field, or of an entry of a mapping (`field.entry`).

    The value comes from `values`, or else from `config`.

    Raises:
        KeyError: there is no such field or entry.
    """
    if name in values:
        return values[name]
    field, dot, entry = name.partition(".")
    value = dict(config)[field]
    return value[entry] if dot else value


def _scores(trial: FrozenTrial) -> dict[str, Any]:
    scores = fold_scores(trial)
    return {FOLD_SCORES: list(scores)} if scores else {}


def _renumbered(
    reports: Mapping[int, float], *, source_epochs: int, epochs: int
) -> dict[int, float]:
    """Reports of a trial of the source space, with the step numbers of another space.

    A step is fold x E + epoch. E is `source_epochs` in the source space, and `epochs` in the other.
    """
    places = {step: divmod(step - 1, source_epochs) for step in reports}
    return {fold * epochs + epoch + 1: reports[step] for step, (fold, epoch) in places.items()}
