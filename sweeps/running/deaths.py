"""What is known about the deaths that a trial may have caused, and what follows from them.

A trial may kill its worker process, for example with a segmentation fault. It may also take
everything down with it: the driver of a container without free memory, or the machine. Then nobody
is left who can blame the trial, and the next driver would continue it first, for ever. Therefore
tries that got nowhere are counted over drivers and nodes.
"""

import dataclasses
import enum
from collections.abc import Collection
from pathlib import Path

LOG_LINES = 20  # last lines of the worker's log that a failed trial keeps


@dataclasses.dataclass(frozen=True)
class Tries:
    """The tries at a trial that ended without a word and got nowhere.

    A try gets somewhere if it finishes a fold or writes a checkpoint.

    Attributes:
        in_vain: the number of these tries since the last one that got somewhere. A try that a user
            or a budget interrupted is not one of them.
        died_alone: whether the last of them had no other trial beside it.
    """

    in_vain: int = 0
    died_alone: bool = False

    def after(self, *, ended: bool, alone: bool, progress: bool) -> "Tries":
        """The tries after one more.

        Args:
            ended: whether the try returned: the trial ended, or was interrupted on purpose.
            alone: whether no other trial ran beside it, because the trial was under suspicion.
            progress: whether the try finished a fold or wrote a checkpoint.

        Example:
            >>> Tries(2).after(ended=False, alone=True, progress=False)
            Tries(in_vain=3, died_alone=True)
            >>> Tries(2).after(ended=False, alone=True, progress=True)
            Tries(in_vain=0, died_alone=False)
        """
        if progress:
            return Tries()
        return self if ended else Tries(self.in_vain + 1, alone)


class Turn(enum.Enum):
    """When a trial that is to be continued has its turn."""

    FIRST = "as usual: before new trials"
    ALONE = "after all other trials, with nothing beside it"
    NEVER = "it fails"


def turn_of(tries: Tries, *, retries: int) -> Turn:
    """When the next driver continues a trial.

    Several trials run at once, so the first deaths say little about any one of them. The trial that
    dies again with nothing beside it is the one.

    Args:
        retries: how many tries in vain a trial may have before it is under suspicion; at least one,
            because a power failure is nobody's fault.

    Example:
        >>> turn_of(Tries(1), retries=2), turn_of(Tries(2), retries=2)
        (<Turn.FIRST: 'as usual: before new trials'>, \
<Turn.ALONE: 'after all other trials, with nothing beside it'>)
    """
    if tries.died_alone:
        return Turn.NEVER
    return Turn.ALONE if tries.in_vain >= max(1, retries) else Turn.FIRST


def why_over(tries: Tries) -> str:
    """The reason of a trial that fails because its last try in vain had nothing beside it."""
    return (
        f"the machine, the driver or the worker died {_times(tries.in_vain)} while this trial ran, "
        "the last time with nothing beside it, and the trial got no further (out of memory?)"
    )


def why_worker_died(deaths: int, *, out_of_memory: bool) -> str:
    """The reason of a trial whose worker processes died too often under one driver.

    Args:
        out_of_memory: whether the kernel killed processes for lack of memory meanwhile.
    """
    why = "the kernel killed it: out of memory" if out_of_memory else "out of memory?"
    return f"its worker process died {_times(deaths)} ({why})"


def suspected(numbers: Collection[int]) -> str:
    """The sentence about the trials whose turn is `ALONE`."""
    return (
        "the machine or the driver died repeatedly while these trials ran, so they come last and "
        f"one by one: {', '.join(map(str, sorted(numbers)))}"
    )


def last_lines(log: Path) -> list[str]:
    """The last lines of a worker's log; empty if there is none."""
    try:
        return log.read_text(errors="replace").splitlines()[-LOG_LINES:]
    except OSError:
        return []


def with_last_line(reason: str, log: Path) -> str:
    """The reason, and the last line of the worker's log."""
    lines = last_lines(log)
    last = f": {lines[-1].strip()}" if lines else " is empty"
    return f"{reason}; last line of {log.name}{last}"


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"
