"""The progress of a running sweep as plain lines, for pipes, logs and notebooks."""

import contextlib
import datetime
import queue
import sys
import threading
import time
from collections.abc import Callable
from typing import TextIO

from sweeps.running.described import counts, describe
from sweeps.running.events import EpochFinished, Event, Notice, Snapshot, TrialEnded

IMAGES_EVERY_S = 30.0  # time between two plain lines about the images
CLOSING_S = 5.0  # how long the end of the context waits for a reader who does not read


class PlainLines:
    """A view that prints one line per event on stderr, with the time of day.

    Within its context a separate thread prints, because a pipe whose reader pauses (`| less`) and a
    terminal that is held with Ctrl-S block who writes to them: that must not be the driver.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._snapshot: Callable[[], Snapshot] | None = None
        self._images_at = time.monotonic()
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._print_until_closed, name="lines", daemon=True)

    def notify(self, event: Event) -> None:
        """Print the event as one line, unless it is one of thousands."""
        if isinstance(event, EpochFinished):
            return
        line = describe(event)
        if isinstance(event, TrialEnded) and self._snapshot is not None:
            line += f"  [{counts(self._snapshot())}]"
        line = f"{datetime.datetime.now().astimezone():%H:%M:%S}  {line}\n"
        if self._thread.is_alive():
            self._lines.put(line)
        else:
            self._print(line)

    def watch(self, name: str, snapshot: Callable[[], Snapshot]) -> None:
        """From now on, add the counts of the sweep to the line of an ended trial."""
        self._snapshot = snapshot

    def images(self, what: str, done: int, total: int) -> None:
        """Print a line every half minute, and a line when all images are done."""
        now = time.monotonic()
        if done == total or now - self._images_at > IMAGES_EVERY_S:
            self._images_at = now
            self.notify(Notice(f"{what}: {done:,} of {total:,}"))

    def __enter__(self) -> "PlainLines":
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._lines.put(None)
        self._thread.join(CLOSING_S)

    def _print_until_closed(self) -> None:
        while (line := self._lines.get()) is not None:
            self._print(line)

    def _print(self, line: str) -> None:
        with contextlib.suppress(OSError, ValueError):  # the stream is gone
            self._stream.write(line)
            self._stream.flush()
