"""Start or join Ray, compare what it has with what is asked for, and let Tune run the driver's trials."""

import dataclasses
import functools
import logging
import math
import os
import shutil
import socket
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

# before ray is imported: Tune reads these at import or at the first call
os.environ.setdefault("RAY_CHDIR_TO_TRIAL_DIR", "0")  # relative paths stay what the user meant
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "1"  # 0.045 s instead of 0.85 s per no-op trial
os.environ["TUNE_DISABLE_SIGINT_HANDLER"] = "1"  # Ctrl-C is ours
os.environ.setdefault("TUNE_GLOBAL_CHECKPOINT_S", str(24 * 3600))  # the storage is the memory, not Tune's file
os.environ.setdefault("TUNE_WARN_THRESHOLD_S", "2")
os.environ.setdefault("TUNE_FORCE_TRIAL_CLEANUP_S", "10")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")

import ray
from ray import tune

from sweeps.driver import Driver
from sweeps.errors import InfrastructureError, InputError
from sweeps.messages import RunTrial
from sweeps.ray_tune.registry import DRIVERS
from sweeps.ray_tune.scheduler import DriverScheduler
from sweeps.ray_tune.searcher import DriverSearcher
from sweeps.ray_tune.worker import evaluate
from sweeps.spec import Resources

logger = logging.getLogger(__name__)
CONNECT_TIMEOUT_S = 10.0
RETRIES = 2  # of a dead worker process, from the trial's last checkpoint


@dataclasses.dataclass(frozen=True)
class Cluster:
    """What Ray has."""

    cpus: int
    gpus: float


@contextmanager
def ray_cluster(address: str | None = None) -> Iterator[Cluster]:
    """Ray, started on this machine or joined at `address`; shut down (or left) at the end.

    Raises:
        InputError: the cluster cannot be joined, or Ray cannot start.
    """
    for name in ("ray", "ray.tune"):
        logging.getLogger(name).setLevel(logging.ERROR)
    options: dict[str, Any] = {
        # "local": whatever lies about from another cluster is not joined by accident
        "address": address or "local",
        "log_to_driver": False,
        "configure_logging": False,
        "logging_level": logging.ERROR,
        "include_dashboard": False if address is None else None,
    }
    if address is not None:
        _check_reachable(address)
    try:
        ray.init(**options)
    except (ConnectionError, OSError, RuntimeError, ValueError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        if address is None:
            raise InputError(
                f"Ray cannot start on this machine ({reason}). `sweeps run --local` works without it"
            ) from error
        raise InputError(
            f"--address {address}: cannot join this Ray cluster ({reason}). It needs the same Ray version, and with "
            "token authentication RAY_AUTH_MODE=token and the cluster's token"
        ) from error
    try:
        have = ray.cluster_resources()
        yield Cluster(cpus=int(have.get("CPU", 0)), gpus=float(have.get("GPU", 0)))
    finally:
        ray.shutdown()


def _check_reachable(address: str) -> None:
    """Ray itself tries for many minutes where nobody answers."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not (host and port.isdecimal()):
        raise InputError(f"--address {address}: expected host:port, as `ray start --head` prints it")
    try:
        socket.create_connection((host, int(port)), timeout=CONNECT_TIMEOUT_S).close()
    except (OSError, OverflowError) as error:
        raise InputError(f"--address {address}: nobody answers there ({error}). Is the Ray head running?") from None


def gpu_share(resources: Resources, *, gpus: float) -> float:
    """GPUs per trial: what is asked for, or one where there is one."""
    return min(1.0, gpus) if resources.gpu is None else resources.gpu


def trials_at_once(resources: Resources, cluster: Cluster) -> int:
    """How many trials fit on the cluster.

    Raises:
        InputError: not even one does.
    """
    gpu = gpu_share(resources, gpus=cluster.gpus)
    if resources.cpu > cluster.cpus or gpu > cluster.gpus:
        raise InputError(
            f"a trial asks for {resources.cpu} CPU and {gpu:g} GPU (resources in the search space), but there are "
            f"{cluster.cpus} CPU and {cluster.gpus:g} GPU. Lower them with --set resources.cpu=... or "
            "--set resources.gpu=..., or join a larger cluster with --address"
        )
    by_gpu = math.floor(cluster.gpus / gpu + 1e-9) if gpu else cluster.cpus
    return min(cluster.cpus // resources.cpu, by_gpu)


def run_on_ray(driver: Driver, cluster: Cluster, *, trial: RunTrial | None = None) -> None:
    """Evaluate trials on Ray until the driver has no more. The driver is already entered.

    Args:
        trial: what a worker does with an assignment; None for `sweeps.trial.run_trial`, which only the
            workers import: torch takes seconds that this process does not have to spend.

    Raises:
        InfrastructureError: Ray is gone; what was done is recorded.
    """
    resources, key = driver.spec.resources, uuid.uuid4().hex
    at_once = trials_at_once(resources, cluster)
    tune_folder = tempfile.mkdtemp(prefix="foldsweep-tune-")
    trainable = tune.with_resources(
        functools.partial(evaluate, run_trial=trial),
        {"cpu": resources.cpu, "gpu": gpu_share(resources, gpus=cluster.gpus)},
    )
    DRIVERS[key] = driver
    try:
        tune.Tuner(
            trainable,
            tune_config=tune.TuneConfig(
                search_alg=DriverSearcher(key),
                scheduler=DriverScheduler(key),
                num_samples=-1,
                max_concurrent_trials=at_once,  # else Ray asks one trial ahead
                reuse_actors=True,
                trial_name_creator=_trial_name,
                trial_dirname_creator=_trial_name,
            ),
            run_config=tune.RunConfig(
                name="tune",
                storage_path=tune_folder,
                failure_config=tune.FailureConfig(max_failures=RETRIES),
                verbose=0,
            ),
        ).fit()
    except (tune.TuneError, ray.exceptions.RayError) as error:
        raise InfrastructureError(
            f"Ray stopped ({str(error).strip().splitlines()[0]}). What was done is recorded: run the same command "
            "again to continue"
        ) from error
    else:
        if not driver.done:  # a killed raylet lets fit() return as if all were well
            raise InfrastructureError("Ray ended before the sweep did. Run the same command again to continue")
    finally:
        del DRIVERS[key]
        shutil.rmtree(tune_folder, ignore_errors=True)


def _trial_name(trial: Any) -> str:
    return f"trial-{trial.config['assignment']['number']:04d}-{trial.trial_id}"
