"""Which changes of its search space a continued sweep accepts: only wider ranges of numbers."""

import dataclasses
import decimal
import json
from collections.abc import Mapping
from typing import Any

from sweeps.space.domains import Numeric, among
from sweeps.space.kinds import DEFAULTS, DISTRIBUTIONS, whole
from sweeps.space.language import read_space
from sweeps.space.parameters import Parameter, Space

ABSENT = "(absent)"
# The keys that decide which points are tried. They do not change the meaning of a score. So a new
# sweep that differs only in these keys can take over the trials of the old sweep.
SEARCH = ("parameters", "order", "method", "sampler", "seed", "early_terminate", "folds.race")
MAY_CHANGE = (
    "run_cap, budget, resources, retries, stuck_after, keep, start_with, warm_start, tracking, "
    "folds.finish and metric.target may change"
)


@dataclasses.dataclass(frozen=True)
class Growth:
    """How a search space differs from the search space with which its sweep began.

    Attributes:
        lines: one line for each key that differs, such as
            `parameters.lr.max: was 0.01, is 0.1`; sorted by key.
        allowed: whether the sweep can continue with the new search space, because every difference
            only widens the range of a number.
        advice: what the user can do instead; empty if allowed.
    """

    lines: tuple[str, ...]
    allowed: bool
    advice: str


def difference(
    then: Mapping[str, Any], now: Mapping[str, Any], *, sweep: str = "its old name"
) -> Growth:
    """Compare two fixed parts (`SweepSpec.fixed_part`) of one sweep.

    A wider range must have the same distribution, scale and steps. Every old step must still be a
    step, so that a grid skips the points that it has tried. Two ways to write the same parameter
    are no difference: a default value or the inferred distribution may be written out, a nested
    name may be dotted, and a single value of `when` may be in a list.

    Args:
        then: the fixed part with which the sweep began.
        now: the fixed part of the search space file today.
        sweep: name of the sweep, for the advice.

    Example:
        >>> search = {"method": "random", "sampler": "random"}
        >>> then = {**search, "parameters": {"lr": {"min": 0.1, "max": 0.5}}}
        >>> now = {**search, "parameters": {"lr": {"min": 0.1, "max": 0.9}}}
        >>> difference(then, now)
        Growth(lines=('parameters.lr.max: was 0.5, is 0.9',), allowed=True, advice='')
    """
    old_space, _ = read_space(then["parameters"])
    new_space, _ = read_space(now["parameters"])
    old = _flat(_canonical(then, old_space, new_space))
    new = _flat(_canonical(now, new_space, old_space))
    keys = [
        key
        for key in sorted(old.keys() | new.keys())
        # the comparison is in JSON, because 5 and 5.0 are different bounds
        if json.dumps(old.get(key, ABSENT)) != json.dumps(new.get(key, ABSENT))
    ]
    lines = tuple(f"{key}: was {old.get(key, ABSENT)}, is {new.get(key, ABSENT)}" for key in keys)
    # the distribution may differ: `_range_problems` rejects a range of another kind with a reason
    same_names = {p.name for p in old_space.parameters} == {p.name for p in new_space.parameters}
    ranges = all(
        key.startswith("parameters.") and key.endswith((".min", ".max", ".distribution"))
        for key in keys
    )
    if not (same_names and ranges):
        searched = all(
            f"{key}.".startswith(tuple(f"{section}." for section in SEARCH)) for key in keys
        )
        return Growth(lines, False, _another(sweep) if searched else f"{_ANOTHER} ({MAY_CHANGE})")
    reasons = _range_problems(old_space, new_space)
    return Growth(lines, not reasons, f"{'; '.join(reasons)}. {_another(sweep)}" if reasons else "")


_ANOTHER = "Change it back, or give the search space another name"


def _another(sweep: str) -> str:
    return (
        f"{_ANOTHER} and `warm_start: [{sweep}]`, which takes the finished trials over. "
        f"Of the parameters only the range of a number can grow; {MAY_CHANGE}"
    )


def _range_problems(old: Space, new: Space) -> list[str]:
    """Why the changed parameters are not wider ranges; empty if they are.

    The parameters may differ only in `min`, `max` and the distribution.
    """
    problems = (
        _range_problem(old[p.name], p) for p in new.parameters if p.domain != old[p.name].domain
    )
    return [problem for problem in problems if problem]


def _range_problem(then: Parameter, now: Parameter) -> str | None:
    """Why a changed parameter is not a wider range, or None."""
    name = now.name
    old = then.domain
    new = now.domain
    if not isinstance(old, Numeric) or not isinstance(new, Numeric):
        return f"{name} is no number"
    if then.distribution != now.distribution or (old.log, old.q, old.integer) != (
        new.log,
        new.q,
        new.integer,
    ):
        return (
            f"{name} would not be a range of the same kind: {then.distribution} {old}, "
            f"{now.distribution} {new}"
        )
    if new.low > old.low or new.high < old.high:
        return f"{name} would become narrower"
    if name == "epochs" and new.high != old.high:
        return "the steps of all reports are counted by the largest number of epochs"
    if old.q is not None and (
        decimal.Decimal(str(old.low)) - decimal.Decimal(str(new.low))
    ) % decimal.Decimal(str(old.q)):
        return f"the steps of {name} would move: lower its min by multiples of {old.q}"
    return None


def _canonical(part: Mapping[str, Any], space: Space, other: Space) -> dict[str, Any]:
    """The fixed part with its parameters written in one standard way.

    For a grid, the result also has the order of the parameters, because it decides the order of
    the points. A parameter's distribution is included only if it differs in the `other` space.
    """
    entries = {}
    for parameter in space.parameters:
        name = parameter.name
        kind = parameter.distribution
        differs = name in other and other[name].distribution != kind
        shown = {"distribution": kind} if differs else {}
        entries[name] = {**shown, **_entry(parameter, part)}
    finite = part["method"] == "grid" or part["sampler"] in ("grid", "brute_force")
    return {**part, "parameters": entries, **({"order": list(entries)} if finite else {})}


def _entry(parameter: Parameter, part: Mapping[str, Any]) -> dict[str, Any]:
    """A parameter as it is written in the file, with every default value and no distribution."""
    written: Any = part
    for key in parameter.path:
        written = written[key]
    keys = DISTRIBUTIONS[parameter.distribution]
    entry = {key: written[key] for key in keys.needs}
    entry |= {
        key: value
        for key in keys.takes
        if (value := written.get(key, DEFAULTS.get(key))) is not None
    }
    # 1 and 1.0 are the same parameter of a distribution, but they are different bounds or steps
    for key in entry.keys() & {"mu", "sigma", "a", "b"}:
        entry[key] = whole(entry[key])
    if parameter.distribution == "int_uniform":
        entry = {key: whole(number) for key, number in entry.items()}
    when: dict[str, list[Any]] = {}
    # a nested parameter has two conditions: its own `when`, and the `when` of its mapping
    for name, allowed in parameter.when:
        when[name] = [value for value in allowed if name not in when or among(value, when[name])]
    return {**entry, **({"when": when} if when else {})}


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one mapping with dotted keys."""
    if isinstance(value, dict) and value:
        return {
            key: leaf
            for name, inner in value.items()
            for key, leaf in _flat(inner, f"{prefix}.{name}".strip(".")).items()
        }
    return {prefix: value}
