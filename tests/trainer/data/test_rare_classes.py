"""Classes with fewer images, or groups, than folds: refused, or always trained on."""

import re

import numpy as np
import pytest

from tests.trainer.conftest import paper_manifest
from tests.trainer.data.paper_folds import Row, cut, manifest_of_rows
from trainer.data.fold_column import ALWAYS_TRAINED, HOLDOUT
from trainer.data.fold_files import load_folds, save_folds
from trainer.data.folds import Folds, deviations, make_folds
from trainer.errors import DataError

COUNTS = [9, 8, 7, 6, 6, 5, 3, 2, 2, 1, 1, 1]
LABELS_N = np.repeat(np.arange(12), COUNTS)


def kept(labels_N: np.ndarray = LABELS_N, *, k: int = 5, seed: int = 0, **options) -> Folds:
    manifest = paper_manifest(labels_N, tuple(f"c{c}" for c in range(labels_N.max() + 1)))
    return make_folds(manifest, k=k, seed=seed, rare="train", **options)


def test_rare_classes_are_always_trained_on_and_the_others_are_cut_as_without_them():
    folds = kept()
    rare_N = folds.manifest.labels_N >= 6
    assert (folds.fold_N[rare_N] == ALWAYS_TRAINED).all()
    plain = cut(LABELS_N[~rare_N], k=5)
    np.testing.assert_array_equal(folds.fold_N[~rare_N], plain.fold_N)
    for fold in range(5):
        assert rare_N[folds.train_rows(fold)].sum() == rare_N.sum()
        assert set(folds.manifest.labels_N[folds.valid_rows(fold)]) == set(range(6))


def test_without_a_rare_class_the_option_changes_nothing():
    labels_N = np.arange(30) % 3
    assert kept(labels_N, k=3).hash == cut(labels_N, k=3).hash


def test_they_are_named_and_counted_with_what_they_cost():
    assert deviations(kept())[0] == (
        "6 of 12 classes (10 images) are held out by no fold: 'c6' (3), 'c7' (2), 'c8' (2), 'c9' "
        "(1), 'c10' (1), 'c11' (1). f1 counts 0 for each of them, so it can reach 0.500 at most; "
        "accuracy and balanced_accuracy leave them out"
    )


def test_the_refusal_says_how_to_keep_them_and_how_to_drop_them():
    message = (
        "/nowhere: 6 of 12 classes have fewer images than the 5 folds: 'c6' (3), 'c7' (2), 'c8' "
        "(2), 'c9' (1), 'c10' (1), 'c11' (1). Write `rare: train` below folds, which always trains "
        "on them and never holds them out; or write `exclude: [c6, c7, c8, c9, c10, c11]` below "
        "data, which leaves them out"
    )
    with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
        cut(LABELS_N, k=5)


@pytest.mark.parametrize(("each", "advice"), [(4, "Lower folds.k to 4"), (1, "Add images")])
def test_if_all_classes_are_rare_only_what_can_help_is_named(each, advice):
    with pytest.raises(DataError, match=rf"'c1' \({each}\)\. {advice}$"):
        cut(np.repeat([0, 1], each), k=5)


def test_folds_k_is_named_where_a_lower_one_would_do():
    with pytest.raises(DataError, match=r"which leaves them out; or lower folds\.k to 3$"):
        cut(np.repeat([0, 1], [9, 3]), k=5)


def test_many_numbers_as_classes_may_be_a_quantity():
    labels_N = np.arange(40)
    with pytest.raises(DataError, match=r"quantity to be predicted \(regression\): foldsweep"):
        make_folds(paper_manifest(labels_N, tuple(map(str, range(40)))), k=5, seed=0)
    labels_N = np.append(labels_N, [0] * 9)
    with pytest.raises(DataError, match=r"`exclude: \[c1, \.\.\.\]` below data, which leaves"):
        cut(labels_N, k=5)


def test_whole_groups_with_an_image_of_a_rare_class_are_always_trained_on():
    rows = [Row(f"{g}-{n}.png", n % 2, f"g{g}") for g in range(9) for n in range(4)]
    rows += [Row("x0.png", 2, "g0"), Row("x1.png", 2, "g1")]
    folds = make_folds(manifest_of_rows(rows, n_classes=3), k=3, seed=0, rare="train")
    trained = {row.group for row, f in zip(rows, folds.fold_N, strict=True) if f == ALWAYS_TRAINED}
    assert trained == {"g0", "g1"}


def test_a_class_that_becomes_rare_without_the_groups_of_a_rare_class_is_one_too():
    rows = [Row(f"{g}.png", 0, f"g{g}") for g in range(9)]
    rows += [Row(f"y{g}.png", 1, f"g{g}") for g in range(3)]
    rows += [Row("x.png", 2, "g0")]
    folds = make_folds(manifest_of_rows(rows, n_classes=3), k=3, seed=0, rare="train")
    trained = {row.group for row, f in zip(rows, folds.fold_N, strict=True) if f == ALWAYS_TRAINED}
    assert trained == {"g0", "g1", "g2"}


def test_if_all_classes_are_rare_nothing_could_be_held_out():
    message = (
        "/nowhere: with folds.rare: train no image would be held out, because every class has "
        "fewer images than the 5 folds. Lower folds.k"
    )
    with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
        kept(np.repeat([0, 1], 3))


def test_with_a_holdout_rare_classes_are_in_no_holdout():
    labels_N = np.repeat([0, 1, 2], [30, 30, 2])
    folds = kept(labels_N, k=3, holdout=0.2)
    assert (folds.fold_N[labels_N == 2] == ALWAYS_TRAINED).all()
    assert (folds.fold_N == HOLDOUT).sum() == 12


def test_frozen_folds_keep_their_images_and_a_class_that_grew_is_held_out(tmp_path):
    before = kept()
    save_folds(before, tmp_path / "folds.npz")
    earlier = load_folds(tmp_path / "folds.npz")
    assert kept(earlier=earlier).hash == before.hash
    labels_N = np.append(LABELS_N, [6, 6])  # class c6 has five images now
    after = kept(labels_N, earlier=earlier)
    same_N = LABELS_N != 6
    np.testing.assert_array_equal(after.fold_N[:-2][same_N], before.fold_N[same_N])
    assert sorted(after.fold_N[labels_N == 6]) == list(range(5))


def test_frozen_folds_with_images_that_are_always_trained_on_need_the_option_again():
    message = (
        "the earlier folds have images that are always trained on: give the column again that "
        "fixes the folds (folds.column), or folds.rare: train"
    )
    with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
        make_folds(paper_manifest(np.repeat([0, 1], 10)), k=5, seed=0, earlier=kept())
