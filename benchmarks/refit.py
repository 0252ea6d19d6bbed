"""How well do models of all images predict new ones, compared with fold models?

    python benchmarks/refit.py

A tiny ResNet trains on the handwritten digits: as five fold models, and as refits on the images of
all folds. A third of the images is a holdout that neither sees. Printed is the accuracy on the
holdout, over repeats that differ in the cut and in all random numbers: of one fold model (the mean
over the five), of the average of the five, of one refit, and of the average of three.
"""

import argparse
import statistics
import tempfile
from pathlib import Path

import numpy as np
import torch
from early_stopping import CPU, SIDE, enlarged
from report import print_header
from sklearn.datasets import load_digits

from trainer.config import TrainConfig
from trainer.data.fold_column import HOLDOUT
from trainer.data.folds import Folds, make_folds
from trainer.images.batches import Batches
from trainer.images.images import Decoded
from trainer.images.manifest import Manifest
from trainer.metrics import Probs
from trainer.model.checkpoint import read_header
from trainer.model.weights_header import WeightsHeader
from trainer.prediction.fold_model import FoldModel
from trainer.prediction.mixture import mean
from trainer.training.fit import run_fold, run_refit
from trainer.training.fold_setup import FoldSetup
from trainer.training.inputs import PlainImages
from trainer.training.predict import predict
from trainer.training.refit import RefitSetup
from trainer.training.reporter import SilentReporter
from trainer.training.result import WEIGHTS

K = 5
REFITS = 3
WAYS = ("one fold model", f"average of {K} fold models", "one refit", f"average of {REFITS} refits")
BASE = {
    "backbone": "test_resnet",
    "weights": "none",
    "resize": SIDE // 2,
    "batch_size": 64,
    "epochs": 3,
    "lr": 3e-3,
    "affine": 0.5,
}


def main() -> None:
    """Train and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=8)
    options = parser.parse_args()
    print_header("torch", "timm")
    torch.set_num_threads(1)
    digits = load_digits()
    pixels = np.stack([enlarged(image)[::2, ::2] for image in digits.images])
    labels = digits.target.astype(np.int64)
    paths = tuple(f"{row}.png" for row in range(len(pixels)))
    manifest = Manifest(Path("/"), paths, labels, tuple(map(str, range(10))), (0,) * len(pixels))
    found = [accuracies(Decoded(pixels), manifest, seed) for seed in range(options.repeats)]
    print(f"accuracy on new images in %, mean ± standard error, n={options.repeats}")
    for way in WAYS:
        values = [100 * each[way] for each in found]
        gains = [100 * (each[way] - each[WAYS[0]]) for each in found]
        print(f"  {way:24} {summary(values)}   over one fold model {summary(gains)}")


def accuracies(images: Decoded, manifest: Manifest, seed: int) -> dict[str, float]:
    """The accuracy on the holdout of one repeat, by way."""
    folds = make_folds(manifest, k=K, seed=seed, holdout=1 / 3)
    new = np.flatnonzero(folds.fold_N == HOLDOUT)
    fold_models, refits = trained(images, folds, new, seed)

    def accuracy(probs_NK: Probs) -> float:
        return float((probs_NK.argmax(axis=1) == manifest.labels_N[new]).mean())

    return {
        WAYS[0]: statistics.fmean(map(accuracy, fold_models)),
        WAYS[1]: accuracy(mean(fold_models)),
        WAYS[2]: statistics.fmean(map(accuracy, refits)),
        WAYS[3]: accuracy(mean(refits)),
    }


def trained(
    images: Decoded, folds: Folds, new: np.ndarray, seed: int
) -> tuple[list[Probs], list[Probs]]:
    """What the fold models and the refits say of new images."""
    about = {
        "config": TrainConfig(**BASE, seed=seed),
        "images": [images],
        "folds": folds,
        "device": CPU,
        "threads": 1,
    }
    said: tuple[list[Probs], list[Probs]] = ([], [])
    with tempfile.TemporaryDirectory() as name:
        for fold in range(K):
            setup = FoldSetup(**about, fold=fold, directory=Path(name, f"fold-{fold}"))
            run_fold(setup, SilentReporter())
            said[0].append(probabilities(setup.directory, images, new))
        for number in range(REFITS):
            refit = RefitSetup(
                **about,
                number=number,
                epochs=about["config"].epochs,
                directory=Path(name, f"refit-{number}"),
            )
            run_refit(refit, SilentReporter())
            said[1].append(probabilities(refit.directory, images, new))
    return said


def probabilities(directory: Path, images: Decoded, rows: np.ndarray) -> Probs:
    """What the model in a directory says of these rows."""
    weights = directory / WEIGHTS
    header = WeightsHeader.from_texts(read_header(weights), where=str(weights))
    batches = Batches(images, device=CPU, mean_std=header.mean_std)
    return predict(
        FoldModel(weights, header).network,
        PlainImages([batches]),
        rows,
        heads=header.heads,
        batch_size=256,
        tta="none",
    ).probs_NK


def summary(values: list[float]) -> str:
    """Mean and standard error."""
    return f"{np.mean(values):6.2f} ± {np.std(values, ddof=1) / len(values) ** 0.5:.2f}"


if __name__ == "__main__":
    main()
