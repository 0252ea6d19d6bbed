"""Images of a decoded pool, and their keys."""

import numpy as np

from trainer.images.images import Decoded, Streamed
from trainer.images.manifest import DIGEST
from trainer.images.pool import Pool, PoolWriter
from trainer.images.preprocessing import Preprocessing

N = 12
SMALL = Preprocessing((4, 6))
IMAGE_BYTES = 4 * 6 * 3
RNG = np.random.default_rng(0)
IMAGES_NHWC = RNG.integers(0, 256, (N, 4, 6, 3), dtype=np.uint8)
KEYS = [bytes([row]) * 15 + b"\0" for row in range(N)]  # with an end that numpy's bytes would lose
KEYS_N = np.array(KEYS, dtype=DIGEST)


def fill(pool: Pool, rows: object = range(N), *, flush: bool = False) -> None:
    with PoolWriter(pool) as writer:
        for row in rows:
            writer.add(KEYS[row], IMAGES_NHWC[row])
            if flush:
                writer.flush()


def pixels(pool: Pool, rows: object = range(N)) -> np.ndarray:
    rows = list(rows)
    found = pool.open(KEYS_N[rows])
    assert found is not None
    return found.take(np.arange(len(rows)))


def all_of(source: Decoded | Streamed) -> np.ndarray:
    (images_NHWC,) = source.batches([np.arange(len(source))])
    return images_NHWC
