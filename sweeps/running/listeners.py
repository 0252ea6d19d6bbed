"""Those who are told of a sweep: none of them can end it, or keep the others from being told."""

import logging
from collections.abc import Callable
from typing import TypeVarTuple

from sweeps.running.events import ProgressView

logger = logging.getLogger(__name__)

News = TypeVarTuple("News")


def each_told(*listeners: Callable[[*News], None]) -> Callable[[*News], None]:
    """One listener that tells all these in their order, and never raises.

    What a listener raises is logged the first time, and the next one is told all the same: a
    terminal that is gone is no reason to stop training, or to let weights fill the disk.

    Example:
        >>> heard = []
        >>> each_told(heard.append, print)("trial 3 started")
        trial 3 started
        >>> heard
        ['trial 3 started']
    """
    failed = set[int]()

    def tell(*news: *News) -> None:
        for number, listener in enumerate(listeners):
            try:
                listener(*news)
            except Exception as error:  # noqa: BLE001 - see above
                if number not in failed:
                    failed.add(number)
                    name = getattr(listener, "__qualname__", type(listener).__name__)
                    logger.warning(
                        "%s failed and may miss events (%s: %s)", name, type(error).__name__, error
                    )

    return tell


class Views:
    """Several views as one that never raises, see `each_told`."""

    def __init__(self, *views: ProgressView) -> None:
        self.notify = each_told(*(view.notify for view in views))
        self.watch = each_told(*(view.watch for view in views))
        self.images = each_told(*(view.images for view in views))
