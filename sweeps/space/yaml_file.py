"""Reads YAML 1.2 with the line of every key. Numbers follow YAML 1.2: `1e-5` is a float."""

import json
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.constructor import DuplicateKeyError
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from sweeps.errors import InputError, KeyPath, Problem, SpecError


class YamlFile:
    """The mapping of a YAML file, with the lines of its keys.

    Attributes:
        path: the path of the file.
        values: the mapping, as plain Python values.
    """

    def __init__(self, path: Path, *, text: str | None = None) -> None:
        """Read the file at `path`.

        Args:
            text: what stands in for the content of the file, which then need not exist.

        Raises:
            InputError: the file cannot be read.
            SpecError: the file is not YAML 1.2, is no mapping, or has content that JSON cannot
                hold.
        """
        self.path = path
        if text is None:
            text = read_text(path)
        try:
            self._marked = YAML(typ="rt", pure=True).load(text)
            values = YAML(typ="safe", pure=True).load(text)
        except MarkedYAMLError as error:
            raise SpecError(str(path), [_syntax_problem(error)]) from None
        except YAMLError as error:
            raise SpecError(str(path), [Problem((), f"not YAML 1.2: {error}")]) from None
        if not isinstance(values, dict):
            raise SpecError(
                str(path),
                [Problem((), "expected a mapping with metric, data, parameters, ...", line=1)],
            )
        _refuse_what_json_cannot_hold(path, values, self._marked)
        self.values: dict[str, Any] = values

    def line(self, path: KeyPath) -> int:
        """The line of the key or list item at `path`, counted from 1.

        If the file has no such key, the result is the line of the nearest key above `path`, or 0.
        """
        node = self._marked
        line = 0
        for key in path:
            try:
                position = node.lc.item(key) if isinstance(key, int) else node.lc.key(key)
                node = node[key]
            except (AttributeError, KeyError, IndexError, TypeError):
                break
            line = position[0] + 1
        return line


def read_text(path: Path) -> str:
    """The text of a search space file.

    Raises:
        InputError: the file cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise InputError(f"{path}: no such file. Give a search space (YAML)") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read ({error})") from None


def read_scalar(text: str) -> Any:
    """One value, read as YAML 1.2: e.g. `3`, `1e-4` or `{value: resnet18}`.

    Raises:
        ValueError: `text` is not YAML.
    """
    try:
        return YAML(typ="safe", pure=True).load(text)
    except YAMLError as error:
        raise ValueError(f"not a YAML value: {text!r}") from error


def _refuse_what_json_cannot_hold(path: Path, values: Any, top: Any) -> None:
    """Refuse values that JSON cannot hold, because all later code works with JSON-like values.

    Raises:
        SpecError: a value contains itself, or a key is neither text nor a number.
    """
    try:
        json.dumps(values, default=str, skipkeys=True)
    except ValueError:
        raise SpecError(
            str(path),
            [Problem((), "a value cannot contain itself (an anchor inside its own *alias)")],
        ) from None
    nodes: list[Any] = [top]
    while nodes:
        node = nodes.pop()
        if isinstance(node, dict):
            for key in node:
                if not isinstance(key, str | int | float):
                    # ruamel adds `lc`, the position, to each mapping; the type `dict` has no `lc`
                    line = getattr(node, "lc").key(key)[0] + 1  # noqa: B009
                    raise SpecError(
                        str(path), [Problem((), f"a key must be text, got {key!r}", line)]
                    )
        nodes += node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()


def _syntax_problem(error: MarkedYAMLError) -> Problem:
    """An error of the YAML library as a problem with its line."""
    line = error.problem_mark.line + 1 if error.problem_mark else 0
    if isinstance(error, DuplicateKeyError):
        return Problem((), str(error.problem).split(" with value")[0], line)
    return Problem((), f"not YAML 1.2: {error.problem or error.context}", line)
