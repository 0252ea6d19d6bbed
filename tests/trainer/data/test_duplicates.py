"""Clusters of perceptual hashes equal those of the plainest search, whichever way finds them."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.data import duplicates
from trainer.data.duplicates import near_duplicate_clusters, one_per_cluster


def packed(bits_NB: np.ndarray) -> np.ndarray:
    """256 bits per row as four words."""
    return np.packbits(bits_NB.astype(np.uint8), axis=1).view(np.uint64)


def plain_pairs(hashes_N4: np.ndarray, distance: int) -> list[tuple[int, int, int]]:
    """Every pair compared in Python, closest first."""
    numbers = [int.from_bytes(row.tobytes(), "little") for row in hashes_N4]
    found = [
        ((a ^ b).bit_count(), i, j)
        for i, a in enumerate(numbers)
        for j, b in enumerate(numbers)
        if i < j and a and b
    ]
    flat = [
        (0, i, j)
        for i, a in enumerate(numbers)
        for j, b in enumerate(numbers)
        if i < j and a == b == 0
    ]
    return [(i, j, bits) for bits, i, j in sorted(found + flat) if bits <= distance]


def plain_clusters(hashes_N4: np.ndarray, distance: int) -> list[int]:
    """Lower numbers spread along links until nothing changes."""
    cluster = list(range(len(hashes_N4)))
    pairs = plain_pairs(hashes_N4, distance)
    changed = True
    while changed:
        changed = False
        for a, b, _ in pairs:
            low = min(cluster[a], cluster[b])
            changed |= cluster[a] != cluster[b]
            cluster[a] = cluster[b] = low
    return cluster


def scattered(count: int, *, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 2, (count, 256), dtype=np.uint8)


def film(count: int, *, seed: int = 0) -> np.ndarray:
    """Frames of which each differs from the one before in 2 to 6 bits."""
    draw = np.random.default_rng(seed)
    bits_NB = np.zeros((count, 256), dtype=np.uint8)
    bits_NB[0] = draw.integers(0, 2, 256)
    for row in range(1, count):
        bits_NB[row] = bits_NB[row - 1]
        bits_NB[row, draw.choice(256, draw.integers(2, 7), replace=False)] ^= 1
    return bits_NB


def faces(count: int, *, seed: int = 0) -> np.ndarray:
    """Only a border varies, and its bits in runs of eight."""
    draw = np.random.default_rng(seed)
    bits_NB = np.tile(draw.integers(0, 2, 256, dtype=np.uint8), (count, 1))
    bits_NB[:, :64] = np.repeat(draw.integers(0, 2, (count, 8), dtype=np.uint8), 8, axis=1)
    return bits_NB ^ (draw.random((count, 256)) < 0.01).astype(np.uint8)


KINDS = {
    "scattered": scattered(60),
    "film": np.concatenate([film(30, seed=1), film(30, seed=2)]),
    "faces": faces(60),
    "dark": (np.random.default_rng(3).random((60, 256)) < 0.01).astype(np.uint8),
    "repeated": np.repeat(scattered(6), 9, axis=0)[np.random.default_rng(4).permutation(54)],
    "opposite": np.concatenate([scattered(20), 1 - scattered(20)]),
    "flat": np.concatenate(
        [np.zeros((5, 256), np.uint8), film(10), np.eye(20, 256, dtype=np.uint8)]
    ),
    "one": scattered(1),
    "none": scattered(0),
}


@pytest.fixture(params=["bands", "blocks", "small blocks"])
def way(request, monkeypatch) -> str:
    """Both ways to find pairs, whatever they cost; the blocks also in many pieces,
    and with few joined at once.
    """
    monkeypatch.setattr(duplicates, "_bands_are_cheap", lambda *_: request.param == "bands")
    if request.param == "small blocks":
        monkeypatch.setattr(duplicates, "BLOCK_ROWS", 3)
        monkeypatch.setattr(duplicates, "BLOCK_COLUMNS", 7)
        monkeypatch.setattr(duplicates, "JOINED_AT_ONCE", 1)
    return request.param


# clusters


@pytest.mark.parametrize("distance", [0, 1, 8, 24, 64])
@pytest.mark.parametrize("kind", KINDS)
def test_the_clusters_are_those_of_the_plain_search(way, kind, distance):
    hashes_N4 = packed(KINDS[kind])
    clusters_N = near_duplicate_clusters(hashes_N4, distance=distance)
    assert clusters_N.dtype == np.int64
    assert clusters_N.tolist() == plain_clusters(hashes_N4, distance)


@settings(max_examples=50)
@given(
    seed=st.integers(0, 2**32),
    count=st.integers(0, 24),
    flips=st.integers(0, 40),
    parents=st.integers(1, 6),
    density=st.floats(0, 1),
    distance=st.integers(0, 64),
    bands=st.booleans(),
)
def test_the_clusters_are_those_of_the_plain_search_for_any_hashes(
    seed, count, flips, parents, density, distance, bands
):
    draw = np.random.default_rng(seed)
    bits_NB = (draw.random((parents, 256)) < density)[draw.integers(0, parents, count)]
    hashes_N4 = packed(bits_NB ^ (draw.random((count, 256)) < flips / 256))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(duplicates, "_bands_are_cheap", lambda *_: bands)
        clusters_N = near_duplicate_clusters(hashes_N4, distance=distance)
    assert clusters_N.tolist() == plain_clusters(hashes_N4, distance)


def test_a_chain_of_frames_is_one_cluster_though_its_ends_are_far_apart(way):
    hashes_N4 = packed(film(300)[np.random.default_rng(0).permutation(300)])
    assert np.bitwise_count(hashes_N4[0] ^ hashes_N4[-1]).sum() > 16
    assert set(near_duplicate_clusters(hashes_N4, distance=6).tolist()) == {0}


@pytest.mark.parametrize("distance", [1, 5, 16, 63, 64])
def test_the_distance_itself_still_links_and_one_bit_more_does_not(way, distance):
    bits_NB = np.tile(scattered(1), (3, 1))
    bits_NB[1, np.random.default_rng(1).choice(256, distance, replace=False)] ^= 1
    bits_NB[2] = 1 - bits_NB[1]
    hashes_N4 = packed(bits_NB)
    assert near_duplicate_clusters(hashes_N4, distance=distance).tolist() == [0, 0, 2]
    assert near_duplicate_clusters(hashes_N4, distance=distance - 1).tolist() == [0, 1, 2]


def test_flat_pictures_match_only_each_other(way):
    bits_NB = np.zeros((5, 256), np.uint8)
    bits_NB[1, 7] = bits_NB[3, 8] = 1
    assert near_duplicate_clusters(packed(bits_NB), distance=64).tolist() == [0, 1, 0, 1, 0]


def test_another_order_of_the_images_gives_the_same_clusters(way):
    bits_NB = KINDS["film"]
    order_N = np.random.default_rng(5).permutation(len(bits_NB))
    plain_N = near_duplicate_clusters(packed(bits_NB), distance=4)
    mixed_N = near_duplicate_clusters(packed(bits_NB[order_N]), distance=4)
    together_NN = plain_N[:, None] == plain_N
    np.testing.assert_array_equal(mixed_N[:, None] == mixed_N, together_NN[order_N][:, order_N])


@pytest.mark.parametrize(
    ("bits_NB", "distance", "cheap"),
    [(scattered(2000), 4, True), (faces(2000), 16, False), (scattered(2000), 64, False)],
)
def test_bands_are_used_only_where_they_compare_few_pairs(monkeypatch, bits_NB, distance, cheap):
    used = []
    for name in ("_band_links", "_block_links"):
        monkeypatch.setattr(
            duplicates, name, lambda *_, name=name, **__: used.append(name) or iter(())
        )
    near_duplicate_clusters(packed(bits_NB), distance=distance)
    assert used == ["_band_links" if cheap else "_block_links"]


@pytest.mark.parametrize(
    "bits_NB", [scattered(6000), np.repeat(faces(60), 100, axis=0) ^ film(6000)]
)
def test_no_matrix_of_all_pairs_is_held(bits_NB):
    hashes_N4 = packed(bits_NB)
    tracemalloc.start()
    near_duplicate_clusters(hashes_N4, distance=8)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < 18e6  # a byte per pair, each pair once


def test_progress_rises_from_nothing_to_all_images(way):
    seen = []
    near_duplicate_clusters(
        packed(KINDS["film"]), distance=8, progress=lambda *told: seen.append(told)
    )
    assert seen[0] == (0, 60)
    assert seen[-1] == (60, 60)
    assert seen == sorted(seen)


@pytest.mark.parametrize("distance", [-1, 65])
def test_a_distance_out_of_range_is_refused(distance):
    with pytest.raises(ValueError, match=rf"^the distance is 0\.\.64 bits, got {distance}$"):
        near_duplicate_clusters(packed(scattered(3)), distance=distance)


@pytest.mark.parametrize(
    "hashes", [np.zeros((3, 3), np.uint64), np.zeros(4, np.uint64), np.zeros((3, 4), np.int64)]
)
def test_anything_but_four_words_per_image_is_refused(hashes):
    with pytest.raises(ValueError, match=r"^hashes are N x 4 words of uint64, got \("):
        near_duplicate_clusters(hashes, distance=4)


# one per cluster


@pytest.mark.parametrize(
    ("clusters", "kept"),
    [
        ([], []),
        ([0, 1, 2], [0, 1, 2]),
        ([0, 0, 0, 0, 0], [2]),
        ([0, 0], [0]),
        ([0, 1, 0, 1, 0, 5, 1, 1], [2, 3, 5]),
    ],
)
def test_the_middle_row_of_each_cluster_is_kept(clusters, kept):
    assert one_per_cluster(np.array(clusters, dtype=np.int64)).tolist() == kept
