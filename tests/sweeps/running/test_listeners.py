"""Those who are told of a sweep cannot fail it, nor each other."""

import logging

import pytest

from sweeps.running.events import Notice, Silent
from sweeps.running.listeners import Views, each_told


class Gone(Silent):
    """A view whose terminal is gone."""

    def notify(self, event: object) -> None:
        raise BrokenPipeError(32, "Broken pipe")

    def images(self, what: str, done: int, total: int) -> None:
        raise KeyError(what)


class Kept(Silent):
    """A view that keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[object] = []

    def notify(self, event: object) -> None:
        self.told.append(event)

    def watch(self, name: str, snapshot: object) -> None:
        self.told.append(name)

    def images(self, what: str, done: int, total: int) -> None:
        self.told.append((what, done, total))


def test_a_view_that_fails_keeps_nothing_from_the_others_and_is_logged_once(
    caplog: pytest.LogCaptureFixture,
):
    first, last = Kept(), Kept()
    views = Views(first, Gone(), last)
    with caplog.at_level(logging.WARNING):
        for text in ("a", "b"):
            views.notify(Notice(text))
        views.watch("mask", None)  # type: ignore[arg-type]
        views.images("images decoded", 1, 2)
    assert first.told == last.told
    assert last.told == [Notice("a"), Notice("b"), "mask", ("images decoded", 1, 2)]
    assert caplog.messages == [
        "Gone.notify failed and may miss events (BrokenPipeError: [Errno 32] Broken pipe)",
        "Gone.images failed and may miss events (KeyError: 'images decoded')",
    ]


def test_who_asks_to_end_the_process_is_obeyed():
    def leave(event: object) -> None:
        raise SystemExit(130)

    with pytest.raises(SystemExit):
        each_told(leave)("x")
