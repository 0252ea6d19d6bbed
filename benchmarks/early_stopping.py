"""Which weights should score a fold that early stopping has ended?

    python benchmarks/early_stopping.py

A tiny ResNet trains on some of the 1,797 handwritten digits with `patience`, by `monitor: loss`.
The fold that stops it and scores it is small; the truth is the accuracy on the digits that neither
training nor fold has. There are three ways:

last      the weights of the last epoch, which had no improvement for `patience` epochs
best      the weights of the best epoch by the fold's own loss (`checkpoint: fold_best`)
average   an exponential average of the weights (`ema`), after the last epoch

For each the benchmark prints the accuracy shown (on the fold), the truth, and the optimism: shown
minus truth, less the same for the last epoch of a training without early stopping, on the same
fold. Means and standard errors are over seeds that draw the digits anew.
"""

import argparse
import dataclasses
import statistics
import tempfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from report import print_header
from sklearn.datasets import load_digits

from trainer.config import TrainConfig
from trainer.data.folds import make_folds
from trainer.images.images import Decoded
from trainer.images.manifest import Manifest
from trainer.model.checkpoint import load_weights
from trainer.model.network import build_network
from trainer.training.fit import run_fold
from trainer.training.fold_setup import FoldSetup
from trainer.training.from_setup import heads_of
from trainer.training.reporter import SilentReporter

SIDE = 32
CPU = torch.device("cpu")


@dataclasses.dataclass(frozen=True)
class Way:
    """One way of scoring, as fields of the configuration."""

    name: str
    fields: dict[str, object]


LONG = 40
WAYS = (
    Way("no patience", {"epochs": 12}),
    Way("last", {"epochs": LONG, "patience": 4}),
    Way("best", {"epochs": LONG, "patience": 4, "checkpoint": "fold_best"}),
    Way("average", {"epochs": LONG, "patience": 4, "ema": 0.98}),
)


def main() -> None:
    """Train and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--fold", type=int, default=100, help="images that are held out")
    parser.add_argument("--noise", type=float, default=0.1, help="share of wrong labels")
    options = parser.parse_args()
    print_header("torch", "timm")
    torch.set_num_threads(1)
    digits = load_digits()
    pixels = np.stack([enlarged(image) for image in digits.images])
    found: dict[str, list[tuple[float, float, int]]] = {way.name: [] for way in WAYS}
    for seed in range(options.seeds):
        rng = np.random.default_rng(seed)
        order = rng.permutation(len(pixels))
        known, unknown = order[: 4 * options.fold], order[4 * options.fold :]
        labels = digits.target.astype(np.int64)
        wrong = rng.random(len(labels)) < options.noise  # in the truth, too: it is a level only
        labels = np.where(wrong, rng.integers(0, 10, len(labels)), labels)
        for way in WAYS:
            found[way.name].append(one(way, pixels, labels, known, unknown, seed=seed))
    base = [shown - true for shown, true, _ in found["no patience"]]
    print(f"{options.seeds} seeds, {3 * options.fold} images trained on, {options.fold} held out")
    for name, outcomes in found.items():
        shown, true, epochs = map(list, zip(*outcomes, strict=True))
        optimism = [s - t - b for s, t, b in zip(shown, true, base, strict=True)]
        print(
            f"  {name:12} shown {mean_error(shown)}  true {mean_error(true)}  optimism "
            f"{mean_error(optimism)}  epochs {statistics.fmean(epochs):.1f}"
        )


def mean_error(values: list[float]) -> str:
    """In points."""
    error = statistics.stdev(values) / len(values) ** 0.5
    return f"{100 * statistics.fmean(values):6.2f} ± {100 * error:.2f}"


def enlarged(image: np.ndarray) -> np.ndarray:
    """A digit of 8x8 as 32x32 RGB."""
    grey = Image.fromarray((image * 15).astype(np.uint8)).resize((SIDE, SIDE))
    return np.asarray(grey.convert("RGB"))


def one(
    way: Way,
    pixels: np.ndarray,
    labels: np.ndarray,
    known: np.ndarray,
    unknown: np.ndarray,
    *,
    seed: int,
) -> tuple[float, float, int]:
    """Accuracy on the fold, on the unknown digits, and the epochs trained."""
    names = tuple(map(str, range(10)))
    paths = tuple(f"{row}.png" for row in known)
    manifest = Manifest(Path("/"), paths, labels[known], names, (0,) * len(known))
    folds = make_folds(manifest, k=4, seed=seed)
    config = TrainConfig(
        backbone="test_resnet",
        weights="none",
        resize=SIDE,
        batch_size=32,
        lr=3e-3,
        scheduler="none",
        seed=seed,
        **way.fields,
    )
    with tempfile.TemporaryDirectory() as name:
        setup = FoldSetup(
            config=config,
            images=[Decoded(pixels[known])],
            folds=folds,
            fold=0,
            directory=Path(name),
            device=CPU,
            threads=1,
        )
        result = run_fold(setup, SilentReporter())
        network = build_network(config, heads_of(config, folds), code=None)
        load_weights(Path(name) / "model.safetensors", network)
    mean, std = (np.array(values, dtype=np.float32) for values in (result.mean, result.std))
    images = torch.from_numpy((pixels[unknown] / np.float32(255) - mean) / std).float()
    with torch.no_grad():
        (logits,) = network.eval()([images.permute(0, 3, 1, 2)])
    right = logits.argmax(dim=1).numpy() == labels[unknown]
    return result.metrics["accuracy"], float(right.mean()), result.epochs


if __name__ == "__main__":
    main()
