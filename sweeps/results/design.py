"""The parameters of trials as columns of a linear model.

A choice has one column for each of its values but the first. A number has its place on its scale
and, with three or more different numbers, the square of the place. Every column is centred among
the trials that have the parameter and 0 for the others, so that a difference between two values is
averaged over what was sampled of conditional parameters. The functions are pure.

Shapes: T trials, C columns, O trials that have a parameter, V values, L values that are compared.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from sweeps.results.metric import Floats
from sweeps.space.domains import Categorical, Numeric
from sweeps.space.laws import LogNormal, LogUniform
from sweeps.space.parameters import Parameter, Space

Bools = npt.NDArray[np.bool_]

COMPARED_QUANTILES = (0.1, 0.5, 0.9)  # of the sampled numbers, which are compared with each other
DEPENDENT = 1e-9  # a column adds nothing if this share of its length, or less, is outside of others


@dataclasses.dataclass(frozen=True, eq=False)
class Level:
    """A value of a parameter that is compared with others.

    Attributes:
        trials: how many trials have the value; of a number, how many have the parameter.
        row_C: the coefficients times this row are what the value adds to the score.
    """

    value: Any
    trials: int
    row_C: Floats


@dataclasses.dataclass(frozen=True, eq=False)
class Design:
    """The columns of all parameters that differ between the trials.

    Attributes:
        matrix_TC: the columns; the first one is 1.
        levels: at least two values of each parameter, in the order of the space.
    """

    matrix_TC: Floats
    levels: Mapping[str, tuple[Level, ...]]


@dataclasses.dataclass(frozen=True, eq=False)
class _Block:
    """The columns of one parameter; the rows of its levels are those of these columns alone."""

    has_T: Bools
    columns_TC: Floats
    levels: Sequence[Level]


def design(space: Space, values: Sequence[Mapping[str, Any]]) -> Design:
    """Return the columns of all parameters that differ between the trials.

    Args:
        values: for each trial the values of its parameters by name; constants may be among them.

    Example:
        >>> space = Space((Parameter("loss", Categorical(("focal", "cross_entropy"))),))
        >>> design(space, [{"loss": "focal"}, {"loss": "cross_entropy"}]).matrix_TC.tolist()
        [[1.0, -0.5], [1.0, 0.5]]
    """
    found = {parameter.name: _block(parameter, values) for parameter in space.varying()}
    blocks = {name: block for name, block in found.items() if block is not None}
    first_TC = np.ones((len(values), 1))
    matrix_TC = np.hstack([first_TC, *(block.columns_TC for block in blocks.values())])
    ends = np.cumsum([1, *(block.columns_TC.shape[1] for block in blocks.values())]).tolist()
    for block in blocks.values():
        matrix_TC = _with_presence(matrix_TC, block.has_T)
    levels = {}
    for (name, block), start in zip(blocks.items(), ends, strict=False):
        placed = []
        for level in block.levels:
            row_C = np.zeros(matrix_TC.shape[1])
            row_C[start : start + len(level.row_C)] = level.row_C
            placed.append(dataclasses.replace(level, row_C=row_C))
        levels[name] = tuple(placed)
    return Design(matrix_TC, levels)


def place_of(domain: Numeric, number: float) -> float:
    """The place of a number on its scale: its logarithm if its law has a logarithmic scale.

    Example:
        >>> place_of(Numeric(0.001, 1, log=True), 1), place_of(Numeric(0, 2), 1)
        (0.0, 1.0)
    """
    return math.log(number) if has_log_scale(domain) and number > 0 else float(number)


def has_log_scale(domain: Numeric) -> bool:
    """Whether the numbers are sampled on a logarithmic scale."""
    return domain.log or isinstance(domain.law, LogUniform | LogNormal)


def same(one: Any, other: Any) -> bool:
    """Whether two values of a choice are the same; 1, 1.0 and true are three values."""
    return type(one) is type(other) and bool(one == other)


def _block(parameter: Parameter, values: Sequence[Mapping[str, Any]]) -> _Block | None:
    """The columns of a parameter; None if no two trials differ in it."""
    has_T = np.array([parameter.name in of_trial for of_trial in values], dtype=bool)
    own = [of_trial[parameter.name] for of_trial in values if parameter.name in of_trial]
    domain = parameter.domain
    if isinstance(domain, Categorical):
        columns_OC, levels = _of_choice(domain, own)
    else:
        assert isinstance(domain, Numeric)
        columns_OC, levels = _of_number(domain, own)
    if len(levels) < 2:
        return None
    columns_TC = np.zeros((len(values), columns_OC.shape[1]))
    columns_TC[has_T] = columns_OC - columns_OC.mean(axis=0)
    return _Block(has_T, columns_TC, levels)


def _of_choice(domain: Categorical, own: Sequence[Any]) -> tuple[Floats, list[Level]]:
    seen = [value for value in domain.values if any(same(value, other) for other in own)]
    is_OV = np.array([[same(value, other) for value in seen] for other in own], dtype=float)
    is_OV = is_OV.reshape(len(own), len(seen))
    row_VC = np.eye(len(seen))[:, 1:]
    levels = [
        Level(value, int(count), row_C)
        for value, count, row_C in zip(seen, is_OV.sum(axis=0), row_VC, strict=True)
    ]
    return is_OV[:, 1:], levels


def _of_number(domain: Numeric, own: Sequence[float]) -> tuple[Floats, list[Level]]:
    distinct = sorted(set(own))
    if len(distinct) < 2:
        return np.zeros((len(own), 0)), []
    place_O = np.array([place_of(domain, number) for number in own])
    middle, half = (place_O.max() + place_O.min()) / 2, np.ptp(place_O) / 2
    powers = np.array([1, 2] if len(distinct) > 2 else [1])

    def rows(place: npt.ArrayLike) -> Floats:
        placed: Floats = ((np.asarray(place)[..., None] - middle) / half) ** powers
        return placed

    compared = set(np.quantile(own, COMPARED_QUANTILES, method="nearest").tolist())
    if len(compared) < 2:
        compared = {distinct[0], distinct[-1]}
    levels = [
        Level(number, len(own), rows(place_of(domain, number))) for number in sorted(compared)
    ]
    return rows(place_O), levels


def _with_presence(matrix_TC: Floats, has_T: Bools) -> Floats:
    """Add a column that says which trials have a parameter, if the other columns do not say it.

    A parameter that depends on a choice needs no such column, because the choice has its own.
    """
    column_T = has_T - has_T.mean()
    coefficients_C = np.linalg.lstsq(matrix_TC, column_T)[0]
    rest_T = column_T - matrix_TC @ coefficients_C
    if np.linalg.norm(rest_T) <= DEPENDENT * max(1.0, float(np.linalg.norm(column_T))):
        return matrix_TC
    return np.column_stack([matrix_TC, column_T])
