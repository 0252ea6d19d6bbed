"""The hash of a cut, and the file that freezes it."""

import contextlib
import dataclasses
import io
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.trainer.conftest import paper_manifest
from tests.trainer.data.paper_folds import LABELS_N, cut, manifest_of_rows, people
from trainer.data.fold_column import HOLDOUT
from trainer.data.fold_files import load_folds, save_folds
from trainer.data.folds import Folds, make_folds
from trainer.errors import DataError
from trainer.images.manifest import DIGEST, Manifest
from trainer.images.preprocessing import Reading

# --- the hash


def changed(folds: Folds, **changes: object) -> Folds:
    own = {name: changes.pop(name) for name in ("fold_N", "k") if name in changes}
    return dataclasses.replace(
        folds, manifest=dataclasses.replace(folds.manifest, **changes), **own
    )


def digests(count: int) -> np.ndarray:
    return np.arange(2 * count, dtype=np.int64).view(DIGEST)


@pytest.mark.parametrize(
    "changes",
    [
        {"paths": ("other.png", *(f"{row}.png" for row in range(1, 30)))},
        {"labels_N": np.r_[1, LABELS_N[1:]]},
        {"classes": ("c0", "c1", "other")},
        {"fold_N": np.zeros(30, dtype=np.int64)},
        {"k": 4},
        {"digests_N": digests(30)},
        {"boxes_N4": np.ones((30, 4), dtype=np.int32)},
        {"reading": Reading(fill_rgb=(0, 0, 0))},
    ],
    ids=["path", "label", "class", "fold", "k", "content", "box", "fill"],
)
def test_the_hash_changes_with_whatever_decides_what_is_trained(changes):
    assert changed(cut(), **changes).hash != cut().hash


@pytest.mark.parametrize("field", ["digests_N", "boxes_N4"])
def test_the_hash_changes_with_one_images_content_and_one_images_box(field):
    values = digests(30) if field == "digests_N" else np.ones((30, 4), dtype=np.int32)
    other = values.copy()
    other[7] = values[8] if field == "digests_N" else 2
    assert changed(cut(), **{field: values}).hash != changed(cut(), **{field: other}).hash


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


def test_groups_boxes_contents_parts_and_the_holdout_come_back(tmp_path):
    rows = people(np.random.default_rng(0), count=40, n_classes=4)
    manifest = dataclasses.replace(
        manifest_of_rows(rows, n_classes=4),
        root=tmp_path / "사진 folder",
        classes=("m / <30", "m / >=30", "f / <30", "f / >=30"),
        label_columns=("gender", "age"),
        class_parts=(("m", "<30"), ("m", ">=30"), ("f", "<30"), ("f", ">=30")),
        boxes_N4=np.arange(4 * len(rows), dtype=np.int32).reshape(-1, 4),
        digests_N=digests(len(rows)),
        reading=Reading((1, 2, 3), 99, "/face.onnx", "/rembg.onnx"),
    )
    folds = make_folds(manifest, k=3, seed=5, holdout=0.1)
    save_folds(folds, tmp_path / "folds.npz")
    back = load_folds(tmp_path / "folds.npz")
    assert (back.k, back.seed, back.holdout, back.hash) == (3, 5, 0.1, folds.hash)
    np.testing.assert_array_equal(back.fold_N, folds.fold_N)
    assert (back.fold_N == HOLDOUT).any()
    for field in dataclasses.fields(Manifest):
        ours = getattr(manifest, field.name)
        theirs = getattr(back.manifest, field.name)
        if isinstance(ours, np.ndarray):
            assert ours.dtype == theirs.dtype
            np.testing.assert_array_equal(theirs, ours)
        else:
            assert theirs == ours


def test_what_was_not_there_is_not_there_afterwards(tmp_path):
    save_folds(cut(), tmp_path / "folds.npz")
    back = load_folds(tmp_path / "folds.npz").manifest
    assert (back.groups, back.boxes_N4, back.digests_N, back.class_parts) == (None, None, None, ())


def test_a_file_of_another_version_is_refused_in_words(tmp_path):
    save_folds(cut(), tmp_path / "folds.npz")
    with np.load(tmp_path / "folds.npz") as file:
        content = dict(file)
    content["head"] = np.array(json.dumps({**json.loads(str(content["head"])), "format": 1}))
    np.savez(tmp_path / "folds.npz", **content)
    with pytest.raises(
        DataError, match=r"another version of foldsweep \(format 1, not 2\)\. Move it away"
    ):
        load_folds(tmp_path / "folds.npz")


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
        DataError,
        match=rf"the folds file was changed after it was frozen \(hash [0-9a-f]{{16}}, "
        rf"not {folds.hash}\)",
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
    [
        b"",
        b"path,label\n",
        b"PK\x03\x04",
        npy(),
        npz(other=np.zeros(3)),
        npz(head=np.array(json.dumps([1]))),
    ],
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
