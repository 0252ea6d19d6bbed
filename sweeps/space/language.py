"""Reads W&B's parameter language into a `Space`. The key `when` is our one addition.

The rules come from W&B's JSON schema and from the function `ppf` of W&B's `sweeps` package. The
rules say which keys a distribution takes, which distribution is meant if the file names none
(inferred from value, values, or min and max), and which defaults hold:
q 1, mu 0, sigma 1, a 1, b 1.
Deviations from W&B: min = max is allowed and gives one value; sigma, a and b must be above 0.
"""

import dataclasses
import json
import math
from collections.abc import Callable, Mapping
from typing import Any

from sweeps.errors import KeyPath, Problem, did_you_mean
from sweeps.space.domains import Categorical, Constant, Domain, Numeric, among
from sweeps.space.laws import Beta, LogNormal, LogUniform, Normal
from sweeps.space.parameters import Parameter, Space

Numbers = Mapping[str, float]
MAX_STEPS = 10**18  # steps of one range at most, because decimal arithmetic has 28 digits
SUM_TOLERANCE = 1e-5  # probabilities may miss the sum 1 by this, so six digits of 1/3 are enough
DEFAULTS: Numbers = {"q": 1, "mu": 0.0, "sigma": 1.0, "a": 1.0, "b": 1.0}


def read_space(raw: Any) -> tuple[Space, list[Problem]]:
    """Read the mapping `parameters` of a file; the space lacks parameters that cannot be read."""
    reader = _Reader()
    reader.read(raw, ("parameters",))
    return reader.space(), reader.problems


def shown(value: Any) -> str:
    """The text of a value from a file, for a message about this value."""
    return "null" if value is None else repr(value)


def whole(number: float) -> float:
    """A float without a fraction as int (2 for 2.0); every other number unchanged.

    W&B's JSON schema, too, accepts 2.0 as a whole number.
    """
    return int(number) if isinstance(number, float) and number.is_integer() else number


def notices(space: Space) -> list[str]:
    """One notice per deprecated distribution, with the keys that the user should write instead."""
    return [text for parameter in space.parameters if (text := _deprecated(parameter))]


@dataclasses.dataclass(frozen=True)
class _Keys:
    """The keys that a distribution requires (`needs`) and the optional keys (`takes`)."""

    needs: tuple[str, ...] = ()
    takes: tuple[str, ...] = ()


DISTRIBUTIONS = {
    "constant": _Keys(("value",)),
    "categorical": _Keys(("values",), ("probabilities",)),
    "categorical_w_probabilities": _Keys(("values", "probabilities")),
    "int_uniform": _Keys(("min", "max")),
    "uniform": _Keys(("min", "max")),
    "q_uniform": _Keys(("min", "max"), ("q",)),
    "log_uniform_values": _Keys(("min", "max")),
    "q_log_uniform_values": _Keys(("min", "max"), ("q",)),
    "inv_log_uniform_values": _Keys(("min", "max")),
    "normal": _Keys((), ("mu", "sigma")),
    "q_normal": _Keys((), ("mu", "sigma", "q")),
    "log_normal": _Keys((), ("mu", "sigma")),
    "q_log_normal": _Keys((), ("mu", "sigma", "q")),
    "beta": _Keys((), ("a", "b")),
    "q_beta": _Keys((), ("a", "b", "q")),
    "log_uniform": _Keys(("min", "max")),
    "q_log_uniform": _Keys(("min", "max"), ("q",)),
    "inv_log_uniform": _Keys(("min", "max")),
}
# a distribution whose min and max are exponents of e -> the one whose min and max are the bounds
DEPRECATED = {
    "log_uniform": "log_uniform_values",
    "q_log_uniform": "q_log_uniform_values",
    "inv_log_uniform": "inv_log_uniform_values",
}
_NUMERIC: dict[str, Callable[[Numbers], Numeric]] = {
    "int_uniform": lambda n: Numeric(n["min"], n["max"], integer=True),
    "uniform": lambda n: Numeric(n["min"], n["max"]),
    "q_uniform": lambda n: Numeric(
        n["min"],
        n["max"],
        q=n["q"],
        integer=all(isinstance(n[key], int) for key in ("min", "max", "q")),
    ),
    "log_uniform_values": lambda n: Numeric(n["min"], n["max"], log=True),
    "q_log_uniform_values": lambda n: Numeric.following(
        LogUniform(n["min"], n["max"]), log=True, q=n["q"]
    ),
    "inv_log_uniform_values": lambda n: Numeric(n["min"], n["max"], log=True),
    "normal": lambda n: Numeric.following(Normal(n["mu"], n["sigma"])),
    "q_normal": lambda n: Numeric.following(Normal(n["mu"], n["sigma"]), q=n["q"]),
    "log_normal": lambda n: Numeric.following(LogNormal(n["mu"], n["sigma"]), log=True),
    "q_log_normal": lambda n: Numeric.following(LogNormal(n["mu"], n["sigma"]), log=True, q=n["q"]),
    "beta": lambda n: Numeric.following(Beta(n["a"], n["b"])),
    "q_beta": lambda n: Numeric.following(Beta(n["a"], n["b"]), q=n["q"]),
    "log_uniform": lambda n: Numeric(math.exp(n["min"]), math.exp(n["max"]), log=True),
    "q_log_uniform": lambda n: Numeric.following(
        LogUniform(math.exp(n["min"]), math.exp(n["max"])), log=True, q=n["q"]
    ),
    "inv_log_uniform": lambda n: Numeric(math.exp(-n["max"]), math.exp(-n["min"]), log=True),
}


