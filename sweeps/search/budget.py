"""What a sweep has spent over all its continuations, and whether it reached a limit."""

import dataclasses
from collections.abc import Callable

from sweeps.space.spec import SweepSpec


@dataclasses.dataclass(frozen=True)
class Spent:
    """What the drivers and trials of a sweep have spent.

    Attributes:
        elapsed_s: the sum of the drivers' wall-clock seconds; time without a driver does not
            count.
        gpu_s: the sum over all trials of seconds on a worker times the trial's GPUs.
    """

    elapsed_s: float = 0.0
    gpu_s: float = 0.0


class Meter:
    """Measures what this driver spends, and adds what earlier drivers of the sweep spent."""

    def __init__(self, before: Spent, *, gpu: float, clock: Callable[[], float]) -> None:
        """Start the measurement.

        Args:
            before: what earlier drivers spent.
            gpu: GPUs, or a share of a GPU, that a trial has while it is on a worker.
            clock: monotonic seconds.
        """
        self._before = before
        self._gpu = gpu
        self._clock = clock
        self._opened_at = clock()
        self._started_at: dict[int, float] = {}
        self._ended_s = 0.0

    def started(self, number: int) -> None:
        """Record that a trial goes to a worker now."""
        self._started_at[number] = self._clock()

    def ended(self, number: int) -> float:
        """Record that a trial leaves its worker now; return its seconds on the worker."""
        seconds = self._clock() - self._started_at.pop(number)
        self._ended_s += seconds
        return seconds

    @property
    def own_s(self) -> float:
        """Wall-clock seconds of this driver so far."""
        return self._clock() - self._opened_at

    def spent(self) -> Spent:
        """What all drivers have spent, including the trials that still run."""
        now = self._clock()
        busy_s = self._ended_s + sum(now - start for start in self._started_at.values())
        return Spent(
            self._before.elapsed_s + now - self._opened_at, self._before.gpu_s + self._gpu * busy_s
        )


def enough(spec: SweepSpec, spent: Spent, *, best: float | None) -> str | None:
    """Why the sweep must end (a budget is used up, the target is reached), or None to go on.

    Args:
        best: score of the sweep's best complete trial; None if it has no complete trial.
    """
    budget = spec.budget
    target = spec.metric.target
    if budget.hours is not None and spent.elapsed_s >= budget.hours * 3600:
        return f"the budget of {budget.hours:g} hours is used up"
    if budget.gpu_hours is not None and spent.gpu_s >= budget.gpu_hours * 3600:
        return f"the budget of {budget.gpu_hours:g} GPU-hours is used up"
    if target is not None and best is not None and spec.metric.goal.reached(best, target):
        return f"the target of {target:g} is reached: {best:.4f}"
    return None
