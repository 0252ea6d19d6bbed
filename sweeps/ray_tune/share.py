"""The share of a machine that each trial gets, on Ray and without it."""

from typing import TYPE_CHECKING

from sweeps.errors import InputError
from sweeps.running.messages import Share
from sweeps.space.spec import SweepSpec
from trainer.cores import cores

if TYPE_CHECKING:
    from sweeps.ray_tune.cluster import Cluster


def share_of(spec: SweepSpec, cluster: "Cluster | None", *, streamed: tuple[str, ...]) -> Share:
    """The share of the resources that one trial has.

    Args:
        streamed: keys of the choices of preprocessing whose images are decoded batch by batch.
    """
    if cluster is None:
        device = local_device(spec)
        cpu = spec.resources.cpu
        if cpu == "auto":
            cpu = cores() if device == "cuda" else 1
        return Share(device, 1.0 if device == "cuda" else 0.0, max(1, int(cpu)), streamed)
    from sweeps.ray_tune.cluster import resolve, threads

    gpu = resolve(spec.resources, cluster).gpu or 0.0
    return Share("cuda" if gpu else "cpu", gpu, threads(spec.resources, cluster), streamed)


def local_device(spec: SweepSpec) -> str:
    """The device of a trial without Ray, `cuda` or `cpu`.

    Without Ray, one trial at a time has the whole machine.

    Raises:
        InputError: a trial asks for a GPU, and this machine has no GPU.
    """
    from trainer.training.fit import pick_device

    wanted = spec.resources.gpu
    device = pick_device().type
    if wanted and device == "cpu":
        raise InputError(
            f"a trial asks for {wanted:g} GPU (resources), but this machine has none: "
            "--set resources.gpu=0"
        )
    return "cpu" if wanted == 0 else device
