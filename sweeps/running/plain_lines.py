"""The progress of a running sweep as plain lines, for pipes, logs and notebooks."""

import datetime
import sys
import threading
import time
from collections.abc import Callable
from typing import TextIO

from sweeps.running.described import counts, describe
from sweeps.running.events import EpochFinished, Event, Notice, Snapshot, TrialEnded

IMAGES_EVERY_S = 30.0  # time between two plain lines about the images


class PlainLines:
    """A view that prints one line per event on stderr, with the time of day."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._lock = threading.Lock()
        self._snapshot: Callable[[], Snapshot] | None = None
        self._images_at = time.monotonic()

    def notify(self, event: Event) -> None:
        """Print the event as one line, unless it is one of thousands."""
        if isinstance(event, EpochFinished):
            return
        line = describe(event)
        if isinstance(event, TrialEnded) and self._snapshot is not None:
            line += f"  [{counts(self._snapshot())}]"
        with self._lock:
            print(
                f"{datetime.datetime.now().astimezone():%H:%M:%S}  {line}",
                file=self._stream,
                flush=True,
            )

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
        return self

    def __exit__(self, *exception: object) -> None:
        pass
