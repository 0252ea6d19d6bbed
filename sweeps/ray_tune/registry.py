"""The drivers of this process, by key.

Tune pickles its searcher and its scheduler. A driver has threads, locks and connections, so it
cannot be pickled. Therefore our searcher and our scheduler hold only a key, and look up the driver
in `DRIVERS`.
"""

from sweeps.running.driver import Driver

DRIVERS: dict[str, Driver] = {}
