"""What a user can cause or meet, each with the exit code the command ends with.

SweepsError
├── InputError              2   wrong usage, data, storage URL or resources
│   ├── SpecError           2   the search space file: all its problems at once, with lines
│   └── SweepBusyError      2   another driver owns the sweep
├── InfrastructureError     3   Ray or the storage is gone; running again continues the sweep
│   ├── LeaseLostError      3   another driver took the sweep over
│   └── ClusterLostError    3   Ray's head is gone, and this process cannot leave it in peace
└── NothingCompletedError   1   the sweep ran, but no trial completed

Errors of `trainer` (TrainerError) end with 2 when they stop a command; inside a trial they fail that trial.
"""

import dataclasses
import difflib
from collections.abc import Iterable

EXIT_INTERRUPTED = 130
KeyPath = tuple[str | int, ...]  # where something stands in a file: `("parameters", "lr", "min")`


class SweepsError(Exception):
    """Base of all errors below; its text is complete and meant for the user."""

    exit_code = 1


class InputError(SweepsError):
    """Something the user gave cannot be used."""

    exit_code = 2


@dataclasses.dataclass(frozen=True)
class Problem:
    """One thing that is wrong in a search space file.

    Attributes:
        path: where, as keys from the top.
        text: what is wrong, what is allowed, what to do.
        line: counted from 1; 0 when the file has no line for it.
    """

    path: KeyPath
    text: str
    line: int = 0


class SpecError(InputError):
    """A search space file has problems; the message lists every one with its line."""

    def __init__(self, source: str, problems: Iterable[Problem]) -> None:
        self.problems = sorted(problems, key=lambda problem: problem.line)
        lines = [f"{source}: {len(self.problems)} problem{'s' if len(self.problems) != 1 else ''}"]
        for problem in self.problems:
            where = ".".join(map(str, problem.path))
            at = f"line {problem.line}  " if problem.line else ""
            lines.append(f"  {at}{where}{': ' if where else ''}{problem.text}")
        super().__init__("\n".join(lines))


class SweepBusyError(InputError):
    """Another driver owns the sweep."""


class InfrastructureError(SweepsError):
    """Ray or the storage is gone; what was done is kept and running again continues."""

    exit_code = 3


class LeaseLostError(InfrastructureError):
    """The lease could not be renewed: another driver may have taken the sweep over."""


class ClusterLostError(InfrastructureError):
    """Ray's head does not answer; whoever ends the process must not wait for Ray."""


class NothingCompletedError(SweepsError):
    """The sweep ran to its end, but no trial completed."""

    exit_code = 1


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """` Did you mean 'x'?`, or an empty string when nothing known is near."""
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f" Did you mean {near[0]!r}?" if near else ""
