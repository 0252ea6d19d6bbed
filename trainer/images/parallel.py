"""Work on many images in parallel threads, with results in order and bounded memory.

Threads are enough, because Pillow and hashlib release Python's global interpreter lock (GIL).
"""

import collections
import concurrent.futures
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from trainer.cores import cores

Item = TypeVar("Item")
Result = TypeVar("Result")
AHEAD = 4  # finished results per thread that may wait for the caller


def map_in_order(
    function: Callable[[Item], Result], items: Iterable[Item], *, threads: int | None = None
) -> Iterator[Result]:
    """Call `function` on each item like `map`, in threads.

    At most `AHEAD` results per thread are in memory, for any number of items.

    Args:
        threads: number of threads; None means one per core.
    """
    threads = threads or cores()
    waiting: collections.deque[concurrent.futures.Future[Result]] = collections.deque()
    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) > AHEAD * threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