class _Reader:
    """Collects the parameters and the problems of one mapping `parameters`."""

    def __init__(self) -> None:
        self.parameters: dict[str, Parameter] = {}
        self.problems: list[Problem] = []
        self._paths: dict[str, KeyPath] = {}  # the place of every name in the file
        self._conditions: dict[str, list[_Condition]] = {}

    def read(
        self, raw: Any, path: KeyPath, prefix: str = "", *, inherited: "tuple[_Condition, ...]" = ()
    ) -> None:
        """Read a mapping of parameter names.

        Args:
            path: the place of the mapping in the file.
            prefix: the start of each dotted name, e.g. `loss_mix.`, if the mapping is nested.
            inherited: the conditions of the mappings that contain this mapping.
        """
        if not isinstance(raw, Mapping) or not raw:
            self._problem(
                path, "expected a mapping of parameter names, e.g. lr: {min: 0.001, max: 0.1}"
            )
            return
        for key, entry in raw.items():
            entry_path = (*path, str(key))
            name = f"{prefix}{key}"
            if not isinstance(entry, Mapping):
                bare = "null" if entry is None else entry
                self._problem(
                    entry_path,
                    f"expected a mapping, got {shown(entry)}. "
                    f"A constant is written {{value: {bare}}}",
                )
                continue
            if "parameters" in entry:
                for other in sorted(set(map(str, entry)) - {"parameters", "when"}):
                    self._problem(
                        (*entry_path, other),
                        f"a mapping with parameters takes no {other!r}. Allowed: when",
                    )
                conditions = (*inherited, *self._when(entry.get("when"), entry_path))
                self.read(
                    entry["parameters"],
                    (*entry_path, "parameters"),
                    f"{name}.",
                    inherited=conditions,
                )
            else:
                self._read_one(entry, entry_path, name, inherited)

    def _read_one(
        self,
        entry: Mapping[str, Any],
        path: KeyPath,
        name: str,
        inherited: "tuple[_Condition, ...]",
    ) -> None:
        """Read the entry of one parameter."""
        if name in self._paths:
            self._problem(path, f"{name} is given twice, nested and dotted")
            return
        self._paths[name] = path
        before = len(self.problems)
        kind = self._distribution(entry, path)
        domain = None if kind is None else self._domain(kind, entry, path)
        conditions = (*inherited, *self._when(entry.get("when"), path))
        if domain is not None and len(self.problems) == before:
            when = tuple((condition.name, condition.allowed) for condition in conditions)
            self.parameters[name] = Parameter(name, domain, when, path, str(kind))
            self._conditions[name] = list(conditions)

    def _distribution(self, entry: Mapping[str, Any], path: KeyPath) -> str | None:
        """The distribution's name, or None if the name or a key is wrong or a key is missing."""
        kind = entry.get("distribution") or _inferred(entry)
        if kind is None:
            self._problem(path, f"needs one of: value, values, or min and max{_unnamed(entry)}")
            return None
        if not isinstance(kind, str) or kind not in DISTRIBUTIONS:
            hint = did_you_mean(str(kind), DISTRIBUTIONS)
            self._problem(
                (*path, "distribution"),
                f"unknown distribution {kind!r}.{hint} Known: {', '.join(DISTRIBUTIONS)}",
            )
            return None
        keys = DISTRIBUTIONS[kind]
        allowed = sorted({*keys.needs, *keys.takes, "distribution", "when"})
        unknown = sorted(set(map(str, entry)) - set(allowed))
        for key in unknown:
            self._problem(
                (*path, key),
                f"{kind} takes no {key!r}.{did_you_mean(key, allowed)} "
                f"Allowed: {', '.join(allowed)}",
            )
        missing = sorted(set(keys.needs) - set(entry))
        if missing:
            self._problem(path, f"{kind} needs {' and '.join(missing)}")
        return None if unknown or missing else kind

    def _domain(self, kind: str, entry: Mapping[str, Any], path: KeyPath) -> Domain | None:
        """The domain of an entry with the distribution `kind`, or None if a value has a problem."""
        if kind == "constant":
            return Constant(entry["value"])
        if kind in _NUMERIC:
            return self._numeric(kind, entry, path)
        values = entry["values"]
        probabilities = entry.get("probabilities")
        for key, problem in (
            ("values", _values_problem(values)),
            (
                "probabilities",
                None if probabilities is None else _probabilities_problem(probabilities, values),
            ),
        ):
            if problem:
                self._problem((*path, key), problem)
                return None
        return Categorical(
            tuple(values), None if probabilities is None else tuple(map(float, probabilities))
        )

    def _numeric(self, kind: str, entry: Mapping[str, Any], path: KeyPath) -> Numeric | None:
        """The domain of an entry with a numeric distribution, or None if a number has a problem."""
        keys = DISTRIBUTIONS[kind]
        numbers = {key: entry.get(key, DEFAULTS.get(key)) for key in (*keys.needs, *keys.takes)}
        for key, number in numbers.items():
            if (
                isinstance(number, bool)
                or not isinstance(number, int | float)
                or not math.isfinite(number)
            ):
                self._problem((*path, key), f"expected a number, got {shown(number)}")
                return None
            if key in ("q", "sigma", "a", "b") and number <= 0:
                self._problem((*path, key), f"{key} must be above 0, got {number}")
                return None
        if kind == "int_uniform":
            numbers = {key: whole(number) for key, number in numbers.items()}
        problem = _bounds_problem(kind, numbers)
        domain = None
        if problem is None:
            domain, problem = _built(kind, numbers)
        if problem:
            self._problem(path, problem)
        return domain

    def _when(self, raw: Any, path: KeyPath) -> "tuple[_Condition, ...]":
        """The conditions that the key `when` of the entry at `path` lists."""
        if raw is None:
            return ()
        if not isinstance(raw, Mapping) or not raw:
            self._problem(
                (*path, "when"),
                f"expected a mapping such as {{optimizer: [sgd, madgrad]}}, got {raw!r}",
            )
            return ()
        return tuple(
            _Condition(
                str(name), tuple(v) if isinstance(v, list) else (v,), (*path, "when", str(name))
            )
            for name, v in raw.items()
        )

    def space(self) -> Space:
        """Check the conditions, and return the space of the parameters that could be read.

        Each parameter comes after the parameters that its conditions name. Apart from that, the
        parameters keep the order of the file.
        """
        impossible = {name for name in self.parameters if not self._can_hold(name)}
        ordered: list[Parameter] = []
        remaining = dict(self.parameters)
        while remaining:
            ready = next(
                (
                    parameter
                    for parameter in remaining.values()
                    if not any(other in remaining for other, _ in parameter.when)
                ),
                None,
            )
            if ready is None:
                where = self._conditions[min(remaining)][0].path[:-1]
                self._problem(where, f"conditions in a circle: {', '.join(sorted(remaining))}")
                break
            ordered.append(remaining.pop(ready.name))
        self._check_chains(ordered, impossible)
        return Space(tuple(ordered))

    def _can_hold(self, name: str) -> bool:
        """Whether each condition alone can hold: its parameter exists and can have the values."""
        before = len(self.problems)
        for condition in self._conditions[name]:
            other = condition.name
            allowed = condition.allowed
            if other not in self._paths:
                hint = did_you_mean(other, self._paths) or f" Known: {', '.join(self._paths)}"
                self._problem(condition.path, f"unknown parameter {other!r}.{hint}")
            elif not allowed:
                self._problem(condition.path, "expected at least one value, got []")
            elif other in self.parameters:
                for value in allowed:
                    problem = _value_problem(self.parameters[other], value)
                    if problem:
                        self._problem(condition.path, problem)
        return len(self.problems) == before

    def _check_chains(self, ordered: list[Parameter], impossible: set[str]) -> None:
        """Report each parameter whose conditions contradict each other.

        A contradiction may need several parameters: a condition names another parameter, and the
        other parameter has conditions of its own.

        Args:
            impossible: the parameters with a condition that alone can never hold; their problem is
                already reported.
        """
        # for each parameter: the values that other parameters must have before it is sampled
        demands: dict[str, dict[str, tuple[Any, ...]]] = {}
        for parameter in ordered:
            needs = [("it", name, allowed) for name, allowed in parameter.when]
            needs += [
                (other, *demand)
                for other, _ in parameter.when
                for demand in demands.get(other, {}).items()
            ]
            merged: dict[str, tuple[Any, ...]] = {}
            for _, name, allowed in needs:
                merged[name] = tuple(
                    v for v in allowed if name not in merged or among(v, merged[name])
                )
            excluded = next((name for name, values in merged.items() if not values), None)
            if excluded is None or parameter.name in impossible:
                demands[parameter.name] = {} if parameter.name in impossible else merged
                continue
            reasons = [
                f"{needing} needs {name} to be {' or '.join(map(str, allowed))}"
                for needing, name, allowed in dict.fromkeys(map(_hashable, needs))
                if name == excluded
            ]
            where = self._conditions[parameter.name][0].path[:-1]
            self._problem(
                where, f"never sampled, its conditions exclude each other: {', '.join(reasons)}"
            )

    def _problem(self, path: KeyPath, text: str) -> None:
        """Add a problem, unless the same problem was added before."""
        problem = Problem(path, text)
        # the condition of a nested mapping is checked again for each parameter in the mapping
        if problem not in self.problems:
            self.problems.append(problem)


