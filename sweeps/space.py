"""What may vary: parameters and conditions, read from W&B's sweep language. No Optuna here.

A parameter has a domain (constant, categorical or numeric) and may be conditional (`when`, ours): it is
sampled only if the parameters it names have one of the values it gives.
"""

import dataclasses
import decimal
import itertools
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from sweeps.errors import Problem, did_you_mean

Path = tuple[str | int, ...]
Values = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Constant:
    """Always the same value; not sampled."""

    value: Any


@dataclasses.dataclass(frozen=True)
class Categorical:
    """One of several values, each as probable."""

    values: tuple[Any, ...]

    @property
    def labels(self) -> tuple[str | int | float | bool | None, ...]:
        """What stands in the storage: the values, lists and mappings as JSON text."""
        # a text that looks like one of those is quoted, so that no two values share a label
        return tuple(
            json.dumps(v) if isinstance(v, list | dict) or (isinstance(v, str) and v[:1] in ("[", "{", '"')) else v
            for v in self.values
        )

    def label_of(self, value: Any) -> str | int | float | bool | None:
        """What stands in the storage for one of the values."""
        return next(label for own, label in zip(self.values, self.labels, strict=True) if _same(own, value))

    def value_of(self, label: Any) -> Any:
        """The value behind a stored label."""
        return next(value for value, own in zip(self.values, self.labels, strict=True) if _same(own, label))


