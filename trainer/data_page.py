"""`python -m trainer.data_page docs/data.md` writes the tables of the options for data and folds.

The other parts of the page are written by hand: only what stands between the two marks of a table
is replaced.
"""

import sys
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from trainer.data.options import DataOptions, FoldOptions
from trainer.parameters import code, values_text

TABLES: dict[str, type[BaseModel]] = {"data": DataOptions, "folds": FoldOptions}


def page(text: str) -> str:
    """The text of docs/data.md with the tables of today's options."""
    for name, section in TABLES.items():
        begin, end = f"<!-- options of {name} -->\n", f"<!-- end of {name} -->"
        before, _, rest = text.partition(begin)
        _, _, after = rest.partition(end)
        text = before + begin + "\n".join(_table(section)) + "\n" + end + after
    return text


def _table(section: type[BaseModel]) -> list[str]:
    rows = [
        f"| `{name}` | {values_text(field)} | {_default(field.default)} | "
        f"{(field.description or '').replace('<', '&lt;')} |"
        for name, field in section.model_fields.items()
    ]
    return ["| option | values | default | meaning |", "|---|---|---|---|", *rows]


def _default(value: Any) -> str:
    if value is PydanticUndefined:
        return "required"
    return code(list(value) if isinstance(value, tuple) else value)


if __name__ == "__main__":
    for path in map(Path, sys.argv[1:]):
        path.write_text(page(path.read_text(encoding="utf-8")), encoding="utf-8")
