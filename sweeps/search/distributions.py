"""From the domains of a space to Optuna's distributions, and between values and what stands in the storage."""

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
    """Optuna's distribution of one varying parameter: it holds every value that its law can give.

    On a log scale Optuna has no steps: there it holds what lies between them, too.
    """
    domain = parameter.domain
    assert not isinstance(domain, Constant)
    if isinstance(domain, Categorical):
        return CategoricalDistribution(domain.labels)
    high = domain.high
    if domain.stepped:  # the highest value is one that the steps reach, or Optuna warns
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
    """Values of the varying parameters as they stand in the storage."""
    return {p.name: label_of(p, values[p.name]) for p in space.varying() if p.name in values}


def values_of(space: Space, params: Mapping[str, Any]) -> Values:
    """All values of a trial, constants included, from its stored parameters."""
    return space.resolve(lambda parameter: value_of(parameter, params[parameter.name]))


def fields_of(spec: SweepSpec, trial: FrozenTrial) -> Values:
    """Fields of TrainConfig for a trial: the sampled ones, and what the sweep itself decides."""
    values: Values = values_of(spec.space, trial.params)
    # a retry trains what the failed trial would have, and may use its finished folds
    values["seed"] = derive(spec.seed, "trial", root_of(trial))
    if spec.metric.user_function is not None:
        values |= {"metric": spec.metric.user_function, "metric_goal": spec.metric.goal.value}
    weights = values.get("weights", "none")
    if weights not in ("pretrained", "none"):  # workers have other working directories
        values["weights"] = str(Path(str(weights)).resolve())
    return values


def value_of(parameter: Parameter, label: Any) -> Any:
    domain = parameter.domain
    if isinstance(domain, Categorical):
        return domain.value_of(label)
    assert isinstance(domain, Numeric)
    return int(label) if domain.integer else float(label)


def label_of(parameter: Parameter, value: Any) -> Any:
    domain = parameter.domain
    return domain.label_of(value) if isinstance(domain, Categorical) else value
