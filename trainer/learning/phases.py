"""How the time of an epoch splits into phases: data, forward, backward, optimizer, metrics."""

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Protocol

import torch


class Phases(Protocol):
    """Told by the training what it is doing. Phases follow each other; none lies inside another."""

    def phase(self, name: str) -> contextlib.AbstractContextManager[None]:
        """The block that follows belongs to phase `name`."""
        ...


class NoPhases:
    """Nobody asked."""

    def phase(self, name: str) -> contextlib.AbstractContextManager[None]:
        """Costs nothing: one block that does nothing serves all phases."""
        return _NOTHING


_NOTHING = contextlib.nullcontext()


class TimedPhases:
    """Sums the seconds of each phase.

    On a GPU it waits for the device at the borders of a phase, or its work would count for a later one: the phases
    are right, their sum is more than the same epoch takes unwatched.
    """

    def __init__(
        self, device: torch.device, *, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self._device, self._clock = device, clock
        self.seconds: dict[str, float] = {}  # by phase, in the order of their first appearance

    @contextlib.contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """A block that fails counts, too."""
        begin = self._now()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + self._now() - begin

    def _now(self) -> float:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return self._clock()
