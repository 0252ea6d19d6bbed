"""The out-of-fold file: written whole, put together from the folds, refused where damaged."""

import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.paper_predictions import K, N, paper_folds, random_probs, save, save_all
from trainer.data.fold_column import HOLDOUT
from trainer.data.folds import Folds
from trainer.errors import DataError
from trainer.metrics import Probs
from trainer.training.oof import read_oof, read_probs, write_oof


@pytest.fixture
def folds() -> Folds:
    return paper_folds()


@pytest.fixture
def probs_NK() -> Probs:
    return random_probs()


@pytest.fixture
def trial(tmp_path: Path, folds: Folds, probs_NK: Probs) -> Path:
    """The directory of a trial with all its folds."""
    return save_all(tmp_path, folds, probs_NK)


def test_oof_holds_rows_and_probabilities(tmp_path):
    rows_N = np.array([3, 5])
    probs_NK = np.array([[0.25, 0.75], [1.0, 0.0]], dtype=np.float32)
    write_oof(tmp_path / "oof.npz", rows_N, probs_NK)
    with np.load(tmp_path / "oof.npz", allow_pickle=False) as file:
        assert sorted(file.files) == ["probs", "rows"]
        np.testing.assert_array_equal(file["rows"], rows_N)
        np.testing.assert_array_equal(file["probs"], probs_NK)
        assert (file["rows"].dtype, file["probs"].dtype) == (np.int64, np.float32)
    np.testing.assert_array_equal(read_probs(tmp_path / "oof.npz"), probs_NK)


def test_every_image_gets_the_prediction_of_the_fold_that_held_it_out(
    trial: Path, folds: Folds, probs_NK: Probs
) -> None:
    read_NK = read_oof(trial, folds)
    assert read_NK.dtype == np.float32
    assert np.array_equal(read_NK, probs_NK)


def test_a_missing_fold_is_named(trial: Path, folds: Folds) -> None:
    (trial / "fold-1" / "oof.npz").unlink()
    with pytest.raises(
        DataError, match=r"fold-1/oof\.npz: missing; the trial's folds are not complete$"
    ):
        read_oof(trial, folds)


def test_an_image_that_no_fold_predicts_is_refused(
    trial: Path, folds: Folds, probs_NK: Probs
) -> None:
    save(trial, 0, folds.valid_rows(0)[1:], probs_NK)
    with pytest.raises(DataError, match="1 of 12 images are not predicted exactly once") as caught:
        read_oof(trial, folds)
    assert str(caught.value) == f"{trial}: 1 of 12 images are not predicted exactly once"


def test_an_image_that_two_folds_predict_is_refused(
    trial: Path, folds: Folds, probs_NK: Probs
) -> None:
    save(trial, 0, np.append(folds.valid_rows(0), folds.valid_rows(1)[:2]), probs_NK)
    with pytest.raises(DataError, match="2 of 12 images are not predicted exactly once"):
        read_oof(trial, folds)


def test_a_row_that_stands_twice_in_one_fold_is_refused(
    trial: Path, folds: Folds, probs_NK: Probs
) -> None:
    save(trial, 0, np.append(folds.valid_rows(0), folds.valid_rows(0)[:1]), probs_NK)
    with pytest.raises(DataError, match="1 of 12 images are not predicted exactly once"):
        read_oof(trial, folds)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def garbage(path: Path) -> None:
    path.write_bytes(b"not an archive at all")


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-40])


def flipped(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 0xFF
    path.write_bytes(data)


def without_probs(path: Path) -> None:
    np.savez(path, rows=np.arange(2))


def row_out_of_range(path: Path) -> None:
    np.savez(path, rows=np.array([N]), probs=np.ones((1, K), np.float32) / K)


def negative_row(path: Path) -> None:
    rows = np.load(path)["rows"]
    probs = np.load(path)["probs"]
    np.savez(path, rows=np.where(rows == rows[0], rows - N, rows), probs=probs)


def another_number_of_classes(path: Path) -> None:
    rows = np.load(path)["rows"]
    np.savez(path, rows=rows, probs=np.ones((len(rows), K + 1), np.float32))


def one_prediction_for_all(path: Path) -> None:
    np.savez(path, rows=np.load(path)["rows"], probs=np.ones((1, K), np.float32) / K)


def not_a_number(path: Path) -> None:
    rows = np.load(path)["rows"]
    np.savez(path, rows=rows, probs=np.full((len(rows), K), np.nan, np.float32))


def pickled(path: Path) -> None:
    np.savez(path, rows=np.array([{}]), probs=np.ones((1, K)))


def an_empty_member(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("rows.npy", b"")
        file.writestr("probs.npy", b"")


@pytest.mark.parametrize(
    "damage",
    [
        empty,
        garbage,
        cut_short,
        flipped,
        without_probs,
        row_out_of_range,
        negative_row,
        another_number_of_classes,
        one_prediction_for_all,
        not_a_number,
        pickled,
        an_empty_member,
    ],
)
def test_a_damaged_file_is_named(trial: Path, folds: Folds, damage: Callable[[Path], None]) -> None:
    path = trial / "fold-2" / "oof.npz"
    damage(path)
    with pytest.raises(
        DataError, match=r"fold-2/oof\.npz: not readable out-of-fold probabilities \(.+\)$"
    ):
        read_oof(trial, folds)


# --- rows that no fold holds out


@pytest.fixture
def fixed(folds: Folds) -> Folds:
    """A fixed cut: the first eight images are always trained on, the last four held out once."""
    return Folds(folds.manifest, np.array([-1] * 8 + [0] * 4), k=1, seed=0)


def test_what_is_always_trained_on_has_no_prediction(
    tmp_path: Path, fixed: Folds, probs_NK: Probs
) -> None:
    save(tmp_path, 0, fixed.valid_rows(0), probs_NK)
    read_NK = read_oof(tmp_path, fixed)
    assert np.isnan(read_NK[:8]).all()
    assert np.array_equal(read_NK[8:], probs_NK[8:])


def test_the_holdout_has_no_prediction(tmp_path: Path, folds: Folds, probs_NK: Probs) -> None:
    fold_N = np.where(np.arange(N) % 5 == 0, HOLDOUT, np.arange(N) % 3)
    cut = Folds(folds.manifest, fold_N, k=3, seed=0, holdout=0.25)
    for fold in range(3):
        save(tmp_path, fold, cut.valid_rows(fold), probs_NK)
    read_NK = read_oof(tmp_path, cut)
    assert np.flatnonzero(np.isnan(read_NK).all(axis=1)).tolist() == [0, 5, 10]


def test_a_prediction_of_an_image_that_is_always_trained_on_is_refused(
    tmp_path: Path, fixed: Folds, probs_NK: Probs
) -> None:
    save(tmp_path, 0, np.append(fixed.valid_rows(0), 2), probs_NK)
    with pytest.raises(DataError, match="1 of 12 images are not predicted exactly once"):
        read_oof(tmp_path, fixed)
