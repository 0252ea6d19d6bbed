"""Folds: every row held out once, every class everywhere, frozen to a file."""

import contextlib
import io
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.trainer.conftest import paper_manifest
from trainer.data.folds import Folds, load_folds, make_folds, save_folds
from trainer.errors import DataError

LABELS_N = np.arange(30) % 3
PINNED = "4f00673fda45404f"  # a change of this value makes every stored fold run start again


@st.composite
def cuts(draw) -> tuple[np.ndarray, int, int]:
    """Labels with at least k images in each class, k, and a seed."""
    k = draw(st.integers(2, 6))
    counts = draw(st.lists(st.integers(k, 25), min_size=2, max_size=5))
    labels_N = np.repeat(np.arange(len(counts)), counts)
    return np.random.default_rng(draw(st.integers(0, 99))).permutation(labels_N), k, draw(st.integers(0, 2**63))


def cut(labels_N: np.ndarray = LABELS_N, *, k: int = 3, seed: int = 0) -> Folds:
    return make_folds(paper_manifest(labels_N, tuple(f"c{c}" for c in range(labels_N.max() + 1))), k=k, seed=seed)


@given(cuts())
def test_every_row_is_held_out_exactly_once_and_trained_on_in_all_other_folds(values):
    labels_N, k, seed = values
    folds = cut(labels_N, k=k, seed=seed)
    everything = np.arange(len(labels_N))
    held_out = [folds.valid_rows(fold) for fold in range(k)]
    np.testing.assert_array_equal(np.sort(np.concatenate(held_out)), everything)
    for fold in range(k):
        both = np.concatenate([folds.train_rows(fold), folds.valid_rows(fold)])
        np.testing.assert_array_equal(np.sort(both), everything)
        assert (np.diff(folds.train_rows(fold)) > 0).all()
        assert (np.diff(folds.valid_rows(fold)) > 0).all()


@given(cuts())
def test_a_class_has_the_same_share_of_every_fold_within_one_image(values):
    labels_N, k, seed = values
    folds = cut(labels_N, k=k, seed=seed)
    for label in np.unique(labels_N):
        counts = np.bincount(folds.fold_N[labels_N == label], minlength=k)
        assert counts.min() >= 1
        assert counts.max() - counts.min() <= 1


@given(cuts())
def test_one_seed_gives_one_cut_and_one_hash(values):
    labels_N, k, seed = values
    first, second = cut(labels_N, k=k, seed=seed), cut(labels_N, k=k, seed=seed)
    np.testing.assert_array_equal(first.fold_N, second.fold_N)
    assert first.hash == second.hash


def test_another_seed_cuts_otherwise():
    assert len({cut(seed=seed).hash for seed in (0, 1, 2**31, 2**32 - 1)}) == 4


def test_the_hash_of_a_cut_is_pinned_for_ever():
    assert cut().hash == PINNED


def test_a_class_with_fewer_images_than_folds_is_refused_by_name():
    labels_N = np.array([0] * 9 + [1] * 2 + [2] * 1)
    with pytest.raises(
        DataError,
        match=r"^/nowhere: 2 of 3 classes have fewer images than the 3 folds: 'b' \(2\), 'c' \(1\). "
        r"Add images, drop these classes, or lower folds.k$",
    ):
        make_folds(paper_manifest(labels_N), k=3, seed=0)


def test_a_class_with_as_many_images_as_folds_is_enough():
    folds = cut(np.array([0, 0, 0, 1, 1, 1, 1]), k=3)
    assert all((folds.manifest.labels_N[folds.valid_rows(fold)] == 0).sum() == 1 for fold in range(3))


@pytest.mark.parametrize("k", [1, 0, -3])
def test_fewer_than_two_folds_are_refused(k):
    with pytest.raises(DataError, match=rf"folds\.k.*{k}"):
        cut(k=k)


def changed(folds: Folds, **changes: object) -> Folds:
    manifest = folds.manifest
    fields = {"root": manifest.root, "paths": manifest.paths, "labels_N": manifest.labels_N}
    fields |= {"classes": manifest.classes, "lines": manifest.lines, "fold_N": folds.fold_N, "k": folds.k, **changes}
    own = {name: fields.pop(name) for name in ("fold_N", "k")}
    return Folds(manifest=type(manifest)(**fields), seed=0, **own)


