"""The points of `start_with`: points of the space that a sweep tries first."""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from optuna.trial import FrozenTrial

from sweeps.space.domains import Constant
from sweeps.space.parameters import Space
from sweeps.space.spec import SweepSpec
from sweeps.study.records import start_point, start_text

Point = Mapping[str, Any]


def starts(spec: SweepSpec, trials: list[FrozenTrial]) -> Iterator[Point]:
    """The points of `start_with` that no trial began as."""
    if spec.start_with:
        begun = set(map(start_point, trials))
        yield from (point for point in spec.start_with if start_text(point) not in begun)


def pinned_space(space: Space, start: Point | None) -> Space:
    """The space in which the parameters of a start point are constants with the point's values."""
    if not start:
        return space
    pinned = [
        dataclasses.replace(p, domain=Constant(p.domain.take(start[p.name])))
        if p.name in start
        else p
        for p in space.parameters
    ]
    return Space(tuple(pinned))
