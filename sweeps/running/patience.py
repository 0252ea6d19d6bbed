"""How long a driver waits for a trial: while it runs, and after it was asked to stop.

A process that waits for a stale mount or for a GPU that fell off the bus neither reports nor ends.
"""

import dataclasses
from collections.abc import Collection, Iterable

GRACE_S = 120.0  # how long trials have to save their state after a stop, unless a user says more
# No silence is shorter. Between two reports lie an epoch with the scoring of the held-out images,
# the end of a fold with its files, and the start of the next fold.
LEAST_SILENCE_S = 600.0
# Before its first report, a worker may have to import torch from a slow file system, to decode all
# images on its node, and to compile the network.
LEAST_START_S = 3600.0


@dataclasses.dataclass(frozen=True)
class Silence:
    """A trial that has not reported for too long.

    Attributes:
        silent_s: seconds since its last report, or since its worker began.
        usual_s: seconds of a usual epoch.
    """

    number: int
    silent_s: float
    usual_s: float

    def __str__(self) -> str:
        return (
            f"trial {self.number} has not reported for {shown(self.silent_s)} "
            f"(a usual epoch takes {shown(self.usual_s)})"
        )


def usual_epoch_s(
    own: float | None, others: Iterable[float], *, expected: float | None
) -> float | None:
    """Seconds of a usual epoch of a trial; None if nothing is known about it.

    Args:
        own: seconds of an epoch between reports of the trial itself, or None.
        others: the same of other trials of the sweep. The slowest counts, because backbones and
            sizes differ.
        expected: the same as `sweeps check --train` estimated it, or None.

    Example:
        >>> usual_epoch_s(None, [20.0, 90.0], expected=30.0)
        90.0
    """
    return max(others, default=expected) if own is None else own


def longest_silence_s(
    usual_s: float | None, *, factor: float | None, starting: bool
) -> float | None:
    """How long a trial may be silent; None if no silence is too long.

    Args:
        usual_s: see `usual_epoch_s`.
        factor: `stuck_after` of the search space; None turns the limit off.
        starting: whether the trial's worker has not reported yet.

    Example:
        >>> longest_silence_s(300, factor=10, starting=False)
        3000
        >>> longest_silence_s(2, factor=10, starting=False)
        600.0
    """
    if usual_s is None or factor is None:
        return None
    return max(factor * usual_s, LEAST_START_S if starting else LEAST_SILENCE_S)


def left_behind(numbers: Collection[int], *, grace_s: float, then: str) -> str:
    """The sentence about trials that have not ended although they were asked to stop.

    Args:
        then: what happens to the processes of the trials.
    """
    which = ", ".join(map(str, sorted(numbers)))
    trials = f"trial {which} has" if len(numbers) == 1 else f"trials {which} have"
    return f"{trials} not ended within {shown(grace_s)} of the stop: {then}"


def shown(seconds: float) -> str:
    """A time as a user reads it.

    Example:
        >>> shown(45), shown(600), shown(7200)
        ('45 s', '10 min', '2 h')
    """
    if seconds < 60:
        return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.2g} h"
