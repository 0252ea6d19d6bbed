"""Start Ray on this machine or join a Ray cluster, and fit trials into its resources."""

import concurrent.futures
import contextlib
import dataclasses
import importlib
import logging
import math
import os
import socket
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import AuthenticationError, RayError

from sweeps.errors import InputError
from sweeps.ray_tune.addresses import AUTO, LOCAL
from sweeps.ray_tune.private import (
    AUTH_MODE,
    TOKEN,
    TOKEN_PATH,
    close_token_file,
    default_token_file,
    private,
)
from sweeps.space.spec import Resources
from trainer.cores import cores
from trainer.errors import first_line

CONNECT_TIMEOUT_S = 10.0
WARM_UP = "sweeps.ray_tune.worker.warm_up"
EPSILON = 1e-9  # added before rounding down: 0.7 / 0.1 is 6.999999999999999
TEMP = "RAY_TMPDIR"
# Longest temporary folder with which the paths of Ray's sockets below it fit into the 107 bytes
# that Linux has for them. Batch systems set longer ones.
LONGEST_TEMP = 30
SHORT_TEMP = Path("/tmp")


@dataclasses.dataclass(frozen=True)
class Node:
    """One machine of a Ray cluster.

    Attributes:
        id: Ray's id of the node; a task is sent to a node by this id.
        host: the host's name; several nodes may be on one host.
        address: the node's IP address.
        cpus: number of CPUs.
        gpus: number of GPUs.
    """

    id: str
    host: str
    address: str
    cpus: float
    gpus: float

    def __str__(self) -> str:
        return f"{self.host} ({self.address})"


@dataclasses.dataclass(frozen=True)
class Cluster:
    """The resources of a Ray cluster, as sums over its nodes.

    A cluster without nodes stands for one machine with these resources.

    Example:
        >>> cluster = Cluster.of([
        ...     Node("a", "host-a", "10.0.0.1", cpus=8, gpus=1),
        ...     Node("b", "host-b", "10.0.0.2", cpus=16, gpus=2),
        ... ])
        >>> cluster.cpus, cluster.gpus
        (24, 3)
        >>> trials_at_once(Resources(cpu=4, gpu=0.5), cluster)
        6
    """

    cpus: float
    gpus: float
    nodes: tuple[Node, ...] = ()

    @classmethod
    def of(cls, nodes: Sequence[Node]) -> "Cluster":
        """The cluster of these nodes."""
        return cls(sum(node.cpus for node in nodes), sum(node.gpus for node in nodes), tuple(nodes))

    def each(self) -> tuple[Node, ...]:
        """The nodes of the cluster; at least one."""
        return self.nodes or (Node("", "this machine", "", self.cpus, self.gpus),)


@contextlib.contextmanager
def ray_cluster(address: str = LOCAL) -> Iterator[Cluster]:
    """Start Ray on this machine, or join the Ray cluster at `address`, see `chosen_address`.

    At the end of the `with` block, Ray is shut down, or the cluster is left.

    Raises:
        InputError: the cluster cannot be joined, or Ray cannot start.
    """
    logging.getLogger("ray").setLevel(logging.ERROR)
    # Tune logs the traceback of a dead worker; the driver reports the reason in plain words instead
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
    own = address == LOCAL
    options: dict[str, Any] = {
        # "local" starts a new cluster: without it, Ray may join another cluster by accident
        "address": address,
        "log_to_driver": False,
        "configure_logging": False,
        "logging_level": logging.ERROR,
        "include_dashboard": False if own else None,
    }
    if own:
        # Workers import torch while this process still prepares the sweep (numbers in
        # benchmarks/LOG.md). A joined cluster gets no hook: on a node where foldsweep cannot be
        # imported, the workers would die before the probe can report the reason.
        options["runtime_env"] = {"worker_process_setup_hook": WARM_UP}
        options["num_cpus"] = cores()
        options["_temp_dir"] = short_temp(tempfile.gettempdir())
    elif address != AUTO:
        _check_reachable(address)
    close_token_file()
    with private() if own else contextlib.nullcontext():
        try:
            with concurrent.futures.ThreadPoolExecutor(1) as pool:
                # The import of Tune takes 1.3 s, so it happens while Ray's processes start. Ray's
                # processes die together with the thread that started them, so `ray.init` runs on
                # this thread and the import on the other.
                importing = pool.submit(importlib.import_module, "sweeps.ray_tune.runner")
                ray.init(**options)
                importing.result()
        except (ConnectionError, OSError, RuntimeError, ValueError, RayError) as error:
            text = why_not_started(error) if own else why_not_joined(error, address)
            raise InputError(text) from error
        try:
            # Ray prints the last log lines of a dead node, and stdout is only for data
            with contextlib.redirect_stdout(sys.stderr):
                yield Cluster.of([_node(values) for values in ray.nodes() if values["Alive"]])
        finally:
            ray.shutdown()


