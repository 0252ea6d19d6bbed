"""Which trials failed for the same reason: texts that differ only in what differs by trial."""

import dataclasses
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial

from sweeps.study.records import reason

SHORTEST = 3  # characters of a parameter's value that is looked for in a text
PATH = re.compile(r"(?:[A-Za-z]:)?[^\s'\"(),:;=]*[/\\][^\s'\"(),;]*")
NUMBER = re.compile(r"0x[0-9a-fA-F]+|\d+(?:[.,]\d+)*(?:[eE][+-]?\d+)?")


@dataclasses.dataclass(frozen=True)
class SameFailure:
    """Failed trials with the same reason.

    Attributes:
        reason: the reason of the first of them.
        trials: their numbers, in order.
    """

    reason: str
    trials: tuple[int, ...]

    @property
    def count(self) -> int:
        """The number of these trials."""
        return len(self.trials)

    def ends_a_sweep(self, traceback: Path) -> str:
        """What a user is told when these failures, one after another, ended the sweep.

        Args:
            traceback: the file with the traceback of the first of the trials.
        """
        return (
            f"the sweep stopped, because {self.count} trials in a row failed for the same reason:\n"
            f"  {self.reason}\n"
            f"{traceback} has the traceback. Repair the cause and run the same command again: it "
            "repeats these trials, which take nothing of run_cap, and goes on"
        )


def kind_of(text: str, params: Mapping[str, Any]) -> str:
    """What is left of the reason of a failure without paths, numbers and the trial's own values.

    Args:
        params: the parameters of the trial that vary.

    Example:
        >>> kind_of("trial 7: no weights of resnet18 in /tmp/a", {"backbone": "resnet18"})
        'trial #: no weights of backbone in PATH'
    """
    values = {str(value): name for name, value in params.items() if isinstance(value, str)}
    for value in sorted(values, key=len, reverse=True):
        if len(value) >= SHORTEST:
            text = text.replace(value, values[value])
    return " ".join(NUMBER.sub("#", PATH.sub("PATH", text)).split())


def same_failures(failed: Iterable[FrozenTrial]) -> list[SameFailure]:
    """Group failed trials by reason, in the order of the first of each group."""
    groups: dict[str, list[FrozenTrial]] = {}
    for trial in failed:
        groups.setdefault(kind_of(reason(trial), trial.params), []).append(trial)
    return [
        SameFailure(reason(trials[0]), tuple(trial.number for trial in trials))
        for trials in groups.values()
    ]
