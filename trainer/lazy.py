"""Names of a package that are imported when somebody first asks for them.

So importing the package itself imports no library.
"""

import importlib
from collections.abc import Callable, Mapping
from typing import Any


def lazy(package: str, homes: Mapping[str, str]) -> Callable[[str], Any]:
    """The `__getattr__` of a package whose public names live in its modules (PEP 562).

    Args:
        package: its name.
        homes: the module that defines each public name.

    Returns:
        A function that imports a name from its module; it raises AttributeError for any other name.

    Example:
        >>> load = lazy("trainer", {"derive": "trainer.seeds"})
        >>> load("derive").__module__
        'trainer.seeds'
    """

    def load(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(importlib.import_module(homes[name]), name)

    return load