@dataclasses.dataclass(frozen=True)
class Numeric:
    """A number from `low` to `high`, both included; uniform, or uniform in its logarithm.

    Attributes:
        q: distance between two values, counted from `low`; None for any real number.
        integer: whole numbers only.
    """

    low: float
    high: float
    log: bool = False
    q: float | None = None
    integer: bool = False

    def steps(self) -> list[float]:
        """The values of a stepped range, in decimal arithmetic: 0 to 0.3 by 0.1 ends with 0.3, not beyond.

        Raises:
            ValueError: it is continuous.
        """
        step = self.q or (1 if self.integer else None)
        if step is None:
            raise ValueError("a continuous range has no finite grid")
        low, high, by = (decimal.Decimal(str(number)) for number in (self.low, self.high, step))
        kind = int if self.integer else float
        return [kind(low + index * by) for index in range(int((high - low) // by) + 1)]


Domain = Constant | Categorical | Numeric


@dataclasses.dataclass(frozen=True)
class Parameter:
    """One named choice.

    Attributes:
        name: dotted for nested parameters.
        when: for each named parameter the values under which this one is sampled.
        path: where it stands in the file.
    """

    name: str
    domain: Domain
    when: tuple[tuple[str, tuple[Any, ...]], ...] = ()
    path: Path = dataclasses.field(default=(), compare=False)

    def active(self, values: Mapping[str, Any]) -> bool:
        """Whether it is sampled, given the values of the parameters before it."""
        return all(name in values and _among(values[name], allowed) for name, allowed in self.when)


@dataclasses.dataclass(frozen=True)
class Space:
    """Parameters in an order in which each comes after those its `when` names."""

    parameters: tuple[Parameter, ...]

    def resolve(self, choose: Callable[[Parameter], Any]) -> Values:
        """Values of all active parameters; `choose` is asked for each one that is not constant."""
        values: Values = {}
        for parameter in self.parameters:
            if parameter.active(values):
                domain = parameter.domain
                values[parameter.name] = domain.value if isinstance(domain, Constant) else choose(parameter)
        return values

    def varying(self) -> tuple[Parameter, ...]:
        """The parameters that are not constant."""
        return tuple(p for p in self.parameters if not isinstance(p.domain, Constant))

    def __getitem__(self, name: str) -> Parameter:
        return next(parameter for parameter in self.parameters if parameter.name == name)

    def __contains__(self, name: str) -> bool:
        return any(parameter.name == name for parameter in self.parameters)


def grid(space: Space) -> Iterator[Values]:
    """Every point of a finite space once, the last parameter moving fastest; inactive parameters do not multiply.

    Raises:
        ValueError: a domain is continuous.
    """

    def points(left: tuple[Parameter, ...], values: Values) -> Iterator[Values]:
        if not left:
            yield values
        elif not left[0].active(values):
            yield from points(left[1:], values)
        else:
            for value in finite_values(left[0].domain):
                yield from points(left[1:], {**values, left[0].name: value})

    return points(space.parameters, {})


def grid_size(space: Space, *, at_most: int) -> int:
    """How many points the grid has, counted up to `at_most`.

    Raises:
        ValueError: a domain is continuous.
    """
    return sum(1 for _ in itertools.islice(grid(space), at_most))


def finite_values(domain: Domain) -> Iterable[Any]:
    """All values of a domain, in order.

    Raises:
        ValueError: it is continuous.
    """
    if isinstance(domain, Constant):
        return (domain.value,)
    if isinstance(domain, Categorical):
        return domain.values
    return domain.steps()


def read_space(raw: Mapping[str, Any]) -> tuple[Space, list[Problem]]:
    """Read W&B's `parameters` mapping; a parameter with a problem is left out of the space."""
    reader = _Reader()
    reader.read(raw, ("parameters",), "")
    reader.check_conditions()
    return Space(reader.in_order()), reader.problems


DISTRIBUTIONS = ("constant", "categorical", "int_uniform", "uniform", "q_uniform", "log_uniform_values")
_KEYS = {
    "constant": {"value"},
    "categorical": {"values"},
    "int_uniform": {"min", "max"},
    "uniform": {"min", "max"},
    "q_uniform": {"min", "max", "q"},
    "log_uniform_values": {"min", "max"},
}
_OPTIONAL = {"distribution", "when"}


class _Reader:
    """Collects parameters and problems from one `parameters` mapping."""

    def __init__(self) -> None:
        self.parameters: dict[str, Parameter] = {}
        self.paths: dict[str, Path] = {}
        self.problems: list[Problem] = []

    def read(self, raw: Any, path: Path, prefix: str) -> None:
        if not isinstance(raw, Mapping) or not raw:
            self._problem(path, "expected a mapping of parameter names, e.g. lr: {min: 0.001, max: 0.1}")
            return
        for key, entry in raw.items():
            here, name = (*path, str(key)), f"{prefix}{key}"
            if not isinstance(entry, Mapping):
                self._problem(here, f"expected a mapping, got {entry!r}. A constant is written {{value: {entry}}}")
            elif "parameters" in entry:
                self.read(entry["parameters"], (*here, "parameters"), f"{name}.")
            else:
                self._read_one(entry, here, name)

    def _read_one(self, entry: Mapping[str, Any], path: Path, name: str) -> None:
        self.paths[name] = path
        before = len(self.problems)
        domain = self._domain(entry, path)
        when = self._when(entry.get("when"), path)
        if name in self.parameters:
            self._problem(path, f"{name} is given twice, nested and dotted")
        if domain is not None and len(self.problems) == before:
            self.parameters[name] = Parameter(name, domain, when, path)

    def _domain(self, entry: Mapping[str, Any], path: Path) -> Domain | None:
        kind = entry.get("distribution") or _inferred(entry)
        if kind is None:
            self._problem(path, "needs one of: value, values, or min and max")
            return None
        if kind not in DISTRIBUTIONS:
            hint = did_you_mean(str(kind), DISTRIBUTIONS)
            self._problem(
                (*path, "distribution"), f"unknown distribution {kind!r}.{hint} Known: {', '.join(DISTRIBUTIONS)}"
            )
            return None
        unknown = sorted(set(entry) - _KEYS[kind] - _OPTIONAL)
        for key in unknown:
            allowed = sorted(_KEYS[kind] | {"distribution", "when"})
            self._problem(
                (*path, key), f"{kind} takes no {key!r}.{did_you_mean(key, allowed)} Allowed: {', '.join(allowed)}"
            )
        missing = sorted(_KEYS[kind] - set(entry) - {"q"})
        if missing:
            self._problem(path, f"{kind} needs {' and '.join(missing)}")
        if unknown or missing:
            return None
        if kind == "constant":
            return Constant(entry["value"])
        if kind == "categorical":
            return self._categorical(entry["values"], (*path, "values"))
        return self._numeric(kind, entry, path)

    def _categorical(self, values: Any, path: Path) -> Categorical | None:
        if not isinstance(values, list) or not values:
            self._problem(path, f"expected a list with at least one value, got {values!r}")
            return None
        labels = [json.dumps(value, sort_keys=True, default=str) for value in values]
        if len(set(labels)) < len(labels):
            twice = next(label for label in labels if labels.count(label) > 1)
            self._problem(path, f"{twice} is listed twice")
            return None
        return Categorical(tuple(values))

    def _numeric(self, kind: str, entry: Mapping[str, Any], path: Path) -> Numeric | None:
        low, high, q = entry["min"], entry["max"], entry.get("q", 1)
        for key, number in (("min", low), ("max", high), ("q", q)):
            if isinstance(number, bool) or not isinstance(number, int | float) or not math.isfinite(number):
                self._problem((*path, key), f"expected a number, got {number!r}")
                return None
        if kind == "log_uniform_values" and not 0 < low < high:
            self._problem(path, f"a log scale needs 0 < min < max, got min={low}, max={high}")
        elif low > high:
            self._problem(path, f"min must not be above max, got min={low}, max={high}")
        elif kind == "int_uniform" and not (isinstance(low, int) and isinstance(high, int)):
            self._problem(path, f"int_uniform needs whole numbers, got min={low}, max={high}")
        elif kind == "q_uniform" and q <= 0:
            self._problem((*path, "q"), f"q must be above 0, got {q}")
        else:
            quantised = kind == "q_uniform"
            return Numeric(
                low=low,
                high=high,
                log=kind == "log_uniform_values",
                q=q if quantised else None,
                integer=kind == "int_uniform" or (quantised and all(isinstance(n, int) for n in (low, high, q))),
            )
        return None

    def _when(self, raw: Any, path: Path) -> tuple[tuple[str, tuple[Any, ...]], ...]:
        if raw is None:
            return ()
        if not isinstance(raw, Mapping) or not raw:
            self._problem((*path, "when"), f"expected a mapping such as {{optimizer: [sgd, madgrad]}}, got {raw!r}")
            return ()
        return tuple((str(name), tuple(v) if isinstance(v, list) else (v,)) for name, v in raw.items())

    def check_conditions(self) -> None:
        for name, parameter in self.parameters.items():
            for other, allowed in parameter.when:
                path = (*self.paths[name], "when", other)
                if other not in self.paths:
                    self._problem(path, f"unknown parameter {other!r}.{did_you_mean(other, self.paths)}")
                elif not allowed:
                    self._problem(path, "expected at least one value, got []")
                elif other in self.parameters:
                    self._check_reachable(self.parameters[other].domain, allowed, path)

    def _check_reachable(self, domain: Domain, allowed: tuple[Any, ...], path: Path) -> None:
        for value in allowed:
            if isinstance(domain, Numeric):
                number = isinstance(value, int | float) and not isinstance(value, bool)
                reachable = number and domain.low <= value <= domain.high and not (domain.integer and value % 1)
            else:
                reachable = _among(value, tuple(finite_values(domain)))
            if not reachable:
                self._problem(path, f"{path[-1]} never has the value {value!r}, so this is never sampled")

    def in_order(self) -> tuple[Parameter, ...]:
        """Each parameter after those it depends on, otherwise as written; a circle is a problem."""
        ordered: dict[str, Parameter] = {}
        left = dict(self.parameters)
        while left:
            ready = [p for p in left.values() if not any(other in left for other, _ in p.when)]
            if not ready:
                self._problem((*self.paths[min(left)], "when"), f"conditions in a circle: {', '.join(sorted(left))}")
                break
            for parameter in itertools.islice(ready, 1):
                ordered[parameter.name] = left.pop(parameter.name)
        return tuple(ordered.values())

    def _problem(self, path: Path, text: str) -> None:
        self.problems.append(Problem(path, text))


def _inferred(entry: Mapping[str, Any]) -> str | None:
    """W&B's rule for a parameter without `distribution`."""
    if "value" in entry:
        return "constant"
    if "values" in entry:
        return "categorical"
    if "min" in entry and "max" in entry:
        whole = all(isinstance(entry[key], int) and not isinstance(entry[key], bool) for key in ("min", "max"))
        return "int_uniform" if whole else "uniform"
    return None


def _same(one: Any, other: Any) -> bool:
    # 1 == True == 1.0 in Python, not in a search space
    return bool(one == other) and type(one) is type(other)


def _among(value: Any, allowed: tuple[Any, ...]) -> bool:
    return any(value == other and isinstance(value, bool) == isinstance(other, bool) for other in allowed)
