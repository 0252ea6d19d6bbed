"""Optuna's distributions for the domains of a space, and stored labels for values.

The storage holds a *label* for each value. Lists and mappings, for example, are stored as text.
"""

import decimal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import FrozenTrial

from sweeps.space.domains import Categorical, Constant, Numeric
from sweeps.space.parameters import Parameter, Space, Values
from sweeps.space.spec import SweepSpec
from sweeps.study.records import root_of
from trainer.seeds import derive


def distribution(parameter: Parameter) -> BaseDistribution:
    """Optuna's distribution of one varying parameter.

    The distribution contains every value that the parameter's law can give. Optuna has no steps on
    a log scale, so there the distribution also contains the values between the steps.
    """
    domain = parameter.domain
    assert not isinstance(domain, Constant)
    if isinstance(domain, Categorical):
        return CategoricalDistribution(domain.labels)
    high = domain.high
    if domain.stepped:  # Optuna warns unless the steps reach the highest value exactly
        low, end, step = (
            decimal.Decimal(str(number)) for number in (domain.low, domain.high, domain.q or 1)
        )
        high = float(low + (end - low) // step * step)
    if domain.integer:
        return IntDistribution(
            int(domain.low), int(high), log=domain.log, step=1 if domain.log else int(domain.q or 1)
        )
    return FloatDistribution(
        domain.low, high, log=domain.log, step=None if domain.log else domain.q
    )


def distributions(space: Space, values: Values) -> dict[str, BaseDistribution]:
    """Distributions of the varying parameters that have a value."""
    return {p.name: distribution(p) for p in space.varying() if p.name in values}


def labels(space: Space, values: Values) -> dict[str, Any]:
    """Stored labels of the varying parameters that have a value."""
    return {p.name: label_of(p, values[p.name]) for p in space.varying() if p.name in values}


def values_of(space: Space, params: Mapping[str, Any]) -> Values:
    """All values of a trial, constants included, from its stored labels."""
    return space.resolve(lambda parameter: value_of(parameter, params[parameter.name]))


def fields_of(spec: SweepSpec, trial: FrozenTrial) -> Values:
    """Fields of TrainConfig for a trial: the sampled fields, and those that the sweep sets."""
    values: Values = values_of(spec.space, trial.params)
    # A retry has the seed of the failed trial, so that it may use that trial's finished folds.
    own = () if spec.folds.paired_seeds else ("trial", root_of(trial))
    values["seed"] = derive(spec.seed, *own)
    if spec.metric.user_function is not None:
        values |= {"metric": spec.metric.user_function, "metric_goal": spec.metric.goal.value}
    weights = values.get("weights", "none")
    if weights not in ("pretrained", "none"):  # a worker has another working directory
        values["weights"] = str(Path(str(weights)).resolve())
    return values


def value_of(parameter: Parameter, label: Any) -> Any:
    """The parameter's value for a stored label."""
    domain = parameter.domain
    if isinstance(domain, Categorical):
        return domain.value_of(label)
    assert isinstance(domain, Numeric)
    return int(label) if domain.integer else float(label)


def label_of(parameter: Parameter, value: Any) -> Any:
    """The label that is stored for a value of the parameter."""
    domain = parameter.domain
    return domain.label_of(value) if isinstance(domain, Categorical) else value
