"""The driver's side of the tracker process: it feeds the process, and never waits for it.

Events go into a queue that drops when it is full. A thread writes them into the process's pipe,
and starts the process again when it died. Whatever is lost on the way is in the records, where the
process finds it: the next line says that something was dropped.
"""

import contextlib
import dataclasses
import json
import logging
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from sweeps.errors import LeaseLostError
from sweeps.paths import SweepFiles
from sweeps.running.events import Event, Notice
from sweeps.running.listeners import each_told
from sweeps.space.spec import SweepSpec
from sweeps.study.storage import STORAGE_ERRORS
from sweeps.tracking.choice import ready
from sweeps.tracking.lines import NOTICE, Start, news_of
from sweeps.tracking.orders import SHOWN, Order

logger = logging.getLogger(__name__)

# -P: a folder `sweeps` of the user's, where W&B's files may lie, is not taken for this package
COMMAND = (sys.executable, "-P", "-m", "sweeps.tracking")
QUEUE = 10_000  # events; 2 MB at most


@dataclasses.dataclass(frozen=True)
class FeedTimes:
    """Times of a feed, in seconds.

    Attributes:
        restart_after: a process that died is started again this long after its last start, or when
            the sweep ends.
        end_within: how long the process may take at the end; then it is killed.
        poll: how often the feed looks whether the process lives.
        gather: how long lines gather before they are written at once. A thread that wakes for each
            of them takes the interpreter from the driver's threads.
    """

    restart_after: float = 60.0
    end_within: float = 20.0
    poll: float = 0.5
    gather: float = 0.2


def open_feed(
    spec: SweepSpec,
    files: SweepFiles,
    *,
    storage_url: str,
    notify: Callable[[Event], None],
    fence: Callable[[], None],
) -> "Feed":
    """The feed of a sweep that begins or goes on in this process.

    Args:
        notify: is told what the user should know of the trackers.
        fence: see Feed.
    """
    trackers, notices = ready(spec.tracking, sweep=spec.name)
    for notice in notices:
        notify(Notice(notice))
    start = Start(files.directory.parent, spec.name, storage_url, trackers)
    return Feed(start, log=files.tracking_log, notice=notify, fence=fence)


