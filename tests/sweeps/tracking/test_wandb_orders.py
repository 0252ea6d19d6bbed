"""What the state of a sweep at W&B asks for."""

import threading
from collections.abc import Callable, Iterator

import pytest

from sweeps.errors import TrackerError
from sweeps.tracking.tracker import Command
from sweeps.tracking.wandb_client import Patience
from sweeps.tracking.wandb_orders import Watch, command_of


@pytest.mark.parametrize(
    ("state", "command"),
    [
        ("RUNNING", Command.RUN),
        ("PENDING", Command.RUN),
        ("PAUSED", Command.PAUSE),
        ("FINISHED", Command.DRAIN),
        ("CANCELED", Command.INTERRUPT),
        ("CANCELLED", Command.INTERRUPT),
        ("Paused", Command.PAUSE),
        ("CRASHED", None),
    ],
)
def test_a_state_means_a_command(state: str, command: Command | None):
    assert command_of(state) is command


class Sweep:
    """A sweep at W&B whose state the test sets; every look asks for it once."""

    def __init__(self, state: str | Exception) -> None:
        self.state: str | Exception = state
        self.looks = threading.Semaphore(0)

    def __call__(self) -> str:
        self.looks.release()
        if isinstance(self.state, Exception):
            raise self.state
        return self.state

    def looked(self) -> None:
        """Return when a look that began after this call has ended."""
        while self.looks.acquire(blocking=False):
            pass
        for _ in range(2):  # the second one begins after the first has ended
            assert self.looks.acquire(timeout=60)


@pytest.fixture
def watching() -> Iterator[Callable[[Sweep], Watch]]:
    watches: list[Watch] = []

    def watching(sweep: Sweep) -> Watch:
        watches.append(Watch(sweep, patience=Patience(look_s=0.01)))
        return watches[-1]

    yield watching
    for watch in watches:
        watch.close()


def test_the_first_answer_waits_for_the_first_look(watching: Callable[[Sweep], Watch]):
    assert watching(Sweep("PAUSED")).command() is Command.PAUSE


def test_a_change_is_seen(watching: Callable[[Sweep], Watch]):
    sweep = Sweep("RUNNING")
    watch = watching(sweep)
    assert watch.command() is Command.RUN
    for state, command in (("PAUSED", Command.PAUSE), ("RUNNING", Command.RUN)):
        sweep.state = state
        sweep.looked()
        assert watch.command() is command


def test_without_an_answer_the_last_known_state_holds(
    watching: Callable[[Sweep], Watch], caplog: pytest.LogCaptureFixture
):
    sweep = Sweep("PAUSED")
    watch = watching(sweep)
    assert watch.command() is Command.PAUSE
    sweep.state = TimeoutError("no answer")
    sweep.looked()
    sweep.looked()
    assert watch.command() is Command.PAUSE
    assert caplog.messages == ["W&B does not say whether the sweep goes on: no answer"]  # once
    sweep.state = "RUNNING"
    sweep.looked()
    assert watch.command() is Command.RUN


def test_who_never_had_an_answer_does_not_guess(watching: Callable[[Sweep], Watch]):
    sweep = Sweep(TimeoutError("no answer"))
    watch = watching(sweep)
    with pytest.raises(TrackerError, match="W&B does not say whether the sweep goes on"):
        watch.command()
    sweep.state = "FINISHED"
    sweep.looked()
    assert watch.command() is Command.DRAIN


def test_an_unknown_state_changes_nothing(
    watching: Callable[[Sweep], Watch], caplog: pytest.LogCaptureFixture
):
    sweep = Sweep("PAUSED")
    watch = watching(sweep)
    assert watch.command() is Command.PAUSE
    sweep.state = "HIBERNATING"
    sweep.looked()
    assert watch.command() is Command.PAUSE
    assert "W&B has a state of sweeps that is unknown here: HIBERNATING" in caplog.messages


def test_a_closed_watch_looks_no_more(watching: Callable[[Sweep], Watch]):
    sweep = Sweep("RUNNING")
    watch = watching(sweep)
    watch.command()
    watch.close()
    (thread,) = [thread for thread in threading.enumerate() if thread.name == "wandb-orders"]
    thread.join(timeout=60)
    assert not thread.is_alive()
