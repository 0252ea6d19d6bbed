"""What a continued sweep may change in its search space: the range of a number may grow, nothing else."""

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
# what decides where the search looks, not what a score means: another sweep can learn from the old one's trials
SEARCH = ("parameters", "order", "method", "sampler", "seed", "early_terminate", "folds.race")
MAY_CHANGE = (
    "run_cap, budget, resources, retries, keep, start_with, warm_start and metric.target may change"
)


@dataclasses.dataclass(frozen=True)
class Growth:
    """How a search space differs from the one its sweep began with.

    Attributes:
        lines: `parameters.lr.max: was 0.01, is 0.1`, one for each key that differs, in the order of the keys.
        allowed: whether the sweep can go on with it: every difference only widens the range of a number.
        advice: what to do instead; empty if allowed.
    """

    lines: tuple[str, ...]
    allowed: bool
    advice: str


def difference(
    then: Mapping[str, Any], now: Mapping[str, Any], *, sweep: str = "its old name"
) -> Growth:
    """Compare two fixed parts (`SweepSpec.fixed_part`) of one sweep.

    A range keeps its distribution, its scale and its steps: every old step stays a step, so that a grid skips the
    points that it has tried. Ways to write the same parameter are no difference: a default or the inferred
    distribution written out, a nested name dotted, one value of a `when` in a list.

    Args:
        sweep: its name, for the advice.
    """
    old_space, new_space = (read_space(part["parameters"])[0] for part in (then, now))
    old, new = (
        _flat(_canonical(then, old_space, new_space)),
        _flat(_canonical(now, new_space, old_space)),
    )
    keys = [
        key
        for key in sorted(old.keys() | new.keys())
        # as JSON: 5 and 5.0 are different bounds
        if json.dumps(old.get(key, ABSENT)) != json.dumps(new.get(key, ABSENT))
    ]
    lines = tuple(f"{key}: was {old.get(key, ABSENT)}, is {new.get(key, ABSENT)}" for key in keys)
    # a range of whole numbers may have become one of any numbers: the reasons tell
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
        f"{_ANOTHER} and `warm_start: [{sweep}]`, which takes the finished trials over. Of the parameters only the "
        f"range of a number can grow; {MAY_CHANGE}"
    )


def _range_problems(old: Space, new: Space) -> list[str]:
    """Why parameters of which only `min`, `max` and the distribution differ are no wider ones."""
    problems = (
        _range_problem(old[p.name], p) for p in new.parameters if p.domain != old[p.name].domain
    )
    return [problem for problem in problems if problem]


def _range_problem(then: Parameter, now: Parameter) -> str | None:
    name, old, new = now.name, then.domain, now.domain
    if not isinstance(old, Numeric) or not isinstance(new, Numeric):
        return f"{name} is no number"
    if then.distribution != now.distribution or (old.log, old.q, old.integer) != (
        new.log,
        new.q,
        new.integer,
    ):
        return f"{name} would not be a range of the same kind: {then.distribution} {old}, {now.distribution} {new}"
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
    """The part with its parameters written in one way, and their order where it is the order of a grid's points.

    A distribution is told only where it is another one in the `other` space.
    """
    entries = {}
    for parameter in space.parameters:
        name, kind = parameter.name, parameter.distribution
        told = {"distribution": kind} if name in other and other[name].distribution != kind else {}
        entries[name] = {**told, **_entry(parameter, part)}
    finite = part["method"] == "grid" or part["sampler"] in ("grid", "brute_force")
    return {**part, "parameters": entries, **({"order": list(entries)} if finite else {})}


def _entry(parameter: Parameter, part: Mapping[str, Any]) -> dict[str, Any]:
    """A parameter as it would be written with every default; its distribution aside."""
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
    for key in entry.keys() & {
        "mu",
        "sigma",
        "a",
        "b",
    }:  # 1 and 1.0 are the same law; of a bound or step they are not
        entry[key] = whole(entry[key])
    if parameter.distribution == "int_uniform":
        entry = {key: whole(number) for key, number in entry.items()}
    when: dict[str, list[Any]] = {}
    for name, allowed in parameter.when:  # a nested mapping's comes on top of the parameter's own
        when[name] = [value for value in allowed if name not in when or among(value, when[name])]
    return {**entry, **({"when": when} if when else {})}


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    if isinstance(value, dict) and value:
        return {
            key: leaf
            for name, inner in value.items()
            for key, leaf in _flat(inner, f"{prefix}.{name}".strip(".")).items()
        }
    return {prefix: value}
