"""The drivers of this process and their workers, by key.

Tune pickles its searcher and its scheduler. A driver has threads, locks and connections, so it
cannot be pickled. Therefore our searcher and our scheduler hold only a key, and look up the driver
in `DRIVERS`, and its workers in `WORKERS`.
"""

from sweeps.ray_tune.workers import Workers
from sweeps.running.driver import Driver

DRIVERS: dict[str, Driver] = {}
WORKERS: dict[str, Workers] = {}
