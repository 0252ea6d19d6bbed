"""From a space to Optuna: distributions, samplers, one proposal at a time.

A proposal is a function of the spec, the trial's number and the study's trials: a sampler is built anew for
each one from `derive(seed, "ask", number)` (one that lives on would propose its first points again after a
restart), and whatever it remembers stands in the trials' own attributes, written before the trial is
recorded. No sampler leaves anything in the study's attributes, and none needs to be told of a trial's end.

Values that no model proposes are drawn from their law, which Optuna's distributions cannot always express.
Models see the domain's bounds; what they propose is rounded to a value that the law can give.
"""

import dataclasses
import decimal
import random
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, CmaEsSampler, GPSampler, NSGAIISampler, PartialFixedSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState, create_trial

from sweeps.records import START_POINT, root_of, score_key, start_point, start_text
from sweeps.space import Categorical, Constant, Numeric, Parameter, Space, Values, grid
from sweeps.spec import SweepSpec
from trainer.metrics import Goal
from trainer.seeds import derive

Point = Mapping[str, Any]
Key = tuple[Any, ...]
BRUTE_FORCE_DRAWS = 64  # tries to meet a new point by chance before all that are left are listed


def propose(study: optuna.Study, spec: SweepSpec, *, number: int) -> FrozenTrial:
    """Add the next trial to the (in-memory) study as RUNNING, with all its parameters.

    Points of `start_with` come first, each once in the sweep's life; such a trial has the user attribute
    START_POINT.

    Args:
        study: none of its trials is WAITING (Optuna would go on with that one instead).
        number: the number the trial will get; it decides the draw.

    Raises:
        IndexError: every point of a grid has been tried.
    """
    trials = study.get_trials(deepcopy=False)
    assert len(trials) == number
    if spec.finite:
        start, values = _untried(spec, trials, number=number)
        _add(study, spec.space, values=values, start=start)
    else:
        start = next(_starts(spec, trials), None)
        if spec.search in MODELS:
            _ask(study, spec, number=number, start=start)
        else:
            _add(study, spec.space, values=_drawn(spec, _pinned(spec.space, start), number=number), start=start)
    return study.get_trials(deepcopy=False)[-1]


# --- laws and lists: the values are known before Optuna hears of the trial


def _add(study: optuna.Study, space: Space, *, values: Values, start: Point | None) -> None:
    study.add_trial(
        create_trial(
            state=TrialState.RUNNING,
            params=labels(space, values),
            distributions=distributions(space, values),
            user_attrs={} if start is None else {START_POINT: start_text(start)},
        )
    )


def _drawn(spec: SweepSpec, space: Space, *, number: int) -> Values:
    """Values from their laws; with `qmc` the draws of a sweep fill the space evenly."""
    if spec.search == "qmc":
        shares = _sobol(spec, number)
        return space.resolve(lambda parameter: parameter.domain.draw(shares[parameter.name]))
    return space.resolve(lambda parameter: parameter.domain.draw(_share(spec, parameter.name, number=number)))


def _share(spec: SweepSpec, name: str, *, number: int) -> float:
    """The number in [0, 1) that decides a parameter's draw."""
    return (derive(spec.seed, "ask", number, name) >> 10) / 2**53  # a float holds 53 bits: more may round to 1


def _sobol(spec: SweepSpec, number: int) -> dict[str, float]:
    """For each varying parameter a number in [0, 1): point `number` of the sweep's scrambled Sobol sequence.

    Optuna's QMCSampler is not used: it counts its points in the study's attributes, takes its parameters from the
    first finished trial (a conditional one may be missing there), and knows only uniform laws.
    """
    from scipy.stats.qmc import Sobol  # 0.5 s

    names = [parameter.name for parameter in spec.space.varying()]
    if not names:
        return {}
    sequence = Sobol(len(names), scramble=True, rng=derive(spec.seed, "qmc"))
    if number:
        sequence.fast_forward(number)
    return dict(zip(names, sequence.random()[0].tolist(), strict=True))


def _untried(spec: SweepSpec, trials: list[FrozenTrial], *, number: int) -> tuple[Point | None, Values]:
    """A point that no trial has, and the start point that it continues, if any: in the grid's order or by chance.

    A start point all of whose points have been tried is passed over.

    Raises:
        IndexError: there is none.
    """
    points = _Points(spec.space)
    tried = {points.key(trial.params) for trial in trials}
    for start in (*_starts(spec, trials), None):
        space = _pinned(spec.space, start)
        if spec.search == "brute_force":
            values = _any_untried(points, space, tried=tried, seed=derive(spec.seed, "ask", number))
        else:
            values = next((point for point in grid(space) if points.key_of_values(point) not in tried), None)
        if values is not None:
            return start, values
    raise IndexError("the grid has no point left")


def _any_untried(points: "_Points", space: Space, *, tried: set[Key], seed: int) -> Values | None:
    """An untried point by chance, the likelier ones earlier; None if there is none.

    Optuna's BruteForceSampler is not used: it cannot say that nothing is left (it then repeats points), and builds
    a tree of all trials for each parameter.
    """
    chance = random.Random(seed)
    for _ in range(BRUTE_FORCE_DRAWS):
        values = space.resolve(lambda parameter: parameter.domain.draw(chance.random()))
        if points.key_of_values(values) not in tried:
            return values
    left = [values for values in grid(space) if points.key_of_values(values) not in tried]
    return chance.choice(left) if left else None