@dataclasses.dataclass(frozen=True)
class _Condition:
    """One entry of a `when`: the parameter `name` must have one of the `allowed` values."""

    name: str
    allowed: tuple[Any, ...]
    path: KeyPath


def _hashable(need: tuple[str, str, tuple[Any, ...]]) -> tuple[str, str, tuple[str, ...]]:
    """The need with its allowed values as text, because a list or mapping cannot be hashed."""
    needing, name, allowed = need
    return needing, name, tuple(map(str, allowed))


def _inferred(entry: Mapping[str, Any]) -> str | None:
    """The distribution that W&B infers from the other keys of an entry; None if there is none."""
    if "value" in entry:
        return "constant"
    if "values" in entry:
        return "categorical"
    if "min" in entry and "max" in entry:
        integer = all(
            isinstance(entry[key], int) and not isinstance(entry[key], bool)
            for key in ("min", "max")
        )
        return "int_uniform" if integer else "uniform"
    return None


def _unnamed(entry: Mapping[str, Any]) -> str:
    """The end of a message about keys whose distribution the file must name; else empty."""
    for keys, kinds in ((("mu", "sigma"), "normal or log_normal"), (("a", "b"), "beta")):
        given = [key for key in keys if key in entry]
        if given:
            return f". A distribution with {' and '.join(given)} must be named: {kinds}"
    return ""


