"""From a space to Optuna: distributions, samplers, one proposal at a time.

A sampler is built anew for each proposal from `derive(seed, "ask", number)`: one that lives on would
propose its first points again after a restart.
"""

import itertools
import warnings
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState, create_trial

from sweeps.space import Categorical, Constant, Numeric, Parameter, Space, Values, grid
from sweeps.spec import SweepSpec
from trainer.seeds import derive


def propose(study: optuna.Study, spec: SweepSpec, *, number: int) -> FrozenTrial:
    """Add the next trial to the (in-memory) study as RUNNING, with all its parameters.

    Args:
        number: the number the trial will get; it decides the draw.

    Raises:
        IndexError: a grid has no point left.
    """
    if spec.search == "grid":
        values = next(itertools.islice(grid(spec.space), number, None), None)
        if values is None:
            raise IndexError(f"the grid has no point number {number}")
        study.add_trial(
            create_trial(
                state=TrialState.RUNNING,
                params=labels(spec.space, values),
                distributions=distributions(spec.space, values),
            )
        )
    else:
        study.sampler = build_sampler(spec.search, seed=derive(spec.seed, "ask", number) % 2**32)
        trial = study.ask()
        spec.space.resolve(lambda parameter: _suggest(trial, parameter))
    return study.get_trials(deepcopy=False)[-1]


def build_sampler(name: str, *, seed: int) -> BaseSampler:
    """An Optuna sampler for one proposal."""
    if name == "random":
        return RandomSampler(seed=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        # grouped: with conditional parameters the joint model would otherwise shrink to what all trials share
        return TPESampler(seed=seed, multivariate=True, group=True)


def distribution(parameter: Parameter) -> BaseDistribution:
    """Optuna's distribution of one varying parameter."""
    domain = parameter.domain
    assert not isinstance(domain, Constant)
    if isinstance(domain, Categorical):
        return CategoricalDistribution(domain.labels)
    if domain.integer:
        step = int(domain.q or 1)  # the highest value is one that the steps reach, or Optuna warns
        return IntDistribution(int(domain.low), int(domain.high - (domain.high - domain.low) % step), step=step)
    if domain.q is not None:
        return FloatDistribution(domain.low, domain.steps()[-1], step=domain.q)
    return FloatDistribution(domain.low, domain.high, log=domain.log)


def distributions(space: Space, values: Values) -> dict[str, BaseDistribution]:
    """Distributions of the varying parameters that have a value."""
    return {p.name: distribution(p) for p in space.varying() if p.name in values}


def labels(space: Space, values: Values) -> dict[str, Any]:
    """Values of the varying parameters as they stand in the storage."""
    return {p.name: _label(p, values[p.name]) for p in space.varying() if p.name in values}


def values_of(space: Space, params: dict[str, Any]) -> Values:
    """All values of a trial, constants included, from its stored parameters."""
    return space.resolve(lambda parameter: _value(parameter, params[parameter.name]))


def _suggest(trial: optuna.Trial, parameter: Parameter) -> Any:
    wanted = distribution(parameter)
    if isinstance(wanted, CategoricalDistribution):
        label = trial.suggest_categorical(parameter.name, wanted.choices)
    elif isinstance(wanted, IntDistribution):
        label = trial.suggest_int(parameter.name, wanted.low, wanted.high, step=wanted.step)
    else:
        assert isinstance(wanted, FloatDistribution)
        label = trial.suggest_float(parameter.name, wanted.low, wanted.high, step=wanted.step, log=wanted.log)
    return _value(parameter, label)


def _value(parameter: Parameter, label: Any) -> Any:
    domain = parameter.domain
    if isinstance(domain, Categorical):
        return domain.value_of(label)
    assert isinstance(domain, Numeric)
    return int(label) if domain.integer else float(label)


def _label(parameter: Parameter, value: Any) -> Any:
    domain = parameter.domain
    return domain.label_of(value) if isinstance(domain, Categorical) else value