class _Points:
    """Tells points of a finite space apart, 5,000 of them within milliseconds."""

    def __init__(self, space: Space) -> None:
        self._names = [parameter.name for parameter in space.varying()]
        self._labels = {  # of values that are not their own labels: lists, mappings and texts that look like them
            parameter.name: {repr(value): label for value, label in zip(domain.values, domain.labels, strict=True)}
            for parameter in space.varying()
            if isinstance(domain := parameter.domain, Categorical) and domain.labels != domain.values
        }

    def key(self, params: Mapping[str, Any]) -> Key:
        """The same for the same parameters of two trials, whatever their order."""
        found = [params.get(name, ...) for name in self._names]
        return *found, *map(type, found)  # 1, True and 1.0 are three values

    def key_of_values(self, values: Values) -> Key:
        """The key of the trial that has these values."""
        tables = self._labels
        return self.key({n: tables[n][repr(v)] if n in tables else v for n, v in values.items()} if tables else values)


# --- points to start with


def _starts(spec: SweepSpec, trials: list[FrozenTrial]) -> Iterator[Point]:
    """The points of `start_with` that no trial began as."""
    if spec.start_with:
        asked = set(map(start_point, trials))
        yield from (point for point in spec.start_with if start_text(point) not in asked)


def _pinned(space: Space, start: Point | None) -> Space:
    """The part of the space in which a point's parameters have its values, as constants."""
    if not start:
        return space
    pinned = [
        dataclasses.replace(p, domain=Constant(p.domain.take(start[p.name]))) if p.name in start else p
        for p in space.parameters
    ]
    return Space(tuple(pinned))


# --- models: Optuna asks for the values one by one


def _ask(study: optuna.Study, spec: SweepSpec, *, number: int, start: Point | None) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)  # TPE's `group` and PartialFixedSampler
        sampler: BaseSampler = _WithinLaws(spec, number=number)
        if start is not None:
            pinned = {p.name: _label(p, p.domain.take(start[p.name])) for p in spec.space.varying() if p.name in start}
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

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        inferred = self._model.infer_relative_search_space(study, trial)
        return {name: wanted for name, wanted in inferred.items() if name in self._modelled}

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        sampled = self._model.sample_relative(study, trial, search_space)
        return {name: _nearest(self._spec.space[name], label) for name, label in sampled.items()}

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        parameter = self._spec.space[param_name]
        return _label(parameter, parameter.domain.draw(_share(self._spec, param_name, number=self._number)))


def _nearest(parameter: Parameter, label: Any) -> Any:
    """The label of the domain's own value that is nearest to a model's."""
    domain = parameter.domain
    if not isinstance(domain, Numeric) or not domain.stepped:
        return label
    low, value, step = (decimal.Decimal(str(number)) for number in (domain.low, label, domain.q or 1))
    return _value(parameter, low + round((value - low) / step) * step)


def _suggest(trial: optuna.Trial, parameter: Parameter) -> Any:
    wanted = distribution(parameter)
    if isinstance(wanted, CategoricalDistribution):
        label = trial.suggest_categorical(parameter.name, wanted.choices)
    elif isinstance(wanted, IntDistribution):
        label = trial.suggest_int(parameter.name, wanted.low, wanted.high, step=wanted.step, log=wanted.log)
    else:
        assert isinstance(wanted, FloatDistribution)
        label = trial.suggest_float(parameter.name, wanted.low, wanted.high, step=wanted.step, log=wanted.log)
    return _value(parameter, label)


# --- what stands in the storage


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
        low, end, step = (decimal.Decimal(str(number)) for number in (domain.low, domain.high, domain.q or 1))
        high = float(low + (end - low) // step * step)
    if domain.integer:
        return IntDistribution(int(domain.low), int(high), log=domain.log, step=1 if domain.log else int(domain.q or 1))
    return FloatDistribution(domain.low, high, log=domain.log, step=None if domain.log else domain.q)


def distributions(space: Space, values: Values) -> dict[str, BaseDistribution]:
    """Distributions of the varying parameters that have a value."""
    return {p.name: distribution(p) for p in space.varying() if p.name in values}


def labels(space: Space, values: Values) -> dict[str, Any]:
    """Values of the varying parameters as they stand in the storage."""
    return {p.name: _label(p, values[p.name]) for p in space.varying() if p.name in values}


def values_of(space: Space, params: Mapping[str, Any]) -> Values:
    """All values of a trial, constants included, from its stored parameters."""
    return space.resolve(lambda parameter: _value(parameter, params[parameter.name]))


def fields_of(spec: SweepSpec, trial: FrozenTrial) -> Values:
    """Fields of TrainConfig for a trial: the sampled ones, and what the sweep itself decides."""
    values: Values = values_of(spec.space, trial.params)
    # a retry trains what the failed trial would have, and may use its finished folds
    values["seed"] = derive(spec.seed, "trial", root_of(trial))
    if spec.metric.own is not None:
        values |= {"metric": spec.metric.own, "metric_goal": spec.metric.goal.value}
    weights = values.get("weights", "none")
    if weights not in ("pretrained", "none"):  # workers have other working directories
        values["weights"] = str(Path(str(weights)).resolve())
    return values


def _value(parameter: Parameter, label: Any) -> Any:
    domain = parameter.domain
    if isinstance(domain, Categorical):
        return domain.value_of(label)
    assert isinstance(domain, Numeric)
    return int(label) if domain.integer else float(label)


def _label(parameter: Parameter, value: Any) -> Any:
    domain = parameter.domain
    return domain.label_of(value) if isinstance(domain, Categorical) else value
