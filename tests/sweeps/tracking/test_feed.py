"""The driver's side: it never waits, and what is lost on the way is in the records."""

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError

from sweeps.errors import LeaseLostError
from sweeps.running.events import EpochFinished, Event, Notice, TrialStarted
from sweeps.running.local import run_local
from sweeps.tracking.feed import Feed, FeedTimes
from sweeps.tracking.lines import News, Start
from sweeps.tracking.orders import Order
from sweeps.tracking.tracker import Command
from tests.sweeps.running.curve_sweep import report
from tests.sweeps.tracking.in_tensorboard import in_tensorboard
from tests.sweeps.tracking.simulated import STEPS, SimulatedTrials, TrackedSweep

Make = Callable[..., TrackedSweep]
STARTED = TrialStarted(0, {}, continued=False)
LATE_S = 120.0


def program(text: str) -> tuple[str, ...]:
    """A tracker process of the test's own."""
    return (sys.executable, "-c", text)


@pytest.fixture
def events() -> list[Event]:
    return []


@pytest.fixture
def feed(tmp_path: Path, events: list[Event]) -> Callable[..., Feed]:
    def make(
        text: str, *, size: int = 100, fence: Callable[[], None] = lambda: None, **times: float
    ) -> Feed:
        start = Start(tmp_path, "mask", "sqlite://", ("wandb", "tensorboard"))
        given = FeedTimes(**{"end_within": LATE_S, "poll": 0.01, "gather": 0.0, **times})
        log = tmp_path / "tracking.log"
        return Feed(
            start,
            log=log,
            notice=events.append,
            fence=fence,
            times=given,
            command=program(text),
            size=size,
        )

    return make


