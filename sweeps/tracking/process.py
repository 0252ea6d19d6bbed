"""The tracker process of a sweep: `python -m sweeps.tracking`, started by the driver's `Feed`.

It reads lines of JSON on its standard input, see `lines`, and catches up from the records of the
sweep: whatever it was not told, it finds there. What users order in a tracker, and what the user
should read, goes out as lines of JSON on its standard output. The process ends when its input ends,
also if the driver was killed.
"""

import contextlib
import json
import logging
import os
import sys
import threading
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any, TextIO

from sweeps.paths import SweepFiles
from sweeps.results.view import find_sweep
from sweeps.study.storage import open_storage
from sweeps.tracking.choice import make_tracker
from sweeps.tracking.follower import Follower, FollowTimes
from sweeps.tracking.lines import NOTICE, News, Start
from sweeps.tracking.orders import Order
from sweeps.tracking.reading import Records
from sweeps.tracking.recorded import facts_of

logger = logging.getLogger(__name__)

# A tracker that hangs must not keep the process for ever when the driver was killed. A driver that
# lives ends the process earlier.
ENDING_S = 60.0
TIMES = FollowTimes()
# The trials go first, whose workers have 15 on Ray: what this process does is not urgent. On few
# cores it would otherwise take the time of the driver.
NICE = 19


def main() -> int:
    """Show a sweep until the standard input ends.

    Returns:
        The exit code: 0 if the trackers have everything, else 1.
    """
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    os.nice(NICE)
    with _own_stdout() as orders:
        return follow(sys.stdin, orders)


def follow(lines: TextIO, orders: TextIO, *, times: FollowTimes = TIMES) -> int:
    """See `main`; with streams and times of the caller."""
    first = lines.readline()
    if not first:
        return 0
    start = Start.of_line(first)
    sweep = find_sweep(open_storage(start.storage, must_exist=True), start.sweep)
    facts = facts_of(sweep, SweepFiles.of(start.runs, start.sweep))
    lock = threading.Lock()

    def send(value: dict[str, Any]) -> None:
        # the driver may be gone
        with lock, contextlib.suppress(OSError):
            print(json.dumps(value), file=orders, flush=True)

    def pass_on(order: Order) -> None:
        send(order.as_json())

    def say(text: str) -> None:
        send({NOTICE: text})

    followers = [
        Follower(
            name,
            partial(make_tracker, name),
            Records(sweep, facts),
            on_order=pass_on,
            say=say,
            times=times,
        )
        for name in start.trackers
    ]
    _pass_on(lines, followers)
    for follower in followers:
        follower.finish()
    for follower in followers:
        follower.join(ENDING_S / len(followers))
    return int(any(follower.behind for follower in followers))


def _pass_on(lines: Iterable[str], followers: Iterable[Follower]) -> None:
    for line in lines:
        # a driver that was killed leaves an unfinished line
        with contextlib.suppress(ValueError, KeyError, TypeError):
            news = News.of_line(line)
            for follower in followers:
                follower.news(news)


@contextlib.contextmanager
def _own_stdout() -> Iterator[TextIO]:
    """The standard output for orders alone; what libraries print goes to the log, stderr."""
    sys.stdout.flush()
    with os.fdopen(os.dup(1), "w") as orders:
        os.dup2(2, 1)
        yield orders
