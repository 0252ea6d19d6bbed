"""Parameters as they stand in a file, and what becomes of them."""

from typing import Any

from sweeps.errors import Problem
from sweeps.space.domains import Domain
from sweeps.space.language import read_space
from sweeps.space.parameters import Space


def read(raw: dict[str, Any]) -> Space:
    space, problems = read_space(raw)
    assert problems == []
    return space


def one(entry: dict[str, Any]) -> Domain:
    return read({"lr": entry})["lr"].domain


def problems_of(raw: Any) -> list[Problem]:
    return read_space(raw)[1]
