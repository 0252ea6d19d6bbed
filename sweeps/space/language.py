"""Reads W&B's parameter language into a `Space`. The key `when` is our one addition.

The rules come from W&B's JSON schema and from the function `ppf` of W&B's `sweeps` package. The
rules say which keys a distribution takes, which distribution is meant if the file names none
(inferred from value, values, or min and max), and which defaults hold:
q 1, mu 0, sigma 1, a 1, b 1.
Deviations from W&B: min = max is allowed and gives one value; sigma, a and b must be above 0.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from sweeps.errors import KeyPath, Problem, did_you_mean
from sweeps.space.domains import Categorical, Constant, Domain, Numeric, among
from sweeps.space.kinds import (
    DEFAULTS,
    DEPRECATED,
    DISTRIBUTIONS,
    NUMERIC,
    bounds_problem,
    build,
    inferred,
    probabilities_problem,
    shown,
    unnamed_hint,
    values_problem,
    whole,
)
from sweeps.space.laws import LogUniform
from sweeps.space.parameters import Parameter, Space


def read_space(raw: Any) -> tuple[Space, list[Problem]]:
    """Read the mapping `parameters` of a file; the space lacks parameters that cannot be read."""
    reader = _Reader()
    reader.read(raw, ("parameters",))
    return reader.space(), reader.problems


def notices(space: Space) -> list[str]:
    """One notice per deprecated distribution, with the keys that the user should write instead."""
    return [text for parameter in space.parameters if (text := _deprecated(parameter))]


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
                written = (
                    f"Several values are written {{values: {entry}}}"
                    if isinstance(entry, list)
                    else f"A constant is written {{value: {'null' if entry is None else entry}}}"
                )
                self._problem(entry_path, f"expected a mapping, got {shown(entry)}. {written}")
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
        kind = entry.get("distribution") or inferred(entry)
        if kind is None:
            self._problem(path, f"needs one of: value, values, or min and max{unnamed_hint(entry)}")
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
        if kind in NUMERIC:
            return self._numeric(kind, entry, path)
        values = entry["values"]
        probabilities = entry.get("probabilities")
        for key, problem in (
            ("values", values_problem(values)),
            (
                "probabilities",
                None if probabilities is None else probabilities_problem(probabilities, values),
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
        problem = bounds_problem(kind, numbers)
        domain = None
        if problem is None:
            domain, problem = build(kind, numbers)
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