def wait_for(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + LATE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


COPY = "import sys; sys.stderr.write(sys.stdin.read())"


def test_the_process_reads_the_start_and_then_the_news(feed: Callable[..., Feed], tmp_path: Path):
    told = [STARTED, EpochFinished(0, report(0, 1, 0.5)), Notice("hello")]
    with feed(COPY) as open_feed:
        for event in told:
            open_feed.notify(event)
    lines = (tmp_path / "tracking.log").read_text().splitlines()
    assert '"sweep": "mask"' in lines[0]
    assert lines[1] == '{"trial": 0, "about": "started", "epoch": null, "lost": false}'
    assert lines[2].startswith('{"trial": 0, "about": "epoch", "epoch": {"fold": 0, "epoch": 1, ')
    assert len(lines) == 3


def test_a_full_queue_drops_and_the_driver_goes_on(feed: Callable[..., Feed]):
    """The process never reads: its pipe is full after some thousand lines."""
    with feed("import time; time.sleep(600)", end_within=0.5) as open_feed:
        for _ in range(5000):
            open_feed.notify(STARTED)
        assert open_feed.dropped > 0


def test_the_next_line_says_that_something_was_dropped(
    feed: Callable[..., Feed], events: list[Event], tmp_path: Path
):
    waiting = feed(COPY, size=1)
    waiting.notify(STARTED)
    waiting.notify(TrialStarted(1, {}, continued=False))
    assert waiting.dropped == 1
    with waiting:
        wait_for(waiting._lines.empty)
        for number in (2, 3):
            waiting.notify(TrialStarted(number, {}, continued=False))
            wait_for(waiting._lines.empty)
    lines = map(News.of_line, (tmp_path / "tracking.log").read_text().splitlines()[1:])
    assert [(news.trial, news.lost) for news in lines] == [(0, False), (2, True), (3, False)]


def test_lines_gather_and_are_written_at_once(feed: Callable[..., Feed], tmp_path: Path):
    """What comes while the first line waits is written with it, at the latest at the end."""
    with feed(COPY, gather=LATE_S) as open_feed:
        open_feed.notify(STARTED)
        wait_for(open_feed._lines.empty)
        open_feed.notify(STARTED)
    assert open_feed._complete
    assert len((tmp_path / "tracking.log").read_text().splitlines()) == 3


def test_a_process_that_hangs_is_ended_after_its_time(
    feed: Callable[..., Feed], events: list[Event]
):
    with feed("import time; time.sleep(600)", end_within=0.5) as open_feed:
        wait_for(lambda: open_feed._process is not None)
    process = open_feed._process
    assert process is not None
    assert process.wait(LATE_S) == -signal.SIGKILL
    (notice,) = events
    assert isinstance(notice, Notice)
    assert notice.text.startswith("W&B and TensorBoard may lack some of this sweep (")
    assert notice.text.endswith("says why): `sweeps sync mask` sends it")


def test_a_feed_whose_sweep_another_driver_has_tells_no_more_and_is_no_loss(
    feed: Callable[..., Feed], events: list[Event], tmp_path: Path
):
    """Two processes that tell of one sweep would write into the same files."""
    lost: list[Exception] = [OperationalError("UPDATE", {}, Exception("server gone"))]

    def fence() -> None:
        if lost:
            raise lost[0]

    log = tmp_path / "tracking.log"
    log.touch()
    read = "import sys; [print(line, end='', file=sys.stderr, flush=True) for line in sys.stdin]"
    with feed(read, fence=fence) as open_feed:
        open_feed.notify(STARTED)  # while the storage is silent: nobody has taken over yet
        wait_for(lambda: len(log.read_text().splitlines()) == 2)
        lost[0] = LeaseLostError("another driver took over sweep 'mask'; this one stops")
        open_feed.notify(STARTED)
    process = open_feed._process
    assert process is not None
    assert process.wait(LATE_S) == -signal.SIGKILL
    assert len(log.read_text().splitlines()) == 2
    assert (open_feed.starts, events) == (1, [])


@pytest.mark.parametrize(("code", "told"), [(0, 0), (1, 1)])
def test_a_process_that_does_not_have_everything_is_told_to_the_user(
    feed: Callable[..., Feed], events: list[Event], code: int, told: int
):
    with feed(f"import sys; sys.stdin.read(); sys.exit({code})"):
        pass
    assert len(events) == told


def test_a_process_that_died_is_started_again_after_its_time(feed: Callable[..., Feed]):
    with feed("", restart_after=0.0) as open_feed:
        wait_for(lambda: open_feed.starts >= 3)
    with feed("", restart_after=600.0) as open_feed:
        wait_for(lambda: open_feed._process is not None and open_feed._process.poll() is not None)
        open_feed.notify(STARTED)
        assert open_feed.starts == 1
    assert open_feed.starts == 2  # once more at the end, to tell what is left


def test_a_program_that_cannot_be_started_costs_nothing(tmp_path: Path, events: list[Event]):
    start = Start(tmp_path, "mask", "sqlite://", ("mlflow",))
    nowhere = (str(tmp_path / "nothing"),)
    with Feed(start, log=tmp_path / "log", notice=events.append, command=nowhere) as open_feed:
        open_feed.notify(STARTED)
    assert [type(event) for event in events] == [Notice]


def test_without_trackers_there_is_no_process(tmp_path: Path, events: list[Event]):
    with Feed(Start(tmp_path, "mask", "", ()), log=tmp_path / "log", notice=events.append) as feed:
        feed.notify(STARTED)
    assert (feed.starts, events) == (0, [])
    assert not (tmp_path / "log").exists()


ORDERS = """\
import sys
print('{"by": "wandb", "command": "pause", "stop": [3]}', flush=True)
print('Syncing run...', flush=True)
print('{"by": "wandb", "command": "explode", "stop": []}', flush=True)
print('{"by": "wandb", "command": "run", "stop": []}', flush=True)
sys.stdin.read()
"""


def test_orders_come_back_and_other_output_is_ignored(
    feed: Callable[..., Feed], caplog: pytest.LogCaptureFixture
):
    orders: list[Order] = []
    with feed(ORDERS) as open_feed:
        wait_for(lambda: open_feed._early)
        open_feed.connect(orders.append)
        wait_for(lambda: len(orders) == 2)
    assert orders == [Order("wandb", Command.PAUSE, frozenset({3})), Order("wandb", Command.RUN)]
    assert "not an order: Syncing run..." in caplog.text


def test_what_the_process_has_to_say_is_said_once(feed: Callable[..., Feed], events: list[Event]):
    """Also if it is started again, and says it again."""
    program = "import json; print(json.dumps({'notice': 'W&B refuses trial 7: no'}), flush=True)"
    with feed(program, restart_after=0.0) as open_feed:
        wait_for(lambda: open_feed.starts >= 3)
    assert events[0] == Notice("W&B refuses trial 7: no")
    assert events.count(events[0]) == 1


class TestWithASweep:
    """The real process, on a sweep that writes records."""

    def test_a_folder_of_the_user_is_not_taken_for_the_package(
        self, tracked: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        (tmp_path / "sweeps").mkdir()
        (tmp_path / "sweeps" / "__init__.py").write_text("raise SystemExit(9)\n")
        monkeypatch.chdir(tmp_path)
        sweep = tracked()
        events: list[Event] = []
        with Feed(
            sweep.start("tensorboard"),
            log=sweep.files.tracking_log,
            notice=events.append,
            times=FeedTimes(end_within=LATE_S, poll=0.05),
        ):
            pass
        assert events == []

    def test_killed_three_times_it_shows_every_step_once(self, tracked: Make):
        sweep = tracked("run_cap=4")
        trials = SimulatedTrials()
        feed = Feed(
            sweep.start("tensorboard"),
            log=sweep.files.tracking_log,
            times=FeedTimes(restart_after=0.0, end_within=LATE_S, poll=0.05),
        )

        def kill(number: int, fold: int, epoch: int) -> None:
            """After the process has shown something new."""
            if (fold, epoch) == (1, 2) and number < 3:
                wait_for(lambda: in_tensorboard(sweep.folder, number).steps)
                assert feed._process is not None
                os.kill(feed._process.pid, signal.SIGKILL)

        trials.before = kill
        with feed, sweep.driver(listener=feed.notify) as driver:
            run_local(driver, trial=trials)
        assert feed.starts == 4
        for number in range(4):
            shown = in_tensorboard(sweep.folder, number)
            assert shown.steps == STEPS
            assert shown.score == pytest.approx(sweep.trial(number).value)

    def test_what_a_full_queue_dropped_comes_from_the_records(self, tracked: Make):
        sweep = tracked()
        feed = Feed(
            sweep.start("tensorboard"),
            log=sweep.files.tracking_log,
            times=FeedTimes(end_within=LATE_S, poll=0.05),
            size=1,
        )
        feed._lines.put("{}\n")  # nothing is taken out before the process runs
        with sweep.driver(listener=feed.notify) as driver:
            run_local(driver, trial=SimulatedTrials())
        assert feed.dropped > 0
        with feed:
            pass
        for number in range(3):
            assert in_tensorboard(sweep.folder, number).steps == STEPS
