"""Do trials that share their random numbers differ with less noise?

    python benchmarks/paired_seeds.py

A tiny ResNet trains on the handwritten digits with several configurations, on two folds, with many
seeds. With `folds.paired_seeds` two trials of a sweep have the same seed: their batches have the
same order, their heads the same initial weights, their images the same augmentation. Without it
their seeds differ. The same trainings give both standard deviations of the difference of two
configurations over the seeds: with the same seed, that of the differences; with independent seeds,
the root of the sum of both variances. Both are printed for each of two folds and for their mean, in
points of macro-F1.
"""

import argparse
import itertools
import statistics
import tempfile
from pathlib import Path

import numpy as np
import torch
from early_stopping import CPU, SIDE, enlarged
from report import print_header
from sklearn.datasets import load_digits

from trainer.config import TrainConfig
from trainer.data.folds import Folds, make_folds
from trainer.images.images import Decoded
from trainer.images.manifest import Manifest
from trainer.training.fit import run_fold
from trainer.training.fold_setup import FoldSetup
from trainer.training.reporter import SilentReporter

BASE = {
    "backbone": "test_resnet",
    "weights": "none",
    "resize": SIDE,
    "batch_size": 64,
    "epochs": 3,
    "lr": 3e-3,
    "affine": 0.5,
}
CONFIGURATIONS = {
    "base": {},
    "lr x 1.5": {"lr": 4.5e-3},
    "smoothing": {"loss": "label_smoothing"},
    "adam, ema": {"optimizer": "adam", "ema": 0.9},
    "sgd": {"optimizer": "sgd", "lr": 5e-2},
    "batch 32": {"batch_size": 32},
    "efficientnet": {"backbone": "test_efficientnet", "lr": 1e-2},
}


def main() -> None:
    """Train and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=16)
    options = parser.parse_args()
    print_header("torch", "timm")
    torch.set_num_threads(1)
    digits = load_digits()
    pixels = np.stack([enlarged(image) for image in digits.images])
    labels = digits.target.astype(np.int64)
    paths = tuple(f"{row}.png" for row in range(len(pixels)))
    manifest = Manifest(Path("/"), paths, labels, tuple(map(str, range(10))), (0,) * len(pixels))
    folds = make_folds(manifest, k=5, seed=0)
    images = Decoded(pixels)
    scores = {
        name: np.array([score(fields, images, folds, seed) for seed in range(options.seeds)])
        for name, fields in CONFIGURATIONS.items()
    }
    ratios = []
    print(f"{options.seeds} seeds; standard deviation of the difference, in points of macro-F1")
    for one, other in itertools.combinations(scores, 2):
        spreads = []
        for fold in (0, 1, None):
            values = [
                s.mean(axis=1) if fold is None else s[:, fold] for s in (scores[one], scores[other])
            ]
            same = np.std(values[0] - values[1], ddof=1)
            apart = np.sqrt(np.var(values[0], ddof=1) + np.var(values[1], ddof=1))
            spreads.append((same, apart))
        ratios.append(spreads[2][0] / spreads[2][1])
        means = [100 * scores[name].mean() for name in (one, other)]
        print(
            f"  {one + ' - ' + other:28} {means[0] - means[1]:+6.2f}  "
            + "; ".join(
                f"{100 * same:.2f} in place of {100 * apart:.2f}" for same, apart in spreads
            )
        )
    below = sum(ratio < 1 for ratio in ratios)
    print(
        f"ratio of the two for the mean of two folds: mean {statistics.fmean(ratios):.2f}, median "
        f"{statistics.median(ratios):.2f}; below 1 for {below} of {len(ratios)} pairs"
    )


def score(
    fields: dict[str, object], images: Decoded, folds: Folds, seed: int
) -> tuple[float, float]:
    """Macro-F1 of two folds."""
    found = []
    for fold in (0, 1):
        with tempfile.TemporaryDirectory() as name:
            setup = FoldSetup(
                config=TrainConfig(**{**BASE, **fields}, seed=seed),
                images=[images],
                folds=folds,
                fold=fold,
                directory=Path(name),
                device=CPU,
                threads=1,
            )
            found.append(run_fold(setup, SilentReporter()).metrics["f1"])
    return found[0], found[1]


if __name__ == "__main__":
    main()
