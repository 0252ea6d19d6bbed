"""Finished trials that count again: a point that was already evaluated, another sweep's trials, a grown sweep's own."""

import copy
from collections.abc import Iterable, Mapping
from typing import Any

from optuna.trial import FrozenTrial, TrialState, create_trial

from sweeps.search.distributions import distribution, distributions, labels, values_of
from sweeps.space.parameters import Space, Values
from sweeps.space.spec import max_epochs
from sweeps.study.records import FOLD_SCORES, Origin, fold_scores, taken_from, took_over
from trainer.config import TrainConfig, nested


def repeated(study_trials: Iterable[FrozenTrial], trial: FrozenTrial) -> FrozenTrial | None:
    """The finished trial with exactly the parameters of a newly asked one, or None.

    Of several a completed one comes before a pruned one, then one that was trained before one that took its result
    over, then the lower number. So if the answer took its result over, then from another sweep.
    """
    wanted = trial.params
    same = [
        other
        for other in study_trials
        if other.params == wanted
        and other.state in (TrialState.COMPLETE, TrialState.PRUNED)
        and all(
            type(other.params[name]) is type(value) for name, value in wanted.items()
        )  # 1 == True == 1.0
    ]
    return min(
        same, key=lambda t: (t.state != TrialState.COMPLETE, took_over(t), t.number), default=None
    )


def trained(trials: Iterable[FrozenTrial]) -> list[FrozenTrial]:
    """The completed trials that their sweep trained itself: what it had taken over counts where it was trained."""
    return [t for t in trials if t.state == TrialState.COMPLETE and not took_over(t)]


def history(
    space: Space, trials: Iterable[FrozenTrial], *, source: str, source_space: Space
) -> list[FrozenTrial]:
    """Those of another sweep's trained trials that this space could have asked, as trials of it, in their order.

    One fits if some point of this space makes the same TrainConfig in every field, so that its score means the same
    here. Which fields vary, are constant or are left to their defaults may differ between the two spaces.

    Args:
        source: the other sweep's name, for TAKEN_FROM.
        source_space: the other sweep's.
    """
    fitted = ((trial, _values_here(space, source_space, trial)) for trial in trained(trials))
    return [
        create_trial(
            state=TrialState.COMPLETE,
            value=trial.values[0],
            params=labels(space, values),
            distributions=distributions(space, values),
            user_attrs={**_scores(trial), **taken_from(Origin(source, trial.number))},
            intermediate_values=_renumbered(
                trial.intermediate_values, there=max_epochs(source_space), here=max_epochs(space)
            ),
        )
        for trial, values in fitted
        if values is not None
    ]


def refitted(space: Space, trials: Iterable[FrozenTrial]) -> list[FrozenTrial]:
    """A sweep's own trials with the distributions of its space as it is now; values and all else as they are.

    For the study that models learn from: they leave out a parameter whose distribution differs between trials, as
    it does after a range was widened.
    """
    now = {parameter.name: distribution(parameter) for parameter in space.varying()}
    copies = [copy.copy(trial) for trial in trials]
    for trial in copies:
        trial.distributions = {
            name: now.get(name, was) for name, was in trial.distributions.items()
        }
    return copies


def _values_here(space: Space, source_space: Space, trial: FrozenTrial) -> Values | None:
    """The point of this space that makes the same TrainConfig as another sweep's trial, or None."""
    try:
        theirs = values_of(source_space, trial.params)
        config = _config(theirs)
        ours = space.resolve(
            lambda parameter: parameter.domain.take(_value_of(parameter.name, theirs, config))
        )
        return ours if _config(ours) == config else None
    except (
        StopIteration,
        KeyError,
        ValueError,
    ):  # no such value or entry, or (pydantic's) no such configuration
        return None


def _config(values: Values) -> TrainConfig:
    # the seed and the metric are the sweep's own: some metric, or those that monitor it would be no configurations
    return TrainConfig(**nested({**values, "metric": "any.py:metric"}))


def _value_of(name: str, values: Values, config: TrainConfig) -> Any:
    """A field, or an entry of a mapping: as the space says it, else as the configuration has it.

    Raises:
        KeyError: no such field or entry.
    """
    if name in values:
        return values[name]
    field, dot, entry = name.partition(".")
    value = dict(config)[field]
    return value[entry] if dot else value


def _scores(trial: FrozenTrial) -> dict[str, Any]:
    scores = fold_scores(trial)
    return {FOLD_SCORES: list(scores)} if scores else {}


def _renumbered(reports: Mapping[int, float], *, there: int, here: int) -> dict[int, float]:
    """Reports by the steps of another space; step = fold x E + epoch, with the two spaces' E given."""
    places = {step: divmod(step - 1, there) for step in reports}
    return {fold * here + epoch + 1: reports[step] for step, (fold, epoch) in places.items()}
