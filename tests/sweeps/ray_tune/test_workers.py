"""Which worker processes a driver kills, with stand-ins for Tune's trials; the real ones are in
integration/test_ray.
"""

import dataclasses
import threading
from types import SimpleNamespace
from typing import Any

import pytest

from sweeps.processes import end_beside_hanging_threads
from sweeps.ray_tune import runner, workers
from sweeps.ray_tune.registry import WORKERS
from sweeps.ray_tune.scheduler import DriverScheduler
from sweeps.ray_tune.workers import Workers


@dataclasses.dataclass
class TuneTrial:
    """What is used of a trial of Tune."""

    number: int
    actor: str | None = None
    num_failures: int = 0
    finished: bool = False

    @property
    def config(self) -> dict[str, Any]:
        return {"assignment": {"number": self.number}}

    @property
    def temporary_state(self) -> SimpleNamespace:
        return SimpleNamespace(ray_actor=self.actor)

    def is_finished(self) -> bool:
        return self.finished


@pytest.fixture
def killed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The actors that were killed."""
    killed: list[str] = []
    ray = SimpleNamespace(kill=killed.append, exceptions=workers.ray.exceptions)
    monkeypatch.setattr(workers, "ray", ray)
    return killed


def test_the_worker_of_a_running_trial_is_killed_and_of_no_other(killed: list[str]):
    known = Workers()
    running, over = TuneTrial(0, "a"), TuneTrial(1, "b")
    for trial in (running, over, TuneTrial(2)):
        known.add(None, trial)
    known.remove(over)
    assert [known.kill(number) for number in range(4)] == [True, False, False, False]
    assert killed == ["a"]


def test_an_actor_that_has_died_by_itself_is_no_error(monkeypatch: pytest.MonkeyPatch):
    def gone(actor: str) -> None:
        raise workers.ray.exceptions.RayActorError

    monkeypatch.setattr(workers.ray, "kill", gone)
    known = Workers()
    known.add(None, TuneTrial(0, "a"))
    assert known.kill(0)


def test_a_trial_that_tune_begins_anew_is_named_once(killed: list[str]):
    known = Workers()
    trial = TuneTrial(3, "a")
    known.add(None, trial)
    assert known.restarted() == set()
    known.remove(trial)  # Tune does both when it recovers a trial
    trial.num_failures = 1
    known.add(None, trial)
    assert known.restarted() == {3}
    assert known.restarted() == set()


def test_tune_is_told_to_stop_before_its_workers_are_killed(killed: list[str]):
    """A worker that died earlier would be replaced."""
    known = Workers()
    trials = [TuneTrial(0, "a"), TuneTrial(1)]

    def stop() -> None:
        assert killed == []
        for trial in trials:
            trial.finished = True
            trial.actor = None

    for trial in trials:
        known.add(SimpleNamespace(request_stop_experiment=stop), trial)
    known.kill_all()
    assert killed == ["a"]


def test_a_loop_that_does_not_hear_of_the_stop_is_not_waited_for(
    killed: list[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(workers, "HEARD_S", 0.1)
    known = Workers()
    known.add(SimpleNamespace(request_stop_experiment=lambda: None), TuneTrial(0, "a"))
    known.kill_all()
    assert killed == ["a"]
    Workers().kill_all()


def test_the_scheduler_hears_of_every_trial(monkeypatch: pytest.MonkeyPatch, killed: list[str]):
    monkeypatch.setitem(WORKERS, "key", Workers())
    scheduler = DriverScheduler("key")
    ends = (
        scheduler.on_trial_error,
        scheduler.on_trial_remove,
        lambda controller, trial: scheduler.on_trial_complete(controller, trial, {}),
    )
    for end in ends:
        scheduler.on_trial_add(None, TuneTrial(0, "a"))
        assert WORKERS["key"].kill(0)
        end(None, TuneTrial(0, "a"))
        assert not WORKERS["key"].kill(0)


def test_a_tune_loop_that_does_not_end_after_the_kill_is_left_behind(
    killed: list[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(runner, "CLEANED_UP_S", 0.0)
    monkeypatch.setattr(runner, "_answers", lambda head: True)
    monkeypatch.setattr(runner.ray, "nodes", lambda: [{"Alive": True}])
    exits: list[int] = []
    monkeypatch.setattr("os._exit", exits.append)
    over = threading.Event()
    fitting = threading.Thread(target=over.wait, daemon=True)
    fitting.start()
    told: list[str] = []
    driver = SimpleNamespace(
        silent=lambda restarted: [],
        leave_behind=lambda: [4],
        grace_s=120.0,
        notify=lambda event: told.append(event.text),
    )
    known = Workers()
    runner._watch(fitting, "head:1", driver=driver, workers=known)  # type: ignore[arg-type]
    assert told == [
        "trial 4 has not ended within 2 min of the stop: "
        "killed, to be continued from the last checkpoint"
    ]
    runner.leave_behind(fitting)
    end_beside_hanging_threads(3)
    over.set()
    fitting.join()
    end_beside_hanging_threads(4)
    assert exits == [3]
