"""The drivers of this process by key.

Tune pickles its searcher and scheduler. A driver has threads, locks and connections and cannot be
pickled, so the shells hold a key and find the driver here.
"""

from sweeps.running.driver import Driver

DRIVERS: dict[str, Driver] = {}
