"""The time that an epoch spends in each phase: data, forward, backward, optimizer, metrics."""

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Protocol

import torch


class Phases(Protocol):
    """Receives the name of each phase of the training. Phases are never nested."""

    def phase(self, name: str) -> contextlib.AbstractContextManager[None]:
        """Return a context manager for a block of code that belongs to phase `name`."""
        ...


class NoPhases:
    """Measures nothing."""

    def phase(self, name: str) -> contextlib.AbstractContextManager[None]:
        """Return a context manager that does nothing; all phases share it, so it costs no time."""
        return _NOTHING


_NOTHING = contextlib.nullcontext()


class TimedPhases:
    """Sums the seconds of each phase.

    On a GPU the clock is read after the device has finished its queued work, at the beginning and
    at the end of each phase. Otherwise the device's work would count for a later phase. Therefore
    the time of each phase is right, but the sum is more than the same epoch takes without
    measurement.

    Attributes:
        seconds: the seconds of each phase, in the order in which the phases first began.
    """

    def __init__(
        self, device: torch.device, *, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self._device = device
        self._clock = clock
        self.seconds: dict[str, float] = {}

    @contextlib.contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Add the time of the block to phase `name`, even if the block raises an exception."""
        begin = self._now()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + self._now() - begin

    def _now(self) -> float:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return self._clock()
