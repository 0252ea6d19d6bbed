"""When Ray counts as lost: by the time that this process could have heard of it."""

import threading
from types import SimpleNamespace

import pytest

from sweeps.errors import ClusterLostError
from sweeps.ray_tune import runner
from sweeps.ray_tune.workers import Workers

HEAD = "127.0.0.1:6379"


class Fitting:
    """Tune's loop, seen by a clock that a test moves; it ends after the last step."""

    def __init__(self, *steps_s: float) -> None:
        self.now = 1000.0
        self._steps_s = list(steps_s)

    def is_alive(self) -> bool:
        return bool(self._steps_s)

    def join(self, timeout: float) -> None:
        self.now += self._steps_s.pop(0)


def watch(monkeypatch: pytest.MonkeyPatch, *steps_s: float, refused: bool = False) -> None:
    """Watch a head that has not answered since the beginning."""
    fitting = Fitting(*steps_s)
    pulse = SimpleNamespace(
        answered_at=fitting.now, refused=refused, over=threading.Event(), start=lambda: None
    )
    monkeypatch.setattr(runner, "time", SimpleNamespace(monotonic=lambda: fitting.now))
    monkeypatch.setattr(runner, "_Pulse", lambda head: pulse)
    driver = SimpleNamespace(silent=lambda restarted: [], leave_behind=list)
    runner._watch(fitting, HEAD, driver=driver, workers=Workers())  # type: ignore[arg-type]
    assert pulse.over.is_set()


@pytest.mark.parametrize(("refused", "seconds"), [(True, 10), (False, 30)])
def test_a_head_that_does_not_answer_is_lost_after_its_time(
    monkeypatch: pytest.MonkeyPatch, refused: bool, seconds: int
):
    watch(monkeypatch, *[1.0] * seconds, refused=refused)
    with pytest.raises(ClusterLostError, match=f"Ray at {HEAD} does not answer any more"):
        watch(monkeypatch, *[1.0] * (seconds + 1), refused=refused)


def test_a_process_that_was_stopped_waits_for_an_answer_anew(monkeypatch: pytest.MonkeyPatch):
    """It could not hear any, and Ray may be as well as ever."""
    watch(monkeypatch, *[1.0] * 20, 3600.0, *[1.0] * 30)
    with pytest.raises(ClusterLostError):
        watch(monkeypatch, *[1.0] * 20, 3600.0, *[1.0] * 31)
