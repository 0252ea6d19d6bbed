"""What one parameter may be: always the same, one of several values, or a number. No Optuna here."""

import dataclasses
import decimal
import itertools
import json
from collections.abc import Iterable, Iterator
from typing import Any

from sweeps.space.laws import Law, LogUniform, Uniform


@dataclasses.dataclass(frozen=True)
class Constant:
    """Always the same value; not sampled."""

    value: Any

    def draw(self, u: float) -> Any:
        """Its value, whatever `u` is."""
        return self.value

    def take(self, value: Any) -> Any:
        """The domain's own value that equals `value`.

        Raises:
            ValueError: there is none.
        """
        return _found(value, (self.value,))

    def __str__(self) -> str:
        return str(self.value)


@dataclasses.dataclass(frozen=True)
class Categorical:
    """One of several values.

    Attributes:
        probabilities: of the values, in their order, with sum 1; None: each is as probable. A grid ignores them.
    """

    values: tuple[Any, ...]
    probabilities: tuple[float, ...] | None = None

    def draw(self, u: float) -> Any:
        """The value at `u` from [0, 1), where each takes up its probability."""
        if self.probabilities is None:
            return self.values[int(u * len(self.values))]
        ends = list(itertools.accumulate(self.probabilities))
        # rounding: the last end may lie below 1
        at = next(
            (index for index, end in enumerate(ends) if u * ends[-1] < end), ends.index(ends[-1])
        )
        return self.values[at]

    def take(self, value: Any) -> Any:
        """The domain's own value that equals `value`.

        Raises:
            ValueError: there is none.
        """
        return _found(value, self.values)

    @property
    def labels(self) -> tuple[str | int | float | bool | None, ...]:
        """What stands in the storage: the values, lists and mappings as JSON text."""
        # a text that looks like one of those is quoted, so that no two values share a label
        return tuple(
            json.dumps(v)
            if isinstance(v, list | dict) or (isinstance(v, str) and v[:1] in ("[", "{", '"'))
            else v
            for v in self.values
        )

    def label_of(self, value: Any) -> str | int | float | bool | None:
        """What stands in the storage for one of the values."""
        return next(
            label for own, label in zip(self.values, self.labels, strict=True) if _same(own, value)
        )

    def value_of(self, label: Any) -> Any:
        """The value behind a stored label."""
        return next(
            value for value, own in zip(self.values, self.labels, strict=True) if _same(own, label)
        )

    def __str__(self) -> str:
        if self.probabilities is None:
            return ", ".join(map(str, self.values))
        return ", ".join(
            f"{value} ({p:.3g})" for value, p in zip(self.values, self.probabilities, strict=True)
        )