def short_temp(given: str) -> str | None:
    """The folder for Ray's files, if the temporary folder has too long a path for its sockets.

    Args:
        given: the temporary folder, as `$TMPDIR` names it.

    Returns:
        None if Ray uses `$RAY_TMPDIR` or the temporary folder.
    """
    if TEMP in os.environ or len(os.fsencode(given)) <= LONGEST_TEMP:
        return None
    return str(SHORT_TEMP / f"ray-{os.getuid()}")


def _node(values: dict[str, Any]) -> Node:
    have = values["Resources"]
    return Node(
        id=values["NodeID"],
        host=values["NodeManagerHostname"],
        address=values["NodeManagerAddress"],
        cpus=float(have.get("CPU", 0)),
        gpus=float(have.get("GPU", 0)),
    )


def _check_reachable(address: str) -> None:
    """Try to connect to the address, because Ray itself tries an unreachable address for minutes.

    Raises:
        InputError: no process answers there.
    """
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=CONNECT_TIMEOUT_S).close()
    except (OSError, OverflowError) as error:
        raise InputError(
            f"--address {address}: nobody answers there ({error}). Is the Ray head running?"
        ) from None


def why_not_started(error: Exception) -> str:
    """The message to a user if Ray did not start on this machine: the reason and what to do."""
    if "AF_UNIX path length" in str(error):
        return (
            f"Ray cannot start on this machine: the path of its sockets is too long. Set {TEMP} to "
            f"a folder with a short path, such as {SHORT_TEMP}"
        )
    if isinstance(error, AuthenticationError):
        return (
            f"Ray cannot start on this machine: its token is not there ({_token_source()}). "
            f"{_how_to_give_token()}"
        )
    return (
        f"Ray cannot start on this machine ({first_line(error)}). "
        "`sweeps run --local` works without it"
    )


def why_not_joined(error: Exception, address: str) -> str:
    """The message to a user if a cluster cannot be joined: the reason and what to do."""
    start = f"--address {address}: cannot join this Ray cluster"
    if any(isinstance(cause, AuthenticationError) for cause in _causes(error)) or any(
        "InvalidAuthToken" in str(cause) for cause in _causes(error)
    ):
        if os.environ.get(AUTH_MODE, "").lower() != "token":
            return f"{start}: it asks for a token. Set {AUTH_MODE}=token. {_how_to_give_token()}"
        return (
            f"{start}: the token is missing or not the cluster's ({_token_source()}). "
            f"{_how_to_give_token()}"
        )
    if "Version mismatch" in str(error):
        details = " ".join(str(error).split()).removeprefix("Version mismatch: ")
        return (
            f"{start}: the versions differ. {details}. "
            "Install the same Python and Ray here and on every node"
        )
    return (
        f"{start} ({first_line(error)}). "
        "It needs the same Ray version, and with token authentication "
        f"{AUTH_MODE}=token and the cluster's token"
    )


def _how_to_give_token() -> str:
    return (
        f"The cluster's token (`ray get-auth-token` on its head prints it) goes into {TOKEN}, "
        f"into the file that {TOKEN_PATH} names, or into ~/.ray/auth_token"
    )


