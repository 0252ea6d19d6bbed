"""The domain of one parameter: a constant, one of several values, or a number.

This file does not use Optuna.
"""

import dataclasses
import decimal
import itertools
import json
from collections.abc import Iterable, Iterator
from typing import Any

from sweeps.space.laws import Law, LogUniform, Uniform


@dataclasses.dataclass(frozen=True)
class Constant:
    """A domain of one value, which no sampler chooses."""

    value: Any

    def draw(self, u: float) -> Any:
        """The constant value, for every `u`."""
        return self.value

    def take(self, value: Any) -> Any:
        """The constant as the domain holds it, if the constant equals `value`.

        Raises:
            ValueError: the constant does not equal `value`.
        """
        return _equal_value(value, (self.value,))

    def __str__(self) -> str:
        return str(self.value)


@dataclasses.dataclass(frozen=True)
class Categorical:
    """A domain of several listed values.

    Attributes:
        probabilities: one probability for each value, in the order of `values`, with sum 1. None
            means that all values are equally probable. A grid ignores the probabilities.
    """

    values: tuple[Any, ...]
    probabilities: tuple[float, ...] | None = None

    def draw(self, u: float) -> Any:
        """The value for `u` from [0, 1): each value owns a part as wide as its probability."""
        if self.probabilities is None:
            return self.values[int(u * len(self.values))]
        ends = list(itertools.accumulate(self.probabilities))
        # because of rounding, the last end may be below 1
        chosen = next(
            (index for index, end in enumerate(ends) if u * ends[-1] < end), ends.index(ends[-1])
        )
        return self.values[chosen]

    def take(self, value: Any) -> Any:
        """The listed value that equals `value`, e.g. the listed 1.0 for 1.

        Raises:
            ValueError: no listed value equals `value`.
        """
        return _equal_value(value, self.values)

    @property
    def labels(self) -> tuple[str | int | float | bool | None, ...]:
        """The values as the storage holds them: a list or mapping becomes JSON text."""
        # a text that starts like such JSON is quoted, so that no two values share a label
        return tuple(
            json.dumps(v)
            if isinstance(v, list | dict) or (isinstance(v, str) and v[:1] in ("[", "{", '"'))
            else v
            for v in self.values
        )

    def label_of(self, value: Any) -> str | int | float | bool | None:
        """The label that the storage holds for `value`, which must be a listed value."""
        return next(
            label
            for listed, label in zip(self.values, self.labels, strict=True)
            if _same(listed, value)
        )

    def value_of(self, label: Any) -> Any:
        """The listed value that the storage holds as `label`."""
        return next(
            value
            for value, stored in zip(self.values, self.labels, strict=True)
            if _same(stored, label)
        )

    def __str__(self) -> str:
        if self.probabilities is None:
            return ", ".join(map(str, self.values))
        return ", ".join(
            f"{value} ({p:.3g})" for value, p in zip(self.values, self.probabilities, strict=True)
        )


