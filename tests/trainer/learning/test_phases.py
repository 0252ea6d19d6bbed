"""Phases: seconds by name, with a clock that tests move."""

import pytest
import torch

from trainer.learning.phases import NoPhases, Phases, TimedPhases

CPU = torch.device("cpu")


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def epoch(phases: Phases, clock: Clock) -> None:
    for seconds in (1.0, 2.0):
        with phases.phase("data"):
            clock.now += seconds
        clock.now += 50  # belongs to no phase
        with phases.phase("forward"):
            clock.now += 10 * seconds


def test_the_seconds_of_a_phase_add_up():
    clock = Clock()
    phases = TimedPhases(CPU, clock=clock)
    epoch(phases, clock)
    assert phases.seconds == {"data": 3.0, "forward": 30.0}
    assert list(phases.seconds) == ["data", "forward"]


def test_a_phase_that_fails_counts():
    clock = Clock()
    phases = TimedPhases(CPU, clock=clock)

    def fail() -> None:
        clock.now += 4
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"), phases.phase("data"):
        fail()
    assert phases.seconds == {"data": 4.0}


def test_on_a_gpu_both_borders_wait_for_the_device(monkeypatch):
    waits = []
    monkeypatch.setattr(torch.cuda, "synchronize", waits.append)
    gpu = torch.device("cuda")
    with TimedPhases(gpu, clock=Clock()).phase("forward"):
        assert waits == [gpu]
    assert waits == [gpu, gpu]


def test_on_a_cpu_nobody_waits(monkeypatch):
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: pytest.fail("no GPU here"))
    with TimedPhases(CPU).phase("forward"):
        pass


def test_nobody_asked_and_nothing_is_made():
    phases = NoPhases()
    epoch(phases, Clock())
    assert phases.phase("data") is phases.phase("forward")
    with pytest.raises(ValueError, match="through"), phases.phase("data"):
        raise ValueError("through")
