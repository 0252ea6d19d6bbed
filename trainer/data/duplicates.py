"""Find near-duplicate images: exact single-link clusters of 256-bit perceptual hashes.

Shapes: N images, M distinct hashes (numbered by their first row; the hash of images with one colour
comes last), 4 words of 64 bits per hash, P linked pairs, R x C pairs of a block.

Two methods find the same pairs:

- Bands. The bits are divided into distance + 1 bands. Two hashes that differ in at most `distance`
  bits are equal in at least one band. Therefore only hashes with an equal band are compared
  (Norouzi et al. 2012, "Fast Search in Hamming Space with Multi-Index Hashing").
- Blocks. All pairs are compared, first by the 64 most informative bits. This method is used if the
  bands would compare too many pairs. Bands compare many pairs if the bits of photos depend on each
  other, or if a long distance makes the bands short.
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
# a block has 1 MiB of words, which fit into the second-level cache of one core
BLOCK_ROWS = 16
BLOCK_COLUMNS = 8192
JOINED_AT_ONCE = 2**17  # links; each join takes as long as one pass over all images
BAND_COST = 24  # measured: a pair with an equal band takes as long as 20 to 30 pairs of a block
# If more than one pair of a block in MANY is a candidate, it is faster to compare all words of the
# block than to pick the candidates one by one.
MANY = 32
SAMPLED = 4096  # hashes from which the most informative bits are computed


def near_duplicate_clusters(
    hashes_N4: Words, *, distance: int, progress: Progress | None = None
) -> Rows:
    """Put images whose hashes differ in at most `distance` bits into one cluster (single link).

    Single link means that a cluster can contain two images that differ in more bits, if a chain of
    similar images connects them.

    Args:
        hashes_N4: perceptual hashes. A hash of zeros stands for an image with one colour; such an
            image is a near-duplicate only of other images with one colour.
        distance: the largest number of different bits, 0..64.
        progress: called with (done, N) while the work goes on. `done` begins with 0, does not
            decrease, and ends with N.

    Returns:
        For each image, the lowest row of its cluster. An image without near-duplicates has its own
        row.

    Raises:
        ValueError: the hashes are not N x 4 words of 64 bits, or the distance is outside 0..64.

    Example:
        >>> hashes_N4 = np.array([[7, 0, 0, 0], [~7, 0, 0, 0], [6, 0, 0, 0]]).astype(np.uint64)
        >>> near_duplicate_clusters(hashes_N4, distance=1).tolist()
        [0, 1, 0]
    """
    _refuse(hashes_N4, distance)
    first_M, hash_N = _distinct(hashes_N4)
    root_M = np.arange(len(first_M))

    def report(share: float) -> None:
        if progress is not None:
            progress(round(share * len(hashes_N4)), len(hashes_N4))

    pending: list[Links] = []
    count = 0
    for links in _links(hashes_N4[first_M], distance=distance, root_M=root_M, report=report):
        pending.append(links)
        count += len(links[0])
        if count >= JOINED_AT_ONCE:
            _join(root_M, pending)
            pending = []
            count = 0
    _join(root_M, pending)
    return first_M[root_M[hash_N]]


def one_per_cluster(clusters_N: Rows) -> Rows:
    """The middle row of each cluster, in ascending order of the rows.

    For a video this is the middle frame. A cluster of two images gives its first image.

    Example:
        >>> one_per_cluster(np.array([0, 0, 0, 3, 3])).tolist()
        [1, 3]
    """
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
    """The first row of each distinct hash, and the number of each row's hash.

    The first rows are in ascending order. The hash of zeros is an exception: it comes last.
    """
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
    """Put linked hashes into one cluster, and change `root_M` in place.

    Afterwards the root of each hash is the lowest number in its cluster.
    """
    if not links:
        return
    a_P, b_P = (np.concatenate([link[side] for link in links]) for side in (0, 1))
    while True:
        a_P = root_M[a_P]
        b_P = root_M[b_P]
        apart = a_P != b_P
        if not apart.any():
            return
        a_P = a_P[apart]
        b_P = b_P[apart]
        np.minimum.at(root_M, np.maximum(a_P, b_P), np.minimum(a_P, b_P))
        while (root_M[root_M] != root_M).any():  # each step halves the distance to the root
            root_M[:] = root_M[root_M]


def _links(
    hashes_M4: Words, *, distance: int, root_M: Rows, report: Callable[[float], None]
) -> Iterator[Links]:
    """Yield all linked pairs of distinct hashes that have different roots.

    The caller may change `root_M` between two results. The method with bands may yield a pair
    twice.
    """
    # the hash of zeros, of images with one colour, is linked with no other hash
    if len(hashes_M4) and not hashes_M4[-1].any():
        hashes_M4 = hashes_M4[:-1]
        root_M = root_M[:-1]
    report(0.0)
    if distance and len(hashes_M4) > 1:
        order = _informative_bits(hashes_M4)
        count = max(distance + 1, BITS // 64)  # at least 4 bands, so that a band fits into one word
        bands = [order[number::count] for number in range(count)]
        if _bands_are_cheap(hashes_M4, bands):
            yield from _band_links(
                hashes_M4, bands, distance=distance, root_M=root_M, report=report
            )
        else:
            words_4M = np.stack(
                [_picked_bits(hashes_M4, order[at : at + 64]) for at in range(0, BITS, 64)]
            )
            yield from _block_links(words_4M, distance=distance, root_M=root_M, report=report)
    report(1.0)


def _informative_bits(hashes_M4: Words) -> list[int]:
    """All bits in the order of their information, chosen by a greedy method.

    The next bit is the bit that varies most and depends least (linearly) on the bits before it.
    """
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


def _picked_bits(hashes_M4: Words, bits: list[int]) -> Words:
    """The given bits of each hash (at most 64) in one word."""
    word_M = np.zeros(len(hashes_M4), dtype=np.uint64)
    for bit in bits:
        word_M <<= np.uint64(1)
        word_M |= hashes_M4[:, bit // 64] >> np.uint64(bit % 64) & np.uint64(1)
    return word_M


def _bands_are_cheap(hashes_M4: Words, bands: list[list[int]]) -> bool:
    """Whether the method with bands takes at most as long as the method with blocks."""
    affordable = len(hashes_M4) * (len(hashes_M4) - 1) // 2 // BAND_COST
    for bits in bands:
        word_M = np.sort(_picked_bits(hashes_M4, bits))
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
    report: Callable[[float], None],
) -> Iterator[Links]:
    for number, bits in enumerate(bands):
        report(number / len(bands))
        word_M = _picked_bits(hashes_M4, bits)
        order_M = np.argsort(word_M, kind="stable")  # stable, so that a < b in each pair
        word_M = word_M[order_M]
        place_P = np.arange(len(word_M))
        step = 1
        while len(place_P := place_P[: np.searchsorted(place_P, len(word_M) - step)]):
            place_P = place_P[word_M[place_P] == word_M[place_P + step]]
            yield from _near_pairs(
                hashes_M4,
                order_M[place_P],
                order_M[place_P + step],
                distance=distance,
                root_M=root_M,
            )
            step += 1


def _block_links(
    words_4M: Words, *, distance: int, root_M: Rows, report: Callable[[float], None]
) -> Iterator[Links]:
    count = words_4M.shape[1]
    hashes_M4 = np.ascontiguousarray(words_4M.T)
    room = np.empty(BLOCK_ROWS * BLOCK_COLUMNS, dtype=np.uint64)
    for top in range(0, count, BLOCK_ROWS):
        if top % (64 * BLOCK_ROWS) == 0:
            report(1 - (1 - top / count) ** 2)
        root_R = root_M[top : top + BLOCK_ROWS]
        for left in range(top, count, BLOCK_COLUMNS):
            root_C = root_M[left : left + BLOCK_COLUMNS]
            if (root_C == root_R[0]).all() and (root_R == root_R[0]).all():
                continue
            near_RC = _candidate_pairs(words_4M, top, left, distance=distance, room=room)
            near = np.count_nonzero(near_RC)
            if near > near_RC.size // MANY:
                near_RC &= root_R[:, None] != root_C
            if near:
                # divmod of one axis is faster than nonzero() of two axes
                row_P, column_P = np.divmod(np.flatnonzero(near_RC), len(root_C))
                above = row_P + top < column_P + left
                a_P = row_P[above] + top
                b_P = column_P[above] + left
                yield from _near_pairs(hashes_M4, a_P, b_P, distance=distance, root_M=root_M)


def _candidate_pairs(
    words_4M: Words, top: int, left: int, *, distance: int, room: Words
) -> npt.NDArray[np.bool_]:
    """The pairs of a block that may be near: all near pairs, and some pairs that are not near.

    The function compares the first word of the hashes. If this leaves many pairs, the function
    compares all four words.
    """
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
    # bits_RC has one byte per pair, in which 256 different bits become 0: such a pair is kept too
    np.less_equal(bits_RC, distance, out=near_RC)
    return near_RC


def _near_pairs(
    hashes_M4: Words, a_P: Rows, b_P: Rows, *, distance: int, root_M: Rows
) -> Iterator[Links]:
    """Yield the near pairs among the given pairs, unless the two hashes have the same root."""
    apart = root_M[a_P] != root_M[b_P]
    a_P = a_P[apart]
    b_P = b_P[apart]
    bits_P = np.bitwise_count(hashes_M4[a_P] ^ hashes_M4[b_P]).sum(axis=1, dtype=np.int64)
    near = bits_P <= distance
    if near.any():
        yield a_P[near], b_P[near], bits_P[near]
