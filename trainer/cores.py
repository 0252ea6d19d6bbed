"""How many CPU cores this process may use."""

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

SLURM = ("SLURM_JOB_ID", "SLURM_CPUS_ON_NODE")  # set in a job: its number, its CPUs on this node


def cores(*, root: Path = Path("/"), environ: Mapping[str, str] = os.environ) -> int:
    """The number of CPU cores that this process may use, at least 1.

    That is the least of what the CPU affinity (cpusets and `taskset` set it), the quota of a
    container, and a Slurm job allow. `os.cpu_count` counts the cores of the machine instead.

    Args:
        root: the folder that has `proc` and `sys`.
        environ: the environment.
    """
    count = os.cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):
        count = len(os.sched_getaffinity(0))
    job, allocated = (environ.get(name, "") for name in SLURM)
    slurm = [int(allocated)] if job and allocated.isdecimal() else []
    return max(1, min([count, *map(int, _quotas(root)), *slurm]))


def _quotas(root: Path) -> Iterator[float]:
    """The CPU quotas of the control groups that this process is in, as numbers of cores.

    https://docs.kernel.org/admin-guide/cgroup-v2.html#cpu-interface-files and, for version 1,
    https://docs.kernel.org/scheduler/sched-bwc.html
    """
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:  # not Linux
        return
    for line in lines:
        _, controllers, name = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        mounts = [f"sys/fs/cgroup/{controllers}"] if controllers else []
        mounts += (
            ["sys/fs/cgroup/cpu"] if controllers else ["sys/fs/cgroup", "sys/fs/cgroup/unified"]
        )
        group = Path(name.lstrip("/"))
        for mount in mounts:
            # a group has at most what the groups above it have; in a container, those are not shown
            for folder in (group, *group.parents):
                yield from _quota(root / mount / folder)


def _quota(folder: Path) -> Iterator[float]:
    # a file that is not there, or says `max` or -1: no limit
    with contextlib.suppress(OSError, ValueError):
        quota, period = (folder / "cpu.max").read_text().split()
        yield int(quota) / int(period)
    with contextlib.suppress(OSError, ValueError):
        quota = (folder / "cpu.cfs_quota_us").read_text()
        if int(quota) > 0:
            yield int(quota) / int((folder / "cpu.cfs_period_us").read_text())
