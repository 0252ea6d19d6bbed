"""Optuna's samplers with a model: they propose values one by one, kept to what the laws can give."""

import decimal
import warnings
from collections.abc import Callable
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
from sweeps.search.starts import Point
from sweeps.space.domains import Numeric
from sweeps.space.parameters import Parameter
from sweeps.space.spec import SweepSpec
from sweeps.study.records import START_POINT, score_key, start_text
from trainer.metrics import Goal
from trainer.seeds import derive


def ask(study: optuna.Study, spec: SweepSpec, *, number: int, start: Point | None) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", ExperimentalWarning
        )  # TPE's `group` and PartialFixedSampler
        sampler: BaseSampler = _WithinLaws(spec, number=number)
        if start is not None:
            pinned = {
                p.name: label_of(p, p.domain.take(start[p.name]))
                for p in spec.space.varying()
                if p.name in start
            }
            sampler = PartialFixedSampler(pinned, sampler)
    study.sampler = sampler
    trial = study.ask()
    spec.space.resolve(lambda parameter: _suggest(trial, parameter))
    if start is not None:
        trial.set_user_attr(START_POINT, start_text(start))


class _Genetic(NSGAIISampler):
    """NSGA-II whose parents are a function of the trials, so that a restarted driver finds the same ones.

    With one score, those that survive the selections up to a generation are the best of all trials before it. Optuna
    keeps its first answer in the study's attributes instead, by ids that another storage does not have. Trials
    taken over from another sweep may be parents, too.
    """

    def get_parent_population(self, study: optuna.Study, generation: int) -> list[FrozenTrial]:
        if generation == 0:
            return []
        siblings = {trial.number for trial in self.get_population(study, generation)}
        completed = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        elders = [trial for trial in completed if trial.number not in siblings]
        goal = Goal[study.direction.name]
        elders.sort(key=lambda trial: score_key(trial.values[0], trial.number, goal=goal))
        return elders[: self.population_size]


# by name, from a seed; each with its own number of trials before its model acts: 10 finished or completed ones for
# tpe and gp, 1 for cmaes, a population of 50 for nsgaii
MODELS: dict[str, Callable[[int], BaseSampler]] = {
    # grouped: with conditional parameters the joint model would otherwise shrink to what all trials share
    "tpe": lambda seed: TPESampler(seed=seed, multivariate=True, group=True),
    "gp": lambda seed: GPSampler(seed=seed, warn_independent_sampling=False),
    "cmaes": lambda seed: CmaEsSampler(seed=seed, warn_independent_sampling=False),
    "nsgaii": lambda seed: _Genetic(seed=seed),
}


class _WithinLaws(BaseSampler):
    """A model for one proposal, kept to the values that the laws can give; what it leaves out is drawn from its law."""

    def __init__(self, spec: SweepSpec, *, number: int) -> None:
        self._spec, self._number = spec, number
        self._model = MODELS[spec.search](derive(spec.seed, "ask", number) % 2**32)
        # CMA-ES gives up for good when its parameters change, as the trials' common ones do under conditions
        always = {parameter.name for parameter in spec.space.varying() if not parameter.when}
        self._modelled = {p.name for p in spec.space.varying()} if spec.search == "tpe" else always

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        inferred = self._model.infer_relative_search_space(study, trial)
        return {name: wanted for name, wanted in inferred.items() if name in self._modelled}

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        sampled = self._model.sample_relative(study, trial, search_space)
        return {name: _nearest(self._spec.space[name], label) for name, label in sampled.items()}

    def sample_independent(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        parameter = self._spec.space[param_name]
        return label_of(
            parameter, parameter.domain.draw(share(self._spec, param_name, number=self._number))
        )


def _nearest(parameter: Parameter, label: Any) -> Any:
    """The label of the domain's own value that is nearest to a model's."""
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
