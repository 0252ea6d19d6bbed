"""The progress of a running sweep: a live view on a terminal, else one line per event."""

import contextlib
import queue
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Protocol

from rich.console import Console, RenderableType
from rich.live import Live
from rich.progress import Progress as RichProgress
from rich.progress import TaskID
from rich.text import Text

from sweeps.cli.live_view import draw
from sweeps.running.described import counts, describe
from sweeps.running.events import EndState, Event, Notice, ProgressView, Snapshot, TrialEnded
from sweeps.running.plain_lines import PlainLines


@contextlib.contextmanager
def reading_images(*, plain: bool = False) -> Iterator[Callable[[str, int, int], None]]:
    """Show how far a long activity is, in a command that runs no sweep.

    On a terminal the progress is a bar, else a line every half minute and at the end.

    Args:
        plain: print lines on a terminal, too.

    Yields:
        a function that takes the name of the activity, the number of items that are done, and the
        number of all items.
    """
    console = Console(stderr=True)
    if plain or not console.is_terminal:
        yield PlainLines().images
        return
    with RichProgress(*RichProgress.get_default_columns(), console=console, transient=True) as bar:
        tasks: dict[str, TaskID] = {}

        def report(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(what, total=total)
            bar.update(tasks[what], completed=done, total=total)

        yield report


@contextlib.contextmanager
def telling() -> Iterator[Callable[[str], None]]:
    """Show on stderr what a command computes: one line that changes on a terminal, else lines.

    Yields:
        a function that takes the name of the next step.
    """
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda text: print(f"{text} ...", file=sys.stderr, flush=True)
        return
    with console.status("") as status:
        yield lambda text: status.update(f"{text} ...")


class Progress(ProgressView, Protocol):
    """A view of a running sweep. Leaving the context restores the terminal."""

    def __enter__(self) -> "Progress": ...

    def __exit__(self, *exception: object) -> None: ...


def choose_progress(*, plain: bool) -> Progress:
    """The live view if stderr is a terminal and `plain` is false, else plain lines."""
    console = Console(stderr=True)
    return PlainLines() if plain or not console.is_terminal else LiveProgress(console)


class LiveProgress:
    """A view that is drawn again four times a second.

    Notices, failed trials and trials with a new best score are printed above the view.

    A separate thread draws. It asks for the snapshot, which takes the driver's lock, before it
    takes a lock of rich: to hold both locks in the opposite order could end in a deadlock.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, auto_refresh=False, transient=True)
        self._name = ""
        self._snapshot: Callable[[], Snapshot] | None = None
        self._before = Text("reading the data and starting Ray")
        self._events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._closed = threading.Event()
        self._thread = threading.Thread(
            target=self._draw_until_closed, name="progress", daemon=True
        )

    def notify(self, event: Event) -> None:
        """Keep the event until the thread draws next."""
        self._events.put(event)

    def watch(self, name: str, snapshot: Callable[[], Snapshot]) -> None:
        """From now on, show this sweep."""
        self._name = name
        self._snapshot = snapshot

    def images(self, what: str, done: int, total: int) -> None:
        """Show how many images are done."""
        self._before = Text(f"{what}: {done:,} of {total:,}")

    def __enter__(self) -> "LiveProgress":
        self._live.start()
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._closed.set()
        self._thread.join()
        self._draw()
        self._live.stop()
        if self._snapshot is not None:
            self._console.print(counts(self._snapshot()), highlight=False, markup=False)

    def _draw_until_closed(self) -> None:
        while not self._closed.wait(0.25):
            self._draw()

    def _draw(self) -> None:
        snapshot = self._snapshot
        view = (
            self._before
            if snapshot is None
            else render(self._name, snapshot(), console=self._console)
        )
        while not self._events.empty():
            event = self._events.get()
            failed = isinstance(event, TrialEnded) and event.state == EndState.FAILED
            if (
                isinstance(event, Notice)
                or failed
                or (isinstance(event, TrialEnded) and event.best)
            ):
                self._console.print(
                    describe(event), style="red" if failed else "", highlight=False, markup=False
                )
        self._live.update(view, refresh=True)


def render(name: str, snapshot: Snapshot, *, console: Console) -> RenderableType:
    """The live view of one snapshot; one line of the terminal stays free for the cursor."""
    lines = draw(name, snapshot, width=console.width, height=max(1, console.height - 1))
    text = Text("\n".join(lines), no_wrap=True, overflow="crop")
    text.stylize("bold", 0, len(name))
    return text
