"""Tiny data: coloured squares with noise, three classes, learnable in a few epochs;
and fold runs on them.
"""

import csv
import dataclasses
import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
import torch
from hypothesis import settings
from PIL import Image

from trainer.config import TrainConfig
from trainer.data.folds import Folds, make_folds
from trainer.images.images import Decoded, Pixels
from trainer.images.manifest import Manifest
from trainer.learning import learner
from trainer.model.checkpoint import load_weights, weights_digest
from trainer.model.network import Network, build_network
from trainer.training import epochs
from trainer.training.fit import Ended, run_fold
from trainer.training.fold_run import FoldRun
from trainer.training.fold_setup import FoldSetup
from trainer.training.from_setup import heads_of
from trainer.training.reporter import EpochReport, SilentReporter
from trainer.training.result import FoldResult

# the first example of a test pays for imports; the same examples in every run
settings.register_profile("repeatable", deadline=None, derandomize=True, database=None)
settings.load_profile("repeatable")

COLOURS = np.array([[200, 60, 60], [60, 200, 60], [60, 60, 200]])
CPU = torch.device("cpu")
NEVER = math.inf
STEPS = 6  # per epoch of `tiny` on `toy`: 24 training images in batches of 4
DONE = ["curve.csv", "model.safetensors", "oof.npz", "result.json"]


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
    return Manifest(
        root=Path("/nowhere"),
        paths=paths,
        labels_N=labels_N,
        classes=classes,
        lines=(0,) * len(paths),
    )


@pytest.fixture(scope="session")
def toy() -> tuple[Decoded, Folds]:
    """36 decoded images of 16 x 16 in 3 folds: 24 to train on, 12 held out."""
    images_NHWC, labels_N = squares(36, side=16)
    return Decoded(images_NHWC), make_folds(paper_manifest(labels_N), k=3, seed=0)


@pytest.fixture(scope="session")
def people(toy: tuple[Decoded, Folds]) -> tuple[Decoded, Folds]:
    """The same images with two label columns; warm + night does not occur."""
    parts = (("warm", "day"), ("cold", "day"), ("cold", "night"))
    manifest = dataclasses.replace(
        toy[1].manifest, label_columns=("tone", "time"), class_parts=parts
    )
    return toy[0], dataclasses.replace(toy[1], manifest=manifest)


@pytest.fixture
def tiny() -> Callable[..., TrainConfig]:
    """A configuration that trains on `toy` in a fraction of a second: 6 steps per epoch."""

    def config(**changes: object) -> TrainConfig:
        values = {
            "backbone": "test_resnet",
            "weights": "none",
            "resize": 16,
            "batch_size": 4,
            "epochs": 3,
            "lr": 1e-2,
        }
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


class Watcher:
    """A reporter that notes every report and poll, and asks for what a test wants."""

    def __init__(
        self,
        *,
        interrupt: Callable[["Watcher"], bool] = lambda watcher: False,
        stop_at: float = NEVER,
        at_epoch: Callable[[EpochReport], object] = lambda report: None,
        owns: Callable[["Watcher"], bool] = lambda watcher: True,
    ) -> None:
        self._owns = owns
        self.reports: list[EpochReport] = []
        self.told_again: list[EpochReport] = []
        self.polls = 0
        self._interrupt = interrupt
        self._stop_at = stop_at
        self._at_epoch = at_epoch

    def epoch(self, report: EpochReport) -> bool:
        self.reports.append(report)
        self._at_epoch(report)
        return report.epoch < self._stop_at

    def past(self, report: EpochReport) -> bool:
        self.told_again.append(report)
        return report.epoch < self._stop_at

    def owns(self) -> bool:
        return self._owns(self)

    def interrupted(self) -> bool:
        self.polls += 1
        return self._interrupt(self)

    @property
    def epochs(self) -> list[int]:
        return [report.epoch for report in self.reports]


def after_an_epoch(watcher: Watcher) -> bool:
    return bool(watcher.reports)


def setup_of(
    config: TrainConfig,
    images: Decoded,
    folds: Folds,
    directory: Path,
    device: torch.device = CPU,
) -> FoldSetup:
    """The setup of fold 0 with one source of images."""
    return FoldSetup(
        config=config,
        images=[images],
        folds=folds,
        fold=0,
        directory=directory,
        device=device,
        threads=1,
    )


Train = Callable[..., FoldResult | Ended]


