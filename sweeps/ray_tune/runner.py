"""Evaluate the driver's trials on a Ray cluster, with Ray Tune."""

import contextlib
import functools
import math
import shutil
import socket
import tempfile
import threading
import time
import uuid
from typing import Any

import ray
from ray import tune

from sweeps.errors import ClusterLostError, InfrastructureError
from sweeps.processes import leave_behind
from sweeps.ray_tune.cluster import Cluster, resolve, trials_at_once
from sweeps.ray_tune.registry import DRIVERS, WORKERS
from sweeps.ray_tune.scheduler import DriverScheduler
from sweeps.ray_tune.searcher import DriverSearcher
from sweeps.ray_tune.worker import evaluate
from sweeps.ray_tune.workers import Workers
from sweeps.running.driver import Driver
from sweeps.running.events import Notice
from sweeps.running.messages import RunTrial
from sweeps.running.patience import Silence, left_behind
from trainer.errors import first_line

LOST_NODES = 20  # how often a trial may lose its node, in addition to the deaths of its worker
CHECK_EVERY_S = 2.0  # how often this process connects to Ray's head
REFUSED_S = 10.0  # after this time, a head that refuses every connection counts as lost
# After this time, a head that accepts connections but does not answer counts as lost. It is shorter
# than 60 s: after 60 s Ray itself ends this process with exit code 1 and without a message.
SILENT_S = 30.0
# When this process itself did not run for so long, it was stopped: Ray gets all the time once more.
STOPPED_S = 5.0
CLEANED_UP_S = 60.0  # how long Tune's loop may take to end after workers were killed


def run_on_ray(driver: Driver, cluster: Cluster, *, trial: RunTrial | None = None) -> None:
    """Evaluate trials on Ray until the driver has no more.

    The caller has entered the driver's `with`.

    Args:
        trial: the function with which a worker evaluates an assignment; None for
            `sweeps.running.trial.run_trial`. Only the workers import that function, because its
            import of torch takes seconds.

    Raises:
        InfrastructureError: Ray does not answer any more; all results so far are recorded.
    """
    key = uuid.uuid4().hex
    tune_folder = tempfile.mkdtemp(prefix="foldsweep-tune-")
    DRIVERS[key] = driver
    WORKERS[key] = Workers()
    fitting = _Fitting(_tuner(driver, cluster, key=key, folder=tune_folder, trial=trial))
    fitting.start()
    _watch(fitting, ray.get_runtime_context().gcs_address, driver=driver, workers=WORKERS[key])
    # If Ray is lost, `_watch` raises and the keys stay: Tune's loop still runs and may call the
    # driver.
    if fitting.is_alive():
        leave_behind(fitting)
        return
    del DRIVERS[key], WORKERS[key]
    shutil.rmtree(tune_folder, ignore_errors=True)
    if fitting.error is not None:
        raise fitting.error
    if not driver.done:  # after the death of a raylet, fit() returns without an error
        raise InfrastructureError(
            "Ray ended before the sweep did. Run the same command again to continue"
        )


def _tuner(
    driver: Driver, cluster: Cluster, *, key: str, folder: str, trial: RunTrial | None
) -> tune.Tuner:
    resources = resolve(driver.spec.resources, cluster)
    trainable = tune.with_resources(
        functools.partial(evaluate, run_trial=trial), {"cpu": resources.cpu, "gpu": resources.gpu}
    )
    return tune.Tuner(
        trainable,
        tune_config=tune.TuneConfig(
            search_alg=DriverSearcher(key),
            scheduler=DriverScheduler(key),
            num_samples=-1,
            # without this limit, Ray asks for one trial more than it can start
            max_concurrent_trials=trials_at_once(resources, cluster),
            reuse_actors=True,
            trial_name_creator=_trial_name,
            trial_dirname_creator=_trial_name,
        ),
        run_config=tune.RunConfig(
            name="tune",
            storage_path=folder,
            failure_config=tune.FailureConfig(max_failures=driver.spec.retries + LOST_NODES),
            verbose=0,
        ),
    )


