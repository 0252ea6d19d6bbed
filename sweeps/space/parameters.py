"""The parameters of a search space, with their domains and conditions.

A parameter has a domain (constant, categorical or numeric). A parameter may also have conditions
(`when`, our addition to W&B's language): the parameter is sampled only if each parameter that
`when` names has one of the values that `when` lists for it. `language` reads parameters from YAML.
This file does not use Optuna.
"""

import dataclasses
import itertools
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from sweeps.errors import KeyPath
from sweeps.space.domains import Categorical, Constant, Domain, Numeric, among, finite_values

Values = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Parameter:
    """One named choice of a search space.

    Attributes:
        name: the name of the parameter; a nested parameter has a dotted name.
        when: names of other parameters, each with the values under which this parameter is
            sampled.
        path: the place of the parameter in the file.
        distribution: W&B's name of the distribution, also if the file does not name the
            distribution.
    """

    name: str
    domain: Domain
    when: tuple[tuple[str, tuple[Any, ...]], ...] = ()
    path: KeyPath = dataclasses.field(default=(), compare=False)
    distribution: str = dataclasses.field(default="", compare=False)

    def active(self, values: Mapping[str, Any]) -> bool:
        """Whether the parameter is sampled, given the values of the parameters before it."""
        return all(name in values and among(values[name], allowed) for name, allowed in self.when)


@dataclasses.dataclass(frozen=True)
class Space:
    """Parameters in an order where each comes after the parameters that its `when` names."""

    parameters: tuple[Parameter, ...]

    def resolve(self, choose: Callable[[Parameter], Any]) -> Values:
        """The values of all active parameters; `choose` gives each value that is not constant."""
        values: Values = {}
        for parameter in self.parameters:
            if parameter.active(values):
                domain = parameter.domain
                values[parameter.name] = (
                    domain.value if isinstance(domain, Constant) else choose(parameter)
                )
        return values

    def varying(self) -> tuple[Parameter, ...]:
        """The parameters that are not constant."""
        return tuple(p for p in self.parameters if not isinstance(p.domain, Constant))

    def values_of(self, name: str) -> tuple[Any, ...]:
        """Every value of the parameter `name`, in order; empty if the space has no such parameter.

        Raises:
            ValueError: the parameter is continuous.
        """
        return tuple(finite_values(self[name].domain)) if name in self else ()

    def __getitem__(self, name: str) -> Parameter:
        """The parameter `name`, which the space must have."""
        return next(parameter for parameter in self.parameters if parameter.name == name)

    def __contains__(self, name: str) -> bool:
        """Whether the space has a parameter `name`."""
        return any(parameter.name == name for parameter in self.parameters)


def grid(space: Space) -> Iterator[Values]:
    """Every point of a finite space once. The last parameter changes fastest.

    A parameter that is inactive at a point is left out of the point and does not multiply the
    points.

    Raises:
        ValueError: a domain is continuous.

    Example:
        >>> optimizer = Parameter("optimizer", Categorical(("adam", "sgd")))
        >>> when = (("optimizer", ("sgd",)),)
        >>> momentum = Parameter("momentum", Categorical((0.8, 0.9)), when)
        >>> for point in grid(Space((optimizer, momentum))):
        ...     print(point)
        {'optimizer': 'adam'}
        {'optimizer': 'sgd', 'momentum': 0.8}
        {'optimizer': 'sgd', 'momentum': 0.9}
    """

    def points(remaining: tuple[Parameter, ...], values: Values) -> Iterator[Values]:
        if not remaining:
            yield values
        elif not remaining[0].active(values):
            yield from points(remaining[1:], values)
        else:
            for value in finite_values(remaining[0].domain):
                yield from points(remaining[1:], {**values, remaining[0].name: value})

    return points(space.parameters, {})


def grid_size(space: Space, *, at_most: int) -> int:
    """The number of points of the grid, or `at_most` if the grid has more points.

    Raises:
        ValueError: a domain is continuous.
    """
    # a parameter that neither has nor causes a condition multiplies the points by its size, so only
    # the points of the remaining parameters are listed
    named = {name for parameter in space.parameters for name, _ in parameter.when}
    conditional = tuple(p for p in space.parameters if p.when or p.name in named)
    unconditional = math.prod(
        _size(p.domain) for p in space.parameters if not p.when and p.name not in named
    )
    listed = sum(1 for _ in itertools.islice(grid(Space(conditional)), at_most))
    return min(unconditional * listed, at_most)


def _size(domain: Domain) -> int:
    """The number of values of a domain that is not continuous."""
    if isinstance(domain, Numeric):
        return domain.count()
    return len(domain.values) if isinstance(domain, Categorical) else 1
