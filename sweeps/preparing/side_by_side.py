"""How fast trials go that share a machine: the same rehearsal in several processes at once."""

import dataclasses
import statistics
from collections.abc import Callable, Iterable, Sequence

from trainer.training.rehearsed import Order, Outcome, Refused

COUNTS = (1, 2, 4)  # trials at once on a GPU, or on the CPUs of a machine
CONTEXT_BYTES = 600 * 2**20  # what CUDA itself takes on a GPU, once per process


@dataclasses.dataclass(frozen=True)
class Share:
    """A way to share a machine.

    Attributes:
        at_once: trials at the same time: on one GPU, or on all CPUs.
        threads: torch's CPU threads of each.
    """

    at_once: int
    threads: int


@dataclasses.dataclass(frozen=True)
class Speed:
    """What was measured of a share.

    Attributes:
        images_s: images per second of all trials together; None if they do not fit.
        note: why they do not fit.
    """

    share: Share
    images_s: float | None
    note: str = ""


def shares(*, cpus: int, on_gpu: bool, own: Share) -> list[Share]:
    """The shares that are worth a look, the one of the search space included.

    A CPU machine has at most one trial per CPU. More than `max(COUNTS)` at once are not tried.
    """
    asked = Share(min(own.at_once, max(COUNTS)), own.threads)
    alone = Share(1, own.threads)
    even = [Share(count, max(1, cpus // count)) for count in COUNTS if on_gpu or count <= cpus]
    return sorted({asked, alone, *even}, key=lambda share: (share.at_once, share.threads))


def measure(
    order: Order,
    wanted: Iterable[Share],
    act_at_once: Callable[[Sequence[Order]], list[Outcome]],
) -> list[Speed]:
    """Rehearse the same order side by side.

    Where one share does not fit, those with more trials at once are not tried.
    """
    speeds: list[Speed] = []
    full: str | None = None
    for share in wanted:
        if full is not None:
            speeds.append(Speed(share, None, full))
            continue
        one = dataclasses.replace(order, threads=share.threads)
        outcomes = act_at_once([one] * share.at_once)
        refused = [each.text for each in outcomes if isinstance(each, Refused)]
        if refused:
            full = refused[0]
            speeds.append(Speed(share, None, full))
        else:
            rates = [1 / each.image_s for each in outcomes if not isinstance(each, Refused)]
            speeds.append(Speed(share, sum(rates)))
    return speeds


def slowdown(speeds: Sequence[Speed], own: Share) -> float:
    """How much longer a trial takes beside the others than alone; 1 if that is not known."""
    alone = [s.images_s for s in speeds if s.share == Share(1, own.threads) and s.images_s]
    beside = [
        s.images_s / s.share.at_once
        for s in speeds
        if s.share == Share(min(own.at_once, max(COUNTS)), own.threads) and s.images_s
    ]
    if not alone or not beside:
        return 1.0
    return max(1.0, statistics.fmean(alone) / statistics.fmean(beside))


def at_once_in(memory_bytes: int, *, of_bytes: int) -> int:
    """How many trials with this peak fit into a GPU's memory, at most `max(COUNTS)`.

    Example:
        >>> at_once_in(10 * 2**30, of_bytes=24 * 2**30)
        2
    """
    fitting = of_bytes // (memory_bytes + CONTEXT_BYTES)
    return max((count for count in COUNTS if count <= fitting), default=0)