@pytest.mark.parametrize(
    "changes",
    [
        {"paths": ("other.png", *(f"{row}.png" for row in range(1, 30)))},
        {"labels_N": np.r_[1, LABELS_N[1:]]},
        {"classes": ("c0", "c1", "other")},
        {"fold_N": np.zeros(30, dtype=np.int64)},
        {"k": 4},
    ],
    ids=["path", "label", "class", "fold", "k"],
)
def test_the_hash_changes_with_whatever_decides_what_is_trained(changes):
    assert changed(cut(), **changes).hash != cut().hash


def test_the_hash_does_not_change_when_the_folder_moves_or_lines_shift(tmp_path):
    assert changed(cut(), root=tmp_path, lines=(5,) * 30).hash == cut().hash


def test_frozen_folds_come_back_as_they_were(tmp_path):
    folds = cut(seed=2**63)
    save_folds(folds, tmp_path / "folds.npz")
    back = load_folds(tmp_path / "folds.npz")
    np.testing.assert_array_equal(back.fold_N, folds.fold_N)
    np.testing.assert_array_equal(back.manifest.labels_N, folds.manifest.labels_N)
    assert (back.k, back.seed, back.hash) == (folds.k, folds.seed, folds.hash)
    assert back.manifest.root == folds.manifest.root
    assert back.manifest.paths == folds.manifest.paths
    assert back.manifest.classes == folds.manifest.classes
    assert back.manifest.lines == folds.manifest.lines


def test_names_in_any_script_survive_the_file(tmp_path):
    folds = make_folds(paper_manifest(np.array([0, 1] * 3), ("日本 語", "é,\"'")), k=2, seed=0)
    save_folds(folds, tmp_path / "folds.npz")
    assert load_folds(tmp_path / "folds.npz").manifest.classes == ("日本 語", "é,\"'")


def test_the_file_holds_no_pickle(tmp_path):
    save_folds(cut(), tmp_path / "folds.npz")
    with np.load(tmp_path / "folds.npz", allow_pickle=False) as file:
        assert not any(file[name].dtype.hasobject for name in file.files)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"folds.npz: no such folds file$"):
        load_folds(tmp_path / "folds.npz")


def test_folds_changed_by_hand_are_refused(tmp_path):
    folds = cut()
    save_folds(folds, tmp_path / "folds.npz")
    with np.load(tmp_path / "folds.npz") as file:
        content = dict(file)
    content["fold"][0] = (content["fold"][0] + 1) % 3
    np.savez(tmp_path / "folds.npz", **content)
    with pytest.raises(
        DataError, match=rf"the folds file was changed after it was frozen \(hash [0-9a-f]{{16}}, not {folds.hash}\)"
    ):
        load_folds(tmp_path / "folds.npz")


def npy() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.zeros(3))
    return buffer.getvalue()


def npz(**arrays: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "content",
    [b"", b"path,label\n", b"PK\x03\x04", npy(), npz(other=np.zeros(3)), npz(head=np.array(json.dumps([1])))],
    ids=["empty", "text", "half a zip", "one array", "other arrays", "other head"],
)
def test_a_file_that_holds_no_folds_is_refused(tmp_path, content):
    (tmp_path / "folds.npz").write_bytes(content)
    with pytest.raises(DataError, match=r"folds.npz: not a readable folds file"):
        load_folds(tmp_path / "folds.npz")


@pytest.fixture(scope="module")
def frozen(tmp_path_factory):
    path = tmp_path_factory.mktemp("frozen") / "folds.npz"
    save_folds(cut(), path)
    return path


@given(st.data())
def test_a_damaged_byte_is_noticed_or_harmless(frozen, data):
    raw = bytearray(frozen.read_bytes())
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    path = frozen.with_name("damaged.npz")
    path.write_bytes(raw)
    with contextlib.suppress(DataError):
        assert load_folds(path).hash == cut().hash


def test_a_file_cut_off_anywhere_is_noticed(frozen):
    raw = frozen.read_bytes()
    path = frozen.with_name("short.npz")
    for length in range(1, len(raw), 37):
        path.write_bytes(raw[:length])
        with pytest.raises(DataError, match=r"short.npz: not a readable folds file"):
            load_folds(path)
