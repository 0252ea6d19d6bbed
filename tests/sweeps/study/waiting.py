"""Waiting for another thread, which a test does only so long."""

import threading
from collections.abc import Callable

WAIT_S = 120.0  # how long a test waits for another thread before it fails


def until(condition: Callable[[], bool]) -> None:
    """Wait for another thread."""
    waiting = threading.Event()
    for _ in range(int(WAIT_S / 0.01)):
        if condition():
            return
        waiting.wait(0.01)
    raise AssertionError("nothing happened")