@dataclasses.dataclass(frozen=True)
class Numeric:
    """A domain of numbers from `low` to `high`, both included.

    Attributes:
        low, high: the bounds. A law without bounds (normal, log normal) is cut at `laws.TAIL`.
        log: the scale is logarithmic, so that equal ratios count as equal distances.
        q: the distance between two steps, which are counted from `low`; None allows every number.
        integer: only whole numbers are values.
        law: the distribution of a draw before rounding to a step. None means the uniform law from
            `low` to `high`, or the log uniform law if `log`. Optuna has these two laws itself.
    """

    low: float
    high: float
    log: bool = False
    q: float | None = None
    integer: bool = False
    law: Law | None = None

    @classmethod
    def following(cls, law: Law, *, log: bool = False, q: float | None = None) -> "Numeric":
        """The domain of a law's draws, rounded to multiples of q as W&B does: round(x / q) * q.

        A rounded value may lie outside the bounds of the law, by up to q/2. If q is a whole number,
        the values are whole numbers, too.

        Raises:
            OverflowError: a bound is too large for a float.
        """
        low = law.quantile(0.0)
        high = law.quantile(1.0)
        if q is not None:
            kind = int if isinstance(q, int) else float
            low, high = (kind(decimal.Decimal(str(q)) * round(bound / q)) for bound in (low, high))
        return cls(low, high, log=log and low > 0, q=q, integer=isinstance(q, int), law=law)

    def draw(self, u: float) -> float:
        """The value for `u` from [0, 1), by the inverse of the distribution function.

        A larger `u` never gives a smaller value. With `q`, the draw of the law is rounded to the
        nearest step, as W&B does. So the first and the last step of a uniform range have half the
        probability of the steps between them. Whole numbers without `q` all have the same
        probability.

        Deviation from W&B: q_uniform counts its steps from `min` and never exceeds `max`. W&B's
        grid search and W&B's conversion to Optuna do the same. W&B's random search instead rounds
        to multiples of q, which may lie outside both bounds.
        """
        if self.integer and self.q is None:
            return self._step(int(u * self.count()))
        value = self.shape.quantile(u)
        if self.q is not None:
            return self._step(round((value - self.low) / self.q))
        return float(min(max(value, self.low), self.high))

    def take(self, value: Any) -> float:
        """The number of the domain that equals `value`, e.g. 1.0 for 1.

        Raises:
            ValueError: the domain has no number that equals `value`.
        """
        if (
            isinstance(value, bool)
            or not isinstance(value, int | float)
            or not self.low <= value <= self.high
        ):
            raise ValueError(f"{value!r} is not a value of {self}")
        if not self.stepped:
            return float(value)
        distance = self.q or 1
        nearest = self._step(round((value - self.low) / distance))
        if abs(value - nearest) > 1e-9 * distance:  # with q = 0.1, 0.1 + 0.2 counts as 0.3
            raise ValueError(f"{value!r} is not a value of {self}")
        return nearest

    @property
    def shape(self) -> Law:
        """The law of the draws: `law`, or the uniform law that replaces a `law` of None."""
        return self.law or (LogUniform if self.log else Uniform)(self.low, self.high)

    @property
    def stepped(self) -> bool:
        """Whether the domain consists of steps, so that its values can be counted."""
        return self.integer or self.q is not None

    def each_step(self) -> Iterator[float]:
        """The values of a stepped domain in rising order.

        Decimal arithmetic makes the steps exact: steps of 0.1 from 0 to 0.3 end with 0.3.
        The values come from an iterator, because they may not fit into memory.

        Raises:
            ValueError: the domain is continuous.
        """
        return map(self._step, range(self.count()))

    def count(self) -> int:
        """The number of steps.

        Raises:
            ValueError: the domain is continuous.
        """
        if not self.stepped:
            raise ValueError("a continuous range has no finite grid")
        low, high, distance = (
            decimal.Decimal(str(number)) for number in (self.low, self.high, self.q or 1)
        )
        return int((high - low) // distance) + 1

    def _step(self, index: int) -> float:
        """The step with this index, counted from 0; an index outside the range is clipped."""
        low = decimal.Decimal(str(self.low))
        distance = decimal.Decimal(str(self.q or 1))
        value = low + min(max(index, 0), self.count() - 1) * distance
        return int(value) if self.integer else float(value)

    def __str__(self) -> str:
        step = f" in steps of {short(self.q)}" if self.q else ""
        law = self.shape
        if isinstance(law, Uniform | LogUniform):
            kind = "whole numbers " if self.integer else ""
            kind += "log scale " if isinstance(law, LogUniform) else ""
            return f"{kind}{short(law.low)} to {short(law.high)}{step}"
        constants = ", ".join(
            f"{key} {short(value)}" for key, value in dataclasses.asdict(law).items()
        )
        return f"{law.name.replace('_', ' ')} ({constants}){step}"


Domain = Constant | Categorical | Numeric


def finite_values(domain: Domain) -> Iterable[Any]:
    """All values of a domain, in order.

    Raises:
        ValueError: the domain is continuous.
    """
    if isinstance(domain, Constant):
        return (domain.value,)
    if isinstance(domain, Categorical):
        return domain.values
    return domain.each_step()


def among(value: Any, allowed: Iterable[Any]) -> bool:
    """Whether a value of a condition equals one of the allowed values.

    The number 1 equals 1.0 in a condition, but 1 does not equal true.
    """
    return any(
        value == other and isinstance(value, bool) == isinstance(other, bool) for other in allowed
    )


def _equal_value(value: Any, listed: tuple[Any, ...]) -> Any:
    """The listed value that equals `value`; a listed value of the same type is preferred."""
    equal = [other for other in listed if _same(other, value)] or [
        other for other in listed if among(value, (other,))
    ]
    if not equal:
        raise ValueError(f"{value!r} is not one of {', '.join(map(str, listed))}")
    return equal[0]


def short(number: float) -> str:
    """The number as text for a message: a float has at most six digits."""
    return f"{number:.6g}" if isinstance(number, float) else str(number)


def _same(one: Any, other: Any) -> bool:
    """Whether two values are equal and have the same type."""
    # in Python, 1 == True == 1.0; in a search space these are three different values
    return bool(one == other) and type(one) is type(other)