class Feed:
    """Feeds the tracker process of one sweep: a context manager around the driver's.

    Without trackers there is no process.

    Attributes:
        dropped: number of events that found the queue full.
        starts: how often the process was started.
    """

    def __init__(
        self,
        start: Start,
        *,
        log: Path,
        notice: Callable[[Notice], None] = lambda notice: None,
        fence: Callable[[], None] = lambda: None,
        times: FeedTimes = FeedTimes(),
        command: Sequence[str] = COMMAND,
        size: int = QUEUE,
    ) -> None:
        """Prepare; the process starts with the context.

        Args:
            log: the file that gets what the process prints.
            notice: is told what the user should know of the trackers.
            fence: called before the process is told something, for example `Lease.confirm`.
                LeaseLostError means that another driver has the sweep: its process tells of it,
                and this one is killed.
            size: events that the queue holds.
        """
        self._start = start
        self._log = log
        self._notice = each_told(notice)
        self._fence = fence
        self._times = times
        self._command = tuple(command)
        self._lines: queue.Queue[str] = queue.Queue(size)
        self._on_order: Callable[[Order], None] | None = None
        self._early: list[Order] = []  # before there is a driver
        self._said: set[str] = set()
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._process: subprocess.Popen[str] | None = None
        self.dropped = 0
        self._lost = False  # whether something was dropped since the last line
        self.starts = 0
        self._complete = False  # whether the last process ended with everything told
        self._given_up = False  # whether the end took too long
        self._superseded = False  # whether another driver has the sweep
        self._thread = threading.Thread(target=self._work, name="tracker feed", daemon=True)

    def __enter__(self) -> "Feed":
        if self._start.trackers:
            self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        if not self._start.trackers:
            return
        self._closing.set()
        self._thread.join(self._times.end_within)
        if self._thread.is_alive():
            self._given_up = True
            logger.warning("the tracker process did not end in time")
            self._kill()
            self._thread.join(self._times.poll)
        if not self._complete and not self._superseded:
            names = " and ".join(SHOWN.get(name, name) for name in self._start.trackers)
            self._notice(
                Notice(
                    f"{names} may lack some of this sweep ({self._log} says why): "
                    f"`sweeps sync {self._start.sweep}` sends it"
                )
            )

    @property
    def pid(self) -> int | None:
        """Id of the tracker process that was started last; None before the first."""
        return None if self._process is None else self._process.pid

    def notify(self, event: Event) -> None:
        """Take an event of the driver; this method neither blocks nor raises."""
        news = news_of(event)
        if news is None or not self._start.trackers:
            return
        try:
            self._lines.put_nowait(dataclasses.replace(news, lost=self._lost).line())
            self._lost = False
        except queue.Full:
            self.dropped += 1
            self._lost = True

    def connect(self, on_order: Callable[[Order], None]) -> None:
        """Pass on what users order, from now on and since the start."""
        with self._lock:
            self._on_order = on_order
            early, self._early = self._early, []
        for order in early:
            on_order(order)

    def _work(self) -> None:
        while True:
            started = time.monotonic()
            # a process that died shortly before the sweep's end, or dies meanwhile, is replaced
            # once, to tell what is left
            closing = self._closing.is_set()
            self._complete = False
            try:
                self._run_process()
            # the process cannot be started, or its pipe broke
            except OSError as error:
                logger.debug("tracker process: %s", error)
            if self._complete or closing or self._given_up or self._superseded:
                return
            logger.warning("the tracker process ended; %s says why", self._log)
            restart_in = started + self._times.restart_after - time.monotonic()
            self._closing.wait(max(0.0, restart_in))

    def _run_process(self) -> None:
        """Start the process, and feed it until it ends."""
        with (
            self._log.open("ab") as log,
            subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,  # Ctrl-C in the terminal is for the driver
            ) as process,
        ):
            self._process = process
            self.starts += 1
            threading.Thread(
                target=self._read_answers, args=(process,), name="tracker answers", daemon=True
            ).start()
            assert process.stdin is not None
            told_all = False
            try:
                with contextlib.suppress(BrokenPipeError, LeaseLostError), process.stdin as pipe:
                    pipe.write(self._start.line())
                    pipe.flush()
                    told_all = self._feed(process)
            finally:
                self._complete = process.wait() == 0 and told_all

    def _feed(self, process: subprocess.Popen[str]) -> bool:
        """Write lines until the process dies, or until the queue is empty at the end.

        Returns:
            Whether the process lived to the end.
        """
        assert process.stdin is not None
        while process.poll() is None:
            try:
                line = self._lines.get(timeout=self._times.poll)
            except queue.Empty:
                if self._closing.is_set():
                    self._confirm()
                    return process.poll() is None
                continue
            self._closing.wait(self._times.gather)
            self._confirm()
            process.stdin.write(line)
            for _ in range(self._lines.qsize()):  # nobody else takes lines out
                process.stdin.write(self._lines.get())
            process.stdin.flush()
        return False

    def _confirm(self) -> None:
        """Kill the process and raise LeaseLostError if another driver has the sweep."""
        try:
            self._fence()
        except LeaseLostError:
            self._superseded = True
            self._kill()
            raise
        except STORAGE_ERRORS:
            pass  # then the process has no records either that it could tell

    def _read_answers(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        # the pipe is closed, or somebody else writes to it
        with contextlib.suppress(OSError, ValueError):
            for line in process.stdout:
                try:
                    answer = json.loads(line)
                    if NOTICE in answer:
                        self._say(str(answer[NOTICE]))
                        continue
                    order = Order.of_json(answer)
                except (ValueError, KeyError, TypeError):
                    logger.warning("tracker process: not an order: %s", line.strip()[:200])
                    continue
                self._pass_on(order)

    def _say(self, text: str) -> None:
        """Pass on a sentence, but not once more when a process that was started again says it."""
        if text not in self._said:
            self._said.add(text)
            self._notice(Notice(text))

    def _pass_on(self, order: Order) -> None:
        with self._lock:
            if self._on_order is None:
                self._early.append(order)
                return
        self._on_order(order)

    def _kill(self) -> None:
        """End the process with all processes that it started."""
        process = self._process
        if process is not None and process.poll() is None:
            with contextlib.suppress(OSError):
                os.killpg(process.pid, signal.SIGKILL)
