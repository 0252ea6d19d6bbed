"""The sweeps that run on one machine: a file for each driver that lives, so that they are told of each other.

Nothing is locked: two sweeps may share GPUs on purpose, and a warning is all that is needed.
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
from trainer.files import write_json


@dataclasses.dataclass(frozen=True)
class Neighbour:
    """Another driver of this machine.

    Attributes:
        started_s: from the start of the machine, see sweeps.processes.
        runs: the runs folder of its sweep.
        gpus: of this machine that its trials may use; 0 if they use none.
    """

    pid: int
    started_s: float
    sweep: str
    runs: str
    gpus: float

    def lives(self) -> bool:
        """Whether its process still exists."""
        return processes.lives(self.pid, self.started_s)

    @property
    def warning(self) -> str:
        """What to tell the user of a sweep that uses GPUs, too."""
        return (
            f"sweep {self.sweep!r} (process {self.pid}) also uses this machine's GPUs ({self.gpus:.1f}): both may run "
            "out of GPU memory; use resources.gpu shares or CUDA_VISIBLE_DEVICES"
        )


@contextlib.contextmanager
def registered(sweep: str, *, gpus: float, runs: Path) -> Iterator[list[Neighbour]]:
    """This process is known as a sweep's driver; those of other sweeps that were known before it.

    Raises:
        DataError: the cache folder cannot be written.
    """
    # a home folder may be shared by machines, whose pids mean nothing here
    folder = writable_cache_folder() / "running" / socket.gethostname()
    folder.mkdir(parents=True, exist_ok=True)
    own = Neighbour(os.getpid(), processes.started_s(), sweep, str(runs.resolve()), gpus)
    path = folder / f"{own.pid}.json"
    others = [other for other in _living(folder) if other.pid != own.pid]
    write_json(path, dataclasses.asdict(own))
    try:
        yield others
    finally:
        path.unlink(missing_ok=True)


def _living(folder: Path) -> Iterator[Neighbour]:
    """The drivers that live, by pid; the files of dead ones are removed."""
    for path in sorted(folder.glob("*.json"), key=lambda path: path.stem.zfill(12)):
        try:
            other = Neighbour(**json.loads(path.read_text()))
        except FileNotFoundError:  # it ended just now
            continue
        except (ValueError, TypeError):  # another version's, or not ours
            continue
        if other.lives():
            yield other
        else:
            path.unlink(missing_ok=True)