def _values_problem(values: Any) -> str | None:
    """Why `values` cannot be the values of a categorical parameter, or None."""
    if not isinstance(values, list) or not values:
        return f"expected a list with at least one value, got {shown(values)}"
    if any(value != value for value in values):
        return "a value cannot be NaN, which equals nothing"
    labels = [json.dumps(value, sort_keys=True, default=str) for value in values]
    twice = next((label for label in labels if labels.count(label) > 1), None)
    return f"{twice} is listed twice" if twice else None


def _probabilities_problem(probabilities: Any, values: Any) -> str | None:
    """Why `probabilities` cannot be the probabilities of `values`, or None."""
    if not isinstance(probabilities, list) or len(probabilities) != len(values):
        return (
            f"expected a list of {len(values)} probabilities, one for each value, "
            f"got {probabilities!r}"
        )
    for number in probabilities:
        if isinstance(number, bool) or not isinstance(number, int | float) or not 0 <= number <= 1:
            return f"a probability lies between 0 and 1, got {shown(number)}"
    total = math.fsum(probabilities)
    return (
        f"probabilities must sum to 1, got {total:.6g}" if abs(total - 1) > SUM_TOLERANCE else None
    )


def _bounds_problem(kind: str, numbers: Numbers) -> str | None:
    """Why `min` and `max` cannot be the bounds of the distribution `kind`, or None."""
    if "min" not in numbers:
        return None
    low = numbers["min"]
    high = numbers["max"]
    if "log" in kind:
        if kind not in DEPRECATED and not 0 < low < high:
            return f"a log scale needs 0 < min < max, got min={low}, max={high}"
        if low >= high:
            return f"a log scale needs min < max, got min={low}, max={high}"
    if low > high:
        return f"min must not be above max, got min={low}, max={high}"
    if kind == "int_uniform" and not (isinstance(low, int) and isinstance(high, int)):
        return f"int_uniform needs whole numbers, got min={low}, max={high}"
    return None


