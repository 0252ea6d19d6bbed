"""Every random choice is named: a seed is derived from its purpose, never carried from draw to draw."""

import hashlib
import json


def derive(seed: int, *purpose: str | int) -> int:
    """A 63-bit seed for one purpose, e.g. `derive(7, "trial", 3, "fold", 2, "epoch", 5, "order")`.

    The same words give the same seed on every machine, Python version and day; different words give
    independent ones (BLAKE2b of their JSON, so that `("a", 12)` and `("a1", 2)` differ).
    """
    text = json.dumps([seed, *purpose])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest()) >> 1
