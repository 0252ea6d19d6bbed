"""Seeds of all random choices.

Each random choice derives its seed from the name of its purpose. No generator's state passes from
one choice to the next.
"""

import hashlib
import json


def derive(seed: int, *purpose: str | int) -> int:
    """A 63-bit seed for one purpose, e.g. `derive(7, "trial", 3, "fold", 2, "epoch", 5, "order")`.

    Equal arguments give the same seed on every machine, with every Python version and on every
    day. Different arguments give independent seeds: the seed is the BLAKE2b hash of the arguments'
    JSON, so that `("a", 12)` and `("a1", 2)` differ.

    Example:
        >>> derive(7, "trial", 3) == derive(7, "trial", 3)
        True
        >>> derive(7, "a", 12) == derive(7, "a1", 2)
        False
    """
    text = json.dumps([seed, *purpose])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest()) >> 1
