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
from trainer.training.oof import read_finished, read_oof, read_probs, write_oof
from trainer.training.result import RESULT


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


def test_the_file_holds_rows_probabilities_in_float32_and_the_hash_of_the_folds(tmp_path):
    rows_N = np.array([3, 5])
    probs_NK = np.array([[0.25, 0.75], [1.0, 0.0]])
    write_oof(tmp_path / "oof.npz", rows_N, probs_NK, folds_hash="0123456789abcdef")
    with np.load(tmp_path / "oof.npz", allow_pickle=False) as file:
        assert sorted(file.files) == ["folds", "probs", "rows"]
        assert str(file["folds"]) == "0123456789abcdef"
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


def float64(path: Path) -> None:
    rows = np.load(path)["rows"]
    np.savez(path, rows=rows, probs=np.ones((len(rows), K)) / K)


def a_little_less_sure(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[data.index(np.load(path)["probs"].tobytes())] ^= 1
    path.write_bytes(data)


def in_columns(path: Path) -> None:
    with np.load(path) as file:
        arrays = dict(file)
    np.savez(path, **{**arrays, "probs": np.asfortranarray(arrays["probs"])})


def in_a_newer_format(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("rows.npy", np.lib.format.magic(3, 0) + b"\x00" * 100)


def a_local_header_elsewhere(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[26:28] = b"\xff\xff"  # the length of the name of the first array
    path.write_bytes(data)


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
        float64,
        a_little_less_sure,
        in_columns,
        in_a_newer_format,
        a_local_header_elsewhere,
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
    save(tmp_path, 0, fixed.valid_rows(0), probs_NK, folds=fixed)
    read_NK = read_oof(tmp_path, fixed)
    assert np.isnan(read_NK[:8]).all()
    assert np.array_equal(read_NK[8:], probs_NK[8:])


def test_the_holdout_has_no_prediction(tmp_path: Path, folds: Folds, probs_NK: Probs) -> None:
    fold_N = np.where(np.arange(N) % 5 == 0, HOLDOUT, np.arange(N) % 3)
    cut = Folds(folds.manifest, fold_N, k=3, seed=0, holdout=0.25)
    for fold in range(3):
        save(tmp_path, fold, cut.valid_rows(fold), probs_NK, folds=cut)
    read_NK = read_oof(tmp_path, cut)
    assert np.flatnonzero(np.isnan(read_NK).all(axis=1)).tolist() == [0, 5, 10]


def test_a_prediction_of_an_image_that_is_always_trained_on_is_refused(
    tmp_path: Path, fixed: Folds, probs_NK: Probs
) -> None:
    save(tmp_path, 0, np.append(fixed.valid_rows(0), 2), probs_NK, folds=fixed)
    with pytest.raises(DataError, match="1 of 12 images are not predicted exactly once"):
        read_oof(tmp_path, fixed)


# --- predictions for other folds


@pytest.fixture
def others(folds: Folds) -> Folds:
    """The same images, cut otherwise."""
    return Folds(folds.manifest, np.roll(folds.fold_N, 1), k=3, seed=1)


def as_of_an_earlier_version(trial: Path, *, hash_in_result: str | None) -> None:
    """Take the hash out of the files; `result.json` has one, or does not exist."""
    for path in trial.glob("fold-*/oof.npz"):
        with np.load(path) as file:
            np.savez(path, rows=file["rows"], probs=file["probs"])
        if hash_in_result is not None:
            path.with_name(RESULT).write_text(f'{{"folds_hash": "{hash_in_result}"}}')


def refusal(trial: Path, stored: str, folds: Folds) -> str:
    return (
        f"{trial}/fold-0/oof.npz: predictions for other folds (hash {stored}, the folds file has "
        f"{folds.hash}). They cannot be mixed with predictions for these folds: leave the trial "
        "out, or bring back the folds file that it was trained with"
    )


def test_predictions_for_other_folds_are_refused(trial: Path, folds: Folds, others: Folds) -> None:
    with pytest.raises(DataError, match="predictions for other folds") as caught:
        read_oof(trial, others)
    assert str(caught.value) == refusal(trial, folds.hash, others)


def test_a_file_without_a_hash_is_told_by_the_result_beside_it(
    trial: Path, folds: Folds, others: Folds, probs_NK: Probs
) -> None:
    as_of_an_earlier_version(trial, hash_in_result=folds.hash)
    assert np.array_equal(read_oof(trial, folds), probs_NK)
    with pytest.raises(DataError, match="predictions for other folds") as caught:
        read_oof(trial, others)
    assert str(caught.value) == refusal(trial, folds.hash, others)


def test_a_file_without_any_hash_is_read(trial: Path, folds: Folds, probs_NK: Probs) -> None:
    as_of_an_earlier_version(trial, hash_in_result=None)
    assert np.array_equal(read_oof(trial, folds), probs_NK)


# --- the finished folds of a trial that was stopped


def stopped_after(trial: Path, *finished: int) -> None:
    for fold in finished:
        (trial / f"fold-{fold}" / RESULT).write_text("{}")


def test_finished_folds_are_read_and_the_rest_is_not_a_number(
    trial: Path, folds: Folds, probs_NK: Probs
) -> None:
    stopped_after(trial, 0, 2)  # fold 1 has an OOF file, but the fold run died before its result
    read = read_finished(trial, folds)
    assert read.folds == (0, 2)
    assert read.probs_NK.dtype == np.float32
    known_N = np.isin(folds.fold_N, (0, 2))
    assert np.array_equal(read.probs_NK[known_N], probs_NK[known_N])
    assert np.isnan(read.probs_NK[~known_N]).all()


def test_a_trial_that_finished_no_fold_has_no_probabilities(tmp_path: Path, folds: Folds) -> None:
    read = read_finished(tmp_path / "trial-0007", folds)
    assert read.folds == ()
    assert np.isnan(read.probs_NK).all()


def test_a_finished_fold_must_be_whole(
    trial: Path, folds: Folds, others: Folds, probs_NK: Probs
) -> None:
    stopped_after(trial, 0, 2)
    with pytest.raises(DataError, match="predictions for other folds"):
        read_finished(trial, others)
    save(trial, 0, folds.valid_rows(0)[1:], probs_NK)
    with pytest.raises(DataError, match="1 of 12 images are not predicted exactly once"):
        read_finished(trial, folds)
    (trial / "fold-2" / "oof.npz").unlink()
    with pytest.raises(DataError, match=r"fold-2/oof\.npz: missing"):
        read_finished(trial, folds)