def _token_source() -> str:
    """The place from which Ray takes the token, in Ray's order. The text never has the token."""
    if os.environ.get(TOKEN):
        return f"taken from {TOKEN}"
    if os.environ.get(TOKEN_PATH):
        return f"looked for in {os.environ[TOKEN_PATH]}, which {TOKEN_PATH} names"
    return f"looked for in {default_token_file()}"


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__


def gpu_share(resources: Resources, *, gpus: float) -> float:
    """GPUs per trial: the number in the search space, else 1 if there is a GPU, else 0.

    Args:
        gpus: number of GPUs of the node with the most GPUs.
    """
    return min(1.0, gpus) if resources.gpu is None else resources.gpu


def resolve(resources: Resources, cluster: Cluster) -> Resources:
    """The CPUs and GPUs that one trial gets on this cluster, as numbers.

    `cpu: auto` divides the CPUs of each node by the number of trials that the node's GPUs hold, and
    takes the smallest quotient of all nodes, rounded down. Without GPUs, it is 1.

    Raises:
        InputError: no node can hold a single trial.
    """
    gpu = gpu_share(resources, gpus=max(node.gpus for node in cluster.each()))
    fewest = 1.0 if resources.cpu == "auto" else resources.cpu
    nodes = [node for node in cluster.each() if _room(node, cpu=fewest, gpu=gpu)]
    if not nodes:
        raise InputError(_no_room(cluster, cpu=fewest, gpu=gpu))
    if resources.cpu != "auto":
        return Resources(cpu=resources.cpu, gpu=gpu)
    shares = [node.cpus // _shares(node.gpus, gpu=gpu) for node in nodes] if gpu else [1.0]
    return Resources(cpu=max(1.0, min(shares)), gpu=gpu)


def trials_at_once(resources: Resources, cluster: Cluster) -> int:
    """How many trials fit on the cluster at the same time.

    Raises:
        InputError: no node can hold a single trial.
    """
    wanted = resolve(resources, cluster)
    assert wanted.cpu != "auto"
    assert wanted.gpu is not None
    return sum(_room(node, cpu=wanted.cpu, gpu=wanted.gpu) for node in cluster.each())


def threads(resources: Resources, cluster: Cluster) -> int:
    """Number of torch's CPU threads in one trial: the trial's CPUs rounded down, at least 1.

    Raises:
        InputError: no node can hold a single trial.
    """
    cpu = resolve(resources, cluster).cpu
    assert cpu != "auto"
    return max(1, math.floor(cpu))


def _room(node: Node, *, cpu: float, gpu: float) -> int:
    """How many trials fit on a node, each with `cpu` CPUs and `gpu` GPUs."""
    by_cpu = math.floor(node.cpus / cpu + EPSILON)
    return min(by_cpu, _shares(node.gpus, gpu=gpu)) if gpu else by_cpu


def _shares(gpus: float, *, gpu: float) -> int:
    """How many trials with `gpu` GPUs each fit on `gpus` GPUs.

    Ray never splits a share over two GPUs: a share of 0.4 fits twice on each GPU.
    """
    whole = math.floor(gpus + EPSILON)
    if gpu >= 1:
        return math.floor(whole / gpu + EPSILON)
    return whole * math.floor(1 / gpu + EPSILON) + math.floor(
        max(0.0, gpus - whole) / gpu + EPSILON
    )


def _no_room(cluster: Cluster, *, cpu: float, gpu: float) -> str:
    asked = f"a trial asks for {cpu:g} CPU and {gpu:g} GPU (resources in the search space), but"
    advice = (
        "Lower them with --set resources.cpu=... or --set resources.gpu=..., "
        "or join a larger cluster with --address"
    )
    if gpu and not cluster.gpus:
        advice = f"--set resources.gpu=0 trains without GPU. {advice}"
    if len(cluster.each()) == 1:
        return f"{asked} there are {cluster.cpus:g} CPU and {cluster.gpus:g} GPU. {advice}"
    have = "".join(f"\n  {node}: {node.cpus:g} CPU, {node.gpus:g} GPU" for node in cluster.nodes)
    return f"{asked} no node of the cluster has as much:{have}\n{advice}"
