"""The cluster on which a sweep runs, checked before images are decoded."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from sweeps.paths import make_folder
from sweeps.ray_tune.addresses import LOCAL

if TYPE_CHECKING:
    from sweeps.ray_tune.cluster import Cluster
    from sweeps.space.spec import SweepSpec


@contextlib.contextmanager
def sweep_cluster(
    spec: "SweepSpec", *, address: str | None, directory: Path
) -> "Iterator[Cluster | None]":
    """A context manager that starts or joins Ray; its value is None without Ray.

    The cluster has resources for at least one trial, and all nodes of a joined cluster see the
    files.

    Args:
        address: see `sweeps.sweep.RunOptions`.
        directory: the sweep's directory.

    Raises:
        InputError: a trial asks for more than there is, or a node does not see the files.
        InfrastructureError: Ray cannot be started, or does not answer.
    """
    if address is None:
        from sweeps.ray_tune.share import local_device

        local_device(spec)
        yield None
        return
    from sweeps.ray_tune.cluster import ray_cluster, trials_at_once
    from sweeps.ray_tune.probe import probe_nodes

    with ray_cluster(address) as cluster:
        trials_at_once(spec.resources, cluster)
        if address != LOCAL:
            make_folder(directory)
            probe_nodes(cluster, directory=directory, paths=_seen_by_workers(spec))
        yield cluster


def _seen_by_workers(spec: "SweepSpec") -> list[Path]:
    """Paths that must exist on every node, exactly as on this node."""
    from trainer.data.image_column import images_folders
    from trainer.data.image_files import existing

    data = spec.data
    named = (data.source, data.valid, *spec.local_weights())
    paths = [existing(path).resolve() for path in named if path is not None]
    tables = [path for path in paths[: 1 + (data.valid is not None)] if path.is_file()]
    folders = [folder for path in tables for folder in images_folders(path, data.folder)]
    return [*paths, *(folder.resolve() for folder in folders)]