def _built(kind: str, numbers: Numbers) -> tuple[Numeric, None] | tuple[None, str]:
    """The domain, or the reason why floats and steps cannot represent the domain."""
    given = ", ".join(f"{key}={number}" for key, number in numbers.items())
    try:
        domain = _NUMERIC[kind](numbers)
    except (OverflowError, ValueError):
        return None, f"its values are too large or too small for a number, got {given}"
    if not math.isfinite(domain.high - domain.low) or (domain.log and domain.low <= 0):
        return None, f"its values are too large or too small for a number, got {given}"
    if domain.q is not None and (domain.high - domain.low) / domain.q > MAX_STEPS:
        return None, f"q is too small for this range, got {given}"
    return domain, None


def _value_problem(parameter: Parameter, value: Any) -> str | None:
    """Why the parameter never has the value that a condition asks for, or None."""
    name = parameter.name
    domain = parameter.domain
    try:
        domain.take(value)
    except ValueError:
        return f"{name} never has the value {shown(value)}, so this is never sampled"
    if isinstance(domain, Numeric) and not domain.stepped and domain.low < domain.high:
        exactly = f"which never has exactly {value}: give it values or a step (q_uniform with q)"
        return f"{name} is a continuous range, {exactly}"
    return None


def _deprecated(parameter: Parameter) -> str | None:
    """The notice about a deprecated distribution, or None."""
    kind = parameter.distribution
    domain = parameter.domain
    if kind not in DEPRECATED or not isinstance(domain, Numeric):
        return None
    law = domain.law
    low, high = (law.low, law.high) if isinstance(law, LogUniform) else (domain.low, domain.high)
    return (
        f"{parameter.name}: {kind} is deprecated, its min and max are exponents of e: write "
        f"distribution: {DEPRECATED[kind]}, min: {low:.6g}, max: {high:.6g}"
    )
