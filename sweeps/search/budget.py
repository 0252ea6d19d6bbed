"""What a sweep has spent, over all its continuations, and when that is enough."""

import dataclasses
from collections.abc import Callable

from sweeps.space.spec import SweepSpec


@dataclasses.dataclass(frozen=True)
class Spent:
    """Wall-clock seconds of drivers, and seconds times GPUs of trials."""

    elapsed_s: float = 0.0
    gpu_s: float = 0.0


class Meter:
    """Measures what a driver spends on top of what others did before it."""

    def __init__(self, before: Spent, *, gpu: float, clock: Callable[[], float]) -> None:
        """Start.

        Args:
            gpu: GPUs, or a share of one, that a trial has while it is on a worker.
            clock: monotonic seconds.
        """
        self._before, self._gpu, self._clock = before, gpu, clock
        self._opened_at = clock()
        self._started_at: dict[int, float] = {}
        self._ended_s = 0.0

    def started(self, number: int) -> None:
        """A trial goes to a worker."""
        self._started_at[number] = self._clock()

    def ended(self, number: int) -> float:
        """It has left it; returns the seconds it was there."""
        seconds = self._clock() - self._started_at.pop(number)
        self._ended_s += seconds
        return seconds

    @property
    def own_s(self) -> float:
        """Seconds since this driver began."""
        return self._clock() - self._opened_at

    def spent(self) -> Spent:
        """By all drivers, what still runs included."""
        now = self._clock()
        busy_s = self._ended_s + sum(now - start for start in self._started_at.values())
        return Spent(
            self._before.elapsed_s + now - self._opened_at, self._before.gpu_s + self._gpu * busy_s
        )


def enough(spec: SweepSpec, spent: Spent, *, best: float | None) -> str | None:
    """Why a sweep ends although trials are left, or None."""
    budget, target = spec.budget, spec.metric.target
    if budget.hours is not None and spent.elapsed_s >= budget.hours * 3600:
        return f"the budget of {budget.hours:g} hours is used up"
    if budget.gpu_hours is not None and spent.gpu_s >= budget.gpu_hours * 3600:
        return f"the budget of {budget.gpu_hours:g} GPU-hours is used up"
    if target is not None and best is not None and spec.metric.goal.reached(best, target):
        return f"the target of {target:g} is reached: {best:.4f}"
    return None
