"""A search space file with the `--set` overrides of the command, before its meaning is checked."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from sweeps.errors import KeyPath, Problem, SpecError
from sweeps.space.yaml_file import YamlFile, read_scalar


class SpaceFile:
    """A search space file with its `--set` overrides.

    Attributes:
        raw: the content of the file after the overrides, as JSON-like values.
    """

    def __init__(
        self, path: Path, settings: Iterable[str] = (), *, text: str | None = None
    ) -> None:
        """Read the file at `path` and apply the `key=value` overrides.

        Args:
            text: see `YamlFile`.

        Raises:
            SpecError, InputError: see `YamlFile`.
        """
        self._file = YamlFile(path, text=text)
        self.raw, self._set, self._problems = _with_settings(self._file.values, settings)

    def refuse(
        self, problems: Iterable[Problem], *, first: str = "", last: Iterable[str] = ()
    ) -> None:
        """Raise an error if there is any problem, in `problems` or in the overrides.

        Args:
            first, last: see `SpecError`.

        Raises:
            SpecError: the error lists all problems with their lines.
        """
        found = [*self._problems, *problems]
        if found:
            placed = [self.placed(problem) for problem in found]
            raise SpecError(str(self._file.path), placed, first=first, last=last)

    def placed(self, problem: Problem) -> Problem:
        """The problem with its line; the problem of a value from --set has no line."""
        text = tuple(map(str, problem.path))
        if any(
            text[: len(path)] == path or (text and path[: len(text)] == text) for path in self._set
        ):
            return Problem(problem.path, f"{problem.text} (from --set)")
        return Problem(problem.path, problem.text, problem.line or self._file.line(problem.path))


def _with_settings(
    values: Mapping[str, Any], settings: Iterable[str]
) -> tuple[dict[str, Any], list[KeyPath], list[Problem]]:
    """The values after the `key=value` overrides, the keys that were set, and the problems."""
    raw = json.loads(json.dumps(values, default=str))
    paths: list[KeyPath] = []
    problems = []
    for setting in settings:
        key, equals, text = setting.partition("=")
        path = tuple(key.strip().split("."))
        *parents, last = path
        try:
            value = read_scalar(text)
        except ValueError as error:
            # a webhook is a secret
            said = setting if path[0] != "notify" else f"{key}=..."
            problems.append(
                Problem(("--set", said), str(error) if said == setting else "cannot be read")
            )
            continue
        if not (equals and all(path)):
            problems.append(
                Problem(("--set", setting), "expected key=value, e.g. --set run_cap=20")
            )
            continue
        node = raw
        for parent in parents:
            child = node.get(parent)
            node[parent] = child if isinstance(child, dict) else {}
            node = node[parent]
        node[last] = json.loads(json.dumps(value, default=str))
        paths.append(path)
    return raw, paths, problems
