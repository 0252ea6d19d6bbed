"""Which Ray a command means: one of its own, that of this machine, or a cluster at an address."""

import os
from collections.abc import Mapping

from sweeps.errors import InputError

LOCAL = "local"  # a Ray of the sweep's own, on this machine
AUTO = "auto"  # the cluster of which this machine is a node
VARIABLE = "RAY_ADDRESS"  # Ray sets it within a job


def chosen_address(given: str | None, *, environ: Mapping[str, str] = os.environ) -> str:
    """The address of a Ray cluster, as `host:port`, `auto` or `local`.

    Args:
        given: the option `--address`; without it, `$RAY_ADDRESS` counts, as for Ray itself: a sweep
            within a Ray job joins the cluster of the job.
        environ: the environment.

    Raises:
        InputError: the address is one at which no driver of a sweep can join.

    Example:
        >>> chosen_address(None, environ={}), chosen_address("10.0.0.1:6379")
        ('local', '10.0.0.1:6379')
    """
    address = given or environ.get(VARIABLE) or LOCAL
    said = f"--address {address}" if given else f"{VARIABLE}={address}"
    elsewhere = f"--address {LOCAL} starts Ray on this machine alone"
    if address in (LOCAL, AUTO):
        return address
    if address.startswith("ray://"):
        raise InputError(
            f"{said}: the driver of a sweep has to be on a node of its cluster, so Ray Client "
            "(ray://) is not supported. Run the command on a node, or as a job (`ray job submit "
            f"-- sweeps run ...`), with --address {AUTO}; {elsewhere}"
        )
    if address.startswith(("http://", "https://")):
        raise InputError(
            f"{said}: that is the address of Ray's dashboard, to which jobs are submitted "
            f"(`ray job submit -- sweeps run ...`). Within a job or on a node, give --address "
            f"{AUTO}; {elsewhere}"
        )
    host, _, port = address.rpartition(":")
    if not (host and port.isdecimal()):
        raise InputError(
            f"{said}: expected host:port, as `ray start --head` prints it, or {AUTO} on a node of "
            "the cluster"
        )
    return address
