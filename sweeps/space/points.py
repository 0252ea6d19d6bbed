"""Reads `start_with`: the points that a sweep tries first.

A point gives values of parameters. The sampler chooses the values of all other parameters.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from sweeps.errors import KeyPath, Problem, did_you_mean
from sweeps.space.domains import Constant
from sweeps.space.parameters import Parameter, Space, Values

KEY = "start_with"


def read_points(raw: Any, space: Space) -> tuple[tuple[Values, ...], list[Problem]]:
    """Read the points of `start_with`, and the problems of the list.

    Returns:
        For each point the values by dotted parameter name, as the domains hold them, without
        constants; and the problems. A point with a problem may be missing.
    """
    if not isinstance(raw, list):
        return (), [
            Problem(
                (KEY,),
                f"expected a list of points such as [{{lr: 0.001, optimizer: sgd}}], got {raw!r}",
            )
        ]
    points: list[Values] = []
    problems: list[Problem] = []
    seen: dict[str, int] = {}
    for index, entry in enumerate(raw):
        point, in_point = _read_point(entry, space, (KEY, index))
        problems += in_point
        if in_point:
            continue
        points.append({p.name: point[p.name] for p in space.varying() if p.name in point})
        first = seen.setdefault(json.dumps(points[-1], sort_keys=True, default=str), index)
        if not points[-1]:
            problems.append(Problem((KEY, index), "names no parameter that varies"))
        elif first != index:
            problems.append(
                Problem((KEY, index), f"the same point as number {first + 1} of the list")
            )
    return tuple(points), problems


def _read_point(entry: Any, space: Space, path: KeyPath) -> tuple[Values, list[Problem]]:
    """Read one point, constants included, and the problems of the point."""
    if not isinstance(entry, Mapping) or not entry:
        return {}, [
            Problem(path, f"expected values of parameters such as {{lr: 0.001}}, got {entry!r}")
        ]
    point: Values = {}
    problems = []
    for name, value, where in _leaves(entry, space, path):
        if name not in space:
            known = [parameter.name for parameter in space.parameters]
            hint = did_you_mean(name, known) or f" Known: {', '.join(known)}"
            problems.append(Problem(where, f"unknown parameter {name!r}.{hint}"))
        elif name in point:
            problems.append(Problem(where, f"{name} is given twice, nested and dotted"))
        else:
            try:
                point[name] = space[name].domain.take(value)
            except ValueError:
                problems.append(
                    Problem(where, f"{value!r} is not a value of {name}: {space[name].domain}")
                )
    return point, problems or [Problem(path, text) for text in _inactive(point, space)]


def _leaves(
    entry: Mapping[str, Any], space: Space, path: KeyPath, prefix: str = ""
) -> Iterator[tuple[str, Any, KeyPath]]:
    """The dotted name, the value and the place of each value of a point.

    A mapping contains nested names, unless the mapping itself is the value of a parameter.
    """
    for key, value in entry.items():
        name = f"{prefix}{key}"
        where = (*path, str(key))
        if name not in space and isinstance(value, Mapping):
            yield from _leaves(value, space, where, f"{name}.")
        else:
            yield name, value, where


def _inactive(point: Values, space: Space) -> Iterator[str]:
    """One message for each value of a point that the other values of the point make unused."""
    known: Values = {}
    for parameter in space.parameters:
        domain = parameter.domain
        value = domain.value if isinstance(domain, Constant) else point.get(parameter.name, _OPEN)
        if parameter.active(known):
            if value is not _OPEN:
                known[parameter.name] = value
        elif parameter.name in point:
            yield _reason(parameter, known)


_OPEN = object()  # stands for a value that the sampler chooses


def _reason(parameter: Parameter, known: Values) -> str:
    """The message about a parameter with a condition that the known values do not fulfil."""
    needed, allowed = next(
        (name, values)
        for name, values in parameter.when
        if not Parameter("", Constant(None), ((name, values),)).active(known)
    )
    wanted = " or ".join(map(str, allowed))
    got = (
        f"not {known[needed]}"
        if needed in known
        else f"which this point leaves open: give {needed}, too"
    )
    return f"{parameter.name} is sampled only if {needed} is {wanted}, {got}"