class _Fitting(threading.Thread):
    """Runs Tune's loop on its own thread, so that the main thread can handle signals.

    If Ray's head is lost, Tune's loop never returns.

    Attributes:
        error: the error that ended Tune's loop, or None.
    """

    def __init__(self, tuner: tune.Tuner) -> None:
        super().__init__(name="tune", daemon=True)
        self._tuner = tuner
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            self._tuner.fit()
        except (tune.TuneError, ray.exceptions.RayError) as error:
            self.error = InfrastructureError(
                f"Ray stopped ({first_line(error)}). What was done is recorded: "
                "run the same command again to continue"
            )
        except BaseException as error:  # noqa: BLE001 - a bug: raised again on the caller's thread
            self.error = error


def _watch(fitting: _Fitting, head: str, *, driver: Driver, workers: Workers) -> None:
    """Wait for the end of Tune's loop, and meanwhile kill workers that hang.

    If they had to be killed after a stop, Tune's loop may not end: then this function returns after
    `CLEANED_UP_S`.

    Args:
        head: address of Ray's head, as host:port.

    Raises:
        ClusterLostError: Ray's head does not answer any more, or no node is left.
    """
    pulse = _Pulse(head)
    pulse.start()
    looked_at = time.monotonic()
    deadline = math.inf
    while fitting.is_alive() and looked_at < deadline:
        # the time is short, because signal handlers run only between two of these calls
        fitting.join(timeout=0.25)
        last, looked_at = looked_at, time.monotonic()
        if looked_at - last > STOPPED_S:
            pulse.answered_at = looked_at
        if looked_at - pulse.answered_at > (REFUSED_S if pulse.refused else SILENT_S):
            raise ClusterLostError(
                f"Ray at {head} does not answer any more, or lost its last node. "
                "What was done is recorded: run the "
                "same command again to continue"
            )
        for silence in driver.silent(restarted=workers.restarted()):
            if workers.kill(silence.number):
                _tell_killed(silence, driver)
        left = driver.leave_behind()
        if left:
            workers.kill_all()
            then = "killed, to be continued from the last checkpoint"
            driver.notify(Notice(left_behind(left, grace_s=driver.grace_s, then=then)))
            deadline = looked_at + CLEANED_UP_S
    pulse.over.set()


def _tell_killed(silence: Silence, driver: Driver) -> None:
    """Tell the user, and a reader of the worker's log, that a worker was killed for its silence."""
    driver.notify(
        Notice(f"{silence}: its worker is replaced, and goes on from the last checkpoint")
    )
    with contextlib.suppress(OSError), driver.files.trial(silence.number).log.open("a") as log:
        log.write(f"killed by the driver: {silence}\n")


class _Pulse(threading.Thread):
    """Tests every `CHECK_EVERY_S` whether Ray's head answers.

    The test has its own thread, because Ray's functions do not return if the head is lost.

    Attributes:
        answered_at: when the head last answered and had a living node, by `time.monotonic`.
        refused: whether the last connection to the head failed.
        over: an event that ends the tests.
    """

    def __init__(self, head: str) -> None:
        super().__init__(name="ray's pulse", daemon=True)
        self._head = head
        self.answered_at = time.monotonic()
        self.refused = False
        self.over = threading.Event()

    def run(self) -> None:
        while not self.over.wait(CHECK_EVERY_S):
            self.refused = not _answers(self._head)
            # an error counts as no answer
            with contextlib.suppress(ray.exceptions.RayError, ConnectionError, RuntimeError):
                if not self.refused and any(node["Alive"] for node in ray.nodes()):
                    self.answered_at = time.monotonic()


def _answers(address: str) -> bool:
    """Whether the TCP address (host:port) accepts a connection."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=CHECK_EVERY_S).close()
    except OSError:
        return False
    return True


def _trial_name(trial: Any) -> str:
    return f"trial-{trial.config['assignment']['number']:04d}-{trial.trial_id}"
