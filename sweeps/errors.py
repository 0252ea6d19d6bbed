"""The errors that a user can cause or meet, each with the exit code of the command.

SweepsError
├── InputError              2   wrong usage, data, storage URL or resources
│   ├── SpecError           2   the search space file has problems: all are listed with their lines
│   ├── SweepChangedError   2   the search space, its data or its files are not those of its sweep
│   └── SweepBusyError      2   another driver owns the sweep
├── InfrastructureError     3   Ray or the storage is gone; the same command continues the sweep
│   ├── LeaseLostError      3   another driver took the sweep over
│   ├── TrackerError        3   W&B or another tracker does not answer; `sweeps sync` tells it later
│   │   └── TrialRefusedError   3   it answers, and refuses one trial
│   └── ClusterLostError    3   Ray's head is gone, and this process cannot disconnect cleanly
├── NothingCompletedError   1   the sweep ran, but no trial completed
└── SameFailureError        1   the sweep stopped because its trials failed for the same reason

An error of `trainer` (TrainerError) that stops a command gives exit code 2. Inside a trial, such an
error makes only that trial fail.
"""

import dataclasses
import difflib
from collections.abc import Iterable

EXIT_INTERRUPTED = 130
KeyPath = tuple[str | int, ...]  # keys from the top of a file: `("parameters", "lr", "min")`


class SweepsError(Exception):
    """Base of all errors in this file. The message is complete and written for the user."""

    exit_code = 1


class InputError(SweepsError):
    """An input of the user cannot be used: an option, a file, data, a URL or a resource request."""

    exit_code = 2


@dataclasses.dataclass(frozen=True)
class Problem:
    """One thing that is wrong in a search space file.

    Attributes:
        path: the place of the problem, as keys from the top of the file.
        text: what is wrong, what is allowed, and what the user can do.
        line: the line of the problem, counted from 1; 0 if the file has no such line.
    """

    path: KeyPath
    text: str
    line: int = 0

    def __str__(self) -> str:
        """The problem in one line: where it is and what it is."""
        where = ".".join(map(str, self.path))
        at = f"line {self.line}  " if self.line else ""
        return f"{at}{where}{': ' if where else ''}{self.text}"


class SpecError(InputError):
    """A search space file has problems. The message lists every problem with its line.

    Attributes:
        source: the file.
        problems: the problems, sorted by line.
        first: what a user must know to understand the problems; may be empty.
        last: what to do about several problems; sentences.
    """

    def __init__(
        self, source: str, problems: Iterable[Problem], *, first: str = "", last: Iterable[str] = ()
    ) -> None:
        self.source = source
        self.problems = sorted(problems, key=lambda problem: problem.line)
        self.first = first
        self.last = tuple(last)
        lines = [f"{source}: {len(self.problems)} problem{'s' if len(self.problems) != 1 else ''}"]
        lines += [first] if first else []
        lines += [f"  {problem}" for problem in self.problems]
        super().__init__("\n".join([*lines, *self.last]))


class SweepChangedError(InputError):
    """What decides the scores of a sweep is not what its trials were evaluated with.

    Attributes:
        what: what changed, one item each.
    """

    def __init__(self, message: str, *, what: Iterable[str]) -> None:
        super().__init__(message)
        self.what = tuple(what)


class SweepBusyError(InputError):
    """Another driver owns the sweep, so this command cannot change the sweep."""


class InfrastructureError(SweepsError):
    """Ray or the storage is gone. Results are kept; the same command continues the sweep."""

    exit_code = 3


class LeaseLostError(InfrastructureError):
    """The driver could not renew its lease: another driver may have taken the sweep over."""


class TrackerError(InfrastructureError):
    """A tracker cannot reach its program, or is refused. The records keep all that it missed."""


class TrialRefusedError(TrackerError):
    """The program of a tracker refuses one trial, while all is well with it otherwise.

    Attributes:
        trial: number of the trial.
    """

    def __init__(self, message: str, *, trial: int) -> None:
        self.trial = trial
        super().__init__(message)


class ClusterLostError(InfrastructureError):
    """Ray's head does not answer. The code that ends the process must not wait for Ray."""


class NothingCompletedError(SweepsError):
    """The sweep ran to its end, but no trial completed."""

    exit_code = 1


class SameFailureError(SweepsError):
    """The sweep stopped, because its trials failed for the same reason, one after another."""

    exit_code = 1


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The text ` Did you mean 'x'?` for the known word that is most similar to `word`.

    The text is empty if no known word is similar.

    Example:
        >>> "unknown parameter." + did_you_mean("backbon", ["backbone", "lr"])
        "unknown parameter. Did you mean 'backbone'?"
    """
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f" Did you mean {near[0]!r}?" if near else ""
