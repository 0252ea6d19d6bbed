"""What ends a sweep reaches its driver, before there is one and after."""

import signal
from collections.abc import Callable

import pytest

from sweeps.errors import InfrastructureError, LeaseLostError
from sweeps.running.events import Event, Notice, Silent
from sweeps.running.signals import PendingSignals, StopRequest, ending_signals
from tests.sweeps.running.curve_sweep import Sweep, handed_out

LOST = LeaseLostError("another driver took over sweep 'curve'; this one stops")
GONE = InfrastructureError("the storage is gone")


class Asks(Silent):
    """A view that looks whether the driver has obeyed when it is told."""

    def __init__(self) -> None:
        self.seen: list[tuple[Event, bool]] = []
        self.obeyed: Callable[[], bool] = lambda: False

    def notify(self, event: Event) -> None:
        self.seen.append((event, self.obeyed()))


@pytest.mark.parametrize(
    ("now", "how"),
    [(True, "running trials are interrupted"), (False, "running trials go on to their end")],
)
def test_a_stop_is_obeyed_before_it_is_talked_about(
    sweep: Callable[..., Sweep], now: bool, how: str
):
    view = Asks()
    signals = PendingSignals(view)
    with sweep().driver() as driver:
        handed_out(driver)
        signals.connect(driver)
        view.obeyed = lambda: driver.interrupted if now else driver.drained
        signals.on_stop(now)
    assert view.seen == [(Notice(f"asked to stop by `sweeps stop`: {how}"), True)]


def test_before_there_is_a_driver_a_stop_waits_for_whoever_looks():
    signals = PendingSignals(Silent())
    signals.check()
    signals.on_stop(False)
    with pytest.raises(StopRequest):
        signals.check()


@pytest.mark.parametrize("order", [(LOST, GONE), (GONE, LOST)])
def test_a_lost_lease_explains_everything_else(
    sweep: Callable[..., Sweep], order: tuple[InfrastructureError, ...]
):
    waiting, passed_on = PendingSignals(Silent()), PendingSignals(Silent())
    with sweep().driver() as driver:
        passed_on.connect(driver)
        for error in order:
            waiting.on_lost(error)
            passed_on.on_lost(error)
        assert driver.failure is LOST
    with pytest.raises(LeaseLostError):
        waiting.check()


def test_a_hang_up_asks_to_end_unless_it_is_ignored_as_below_nohup():
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    try:
        assert ending_signals() == [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        assert ending_signals() == [signal.SIGINT, signal.SIGTERM]
    finally:
        signal.signal(signal.SIGHUP, before)
