"""Predictions on paper: folds of images that do not exist, and the files of their fold runs."""

from pathlib import Path

import numpy as np

from trainer.data.folds import Folds
from trainer.images.manifest import Manifest
from trainer.metrics import Probs
from trainer.training.oof import OOF, write_oof

N = 12
K = 3


def paper_folds() -> Folds:
    """12 images on paper in 3 classes and 3 folds that are not in manifest order."""
    labels_N = np.arange(N, dtype=np.int64) % K
    manifest = Manifest(
        Path("/nowhere"), tuple(f"{n}.png" for n in range(N)), labels_N, ("a", "b", "c"), (0,) * N
    )
    return Folds(
        manifest, np.random.default_rng(0).permutation(N).astype(np.int64) % 3, k=3, seed=0
    )


def random_probs() -> Probs:
    raw_NK = np.random.default_rng(1).random((N, K), dtype=np.float32)
    return raw_NK / raw_NK.sum(axis=1, keepdims=True)


def save(
    trial: Path, fold: int, rows: np.ndarray, probs_NK: Probs, *, folds: Folds | None = None
) -> None:
    """Write the file of a fold run, which predicts these rows; without `folds` of `paper_folds`."""
    write_oof(
        trial / f"fold-{fold}" / OOF,
        rows,
        probs_NK[rows],
        folds_hash=(folds or paper_folds()).hash,
    )


def save_all(trial: Path, folds: Folds, probs_NK: Probs) -> Path:
    """Write the files of all fold runs; returns the trial's directory."""
    for fold in range(folds.k):
        save(trial, fold, folds.valid_rows(fold), probs_NK, folds=folds)
    return trial
