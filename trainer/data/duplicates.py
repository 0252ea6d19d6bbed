"""Near-duplicate images: exact single-link clusters of 256-bit perceptual hashes.

Shapes: N images, M distinct hashes (numbered by their first row; an entirely flat one comes last), 4 words of 64 bits
per hash, P linked pairs, R x C a block of pairs.

Two ways find the same pairs. Bands: two hashes within `distance` bits are equal in at least one of distance + 1 bands
of bits, so only hashes with an equal band are compared (Norouzi et al. 2012, "Fast Search in Hamming Space with
Multi-Index Hashing"). Photos have bits that depend on each other, and long distances make short bands: where the bands
would compare too many, all pairs are compared in blocks, by their 64 most telling bits first.
"""

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

Words = npt.NDArray[np.uint64]
Rows = npt.NDArray[np.int64]
Links = tuple[Rows, Rows, Rows]  # a_P < b_P and their distances in bits
Progress = Callable[[int, int], None]

BITS = 256
MAX_DISTANCE = 64
BLOCK_ROWS, BLOCK_COLUMNS = 16, 8192  # 1 MiB of words: stays in the second-level cache of one core
JOINED_AT_ONCE = 2**17  # joining costs as much as going over all images
BAND_COST = 24  # measured: a pair with an equal band takes as long as 20 to 30 pairs of a block
MANY = 32  # one pair in so many: from there on, picking them one by one takes longer than comparing all words
SAMPLED = 4096  # hashes that tell which bits are telling


def near_duplicate_clusters(
    hashes_N4: Words, *, distance: int, progress: Progress | None = None
) -> Rows:
    """Link images whose hashes differ in at most `distance` bits, and links of links (single link).

    Args:
        hashes_N4: perceptual hashes; all zeros is an entirely flat picture, which matches only its like.
        distance: bits, 0..64.
        progress: told how many of the N images' worth of work are done: from 0, ascending, at last N.

    Returns:
        For each image the lowest row of its cluster (its own row where it is alone).

    Raises:
        ValueError: the hashes are not N x 4 words of 64 bits, or the distance is outside 0..64.
    """
    _refuse(hashes_N4, distance)
    first_M, hash_N = _distinct(hashes_N4)
    root_M = np.arange(len(first_M))

    def tell(share: float) -> None:
        if progress is not None:
            progress(round(share * len(hashes_N4)), len(hashes_N4))

    pending: list[Links] = []
    count = 0
    for links in _links(hashes_N4[first_M], distance=distance, root_M=root_M, tell=tell):
        pending.append(links)
        count += len(links[0])
        if count >= JOINED_AT_ONCE:
            _join(root_M, pending)
            pending, count = [], 0
    _join(root_M, pending)
    return first_M[root_M[hash_N]]


