"""Proposes the parameters of the next trial.

A proposal is a function of the spec, the trial's number and the study's trials. Each proposal uses
a new sampler, built from `derive(seed, "ask", number)`. One sampler for all proposals would propose
its first points again after a restart. Data that a sampler needs for later proposals are in the
attributes of trials, written before the trial is recorded. No sampler writes attributes of the
study, and no sampler needs a notification at the end of a trial.

A finished trial may have the same parameters as a proposal; then the proposal is a *repeat* and is
not trained. After some repeats in a row, the next proposal is drawn from the untried points. A
model may propose its best point again and again.

Values that no model proposes are drawn from the laws of the parameters; Optuna's distributions
cannot express every law. Models see the bounds of the domains. A value that a model proposes is
rounded to a value that the law can give.
"""

import random
from collections.abc import Mapping, Sequence
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState, create_trial

from sweeps.search.distributions import distributions, labels
from sweeps.search.draws import drawn
from sweeps.search.models import MODELS, ask
from sweeps.search.starts import Point, pinned_space, starts
from sweeps.space.domains import Categorical
from sweeps.space.parameters import Space, Values, grid
from sweeps.space.spec import SweepSpec
from sweeps.study.records import START_POINT, is_repeat, start_text
from trainer.seeds import derive

Key = tuple[Any, ...]
# number of random draws that try to find an untried point
DRAWS = 64
# after so many repeats in a row, the next proposal is drawn from the untried points
REPEATS_IN_A_ROW = 3


def propose(study: optuna.Study, spec: SweepSpec, *, number: int) -> FrozenTrial:
    """Add the next trial to the in-memory study as RUNNING, with all its parameters.

    Points of `start_with` come first. A sweep proposes each of them once. Such a trial has the user
    attribute START_POINT.

    Args:
        number: number of the new trial, which decides the random draws.

    Raises:
        IndexError: every point of a grid has been tried.
    """
    trials = study.get_trials(deepcopy=False)
    assert len(trials) == number
    if spec.finite:
        start, values = _untried(spec, trials, number=number)
        _add(study, spec.space, values=values, start=start)
    else:
        start = next(starts(spec, trials), None)
        untried = _after_repeats(spec, trials, number=number) if start is None else None
        if untried is not None:
            _add(study, spec.space, values=untried, start=None)
        elif spec.search in MODELS:
            study.add_trial(ask(trials, spec, number=number, start=start))
        else:
            _add(
                study,
                spec.space,
                values=drawn(spec, pinned_space(spec.space, start), number=number),
                start=start,
            )
    return study.get_trials(deepcopy=False)[-1]


def _add(study: optuna.Study, space: Space, *, values: Values, start: Point | None) -> None:
    study.add_trial(
        create_trial(
            state=TrialState.RUNNING,
            params=labels(space, values),
            distributions=distributions(space, values),
            user_attrs={} if start is None else {START_POINT: start_text(start)},
        )
    )


def _untried(
    spec: SweepSpec, trials: list[FrozenTrial], *, number: int
) -> tuple[Point | None, Values]:
    """A start point or None, and an untried point of the space that has the start point's values.

    The untried point is the next one in the grid's order, or a random one for `brute_force`. A
    start point is left out if all points with its values have been tried.

    Raises:
        IndexError: there is no untried point.
    """
    points = _Points(spec.space)
    tried = {points.key(trial.params) for trial in trials}
    for start in (*starts(spec, trials), None):
        space = pinned_space(spec.space, start)
        if spec.search == "brute_force":
            values = _any_untried(points, space, tried=tried, seed=derive(spec.seed, "ask", number))
        else:
            values = next(
                (point for point in grid(space) if points.key_of_values(point) not in tried), None
            )
        if values is not None:
            return start, values
    raise IndexError("the grid has no point left")


def _after_repeats(spec: SweepSpec, trials: Sequence[FrozenTrial], *, number: int) -> Values | None:
    """An untried point drawn from the laws, if the last trials are all repeats, or None.

    None also means that no draw was an untried point.
    """
    last = trials[-REPEATS_IN_A_ROW:]
    if len(last) < REPEATS_IN_A_ROW or not all(map(is_repeat, last)):
        return None
    points = _Points(spec.space)
    tried = {points.key(trial.params) for trial in trials}
    chance = random.Random(derive(spec.seed, "ask", number))
    return _drawn_untried(points, spec.space, tried=tried, chance=chance)


def _any_untried(points: "_Points", space: Space, *, tried: set[Key], seed: int) -> Values | None:
    """A random untried point, or None if there is none.

    Points with a higher probability tend to come earlier. Optuna's BruteForceSampler is not used.
    It cannot report that no point is left, and repeats points instead. It also builds a tree of all
    trials for each parameter.
    """
    chance = random.Random(seed)
    values = _drawn_untried(points, space, tried=tried, chance=chance)
    if values is not None:
        return values
    left = [values for values in grid(space) if points.key_of_values(values) not in tried]
    return chance.choice(left) if left else None


def _drawn_untried(
    points: "_Points", space: Space, *, tried: set[Key], chance: random.Random
) -> Values | None:
    """The first untried one of some points that are drawn from the laws, or None."""
    for _ in range(DRAWS):
        values = space.resolve(lambda parameter: parameter.domain.draw(chance.random()))
        if points.key_of_values(values) not in tried:
            return values
    return None


class _Points:
    """Makes a key for each point of a finite space. 5,000 keys take milliseconds."""

    def __init__(self, space: Space) -> None:
        self._names = [parameter.name for parameter in space.varying()]
        # Labels of the parameters whose values are not equal to their labels. Such values are
        # lists, mappings, and texts that look like a list or a mapping.
        self._labels = {
            parameter.name: {
                repr(value): label
                for value, label in zip(domain.values, domain.labels, strict=True)
            }
            for parameter in space.varying()
            if isinstance(domain := parameter.domain, Categorical)
            and domain.labels != domain.values
        }

    def key(self, params: Mapping[str, Any]) -> Key:
        """The key of a trial with these stored parameters; their order does not matter."""
        found = [params.get(name, ...) for name in self._names]
        return *found, *map(type, found)  # the types distinguish 1, True and 1.0

    def key_of_values(self, values: Values) -> Key:
        """The key of a trial with these values."""
        tables = self._labels
        return self.key(
            {n: tables[n][repr(v)] if n in tables else v for n, v in values.items()}
            if tables
            else values
        )
