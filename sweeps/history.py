"""Finished trials that count again: a point that was already evaluated, another sweep's trials, a grown sweep's own."""

import copy
from collections.abc import Iterable
from typing import Any

from optuna.trial import FrozenTrial, TrialState, create_trial

from sweeps.sampling import distribution, distributions, values_of
from sweeps.space import Categorical, Domain, Numeric, Space
from sweeps.study import FOLD_SCORES, TAKEN_FROM


def repeated(study_trials: Iterable[FrozenTrial], trial: FrozenTrial) -> FrozenTrial | None:
    """The finished trial with exactly the parameters of a newly asked one, or None.

    Of several a completed one comes before a pruned one, then one that was trained before one that took its result
    over, then the lower number. So if the answer has TAKEN_FROM, that names the original, in another sweep.
    """
    wanted = trial.params
    same = [
        other
        for other in study_trials
        if other.params == wanted
        and other.state in (TrialState.COMPLETE, TrialState.PRUNED)
        and all(type(other.params[name]) is type(value) for name, value in wanted.items())  # 1 == True == 1.0
    ]
    return min(same, key=lambda t: (t.state != TrialState.COMPLETE, TAKEN_FROM in t.user_attrs, t.number), default=None)


def history(space: Space, trials: Iterable[FrozenTrial], *, source: str) -> list[FrozenTrial]:
    """Another sweep's completed trials as trials of this space, in their order; those that do not fit are left out.

    One fits if its values are values of this space's domains and its parameters are those that this space's
    conditions switch on. A constant of this space must have had the same value there, or not have varied. What the
    other sweep had taken over itself is left out, too: it counts where it was trained.

    Args:
        source: the other sweep's name, for TAKEN_FROM.
    """
    trained = [t for t in trials if t.state == TrialState.COMPLETE and TAKEN_FROM not in t.user_attrs]
    fitted = (_fitted(space, trial, source=source) for trial in trained)
    return [trial for trial in fitted if trial is not None]


def refitted(space: Space, trials: Iterable[FrozenTrial]) -> list[FrozenTrial]:
    """A sweep's own trials with the distributions of its space as it is now; values and all else as they are.

    For the study that models learn from: they leave out a parameter whose distribution differs between trials, as
    it does after a range was widened.
    """
    now = {parameter.name: distribution(parameter) for parameter in space.varying()}
    copies = [copy.copy(trial) for trial in trials]
    for trial in copies:
        trial.distributions = {name: now.get(name, was) for name, was in trial.distributions.items()}
    return copies


def _fitted(space: Space, trial: FrozenTrial, *, source: str) -> FrozenTrial | None:
    try:
        params = {name: _own_label(space[name].domain, label) for name, label in trial.params.items()}
        values = values_of(space, params)
    except (StopIteration, KeyError, ValueError):  # no such parameter here; one is missing there; no such value
        return None
    varying = distributions(space, values)
    if any(name not in values for name in params):
        return None
    kept = {key: value for key, value in trial.user_attrs.items() if key == FOLD_SCORES}
    return create_trial(
        state=TrialState.COMPLETE,
        value=trial.values[0],
        params={name: params[name] for name in varying},
        distributions=varying,
        user_attrs={**kept, TAKEN_FROM: {"sweep": source, "trial": trial.number}},
        intermediate_values=trial.intermediate_values,
    )


def _own_label(domain: Domain, label: Any) -> Any:
    """The label of a domain's value that equals another sweep's label.

    Raises:
        ValueError: there is none.
    """
    if isinstance(domain, Numeric):
        return domain.take(label)
    own = domain if isinstance(domain, Categorical) else Categorical((domain.value,))
    return Categorical(own.labels).take(label)
