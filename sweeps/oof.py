"""Out-of-fold probabilities: every image predicted by the fold run that did not see it.

Shapes: N images, K classes.
"""

import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sweeps.errors import InputError
from trainer.data.folds import Folds
from trainer.metrics import Labels, Probs

Score = Callable[[Probs, Labels], float]


def read_oof(trial_directory: Path, folds: Folds) -> Probs:
    """The trial's probabilities (N, K) in manifest order, put together from its folds.

    Rows that no fold holds out (the holdout, and what a fixed cut always trains on) are NaN.

    Raises:
        InputError: a fold's file is missing or damaged, or the folds do not cover every other image exactly once.
    """
    n_images, n_classes = len(folds.manifest), len(folds.manifest.classes)
    probs_NK = np.full((n_images, n_classes), np.nan, dtype=np.float32)
    times_N: npt.NDArray[np.int64] = np.zeros(n_images, dtype=np.int64)
    for fold in range(folds.k):
        path = trial_directory / f"fold-{fold}" / "oof.npz"
        try:
            # opened here, for numpy leaves a damaged archive open
            with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
                rows, probs = np.asarray(file["rows"]), np.asarray(file["probs"])
            if probs.shape != (rows.size, n_classes) or (rows < 0).any() or not np.isfinite(probs).all():
                raise ValueError(f"not finite probabilities of {n_classes} classes, one row per image")
            probs_NK[rows] = probs
            np.add.at(times_N, rows, 1)
        except FileNotFoundError:
            raise InputError(f"{path}: missing; the trial's folds are not complete") from None
        except (OSError, EOFError, ValueError, KeyError, IndexError, zipfile.BadZipFile) as error:
            raise InputError(f"{path}: not readable out-of-fold probabilities ({error})") from None
    wrong_N = times_N != (folds.fold_N >= 0)
    if wrong_N.any():
        raise InputError(f"{trial_directory}: {wrong_N.sum()} of {n_images} images are not predicted exactly once")
    return probs_NK


def oof_score(trial_directory: Path, folds: Folds, *, score: Score) -> float:
    """The metric over all predicted images at once; differs from the mean over folds if the metric is no mean."""
    rows = folds.scored_rows()
    return score(read_oof(trial_directory, folds)[rows], folds.manifest.labels_N[rows])
