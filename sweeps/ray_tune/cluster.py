"""Ray: started on this machine or joined, and what it has compared with what a trial asks for."""

import concurrent.futures
import dataclasses
import importlib
import logging
import math
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ray

from sweeps.errors import InputError
from sweeps.spec import Resources

CONNECT_TIMEOUT_S = 10.0
WARM_UP = "sweeps.ray_tune.worker.warm_up"


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
        # workers import torch while this process still prepares (numbers in benchmarks/LOG.md)
        "runtime_env": {"worker_process_setup_hook": WARM_UP},
    }
    if address is not None:
        _check_reachable(address)
    try:
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            # Tune's import takes 1.3 s, while Ray's processes start. Those die with the thread that started them
            importing = pool.submit(importlib.import_module, "sweeps.ray_tune.runner")
            ray.init(**options)
            importing.result()
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
