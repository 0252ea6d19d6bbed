"""`sweep.log`: the events of all runs of a sweep, whatever its terminal shows.

A line is written on a thread of its own, because a disk may hang, and the driver holds its lock
while it reports an event. A disk that refuses lines ends nothing.
"""

import contextlib
import datetime
import queue
import threading

from sweeps.paths import SweepFiles
from sweeps.running.described import describe
from sweeps.running.events import EpochFinished, Event, Notice, Silent

CLOSING_S = 5.0  # how long the end of a run waits for a disk that hangs


class EventLog(Silent):
    """A view that writes lines into the sweep's log.

    This is a context manager. The log begins with the sweep: until its directory is that of a
    sweep, lines wait, so that a sweep that is refused leaves nothing.
    """

    def __init__(self, files: SweepFiles) -> None:
        self._files = files
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._waiting: list[str] = []
        self._thread = threading.Thread(target=self._write, name="event log", daemon=True)

    def __enter__(self) -> "EventLog":
        self._thread.start()
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is not None:
            self.add(f"ended: {error or type(error).__name__}")
        self._lines.put(None)
        self._thread.join(CLOSING_S)

    def add(self, text: str) -> None:
        """Log a text with the time of now; a text of several lines becomes one."""
        now = datetime.datetime.now().astimezone().isoformat(timespec="seconds")
        self._lines.put(f"{now}  {' '.join(text.splitlines())}\n")

    def notify(self, event: Event) -> None:
        """Log an event, unless it is one of thousands."""
        if not isinstance(event, EpochFinished):
            self.add(describe(event))

    def images(self, what: str, done: int, total: int) -> None:
        """Log that all images are done."""
        if done == total:
            self.add(describe(Notice(f"{what}: {done:,} of {total:,}")))

    def _write(self) -> None:
        while (line := self._lines.get()) is not None:
            self._waiting.append(line)
            # a full disk, a mount that is stale: the lines are lost, as the terminal's are for
            # somebody who is away
            with contextlib.suppress(OSError):
                if self._files.about.is_file():
                    lines, self._waiting = self._waiting, []
                    with self._files.log.open("a", encoding="utf-8") as file:
                        file.writelines(lines)
