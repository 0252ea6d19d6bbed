"""From a space to Optuna: distributions, samplers, one proposal at a time.

A proposal is a function of the spec, the trial's number and the study's trials: a sampler is built anew for
each one from `derive(seed, "ask", number)` (one that lives on would propose its first points again after a
restart), and whatever it remembers stands in the trials' own attributes, written before the trial is
recorded. No sampler leaves anything in the study's attributes, and none needs to be told of a trial's end.

Values that no model proposes are drawn from their law, which Optuna's distributions cannot always express.
Models see the domain's bounds; what they propose is rounded to a value that the law can give.
"""

import random
from collections.abc import Mapping
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
from sweeps.study.records import START_POINT, start_text
from trainer.seeds import derive

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
        start = next(starts(spec, trials), None)
        if spec.search in MODELS:
            ask(study, spec, number=number, start=start)
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
    """A point that no trial has, and the start point that it continues, if any: in the grid's order or by chance.

    A start point all of whose points have been tried is passed over.

    Raises:
        IndexError: there is none.
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
            parameter.name: {
                repr(value): label
                for value, label in zip(domain.values, domain.labels, strict=True)
            }
            for parameter in space.varying()
            if isinstance(domain := parameter.domain, Categorical)
            and domain.labels != domain.values
        }

    def key(self, params: Mapping[str, Any]) -> Key:
        """The same for the same parameters of two trials, whatever their order."""
        found = [params.get(name, ...) for name in self._names]
        return *found, *map(type, found)  # 1, True and 1.0 are three values

    def key_of_values(self, values: Values) -> Key:
        """The key of the trial that has these values."""
        tables = self._labels
        return self.key(
            {n: tables[n][repr(v)] if n in tables else v for n, v in values.items()}
            if tables
            else values
        )
