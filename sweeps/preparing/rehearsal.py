"""Which fold runs are rehearsed before a sweep, and what that says about the search space.

Each combination of backbone, size and batch size is rehearsed, those first that cost most and least
of each backbone. The other parameters of a rehearsal take the values that were rehearsed least, so
that a few rehearsals have every choice of the space, and the two ends of every range. A choice that
fails in a point that works without it is a problem of the search space, with its line.
"""

import collections
import dataclasses
import itertools
import random
from collections.abc import Callable, Sequence
from typing import Any

import pydantic

from sweeps.errors import KeyPath, Problem
from sweeps.space.domains import Categorical, Numeric
from sweeps.space.parameters import Parameter, Space, Values
from sweeps.space.spec import SweepSpec
from trainer.config import TrainConfig, nested
from trainer.fields.images import parse_size
from trainer.seeds import derive
from trainer.training.rehearsed import Outcome, Refused, Rehearsed

COMBINED = ("backbone", "resize", "batch_size")
MAX_COMBINATIONS = 500
REPEATS = 3  # rehearsals of a combination, each with other values of the other parameters
TRIES = 3  # points with a combination, until one of them works
WITNESSES = 3  # points that work, in each of which a choice must fail to be a problem
UPPER_END = 1 - 1e-9  # of a draw; 1 is not one

# Rehearses a configuration; the number says how many seconds its steps are timed.
Act = Callable[[TrainConfig, float], Outcome]
Clock = Callable[[], float]


@dataclasses.dataclass(frozen=True, order=True)
class Combination:
    """What decides how much a training step costs.

    The precision is not a part of it: a GPU trains in bfloat16, a CPU in float32.
    """

    backbone: str
    height: int
    width: int
    batch_size: int

    @classmethod
    def of(cls, config: TrainConfig) -> "Combination":
        """The combination of a configuration."""
        return cls(config.backbone, *config.size_HW, config.batch_size)

    @property
    def pixels(self) -> int:
        """The pixels of an image."""
        return self.height * self.width

    @property
    def size(self) -> str:
        """The size as a user writes it."""
        return f"{self.height}" if self.height == self.width else f"{self.height}x{self.width}"

    def __str__(self) -> str:
        return f"{self.backbone} at {self.size}, batch_size {self.batch_size}"


@dataclasses.dataclass
class Found:
    """What rehearsals found.

    Attributes:
        measured: the rehearsals of each combination, and a configuration of each.
        too_large: what is said about each combination that does not fit into memory.
        untried: combinations for which no time was left.
        untried_values: how many choices and ends of ranges no rehearsal had.
        problems: choices that fail, with their places in the search space.
        warnings: points that fail, although each of their choices works elsewhere.
    """

    measured: dict[Combination, list[tuple[TrainConfig, Rehearsed]]] = dataclasses.field(
        default_factory=dict
    )
    too_large: dict[Combination, str] = dataclasses.field(default_factory=dict)
    untried: list[Combination] = dataclasses.field(default_factory=list)
    untried_values: int = 0
    problems: list[Problem] = dataclasses.field(default_factory=list)
    warnings: list[str] = dataclasses.field(default_factory=list)


def combinations(spec: SweepSpec) -> list[Combination]:
    """Every combination that a trial can have, in the order of the rehearsals.

    Of a range of whole numbers, the two ends.
    """
    defaults = {name: TrainConfig.model_fields[name].default for name in COMBINED}
    found = dict.fromkeys(
        Combination(
            str(values["backbone"]), *parse_size(values["resize"]), int(values["batch_size"])
        )
        for point in itertools.islice(spec.reachable(*COMBINED, ends=True), MAX_COMBINATIONS)
        for values in [{**defaults, **point}]
    )
    by_backbone: dict[str, list[Combination]] = {}
    for each in sorted(found, key=lambda each: each.pixels * each.batch_size, reverse=True):
        by_backbone.setdefault(each.backbone, []).append(each)
    largest = [group[0] for group in by_backbone.values()]
    smallest = [group[-1] for group in by_backbone.values() if len(group) > 1]
    between = [each for group in by_backbone.values() for each in group[1:-1]]
    return [*largest, *smallest, *between]