@pytest.fixture
def train(toy: tuple[Decoded, Folds], tmp_path: Path) -> Train:
    """Run fold 0 of the toy data in `tmp_path / name`;
    `images` is one source for all views, or one per view.
    """

    def run(config: TrainConfig, name: str = "fold-0", **changes: object) -> FoldResult | Ended:
        images = changes.pop("images", toy[0])
        reporter = changes.pop("reporter", SilentReporter())
        views = images if isinstance(images, list) else [images] * len(config.views)
        about = {"folds": toy[1], "fold": 0, "device": CPU, "threads": 1}
        about |= {
            name: changes.pop(name)
            for name in [*about, "code", "parts", "every_epoch"]
            if name in changes
        }
        setup = FoldSetup(config=config, images=views, directory=tmp_path / name, **about)
        return run_fold(setup, reporter, **changes)

    return run


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One entry per optimizer step taken."""
    taken: list[int] = []
    build = learner.build_optimizer

    def counted(*args: object, **settings: object) -> torch.optim.Optimizer:
        optimizer = build(*args, **settings)
        optimizer.register_step_post_hook(lambda *_: taken.append(len(taken) + 1))
        return optimizer

    monkeypatch.setattr(learner, "build_optimizer", counted)
    return taken


@pytest.fixture
def networks(monkeypatch: pytest.MonkeyPatch) -> list[Network]:
    """The network of each fold run: the very object that is trained."""
    built: list[Network] = []
    build = epochs.build_network

    def remembered(*args: object, **settings: object) -> Network:
        built.append(build(*args, **settings))
        return built[-1]

    monkeypatch.setattr(epochs, "build_network", remembered)
    return built


@pytest.fixture
def widening(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """The held-out loss of one epoch is 10 higher, which can end the first stage,
    or make an epoch the worst.
    """

    def at(epoch: int) -> None:
        score = FoldRun._score
        monkeypatch.setattr(
            FoldRun,
            "_score",
            lambda run, now: {
                **(said := score(run, now)),
                "loss": said["loss"] + 10 * (now == epoch),
            },
        )

    return at


def finish_with_interruptions(
    train: Train, config: TrainConfig, **changes: object
) -> list[Watcher]:
    """Interrupt after every epoch and continue in a new call, in directory `continued`,
    until there is a result.
    """
    watchers = []
    for _ in range(config.epochs):
        watchers.append(Watcher(interrupt=after_an_epoch))
        ended = train(config, "continued", reporter=watchers[-1], **changes)
        if ended is not Ended.INTERRUPTED:
            return watchers
        torch.manual_seed(len(watchers))  # another process draws other numbers
    raise AssertionError("never finished")


def files(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir()) if directory.exists() else []


def curve(directory: Path) -> list[dict[str, str]]:
    """The rows of curve.csv as written, without the time they took."""
    with (directory / "curve.csv").open() as file:
        return [
            {key: text for key, text in row.items() if key != "seconds"}
            for row in csv.DictReader(file)
        ]


def oof(directory: Path) -> np.ndarray:
    """The probabilities that a finished fold run leaves."""
    with np.load(directory / "oof.npz") as file:
        return file["probs"]


def tensors(directory: Path) -> dict[str, bytes]:
    """The weights that a finished fold run leaves, without the header of their file."""
    loaded = safetensors.numpy.load_file(directory / "model.safetensors")
    return {name: values.tobytes() for name, values in loaded.items()}


def bits(directory: Path) -> dict[str, object]:
    """Everything that a finished fold run leaves, except how long it took."""
    with np.load(directory / "oof.npz") as file:
        arrays = {
            name: (file[name].dtype.str, file[name].shape, file[name].tobytes())
            for name in sorted(file.files)
        }
    result = json.loads((directory / "result.json").read_text())
    del result["seconds"]
    weights = weights_digest(directory / "model.safetensors")
    return {
        "files": files(directory),
        "oof": arrays,
        "result": result,
        "curve": curve(directory),
        "weights": weights,
    }


def predicted(
    config: TrainConfig, directory: Path, images: list[Decoded], folds: Folds, fold: int = 0
) -> np.ndarray:
    """Probabilities of the held-out rows by the weights that a fold run left, in plain torch."""
    network = build_network(config, heads_of(config, folds), code=None)
    load_weights(directory / "model.safetensors", network)
    result = json.loads((directory / "result.json").read_text())
    rows_N = folds.valid_rows(fold)
    views = [(source.take(rows_N) / 255 - result["mean"]) / result["std"] for source in images]
    with torch.no_grad():
        logits = network.eval()(
            [torch.from_numpy(view).float().permute(0, 3, 1, 2) for view in views]
        )
        return heads_of(config, folds).log_probs(logits).exp().numpy()
