"""How a running sweep looks."""

import io
import re
import threading

import pytest
from rich.console import Console

from sweeps.cli.progress import (
    LiveProgress,
    choose_progress,
    reading_images,
)
from sweeps.running.described import describe
from sweeps.running.events import (
    Event,
    FoldFinished,
    Notice,
    Snapshot,
    TrialEnded,
    TrialStarted,
)
from sweeps.running.plain_lines import PlainLines
from tests.sweeps.running.snapshots import SNAPSHOT


class Watched:
    """What a view needs of a driver: a snapshot, taken under the driver's lock."""

    def __init__(self, snapshot: Snapshot = SNAPSHOT) -> None:
        self.lock = threading.RLock()
        self.waits = threading.Event()  # somebody asks, and gets no answer while the lock is held
        self._snapshot = snapshot

    def snapshot(self) -> Snapshot:
        self.waits.set()
        with self.lock:
            self.waits.clear()
            return self._snapshot


def terminal() -> Console:
    return Console(width=100, file=io.StringIO(), force_terminal=True, color_system=None)


def shown(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", console.file.getvalue())  # cursor movements
    return "\n".join(line.rstrip() for line in text.replace("\r", "").splitlines())


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (Notice("the last driver died"), "the last driver died"),
        (
            TrialStarted(
                7, {"lr": 0.00031234, "optimizer": "adam", "batch_size": 32}, continued=False
            ),
            "trial 7 started  lr=0.000312  optimizer=adam  batch_size=32",
        ),
        (TrialStarted(7, {"lr": 1e-5}, continued=True), "trial 7 continued  lr=1e-05"),
        (FoldFinished(7, fold=0, k=5, score=0.98765), "trial 7 fold 1/5 scored 0.9877"),
        (
            TrialEnded(7, "completed", 0.98765, "", best=False, seconds=61.26),
            "trial 7 completed 0.9877 after 61.3 s",
        ),
        (
            TrialEnded(7, "completed", 0.0, "", best=True, seconds=1),
            "trial 7 completed 0.0000 (best so far) after 1.0 s",
        ),
        (
            TrialEnded(7, "pruned", None, "median rule", best=False, seconds=1),
            "trial 7 pruned after 1.0 s: median rule",
        ),
        (
            TrialEnded(7, "failed", None, "out of luck", best=False, seconds=1),
            "trial 7 failed after 1.0 s: out of luck",
        ),
        (
            TrialEnded(7, "interrupted", None, "", best=False, seconds=0),
            "trial 7 interrupted after 0.0 s",
        ),
    ],
)
def test_an_event_is_one_line(event: Event, line: str):
    assert describe(event) == line


class TestLive:
    def test_events_and_drawing_never_wait_for_each_other(self):
        """The driver tells events while it holds its lock;
        the view asks the driver while it draws.
        """
        console = terminal()
        driver = Watched()
        told = threading.Event()

        def drive() -> None:
            for number in range(3):
                with driver.lock:
                    assert driver.waits.wait(timeout=60), "the view no longer draws"
                    progress.notify(Notice(f"event {number}"))
                    progress.notify(
                        TrialEnded(number, "failed", None, "out of luck", best=False, seconds=1)
                    )
            told.set()

        with LiveProgress(console) as progress:
            progress.watch("digits", driver.snapshot)
            threading.Thread(target=drive, daemon=True).start()
            assert told.wait(timeout=60), "deadlock"
        assert re.findall(r"event \d", shown(console)) == ["event 0", "event 1", "event 2"]

    def test_only_notices_failures_and_new_bests_scroll_above_the_view(self):
        console = terminal()
        with LiveProgress(console) as progress:
            progress.watch("digits", Watched().snapshot)
            progress.notify(TrialStarted(7, {"lr": 0.1}, continued=False))
            progress.notify(FoldFinished(7, 0, 5, 0.5))
            progress.notify(TrialEnded(7, "completed", 0.5, "", best=False, seconds=1))
            progress.notify(TrialEnded(8, "completed", 0.75, "", best=True, seconds=1))
            progress.notify(
                TrialEnded(9, "failed", None, "out of [red]luck[/]", best=False, seconds=1)
            )
            progress.notify(Notice("the budget of 1.0 hours is used up"))
        lines = [
            line
            for line in shown(console).splitlines()
            if line.startswith(("trial", "the")) and "epoch" not in line
        ]
        assert lines == [
            "trial 8 completed 0.7500 (best so far) after 1.0 s",
            "trial 9 failed after 1.0 s: out of [red]luck[/]",
            "the budget of 1.0 hours is used up",
        ]
        last = "3 completed, 1 pruned, 2 running, 1 failed of 16; best 0.9123 (trial 2)"
        assert shown(console).splitlines()[-1] == last

    def test_says_what_happens_before_the_first_trial(self):
        console = terminal()
        with LiveProgress(console) as progress:
            progress.images("reading images", 100, 1797)
        assert "reading images: 100 of 1,797" in shown(console)
        console = terminal()
        with LiveProgress(console):
            pass
        assert "reading the data and starting Ray" in shown(console)

    def test_leaves_the_terminal_in_order_after_an_error(self):
        console = terminal()
        with pytest.raises(KeyError, match="ours"), LiveProgress(console):
            raise KeyError("ours")
        assert isinstance(console.file, io.StringIO)
        hidden, back = (
            console.file.getvalue().count(cursor) for cursor in ("\x1b[?25l", "\x1b[?25h")
        )
        assert hidden == back == 1


class TestChoice:
    def test_a_live_view_on_a_terminal_unless_plain_lines_are_wanted(
        self, monkeypatch: pytest.MonkeyPatch
    ):
        assert isinstance(
            choose_progress(plain=False), PlainLines
        )  # pytest's stderr is no terminal
        monkeypatch.setenv("FORCE_COLOR", "1")
        assert isinstance(choose_progress(plain=False), LiveProgress)
        assert isinstance(choose_progress(plain=True), PlainLines)


class TestReadingImages:
    """The commands without a sweep."""

    def test_is_a_line_where_there_is_no_terminal(self, capsys: pytest.CaptureFixture[str]):
        with reading_images() as tell:
            tell("reading images", 5, 1200)
            tell("reading images", 1200, 1200)
            tell("comparing images", 1200, 1200)
        out, err = capsys.readouterr()
        assert [line[10:] for line in err.splitlines()] == [
            "reading images: 1,200 of 1,200",
            "comparing images: 1,200 of 1,200",
        ]
        assert out == ""

    def test_is_a_bar_on_a_terminal_that_is_gone_afterwards(self, monkeypatch: pytest.MonkeyPatch):
        console = terminal()
        monkeypatch.setattr("sweeps.cli.progress.Console", lambda stderr: console)
        with reading_images() as tell:
            tell("reading images", 600, 1200)
            tell("comparing images", 300, 1200)
        assert re.search(r"reading images .* 50%", shown(console))
        assert re.search(r"comparing images .* 25%", shown(console))
        assert isinstance(console.file, io.StringIO)
        assert console.file.getvalue().endswith("\x1b[2K")  # the last line drawn is erased

    def test_leaves_the_terminal_in_order_after_an_error(self, monkeypatch: pytest.MonkeyPatch):
        console = terminal()
        monkeypatch.setattr("sweeps.cli.progress.Console", lambda stderr: console)
        with pytest.raises(KeyError, match="ours"), reading_images():
            raise KeyError("ours")
        assert isinstance(console.file, io.StringIO)
        hidden, back = (
            console.file.getvalue().count(cursor) for cursor in ("\x1b[?25l", "\x1b[?25h")
        )
        assert hidden == back == 1
