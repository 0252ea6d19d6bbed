"""`start_with`: points to try first, as the values of parameters; what a point leaves out is sampled."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from sweeps.errors import KeyPath, Problem, did_you_mean
from sweeps.space.domains import Constant
from sweeps.space.parameters import Parameter, Space, Values

KEY = "start_with"


def read_points(raw: Any, space: Space) -> tuple[tuple[Values, ...], list[Problem]]:
    """The points, by the parameters' dotted names, with the values of their domains; constants are left out."""
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
        point, more = _read_point(entry, space, (KEY, index))
        problems += more
        if more:
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
    """Dotted name, value and place of each value; a mapping is nested names unless a parameter has that name."""
    for key, value in entry.items():
        name, where = f"{prefix}{key}", (*path, str(key))
        if name not in space and isinstance(value, Mapping):
            yield from _leaves(value, space, where, f"{name}.")
        else:
            yield name, value, where


def _inactive(point: Values, space: Space) -> Iterator[str]:
    """Values that would not be used, given the others of the point."""
    known: Values = {}
    for parameter in space.parameters:
        domain = parameter.domain
        value = domain.value if isinstance(domain, Constant) else point.get(parameter.name, _OPEN)
        if parameter.active(known):
            if value is not _OPEN:
                known[parameter.name] = value
        elif parameter.name in point:
            yield _reason(parameter, known)


_OPEN = object()  # the value is left to the sampler


def _reason(parameter: Parameter, known: Values) -> str:
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