def one_per_cluster(clusters_N: Rows) -> Rows:
    """Rows to keep, ascending: the middle row of each cluster (of a video its middle frame; of two the first)."""
    order_N = np.argsort(clusters_N, kind="stable")
    _, begins, counts = np.unique(clusters_N[order_N], return_index=True, return_counts=True)
    return np.sort(order_N[begins + (counts - 1) // 2])


def _refuse(hashes_N4: Words, distance: int) -> None:
    if hashes_N4.ndim != 2 or hashes_N4.shape[1] != BITS // 64 or hashes_N4.dtype != np.uint64:
        raise ValueError(
            f"hashes are N x 4 words of uint64, got {hashes_N4.shape} of {hashes_N4.dtype}"
        )
    if not 0 <= distance <= MAX_DISTANCE:
        raise ValueError(f"the distance is 0..{MAX_DISTANCE} bits, got {distance}")


def _distinct(hashes_N4: Words) -> tuple[Rows, Rows]:
    """The first row of each distinct hash, ascending but for the flat one at the end, and each row's hash."""
    order_N = np.lexsort(hashes_N4.T)
    sorted_N4 = hashes_N4[order_N]
    new_N = np.ones(len(order_N), dtype=bool)
    new_N[1:] = (sorted_N4[1:] != sorted_N4[:-1]).any(axis=1)
    first_M = order_N[new_N]
    rank_M = np.lexsort((first_M, ~hashes_N4[first_M].any(axis=1)))
    number_M = np.empty_like(rank_M)
    number_M[rank_M] = np.arange(len(rank_M))
    hash_N = np.empty_like(order_N)
    hash_N[order_N] = number_M[np.cumsum(new_N) - 1]
    return first_M[rank_M], hash_N


def _join(root_M: Rows, links: list[Links]) -> None:
    """Put linked hashes into one cluster, in place; afterwards each root is the lowest number of its cluster."""
    if not links:
        return
    a_P, b_P = (np.concatenate([link[side] for link in links]) for side in (0, 1))
    while True:
        a_P, b_P = root_M[a_P], root_M[b_P]
        apart = a_P != b_P
        if not apart.any():
            return
        a_P, b_P = a_P[apart], b_P[apart]
        np.minimum.at(root_M, np.maximum(a_P, b_P), np.minimum(a_P, b_P))
        while (root_M[root_M] != root_M).any():  # halves the way to the root each time
            root_M[:] = root_M[root_M]


def _links(
    hashes_M4: Words, *, distance: int, root_M: Rows, tell: Callable[[float], None]
) -> Iterator[Links]:
    """All linked pairs of distinct hashes, but for those that `root_M` (it may change meanwhile) shows joined.

    Bands may yield a pair twice.
    """
    if len(hashes_M4) and not hashes_M4[-1].any():  # flat
        hashes_M4, root_M = hashes_M4[:-1], root_M[:-1]
    tell(0.0)
    if distance and len(hashes_M4) > 1:
        order = _telling_bits(hashes_M4)
        count = max(distance + 1, BITS // 64)  # a band fits into one word
        bands = [order[number::count] for number in range(count)]
        if _bands_are_cheap(hashes_M4, bands):
            yield from _band_links(hashes_M4, bands, distance=distance, root_M=root_M, tell=tell)
        else:
            words_4M = np.stack(
                [_picked(hashes_M4, order[at : at + 64]) for at in range(0, BITS, 64)]
            )
            yield from _block_links(words_4M, distance=distance, root_M=root_M, tell=tell)
    tell(1.0)


def _telling_bits(hashes_M4: Words) -> list[int]:
    """All bits, those first that vary most and depend least (linearly) on the ones before: greedy."""
    sample_S4 = hashes_M4[
        np.linspace(0, len(hashes_M4) - 1, min(SAMPLED, len(hashes_M4))).astype(np.int64)
    ]
    shifts = np.arange(64, dtype=np.uint64)
    bits_SB = (
        (sample_S4[:, :, None] >> shifts & np.uint64(1))
        .reshape(len(sample_S4), BITS)
        .astype(np.float64)
    )
    covariance_BB = np.cov(bits_SB, rowvar=False)
    variance_B = covariance_BB.diagonal()
    scale_BB = np.outer(variance_B, variance_B)
    squares_BB = np.divide(
        covariance_BB**2, scale_BB, out=np.zeros_like(scale_BB), where=scale_BB > 0
    )
    order: list[int] = []
    shared_B = np.zeros(BITS)
    worth_B = variance_B.copy()
    for _ in range(BITS):
        best = int(np.argmax(worth_B))
        order.append(best)
        shared_B = np.maximum(shared_B, squares_BB[best])
        worth_B = variance_B * (1 - shared_B)
        worth_B[order] = -np.inf
    return order


def _picked(hashes_M4: Words, bits: list[int]) -> Words:
    """These at most 64 bits of each hash, in one word."""
    word_M = np.zeros(len(hashes_M4), dtype=np.uint64)
    for bit in bits:
        word_M <<= np.uint64(1)
        word_M |= hashes_M4[:, bit // 64] >> np.uint64(bit % 64) & np.uint64(1)
    return word_M


def _bands_are_cheap(hashes_M4: Words, bands: list[list[int]]) -> bool:
    affordable = len(hashes_M4) * (len(hashes_M4) - 1) // 2 // BAND_COST
    for bits in bands:
        word_M = np.sort(_picked(hashes_M4, bits))
        bounds = np.flatnonzero(np.concatenate([[True], word_M[1:] != word_M[:-1], [True]]))
        sizes = np.diff(bounds)
        affordable -= int((sizes * (sizes - 1) // 2).sum())
        if affordable < 0:
            return False
    return True


def _band_links(
    hashes_M4: Words,
    bands: list[list[int]],
    *,
    distance: int,
    root_M: Rows,
    tell: Callable[[float], None],
) -> Iterator[Links]:
    for number, bits in enumerate(bands):
        tell(number / len(bands))
        word_M = _picked(hashes_M4, bits)
        order_M = np.argsort(word_M, kind="stable")  # equal words keep their order, so a < b
        word_M = word_M[order_M]
        place_P, step = np.arange(len(word_M)), 1
        while len(place_P := place_P[: np.searchsorted(place_P, len(word_M) - step)]):
            place_P = place_P[word_M[place_P] == word_M[place_P + step]]
            yield from _within(
                hashes_M4,
                order_M[place_P],
                order_M[place_P + step],
                distance=distance,
                root_M=root_M,
            )
            step += 1


def _block_links(
    words_4M: Words, *, distance: int, root_M: Rows, tell: Callable[[float], None]
) -> Iterator[Links]:
    count = words_4M.shape[1]
    hashes_M4 = np.ascontiguousarray(words_4M.T)
    room = np.empty(BLOCK_ROWS * BLOCK_COLUMNS, dtype=np.uint64)
    for top in range(0, count, BLOCK_ROWS):
        if top % (64 * BLOCK_ROWS) == 0:
            tell(1 - (1 - top / count) ** 2)
        root_R = root_M[top : top + BLOCK_ROWS]
        for left in range(top, count, BLOCK_COLUMNS):
            root_C = root_M[left : left + BLOCK_COLUMNS]
            if (root_C == root_R[0]).all() and (root_R == root_R[0]).all():
                continue
            near_RC = _perhaps_near(words_4M, top, left, distance=distance, room=room)
            near = np.count_nonzero(near_RC)
            if near > near_RC.size // MANY:
                near_RC &= root_R[:, None] != root_C
            if near:
                row_P, column_P = np.divmod(
                    np.flatnonzero(near_RC), len(root_C)
                )  # faster than nonzero() of two axes
                above = row_P + top < column_P + left
                a_P, b_P = row_P[above] + top, column_P[above] + left
                yield from _within(hashes_M4, a_P, b_P, distance=distance, root_M=root_M)


def _perhaps_near(
    words_4M: Words, top: int, left: int, *, distance: int, room: Words
) -> npt.NDArray[np.bool_]:
    """The near pairs of a block and some others: by the first word, or where it leaves many, by all four."""
    rows_4R1 = words_4M[:, top : top + BLOCK_ROWS, None]
    columns_4C = words_4M[:, left : left + BLOCK_COLUMNS]
    shape = (rows_4R1.shape[1], columns_4C.shape[1])
    word_RC = room[: shape[0] * shape[1]].reshape(shape)
    bits_RC = np.bitwise_count(np.bitwise_xor(rows_4R1[0], columns_4C[0], out=word_RC))
    near_RC: npt.NDArray[np.bool_] = bits_RC <= distance
    if np.count_nonzero(near_RC) <= near_RC.size // MANY:
        return near_RC
    for word in range(1, len(words_4M)):
        bits_RC += np.bitwise_count(np.bitwise_xor(rows_4R1[word], columns_4C[word], out=word_RC))
    np.less_equal(
        bits_RC, distance, out=near_RC
    )  # a byte takes 256 different bits for none: one of the others
    return near_RC


def _within(
    hashes_M4: Words, a_P: Rows, b_P: Rows, *, distance: int, root_M: Rows
) -> Iterator[Links]:
    apart = root_M[a_P] != root_M[b_P]
    a_P, b_P = a_P[apart], b_P[apart]
    bits_P = np.bitwise_count(hashes_M4[a_P] ^ hashes_M4[b_P]).sum(axis=1, dtype=np.int64)
    near = bits_P <= distance
    if near.any():
        yield a_P[near], b_P[near], bits_P[near]
