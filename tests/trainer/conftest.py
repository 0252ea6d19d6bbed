"""Tiny data: coloured squares with noise, three classes, learnable in a few epochs."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import settings
from PIL import Image

from trainer.config import TrainConfig
from trainer.data.folds import Folds, make_folds
from trainer.data.images import Decoded, Pixels
from trainer.data.manifest import Manifest

# the first example of a test pays for imports; the same examples in every run
settings.register_profile("repeatable", deadline=None, derandomize=True, database=None)
settings.load_profile("repeatable")

COLOURS = np.array([[200, 60, 60], [60, 200, 60], [60, 60, 200]])


@pytest.fixture(autouse=True)
def _own_cache_and_one_thread(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No test reads or writes the user's cache; sums add in one order."""
    monkeypatch.setenv("SWEEPS_CACHE", str(tmp_path / "cache"))
    torch.set_num_threads(1)


def squares(count: int, *, side: int, seed: int = 0) -> tuple[Pixels, np.ndarray]:
    """`count` images of classes 0, 1, 2, 0, ... and their labels."""
    labels_N = np.arange(count, dtype=np.int64) % 3
    noise = np.random.default_rng(seed).normal(0, 40, (count, side, side, 3))
    return np.clip(COLOURS[labels_N][:, None, None, :] + noise, 0, 255).astype(np.uint8), labels_N


def paper_manifest(labels_N: np.ndarray, classes: tuple[str, ...] = ("a", "b", "c")) -> Manifest:
    """A manifest whose images exist on paper only: folds and training never open them."""
    paths = tuple(f"{row}.png" for row in range(len(labels_N)))
    return Manifest(root=Path("/nowhere"), paths=paths, labels_N=labels_N, classes=classes, lines=(0,) * len(paths))


@pytest.fixture(scope="session")
def toy() -> tuple[Decoded, Folds]:
    """36 decoded images of 16 x 16 in 3 folds: 24 to train on, 12 held out."""
    images_NHWC, labels_N = squares(36, side=16)
    return Decoded(images_NHWC), make_folds(paper_manifest(labels_N), k=3, seed=0)


@pytest.fixture
def tiny() -> Callable[..., TrainConfig]:
    """A configuration that trains on `toy` in a fraction of a second: 6 steps per epoch."""

    def config(**changes: object) -> TrainConfig:
        values = {"backbone": "test_resnet", "weights": "none", "resize": 16, "batch_size": 4, "epochs": 3, "lr": 1e-2}
        return TrainConfig(**{**values, **changes})

    return config


@pytest.fixture
def photos(tmp_path: Path) -> Callable[..., Path]:
    """Write real PNG files and their CSV."""

    def write(count: int = 12, *, side: int = 16, folder: Path = tmp_path / "photos") -> Path:
        images_NHWC, labels_N = squares(count, side=side)
        folder.mkdir()
        for row, image_HWC in enumerate(images_NHWC):
            Image.fromarray(image_HWC).save(folder / f"{row}.png")
        lines = [f"{row}.png,{'abc'[label]}\n" for row, label in enumerate(labels_N)]
        (folder / "train.csv").write_text("path,label\n" + "".join(lines))
        return folder / "train.csv"

    return write
