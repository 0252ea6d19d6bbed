"""The worker processes of the running trials, as far as a driver has to end one from outside.

A process that hangs in a system call neither reads its stop file nor leaves Tune's queue.
"""

import contextlib
import threading
import time
from typing import Any

import ray
from ray.tune.experiment import Trial

HEARD_S = 10.0  # how long Tune's loop may take to hear of a stop


class Workers:
    """Knows the Tune trial of each trial that has begun, by the trial's number.

    Tune's loop adds and removes trials on its thread; the driver's main thread kills.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._trials: dict[int, Trial] = {}
        self._restarted: set[int] = set()
        self._controller: Any = None

    def add(self, tune_controller: Any, trial: Trial) -> None:
        """Take note of a Tune trial that begins, or begins anew after its process died."""
        with self._lock:
            self._controller = tune_controller
            self._trials[_number(trial)] = trial
            if trial.num_failures:
                self._restarted.add(_number(trial))

    def remove(self, trial: Trial) -> None:
        """Forget a Tune trial that has ended, or whose process has died."""
        with self._lock:
            self._trials.pop(_number(trial), None)

    def restarted(self) -> set[int]:
        """The trials that have begun anew since the last call."""
        with self._lock:
            found, self._restarted = self._restarted, set()
        return found

    def kill(self, number: int) -> bool:
        """Kill the worker process of a trial; Tune then begins the trial anew in another one.

        Ray's processes kill a worker that does not obey.

        Returns:
            False if the trial has no process at the moment.
        """
        with self._lock:
            trial = self._trials.get(number)
        actor = None if trial is None else trial.temporary_state.ray_actor
        if actor is not None:
            _kill(actor)
        return actor is not None

    def kill_all(self) -> None:
        """End Tune's loop, and kill the worker processes of all trials."""
        with self._lock:
            trials = list(self._trials.values())
        actors = [trial.temporary_state.ray_actor for trial in trials]
        if trials:
            self._controller.request_stop_experiment()
        # Tune replaces a worker that is killed before it has heard of the stop
        deadline = time.monotonic() + HEARD_S
        while not all(trial.is_finished() for trial in trials) and time.monotonic() < deadline:
            time.sleep(0.05)
        for actor in actors:
            if actor is not None:
                _kill(actor)


def _kill(actor: Any) -> None:
    with contextlib.suppress(ray.exceptions.RayError, ValueError):  # it has died by itself
        ray.kill(actor)


def _number(trial: Trial) -> int:
    return int(trial.config["assignment"]["number"])
