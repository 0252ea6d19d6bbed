"""The file of out-of-fold probabilities: every image predicted by the fold run that did not see it.

A fold run leaves one file with the manifest rows that it was scored on and their probabilities.
This module alone knows what the file is called and how it is laid out.

Shapes: N images of the manifest, M rows of one file, K classes.
"""

import zipfile
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt

from trainer.data.folds import Folds
from trainer.errors import DataError
from trainer.files import atomic_write, fold_directory
from trainer.images.images import Rows
from trainer.metrics import Probs

OOF = "oof.npz"
ROWS, PROBS = "rows", "probs"  # the arrays in it
# what numpy and zipfile raise when a file is damaged
DAMAGES = (OSError, EOFError, ValueError, KeyError, IndexError, zipfile.BadZipFile, zlib.error)


def write_oof(path: Path, rows_M: Rows, probs_MK: Probs) -> None:
    """Write the probabilities of the held-out rows, whole or not at all."""
    with atomic_write(path) as file:
        np.savez(file, **{ROWS: rows_M, PROBS: probs_MK})  # type: ignore[arg-type]


def read_probs(path: Path) -> Probs:
    """The probabilities (M, K) of one file that this process has written."""
    return _arrays(path)[1]


def read_oof(trial_directory: Path, folds: Folds) -> Probs:
    """The trial's probabilities (N, K) in manifest order, put together from its folds.

    Rows that no fold holds out (the holdout, and what a fixed cut always trains on) are NaN.

    Raises:
        DataError: a fold's file is missing or damaged, or the folds do not cover every other image
            exactly once.
    """
    n_images, n_classes = len(folds.manifest), len(folds.manifest.classes)
    probs_NK = np.full((n_images, n_classes), np.nan, dtype=np.float32)
    times_N: npt.NDArray[np.int64] = np.zeros(n_images, dtype=np.int64)
    for fold in range(folds.k):
        path = fold_directory(trial_directory, fold) / OOF
        try:
            rows_M, probs_MK = _arrays(path)
            _refuse_impossible(rows_M, probs_MK, n_classes=n_classes)
            probs_NK[rows_M] = probs_MK
            np.add.at(times_N, rows_M, 1)
        except FileNotFoundError:
            raise DataError(f"{path}: missing; the trial's folds are not complete") from None
        except DAMAGES as error:
            raise DataError(f"{path}: not readable out-of-fold probabilities ({error})") from None
    wrong_N = times_N != (folds.fold_N >= 0)
    if wrong_N.any():
        raise DataError(
            f"{trial_directory}: {wrong_N.sum()} of {n_images} images are not predicted exactly once"
        )
    return probs_NK


def _arrays(path: Path) -> tuple[Rows, Probs]:
    # opened here, for numpy leaves a damaged archive open
    with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
        return np.asarray(file[ROWS]), np.asarray(file[PROBS])


def _refuse_impossible(rows_M: Rows, probs_MK: Probs, *, n_classes: int) -> None:
    whole = probs_MK.shape == (rows_M.size, n_classes)
    if not whole or (rows_M < 0).any() or not np.isfinite(probs_MK).all():
        raise ValueError(f"not finite probabilities of {n_classes} classes, one row per image")
