"""Threads on which a sweep depends."""

import contextlib
from collections.abc import Callable, Iterator

from sweeps.errors import InfrastructureError


@contextlib.contextmanager
def vital(what: str, *, on_end: Callable[[InfrastructureError], None]) -> Iterator[None]:
    """Around all that a thread does: an error that ends the thread is told, so that nobody waits.

    Args:
        what: what has stopped then, as the subject of a sentence.
        on_end: called from the thread, at most once. The error is raised again after it, and Python
            prints its traceback.
    """
    try:
        yield
    except BaseException:
        on_end(
            InfrastructureError(
                f"{what} stopped by a bug; its traceback is above. Finished folds are on disk; "
                "run the same command again to continue"
            )
        )
        raise