@dataclasses.dataclass(frozen=True)
class Numeric:
    """A number from `low` to `high`, both included; uniform, or uniform in its logarithm, or after another law.

    Attributes:
        low, high: the bounds. A law without bounds (normal, log normal) is cut at `laws.TAIL`.
        log: equal ratios count as equal distances.
        q: distance between two values, counted from `low`; None for any real number.
        integer: whole numbers only.
        law: where a draw falls before it is rounded to a step. None: uniform from `low` to `high`, in the logarithm
            if `log`, which Optuna has, too.
    """

    low: float
    high: float
    log: bool = False
    q: float | None = None
    integer: bool = False
    law: Law | None = None

    @classmethod
    def following(cls, law: Law, *, log: bool = False, q: float | None = None) -> "Numeric":
        """What a law gives, rounded to multiples of q as W&B does: round(x / q) * q.

        Rounding may leave the law's own bounds by up to q/2; whole multiples are whole numbers.

        Raises:
            OverflowError: a bound is too large for a float.
        """
        low, high = law.quantile(0.0), law.quantile(1.0)
        if q is not None:
            kind = int if isinstance(q, int) else float
            low, high = (kind(decimal.Decimal(str(q)) * round(bound / q)) for bound in (low, high))
        return cls(low, high, log=log and low > 0, q=q, integer=isinstance(q, int), law=law)

    def draw(self, u: float) -> float:
        """The value at `u` from [0, 1): the inverse of the distribution function, so never falling with `u`.

        Steps are those nearest to the law's draw, as with W&B: the two at the ends of a uniform range get half a
        share. Whole numbers without `q` get one share each.

        Deviation from W&B: q_uniform counts its steps from `min` and stays below `max`, as W&B's grid search and its
        map to Optuna do, but not its random search, which rounds to multiples of q beyond both bounds.
        """
        if self.integer and self.q is None:
            return self._step(int(u * self.count()))
        value = self.shape.quantile(u)
        if self.q is not None:
            return self._step(round((value - self.low) / self.q))
        return float(min(max(value, self.low), self.high))

    def take(self, value: Any) -> float:
        """The domain's own value that equals `value`, e.g. 1.0 for 1.

        Raises:
            ValueError: there is none.
        """
        if (
            isinstance(value, bool)
            or not isinstance(value, int | float)
            or not self.low <= value <= self.high
        ):
            raise ValueError(f"{value!r} is not a value of {self}")
        if not self.stepped:
            return float(value)
        by = self.q or 1
        nearest = self._step(round((value - self.low) / by))
        if abs(value - nearest) > 1e-9 * by:  # 0.1 + 0.2 is a step of 0.1
            raise ValueError(f"{value!r} is not a value of {self}")
        return nearest

    @property
    def shape(self) -> Law:
        """The law in effect."""
        return self.law or (LogUniform if self.log else Uniform)(self.low, self.high)

    @property
    def stepped(self) -> bool:
        """Whether its values can be counted."""
        return self.integer or self.q is not None

    def each_step(self) -> Iterator[float]:
        """The values of a stepped range, in decimal arithmetic: 0 to 0.3 by 0.1 ends with 0.3, not beyond.

        One after another: there may be more than fit into memory.

        Raises:
            ValueError: it is continuous.
        """
        return map(self._step, range(self.count()))

    def count(self) -> int:
        """How many steps there are.

        Raises:
            ValueError: it is continuous.
        """
        if not self.stepped:
            raise ValueError("a continuous range has no finite grid")
        low, high, by = (
            decimal.Decimal(str(number)) for number in (self.low, self.high, self.q or 1)
        )
        return int((high - low) // by) + 1

    def _step(self, index: int) -> float:
        low, by = decimal.Decimal(str(self.low)), decimal.Decimal(str(self.q or 1))
        value = low + min(max(index, 0), self.count() - 1) * by
        return int(value) if self.integer else float(value)

    def __str__(self) -> str:
        step = f" in steps of {short(self.q)}" if self.q else ""
        law = self.shape
        if isinstance(law, Uniform | LogUniform):
            how = "whole numbers " if self.integer else ""
            how += "log scale " if isinstance(law, LogUniform) else ""
            return f"{how}{short(law.low)} to {short(law.high)}{step}"
        given = ", ".join(f"{key} {short(value)}" for key, value in dataclasses.asdict(law).items())
        return f"{law.name.replace('_', ' ')} ({given}){step}"


Domain = Constant | Categorical | Numeric


def finite_values(domain: Domain) -> Iterable[Any]:
    """All values of a domain, in order.

    Raises:
        ValueError: it is continuous.
    """
    if isinstance(domain, Constant):
        return (domain.value,)
    if isinstance(domain, Categorical):
        return domain.values
    return domain.each_step()


def among(value: Any, allowed: Iterable[Any]) -> bool:
    """Whether a value equals one of these; 1 equals 1.0 in a condition, but not true."""
    return any(
        value == other and isinstance(value, bool) == isinstance(other, bool) for other in allowed
    )


def _found(value: Any, own: tuple[Any, ...]) -> Any:
    same = [other for other in own if _same(other, value)] or [
        other for other in own if among(value, (other,))
    ]
    if not same:
        raise ValueError(f"{value!r} is not one of {', '.join(map(str, own))}")
    return same[0]


def short(number: float) -> str:
    return f"{number:.6g}" if isinstance(number, float) else str(number)


def _same(one: Any, other: Any) -> bool:
    # 1 == True == 1.0 in Python, not in a search space
    return bool(one == other) and type(one) is type(other)