def config_of(spec: SweepSpec, values: Values) -> TrainConfig:
    """The configuration of a trial with these values.

    Raises:
        pydantic.ValidationError: the trial would fail with this error.
    """
    fields: Values = dict(values)
    if spec.metric.user_function is not None:
        fields |= {"metric": spec.metric.user_function, "metric_goal": spec.metric.goal.value}
    return TrainConfig(**nested(fields))


def rehearse_space(
    spec: SweepSpec, act: Act, *, seconds: float, each_s: float, clock: Clock
) -> Found:
    """Rehearse the combinations and choices of a search space, as long as the time allows.

    Args:
        seconds: no rehearsal begins after so many seconds; the first one always does.
        each_s: how long the steps of a rehearsal are timed.
    """
    until = clock() + seconds
    rehearsals = _Rehearsals(spec, lambda config: act(config, each_s))
    found = rehearsals.found
    order = combinations(spec)
    extremes = min(len(order), 2 * len({each.backbone for each in order}))
    for each in order[:extremes]:
        if rehearsals.some and clock() >= until:
            break
        rehearsals.combination(each)
    while (left := rehearsals.uncovered()) and clock() < until:
        rehearsals.value(*left[0])
    found.untried_values = len(left)
    for each, _ in itertools.product(order, range(REPEATS)):
        if each in found.too_large or len(found.measured.get(each, ())) >= REPEATS:
            continue
        if clock() >= until:
            break
        if each not in rehearsals.tried or rehearsals.varies:
            rehearsals.combination(each)
    rehearsals.explain()
    found.untried += [each for each in order if each not in rehearsals.tried]
    return found


