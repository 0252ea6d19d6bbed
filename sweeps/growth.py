"""What a continued sweep may change in its search space: the range of a number may grow, nothing else."""

import dataclasses
import decimal
import json
from collections.abc import Mapping
from typing import Any

from sweeps.language import read_space
from sweeps.space import Numeric, Parameter

ABSENT = "(absent)"
# what decides where the search looks, not what a score means: another sweep can learn from the old one's trials
SEARCH = ("parameters", "order", "method", "sampler", "seed", "early_terminate", "folds.race")
MAY_CHANGE = "run_cap, budget, resources, retries, keep, start_with, warm_start and metric.target may change"


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


def difference(then: Mapping[str, Any], now: Mapping[str, Any], *, sweep: str = "its old name") -> Growth:
    """Compare two fixed parts (`SweepSpec.fixed_part`) of one sweep.

    A range keeps its distribution, its scale and its steps: every old step stays a step, so that a grid skips the
    points that it has tried.

    Args:
        sweep: its name, for the advice.
    """
    old, new = _flat(_with_order(then)), _flat(_with_order(now))
    keys = [
        key
        for key in sorted(old.keys() | new.keys())
        # as JSON: 5 and 5.0 are different bounds
        if json.dumps(old.get(key, ABSENT)) != json.dumps(new.get(key, ABSENT))
    ]
    lines = tuple(f"{key}: was {old.get(key, ABSENT)}, is {new.get(key, ABSENT)}" for key in keys)
    if not all(key.startswith("parameters.") and key.endswith((".min", ".max")) for key in keys):
        searched = all(f"{key}.".startswith(tuple(f"{section}." for section in SEARCH)) for key in keys)
        return Growth(lines, False, _another(sweep) if searched else f"{_ANOTHER} ({MAY_CHANGE})")
    reasons = _range_problems(then["parameters"], now["parameters"])
    return Growth(lines, not reasons, f"{'; '.join(reasons)}. {_another(sweep)}" if reasons else "")


_ANOTHER = "Change it back, or give the search space another name"


def _another(sweep: str) -> str:
    return (
        f"{_ANOTHER} and `warm_start: [{sweep}]`, which takes the finished trials over. Of the parameters only the "
        f"range of a number can grow; {MAY_CHANGE}"
    )


def _range_problems(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Why parameters of which only `min` and `max` differ are no wider ones."""
    old, new = read_space(then)[0], read_space(now)[0]
    problems = (_range_problem(old[p.name], p) for p in new.parameters if p.domain != old[p.name].domain)
    return [problem for problem in problems if problem]


def _range_problem(then: Parameter, now: Parameter) -> str | None:
    name, old, new = now.name, then.domain, now.domain
    if not isinstance(old, Numeric) or not isinstance(new, Numeric):
        return f"{name} is no number"
    if then.distribution != now.distribution or (old.log, old.q, old.integer) != (new.log, new.q, new.integer):
        return f"{name} would not be a range of the same kind: {then.distribution} {old}, {now.distribution} {new}"
    if new.low > old.low or new.high < old.high:
        return f"{name} would become narrower"
    if name == "epochs" and new.high != old.high:
        return "the steps of all reports are counted by the largest number of epochs"
    if old.q is not None and (decimal.Decimal(str(old.low)) - decimal.Decimal(str(new.low))) % decimal.Decimal(
        str(old.q)
    ):
        return f"the steps of {name} would move: lower its min by multiples of {old.q}"
    return None


def _with_order(part: Mapping[str, Any]) -> dict[str, Any]:
    """The order of the parameters is the order of a grid's points."""
    finite = part["method"] == "grid" or part.get("sampler") in ("grid", "brute_force")
    return {**part, "order": list(part["parameters"])} if finite else dict(part)


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    if isinstance(value, dict) and value:
        return {
            key: leaf
            for name, inner in value.items()
            for key, leaf in _flat(inner, f"{prefix}.{name}".strip(".")).items()
        }
    return {prefix: value}
