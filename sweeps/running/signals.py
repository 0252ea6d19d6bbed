"""How a sweep is asked to end: Ctrl-C, `sweeps stop`, a lost lease."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

from sweeps.errors import InfrastructureError, LeaseLostError
from sweeps.running.events import Notice, ProgressView

if TYPE_CHECKING:
    from sweeps.running.driver import Driver


class StopRequest(Exception):  # noqa: N818 - it is not an error: a user asked to stop
    """A user asked the sweep to stop before its driver started."""


class PendingSignals:
    """Keeps the reports of the lease's thread until a driver can receive them.

    The lease reports that it is lost, or that a user asked to stop. Other threads on which the
    sweep depends report that they have ended.
    """

    def __init__(self, view: ProgressView) -> None:
        self._view = view
        self._driver: Driver | None = None
        self._lost: InfrastructureError | None = None
        self._stop_now: bool | None = None

    def on_lost(self, error: InfrastructureError) -> None:
        """Keep the error that ends the sweep, or pass it on to the driver; a lost lease stays."""
        if not isinstance(self._lost, LeaseLostError):
            self._lost = error
        self._pass_on()

    def on_stop(self, now: bool) -> None:
        """Keep a stop request of `sweeps stop`, or pass it on to the driver.

        Args:
            now: True to interrupt running trials; False to let them finish.
        """
        self._stop_now = now
        self._pass_on()
        how = "running trials are interrupted" if now else "running trials go on to their end"
        self._view.notify(Notice(f"asked to stop by `sweeps stop`: {how}"))

    def connect(self, driver: "Driver") -> None:
        """Pass the kept report and all later reports on to this driver."""
        self._driver = driver
        self._pass_on()

    def check(self) -> None:
        """Raise the kept report; for use while there is no driver.

        Raises:
            InfrastructureError: the lease is lost.
            StopRequest: a user asked to stop.
        """
        if self._lost is not None:
            raise self._lost
        if self._stop_now is not None:
            raise StopRequest

    def _pass_on(self) -> None:
        if self._driver is None:
            return
        if self._lost is not None:
            self._driver.fail(self._lost)
        elif self._stop_now is not None:
            (self._driver.stop if self._stop_now else self._driver.drain)()


def ending_signals() -> list[signal.Signals]:
    """The signals that ask a program to end: Ctrl-C, SIGTERM, and a SIGHUP that is not ignored."""
    hang_up = signal.getsignal(signal.SIGHUP) != signal.SIG_IGN
    return [signal.SIGINT, signal.SIGTERM, *([signal.SIGHUP] if hang_up else [])]


@contextlib.contextmanager
def ctrl_c(driver: "Driver") -> Iterator[None]:
    """While the context is open, Ctrl-C, SIGTERM and SIGHUP stop the driver.

    At the first signal, running trials save their state. A second Ctrl-C does not wait for them. A
    SIGHUP that is ignored, as below `nohup`, stays ignored.
    """
    # Python can handle signals only in the main thread
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(*_: object) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        driver.stop()

    before = {number: signal.signal(number, stop) for number in ending_signals()}
    try:
        yield
    except KeyboardInterrupt:
        driver.stop()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