class _Rehearsals:
    """The rehearsals of one search space, and the values that they had."""

    def __init__(self, spec: SweepSpec, act: Callable[[TrainConfig], Outcome]) -> None:
        self.found = Found()
        self.tried: set[Combination] = set()
        self._spec = spec
        self._space = spec.space
        self._act = act
        self._used: collections.Counter[tuple[str, str]] = collections.Counter()
        self._works: list[Values] = []  # the points that succeeded
        self._worked: set[tuple[str, str]] = set()  # their values
        self._random = random.Random(derive(spec.seed, "rehearsal"))
        self._failed: list[tuple[Values, Refused]] = []

    @property
    def some(self) -> bool:
        """Whether a rehearsal has succeeded."""
        return bool(self.found.measured)

    @property
    def varies(self) -> bool:
        """Whether parameters vary that a combination leaves open."""
        return any(parameter.name not in COMBINED for parameter in self._space.varying())

    def combination(self, wanted: Combination) -> None:
        """Rehearse a combination with those values of the others that were rehearsed least."""
        self.tried.add(wanted)
        pinned = self._pinned(wanted)
        for _ in range(TRIES):
            if self._try(pinned) or wanted in self.found.too_large:
                return

    def uncovered(self) -> list[tuple[str, Any]]:
        """The choices, and the ends of ranges, that no rehearsal had yet."""
        return [
            (parameter.name, value)
            for parameter in self._space.varying()
            if parameter.name not in COMBINED
            for value in _listed(self._space, parameter.name)
            if not self._used[parameter.name, repr(value)]
        ]

    def value(self, name: str, value: Any) -> None:
        """Rehearse one choice, with the cheapest combination that it can have."""
        self._used[name, repr(value)] += 1  # even if no point can have it
        cheapest = min(
            self.found.measured,
            key=lambda each: (self.found.measured[each][0][1].image_s, each),
            default=None,
        )
        combined = {} if cheapest is None else self._pinned(cheapest)
        self._try({**combined, **self._parents(name), name: value})

    def _pinned(self, wanted: Combination) -> Values:
        """The values in the words of the space, for those parameters that it has."""
        same: dict[str, Callable[[Any], bool]] = {
            "backbone": lambda value: value == wanted.backbone,
            "resize": lambda value: parse_size(value) == (wanted.height, wanted.width),
            "batch_size": lambda value: value == wanted.batch_size,
        }
        pinned: Values = {}
        for name, is_wanted in same.items():
            value = next(filter(is_wanted, _listed(self._space, name)), None)
            if value is not None:
                pinned |= {**self._parents(name), name: value}
        return pinned

    def _parents(self, name: str) -> Values:
        """Values with which the conditions of a parameter hold."""
        values: Values = {}
        for parent, allowed in self._space[name].when:
            values |= self._parents(parent)
            values[parent] = min(allowed, key=lambda value: self._used[parent, repr(value)])
        return values

    def _try(self, pinned: Values) -> bool:
        """Rehearse a point with these values; whether it succeeded."""
        values = self._space.resolve(
            lambda parameter: pinned.get(parameter.name, self._least_used(parameter))
        )
        for name, value in values.items():
            self._used[name, repr(value)] += 1
        config, outcome = self._outcome(values)
        if isinstance(outcome, Refused):
            if config is not None and outcome.reason == "memory":
                self.found.too_large[Combination.of(config)] = outcome.text
            else:
                self._failed.append((values, outcome))
            return False
        assert config is not None
        self._works.append(values)
        self._worked |= {(name, repr(value)) for name, value in values.items()}
        self.found.measured.setdefault(Combination.of(config), []).append((config, outcome))
        return True

    def _least_used(self, parameter: Parameter) -> Any:
        listed = _listed(self._space, parameter.name)
        least = min(self._used[parameter.name, repr(value)] for value in listed)
        rare = [value for value in listed if self._used[parameter.name, repr(value)] == least]
        if least and isinstance(parameter.domain, Numeric):  # both ends are known: a usual value
            return parameter.domain.draw(self._random.random())
        return self._random.choice(rare)

    def _outcome(self, values: Values) -> tuple[TrainConfig | None, Outcome]:
        try:
            config = config_of(self._spec, values)
        except pydantic.ValidationError as error:
            text = error.errors()[0]["msg"].removeprefix("Value error, ")
            return None, Refused("configuration", text)
        return config, self._act(config)

    def explain(self) -> None:
        """Find the choice because of which each point failed, and note it.

        This waits for the end, because it needs a point that works.
        """
        known: set[tuple[str, str]] = set()
        told: set[str] = set()
        for values, outcome in self._failed:
            if known & {(name, repr(value)) for name, value in values.items()}:
                continue
            name = self._culprit(values, outcome.reason)
            if name is not None and outcome.reason != "loss":
                known.add((name, repr(values[name])))
                place = _place(self._space[name], values[name])
                self.found.problems.append(Problem(place, f"{values[name]}: {outcome.text}"))
            elif outcome.text not in told:
                told.add(outcome.text)
                self._tell(values, outcome, culprit=name)

    def _tell(self, values: Values, outcome: Refused, *, culprit: str | None) -> None:
        """Note a point that fails, if no single choice is to blame or only its loss is bad."""
        if not self._works and outcome.reason != "loss":
            self.found.problems.append(Problem(("parameters",), outcome.text))
            return
        named = {culprit} if culprit else {each.name for each in self._space.varying()}
        point = ", ".join(f"{name}={value}" for name, value in values.items() if name in named)
        self.found.warnings.append(f"a trial with {point} would fail: {outcome.text}")

    def _culprit(self, values: Values, reason: str) -> str | None:
        """The parameter whose value makes every point fail, of some that work without it."""
        for name, value in values.items():
            if (name, repr(value)) in self._worked:
                continue
            witnesses = self._works[-WITNESSES:]
            points = [self._swapped(point, name, value, others=values) for point in witnesses]
            outcomes = [outcome for _, outcome in map(self._outcome, points)]
            if outcomes and all(isinstance(o, Refused) and o.reason == reason for o in outcomes):
                return name
        return None

    def _swapped(self, point: Values, name: str, value: Any, *, others: Values) -> Values:
        """A point that works, with one other value, and with what that value's conditions need."""
        pinned = {**others, **point, **self._parents(name), name: value}
        return self._space.resolve(
            lambda parameter: pinned.get(parameter.name, self._least_used(parameter))
        )


def _listed(space: Space, name: str) -> Sequence[Any]:
    """The choices of a parameter, or the two ends of its range; empty if there is none."""
    domain = space[name].domain if name in space else None
    if isinstance(domain, Categorical):
        return domain.values
    if isinstance(domain, Numeric):  # the ends of a law without bounds are its quantiles
        ends = (0.0, UPPER_END) if domain.law is None else (0.05, 0.95)
        return tuple(dict.fromkeys(map(domain.draw, ends)))
    return ()


def _place(parameter: Parameter, value: Any) -> KeyPath:
    domain = parameter.domain
    base: KeyPath = parameter.path or ("parameters", parameter.name)
    if not isinstance(domain, Categorical):
        return base
    index = [repr(other) for other in domain.values].index(repr(value))
    return (*base, "values", index)
