"""The distributions of W&B's language: the keys of each, their values, and the domain they mean."""

import dataclasses
import json
import math
from collections.abc import Callable, Mapping
from typing import Any

from sweeps.space.domains import Numeric
from sweeps.space.laws import Beta, LogNormal, LogUniform, Normal

Numbers = Mapping[str, float]
MAX_STEPS = 10**18  # steps of one range at most, because decimal arithmetic has 28 digits
SUM_TOLERANCE = 1e-5  # probabilities may miss the sum 1 by this, so six digits of 1/3 are enough
DEFAULTS: Numbers = {"q": 1, "mu": 0.0, "sigma": 1.0, "a": 1.0, "b": 1.0}


def shown(value: Any) -> str:
    """The text of a value from a file, for a message about this value."""
    return "null" if value is None else repr(value)


def whole(number: float) -> float:
    """A float without a fraction as int (2 for 2.0); every other number unchanged.

    W&B's JSON schema, too, accepts 2.0 as a whole number.
    """
    return int(number) if isinstance(number, float) and number.is_integer() else number


@dataclasses.dataclass(frozen=True)
class Keys:
    """The keys that a distribution requires (`needs`) and the optional keys (`takes`)."""

    needs: tuple[str, ...] = ()
    takes: tuple[str, ...] = ()


DISTRIBUTIONS = {
    "constant": Keys(("value",)),
    "categorical": Keys(("values",), ("probabilities",)),
    "categorical_w_probabilities": Keys(("values", "probabilities")),
    "int_uniform": Keys(("min", "max")),
    "uniform": Keys(("min", "max")),
    "q_uniform": Keys(("min", "max"), ("q",)),
    "log_uniform_values": Keys(("min", "max")),
    "q_log_uniform_values": Keys(("min", "max"), ("q",)),
    "inv_log_uniform_values": Keys(("min", "max")),
    "normal": Keys((), ("mu", "sigma")),
    "q_normal": Keys((), ("mu", "sigma", "q")),
    "log_normal": Keys((), ("mu", "sigma")),
    "q_log_normal": Keys((), ("mu", "sigma", "q")),
    "beta": Keys((), ("a", "b")),
    "q_beta": Keys((), ("a", "b", "q")),
    "log_uniform": Keys(("min", "max")),
    "q_log_uniform": Keys(("min", "max"), ("q",)),
    "inv_log_uniform": Keys(("min", "max")),
}


# a distribution whose min and max are exponents of e -> the one whose min and max are the bounds
DEPRECATED = {
    "log_uniform": "log_uniform_values",
    "q_log_uniform": "q_log_uniform_values",
    "inv_log_uniform": "inv_log_uniform_values",
}


NUMERIC: dict[str, Callable[[Numbers], Numeric]] = {
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


def inferred(entry: Mapping[str, Any]) -> str | None:
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


def unnamed_hint(entry: Mapping[str, Any]) -> str:
    """The end of a message about keys whose distribution the file must name; else empty."""
    for keys, kinds in ((("mu", "sigma"), "normal or log_normal"), (("a", "b"), "beta")):
        given = [key for key in keys if key in entry]
        if given:
            return f". A distribution with {' and '.join(given)} must be named: {kinds}"
    return ""


def values_problem(values: Any) -> str | None:
    """Why `values` cannot be the values of a categorical parameter, or None."""
    if not isinstance(values, list) or not values:
        return f"expected a list with at least one value, got {shown(values)}"
    if any(value != value for value in values):
        return "a value cannot be NaN, which equals nothing"
    labels = [json.dumps(value, sort_keys=True, default=str) for value in values]
    twice = next((label for label in labels if labels.count(label) > 1), None)
    return f"{twice} is listed twice" if twice else None


def probabilities_problem(probabilities: Any, values: Any) -> str | None:
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


def bounds_problem(kind: str, numbers: Numbers) -> str | None:
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


def build(kind: str, numbers: Numbers) -> tuple[Numeric, None] | tuple[None, str]:
    """The domain, or the reason why floats and steps cannot represent the domain."""
    given = ", ".join(f"{key}={number}" for key, number in numbers.items())
    try:
        domain = NUMERIC[kind](numbers)
    except (OverflowError, ValueError):
        return None, f"its values are too large or too small for a number, got {given}"
    if not math.isfinite(domain.high - domain.low) or (domain.log and domain.low <= 0):
        return None, f"its values are too large or too small for a number, got {given}"
    if domain.q is not None and (domain.high - domain.low) / domain.q > MAX_STEPS:
        return None, f"q is too small for this range, got {given}"
    return domain, None
