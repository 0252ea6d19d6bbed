"""Which other sweeps run on this machine: each living driver has a file that other drivers read.

Nothing is locked: two sweeps may share GPUs on purpose, and a warning is enough.
"""

import contextlib
import dataclasses
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from sweeps import processes
from trainer.cache_folder import writable_cache_folder
from trainer.cores import cores
from trainer.files import write_json


@dataclasses.dataclass(frozen=True)
class Neighbour:
    """Another driver on this machine.

    Attributes:
        pid: the process id of the driver.
        started_s: seconds from the start of the machine to the start of the driver's process; see
            sweeps.processes.
        sweep: name of the driver's sweep.
        runs: the runs folder of the driver's sweep.
        gpus: number of GPUs of this machine that the sweep's trials may use; 0 if they use none.
        cpus: number of CPUs of this machine that they may use; 0 for trials on a cluster, and in
            files of earlier versions.
    """

    pid: int
    started_s: float
    sweep: str
    runs: str
    gpus: float
    cpus: float = 0.0

    def lives(self) -> bool:
        """Whether the driver's process still exists."""
        return processes.lives(self.pid, self.started_s)

    def warning(self, *, gpus: float, cpus: float) -> str | None:
        """The warning about this driver that the user of another sweep gets, if there is one.

        Args:
            gpus, cpus: those of this machine that the trials of the other sweep may use.
        """
        also = f"sweep {self.sweep!r} (process {self.pid}) also uses this machine's"
        if gpus and self.gpus:
            return (
                f"{also} GPUs ({self.gpus:.1f}): both may run "
                "out of GPU memory; use resources.gpu shares or CUDA_VISIBLE_DEVICES"
            )
        if not gpus and not self.gpus and cpus + self.cpus > cores() and cpus and self.cpus:
            return (
                f"{also} CPUs ({self.cpus:g} of {cores()}): both take longer than alone; "
                "`taskset` gives each sweep CPUs of its own"
            )
        return None


@contextlib.contextmanager
def registered(sweep: str, *, gpus: float, cpus: float, runs: Path) -> Iterator[list[Neighbour]]:
    """Register this process as the driver of `sweep` for the time of the `with` block.

    Yields:
        The drivers that were registered on this machine before this process, by pid.

    Raises:
        DataError: the cache folder cannot be written.
    """
    # several machines may share a home folder, and a pid means nothing on another machine
    folder = writable_cache_folder() / "running" / socket.gethostname()
    folder.mkdir(parents=True, exist_ok=True)
    own = Neighbour(os.getpid(), processes.started_s(), sweep, str(runs.resolve()), gpus, cpus)
    path = folder / f"{own.pid}.json"
    others = [other for other in _living(folder) if other.pid != own.pid]
    write_json(path, dataclasses.asdict(own))
    try:
        yield others
    finally:
        path.unlink(missing_ok=True)


def _living(folder: Path) -> Iterator[Neighbour]:
    """The living drivers, sorted by pid. The files of dead drivers are removed."""
    for path in sorted(folder.glob("*.json"), key=lambda path: path.stem.zfill(12)):
        try:
            other = Neighbour(**json.loads(path.read_text()))
        except FileNotFoundError:  # this driver has just ended
            continue
        except (ValueError, TypeError):  # another version of foldsweep or another program wrote it
            continue
        if other.lives():
            yield other
        else:
            path.unlink(missing_ok=True)
