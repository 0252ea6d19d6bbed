"""Tune runs the driver's trials on a cluster."""

import contextlib
import functools
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
from sweeps.ray_tune.cluster import Cluster, resolve, trials_at_once
from sweeps.ray_tune.registry import DRIVERS
from sweeps.ray_tune.scheduler import DriverScheduler
from sweeps.ray_tune.searcher import DriverSearcher
from sweeps.ray_tune.worker import evaluate
from sweeps.running.driver import Driver
from sweeps.running.messages import RunTrial
from trainer.errors import first_line

LOST_NODES = 20  # times that a trial may lose its node, beside the deaths of its worker process
LOOK_EVERY_S = 2.0  # at Ray's head
REFUSED_S = 10.0  # after which a head that nobody finds is lost
SILENT_S = (
    30.0  # and one that is slow: Ray itself ends this process after 60 s, with code 1 and unsaid
)


def run_on_ray(driver: Driver, cluster: Cluster, *, trial: RunTrial | None = None) -> None:
    """Evaluate trials on Ray until the driver has no more. The driver is already entered.

    Args:
        trial: what a worker does with an assignment; None for `sweeps.running.trial.run_trial`, which only the
            workers import: torch takes seconds that this process does not have to spend.

    Raises:
        InfrastructureError: Ray is gone; what was done is recorded.
    """
    key, tune_folder = uuid.uuid4().hex, tempfile.mkdtemp(prefix="foldsweep-tune-")
    DRIVERS[key] = driver
    fitting = _Fitting(_tuner(driver, cluster, key=key, folder=tune_folder, trial=trial))
    fitting.start()
    _watch(fitting, ray.get_runtime_context().gcs_address)
    del DRIVERS[key]  # not where Ray is lost: Tune's loop is still there and may ask
    shutil.rmtree(tune_folder, ignore_errors=True)
    if fitting.error is not None:
        raise fitting.error
    if not driver.done:  # a killed raylet lets fit() return as if all were well
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
            max_concurrent_trials=trials_at_once(
                resources, cluster
            ),  # else Ray asks one trial ahead
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
    """Tune's loop on a thread of its own: where Ray's head is gone it never comes back, and signals are not heard."""

    def __init__(self, tuner: tune.Tuner) -> None:
        super().__init__(name="tune", daemon=True)
        self._tuner = tuner
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            self._tuner.fit()
        except (tune.TuneError, ray.exceptions.RayError) as error:
            self.error = InfrastructureError(
                f"Ray stopped ({first_line(error)}). What was done is recorded: run the same command again to continue"
            )
        except BaseException as error:  # noqa: BLE001 - a bug: raised again on the caller's thread
            self.error = error


def _watch(fitting: _Fitting, head: str) -> None:
    """Wait for the end of Tune's loop.

    Raises:
        ClusterLostError: Ray's head does not answer any more, or no node is left.
    """
    pulse = _Pulse(head)
    pulse.start()
    while fitting.is_alive():
        fitting.join(timeout=0.25)  # short: a signal's handler runs between two of these
        if time.monotonic() - pulse.felt_at > (REFUSED_S if pulse.refused else SILENT_S):
            raise ClusterLostError(
                f"Ray at {head} does not answer any more, or lost its last node. What was done is recorded: run the "
                "same command again to continue"
            )
    pulse.over.set()


class _Pulse(threading.Thread):
    """Looks at Ray's head now and then, on a thread of its own: where the head is gone, Ray's calls hang."""

    def __init__(self, head: str) -> None:
        super().__init__(name="ray's pulse", daemon=True)
        self._head = head
        self.felt_at, self.refused = time.monotonic(), False
        self.over = threading.Event()

    def run(self) -> None:
        while not self.over.wait(LOOK_EVERY_S):
            self.refused = not _answers(self._head)
            with contextlib.suppress(
                ray.exceptions.RayError, ConnectionError, RuntimeError
            ):  # as silent as the rest
                if not self.refused and any(node["Alive"] for node in ray.nodes()):
                    self.felt_at = time.monotonic()


def _answers(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=LOOK_EVERY_S).close()
    except OSError:
        return False
    return True


def _trial_name(trial: Any) -> str:
    return f"trial-{trial.config['assignment']['number']:04d}-{trial.trial_id}"
