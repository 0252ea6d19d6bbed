"""The OOF file: out-of-fold probabilities of images, from the fold run that did not train on them.

Each fold run writes one file with the manifest rows of its held-out fold and their probabilities.
Only this module knows the name and the format of the file.

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
# the names of the arrays in the file
ROWS = "rows"
PROBS = "probs"
# the exceptions that numpy and zipfile raise for a damaged file
DAMAGES = (OSError, EOFError, ValueError, KeyError, IndexError, zipfile.BadZipFile, zlib.error)


def write_oof(path: Path, rows_M: Rows, probs_MK: Probs) -> None:
    """Write the probabilities of the held-out rows; the file is complete or does not exist."""
    with atomic_write(path) as file:
        np.savez(file, **{ROWS: rows_M, PROBS: probs_MK})  # type: ignore[arg-type]


def read_probs(path: Path) -> Probs:
    """Return the probabilities (M, K) of one file that this process has written."""
    return _arrays(path)[1]


def read_oof(trial_directory: Path, folds: Folds) -> Probs:
    """Return the probabilities (N, K) of a trial in manifest order, from the files of its folds.

    Rows that are in no held-out fold are NaN: the holdout, and the images of a fixed split that are
    always trained on.

    Raises:
        DataError: the file of a fold is missing or damaged, or an image of a held-out fold is not
            predicted exactly once.
    """
    n_images = len(folds.manifest)
    n_classes = len(folds.manifest.classes)
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
            f"{trial_directory}: {wrong_N.sum()} of {n_images} images are not predicted "
            "exactly once"
        )
    return probs_NK


def _arrays(path: Path) -> tuple[Rows, Probs]:
    # `path.open` closes the file; numpy does not close a damaged archive
    with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
        return np.asarray(file[ROWS]), np.asarray(file[PROBS])


def _refuse_impossible(rows_M: Rows, probs_MK: Probs, *, n_classes: int) -> None:
    whole = probs_MK.shape == (rows_M.size, n_classes)
    if not whole or (rows_M < 0).any() or not np.isfinite(probs_MK).all():
        raise ValueError(f"not finite probabilities of {n_classes} classes, one row per image")
