"""Optuna's samplers that learn a model from the trials.

They propose values one by one. Each value is rounded to a value that the parameter's law can give.
"""

import decimal
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import (
    BaseSampler,
    CmaEsSampler,
    GPSampler,
    NSGAIISampler,
    PartialFixedSampler,
    TPESampler,
)
from optuna.trial import FrozenTrial, TrialState

from sweeps.search.distributions import distribution, label_of, value_of
from sweeps.search.draws import share
from sweeps.search.model_view import model_view
from sweeps.search.starts import Point
from sweeps.space.domains import Numeric
from sweeps.space.parameters import Parameter
from sweeps.space.spec import SweepSpec
from sweeps.study.records import START_POINT, score_key, start_text
from trainer.metrics import Goal
from trainer.seeds import derive


def ask(
    trials: Sequence[FrozenTrial], spec: SweepSpec, *, number: int, start: Point | None
) -> FrozenTrial:
    """The next trial, RUNNING, with the values that the sweep's model proposes.

    Args:
        trials: all trials of the sweep, ordered by number.
        number: number of the new trial, which decides the random draws.
        start: the entry of `start_with` whose values the trial has; the model proposes the others.
    """
    with warnings.catch_warnings():
        # TPE's option `group` and PartialFixedSampler are experimental
        warnings.simplefilter("ignore", ExperimentalWarning)
        sampler: BaseSampler = _WithinLaws(spec, number=number)
        if start is not None:
            pinned = {
                p.name: label_of(p, p.domain.take(start[p.name]))
                for p in spec.space.varying()
                if p.name in start
            }
            sampler = PartialFixedSampler(pinned, sampler)
    study = model_view(trials, spec)
    study.sampler = sampler
    trial = study.ask()
    spec.space.resolve(lambda parameter: _suggest(trial, parameter))
    if start is not None:
        trial.set_user_attr(START_POINT, start_text(start))
    return study.get_trials(deepcopy=False)[-1]


class _Genetic(NSGAIISampler):
    """NSGA-II whose parents are a function of the trials.

    Therefore a restarted driver finds the same parents. With one score per trial, the parents of a
    generation are the best of all trials before it. Optuna's own method is not used: it stores its
    first result in the study's attributes, with trial ids that another storage does not have.
    Trials that were taken over from another sweep may be parents, too.
    """

    def get_parent_population(self, study: optuna.Study, generation: int) -> list[FrozenTrial]:
        """The best trials before a generation; none for generation 0."""
        if generation == 0:
            return []
        siblings = {trial.number for trial in self.get_population(study, generation)}
        completed = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        elders = [trial for trial in completed if trial.number not in siblings]
        goal = Goal[study.direction.name]
        elders.sort(key=lambda trial: score_key(trial.values[0], trial.number, goal=goal))
        return elders[: self.population_size]


# Samplers by name; each is built from a seed. A sampler draws at random until there are enough
# trials for its model: 10 finished or completed trials for tpe and gp, 1 trial for cmaes, and a
# population of 50 trials for nsgaii.
MODELS: dict[str, Callable[[int], BaseSampler]] = {
    # With conditional parameters and without `group`, the joint model would cover only the
    # parameters that all trials have.
    "tpe": lambda seed: TPESampler(seed=seed, multivariate=True, group=True),
    "gp": lambda seed: GPSampler(seed=seed, warn_independent_sampling=False),
    "cmaes": lambda seed: CmaEsSampler(seed=seed, warn_independent_sampling=False),
    "nsgaii": lambda seed: _Genetic(seed=seed),
}


class _WithinLaws(BaseSampler):
    """A model for one proposal, limited to values that the laws can give.

    A parameter that the model leaves out is drawn from its law.
    """

    def __init__(self, spec: SweepSpec, *, number: int) -> None:
        self._spec = spec
        self._number = number
        self._model = MODELS[spec.search](derive(spec.seed, "ask", number) % 2**32)
        # CMA-ES stops working when its set of parameters changes. It would change with conditional
        # parameters: then the set of parameters that all trials have is not constant.
        always = {parameter.name for parameter in spec.space.varying() if not parameter.when}
        self._modelled = {p.name for p in spec.space.varying()} if spec.search == "tpe" else always

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Distributions of the parameters that the model proposes together."""
        inferred = self._model.infer_relative_search_space(study, trial)
        return {name: found for name, found in inferred.items() if name in self._modelled}

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Labels that the model proposes, rounded to values that the laws can give."""
        sampled = self._model.sample_relative(study, trial, search_space)
        return {name: _nearest(self._spec.space[name], label) for name, label in sampled.items()}

    def sample_independent(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """Label of a parameter that the model leaves out, drawn from the parameter's law."""
        parameter = self._spec.space[param_name]
        return label_of(
            parameter, parameter.domain.draw(share(self._spec, param_name, number=self._number))
        )


def _nearest(parameter: Parameter, label: Any) -> Any:
    """The label of the domain's value that is nearest to the value a model proposes."""
    domain = parameter.domain
    if not isinstance(domain, Numeric) or not domain.stepped:
        return label
    low, value, step = (
        decimal.Decimal(str(number)) for number in (domain.low, label, domain.q or 1)
    )
    return value_of(parameter, low + round((value - low) / step) * step)


def _suggest(trial: optuna.Trial, parameter: Parameter) -> Any:
    wanted = distribution(parameter)
    if isinstance(wanted, CategoricalDistribution):
        label = trial.suggest_categorical(parameter.name, wanted.choices)
    elif isinstance(wanted, IntDistribution):
        label = trial.suggest_int(
            parameter.name, wanted.low, wanted.high, step=wanted.step, log=wanted.log
        )
    else:
        assert isinstance(wanted, FloatDistribution)
        label = trial.suggest_float(
            parameter.name, wanted.low, wanted.high, step=wanted.step, log=wanted.log
        )
    return value_of(parameter, label)
