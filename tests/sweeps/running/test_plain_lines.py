"""A running sweep as plain lines, one for each event."""

import io
import re
import threading
import types

import pytest

from sweeps.running.events import Notice, TrialEnded, TrialStarted
from sweeps.running.plain_lines import PlainLines
from tests.sweeps.running.snapshots import SNAPSHOT


def test_prints_a_line_per_event_with_the_time_and_counts_at_a_trials_end():
    stream = io.StringIO()
    with PlainLines(stream) as progress:
        progress.images("reading images", 1, 1797)
        progress.images("reading images", 1797, 1797)
        progress.notify(TrialEnded(0, "completed", 0.5, "", best=False, seconds=1))  # no driver yet
        progress.watch("digits", lambda: SNAPSHOT)
        progress.notify(TrialStarted(7, {"lr": 0.1}, continued=False))
        progress.notify(TrialEnded(7, "failed", None, "out of luck", best=False, seconds=1))
    lines = stream.getvalue().splitlines()
    assert all(re.fullmatch(r"\d\d:\d\d:\d\d  .*", line) for line in lines)
    assert [line[10:] for line in lines] == [
        "reading images: 1,797 of 1,797",
        "trial 0 completed 0.5000 after 1.0 s",
        "trial 7 started  lr=0.1",
        "trial 7 failed after 1.0 s: out of luck  "
        "[3 completed, 1 pruned, 2 running, 1 failed of 16; best 0.9123 (trial 2)]",
    ]


def test_says_how_far_the_images_are_now_and_then_and_at_the_end(monkeypatch: pytest.MonkeyPatch):
    now = [1000.0]
    stream = io.StringIO()
    monkeypatch.setattr(
        "sweeps.running.plain_lines.time", types.SimpleNamespace(monotonic=lambda: now[0])
    )
    progress = PlainLines(stream)
    for seconds, done in ((1, 1), (29, 2), (31, 3), (60, 4), (62, 5), (63, 6)):
        now[0] = 1000.0 + seconds
        progress.images("reading images", done, 6)
    assert [line[10:] for line in stream.getvalue().splitlines()] == [
        f"reading images: {done} of 6" for done in (3, 5, 6)
    ]


def test_goes_to_stderr(capsys: pytest.CaptureFixture[str]):
    PlainLines().notify(Notice("hello"))
    out, err = capsys.readouterr()
    assert (out, err[10:]) == ("", "hello\n")


def test_a_reader_who_does_not_read_delays_neither_the_driver_nor_much_the_end(
    monkeypatch: pytest.MonkeyPatch,
):
    """A pipe that is full, or a terminal that is held with Ctrl-S."""
    reads = threading.Event()

    class Held(io.StringIO):
        def write(self, text: str) -> int:
            reads.wait()
            return super().write(text)

    monkeypatch.setattr("sweeps.running.plain_lines.CLOSING_S", 0.05)
    stream = Held()
    with PlainLines(stream) as lines:
        for text in ("one", "two"):
            lines.notify(Notice(text))
    assert stream.getvalue() == ""
    reads.set()
    lines._thread.join()
    assert [line[10:] for line in stream.getvalue().splitlines()] == ["one", "two"]


def test_a_stream_that_is_gone_ends_nothing():
    stream = io.StringIO()
    stream.close()
    with PlainLines(stream) as lines:
        for _ in range(2):
            lines.notify(Notice("hello"))
    assert not lines._thread.is_alive()
