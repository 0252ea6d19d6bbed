"""Notices that the folder of a running sweep has vanished: deleted, renamed, its disk unmounted.

Without it, workers fail to write their files, one after another, until all trials have failed.
"""

import contextlib
import threading
from collections.abc import Callable, Iterator

from sweeps.errors import InfrastructureError, InputError
from sweeps.paths import SweepFiles

EVERY_S = 15.0
MISSES = 2  # a network file system may lose a folder for a moment


@contextlib.contextmanager
def watched_folder(
    files: SweepFiles,
    *,
    identity: str,
    on_gone: Callable[[InfrastructureError], None],
    every_s: float = EVERY_S,
) -> Iterator[None]:
    """A context manager that looks every `every_s` seconds whether the folder is still there.

    Args:
        identity: the uuid of the sweep.
        on_gone: called once, from another thread, after the folder was not there `MISSES` times.
    """
    over = threading.Event()

    def look() -> None:
        missed = 0
        while not over.wait(every_s):
            missed = 0 if _is_there(files, identity) else missed + 1
            if missed == MISSES:
                on_gone(
                    InfrastructureError(
                        f"{files.directory} is not the folder of this sweep any more: it was "
                        "deleted, moved, or its disk is gone. Bring it back and run the same "
                        "command again to continue"
                    )
                )
                return

    # a daemon, because a file system that hangs must not keep the process
    thread = threading.Thread(target=look, name="folder watch", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()


def _is_there(files: SweepFiles, identity: str) -> bool:
    try:
        return files.identity() == identity
    except (OSError, InputError):
        return False
