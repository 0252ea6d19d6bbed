"""What may vary: parameters, their domains and conditions. `language` reads them from YAML; no Optuna here.

A parameter has a domain (constant, categorical or numeric) and may be conditional (`when`, ours): it is
sampled only if the parameters it names have one of the values it gives.
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
    """One named choice.

    Attributes:
        name: dotted for nested parameters.
        when: for each named parameter the values under which this one is sampled.
        path: where it stands in the file.
        distribution: W&B's name of it, also where the file leaves it to be inferred.
    """

    name: str
    domain: Domain
    when: tuple[tuple[str, tuple[Any, ...]], ...] = ()
    path: KeyPath = dataclasses.field(default=(), compare=False)
    distribution: str = dataclasses.field(default="", compare=False)

    def active(self, values: Mapping[str, Any]) -> bool:
        """Whether it is sampled, given the values of the parameters before it."""
        return all(name in values and among(values[name], allowed) for name, allowed in self.when)


@dataclasses.dataclass(frozen=True)
class Space:
    """Parameters in an order in which each comes after those its `when` names."""

    parameters: tuple[Parameter, ...]

    def resolve(self, choose: Callable[[Parameter], Any]) -> Values:
        """Values of all active parameters; `choose` is asked for each one that is not constant."""
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
        """Every value that a parameter can have, in order; empty where the space does not name it.

        Raises:
            ValueError: it is continuous.
        """
        return tuple(finite_values(self[name].domain)) if name in self else ()

    def __getitem__(self, name: str) -> Parameter:
        return next(parameter for parameter in self.parameters if parameter.name == name)

    def __contains__(self, name: str) -> bool:
        return any(parameter.name == name for parameter in self.parameters)


def grid(space: Space) -> Iterator[Values]:
    """Every point of a finite space once, the last parameter moving fastest; inactive parameters do not multiply.

    Raises:
        ValueError: a domain is continuous.
    """

    def points(left: tuple[Parameter, ...], values: Values) -> Iterator[Values]:
        if not left:
            yield values
        elif not left[0].active(values):
            yield from points(left[1:], values)
        else:
            for value in finite_values(left[0].domain):
                yield from points(left[1:], {**values, left[0].name: value})

    return points(space.parameters, {})


def grid_size(space: Space, *, at_most: int) -> int:
    """How many points the grid has, counted up to `at_most`.

    Raises:
        ValueError: a domain is continuous.
    """
    named = {name for parameter in space.parameters for name, _ in parameter.when}
    tied = tuple(p for p in space.parameters if p.when or p.name in named)
    free = math.prod(
        _size(p.domain) for p in space.parameters if not p.when and p.name not in named
    )
    return min(free * sum(1 for _ in itertools.islice(grid(Space(tied)), at_most)), at_most)


def _size(domain: Domain) -> int:
    if isinstance(domain, Numeric):
        return domain.count()
    return len(domain.values) if isinstance(domain, Categorical) else 1
