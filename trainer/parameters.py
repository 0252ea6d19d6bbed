"""`python -m trainer.parameters > docs/parameters.md` writes the table of all parameters.

Each row has the parameter's type, bounds, default, meaning and source.
"""

import enum
import inspect
import re
import sys
import types
import typing
from collections.abc import Iterator
from typing import Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from trainer import user_code
from trainer.config import SECTIONS
from trainer.fields.declare import UserFunction

BOUNDS = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
HEADER = (
    "# Parameters\n"
    "\n"
    "Every field of `TrainConfig`. Any of them can stand in a file for `python -m trainer`, "
    "and any but `metric`,\n"
    "`metric_goal` and `seed` under `parameters` in a search space. What is not named keeps its "
    "default. An entry of a\n"
    "mapping is written with a dot, e.g. `loss_mix.focal: {min: 0.0, max: 1.0}`. A name before a "
    "colon says with which choice\n"
    "a parameter counts.\n"
    "\n"
    "Written by `python -m trainer.parameters`; a test compares.\n"
)


def page() -> str:
    """The whole text of docs/parameters.md, as Markdown."""
    sections = (line for section in SECTIONS for line in _section(section))
    return "\n".join(
        [
            HEADER,
            *sections,
            "## Your own functions\n",
            inspect.cleandoc(user_code.__doc__ or ""),
            "",
        ]
    )


def _section(section: Any) -> Iterator[str]:
    yield f"## {section.__doc__}\n"
    yield "| parameter | values | default | meaning |"
    yield "|---|---|---|---|"
    # without the fields that the section inherits
    declared = section.__annotations__
    for name, field in section.model_fields.items():
        if name in declared:
            yield f"| `{name}` | {values_text(field)} | {code(field.default)} | {_meaning(field)} |"
    yield ""


def _meaning(field: FieldInfo) -> str:
    extra = field.json_schema_extra
    source = f" *{extra['source']}.*" if isinstance(extra, dict) and extra.get("source") else ""
    return f"{field.description}{source}".replace("|", "\\|")


def values_text(field: FieldInfo) -> str:
    """The type of a field and its bounds, in words."""
    bounds = " and ".join(
        f"{sign} {_plain(getattr(constraint, key))}"
        for constraint in field.metadata
        for key, sign in BOUNDS.items()
        if getattr(constraint, key, None) is not None
    )
    return ", ".join(filter(None, [_type(field.annotation), bounds]))


def _type(annotation: Any) -> str:
    origin = get_origin(annotation)
    inner = get_args(annotation)
    if annotation == UserFunction:
        return "FILE.py:FUNCTION"
    if origin is Literal:
        return ", ".join(code(value) for value in inner)
    if origin in (Union, types.UnionType):
        return " or ".join(_type(kind) for kind in inner if kind is not type(None))
    if origin is typing.Annotated:
        return _type(inner[0])
    if origin is dict:
        return f"mapping of {_type(inner[0])} to {_type(inner[1])}"
    if origin is list:
        return f"list of {_type(inner[0])}s"
    if origin is tuple:
        count = "" if inner[-1] is Ellipsis else f"{len(inner)} "
        return f"list of {count}{_type(inner[0])}s"
    if isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        return ", ".join(code(member.value) for member in annotation)
    return {str: "text", int: "whole number", float: "number", bool: "true, false"}[annotation]


def code(value: Any) -> str:
    """A value as YAML has it, in the type of code.

    Example:
        >>> code(None), code(True), code(1e-05), code("adam")
        ('`null`', '`true`', '`1e-5`', '`adam`')
    """
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return "`null`" if value is None else f"`{_plain(value)}`"


def _plain(value: Any) -> str:
    # 1e-05 becomes 1e-5, as people write it
    return re.sub(r"e([+-])0+", r"e\1", f"{value:g}") if isinstance(value, float) else str(value)


if __name__ == "__main__":
    sys.stdout.write(page())
