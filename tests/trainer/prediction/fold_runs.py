"""Trials that were trained: the fold runs of a configuration on a few small photos."""

import dataclasses
import json
from pathlib import Path

import numpy as np
from PIL import Image

from tests.trainer.conftest import CPU
from trainer.config import TrainConfig
from trainer.data.cut import cut_data
from trainer.data.data_set import ReadOptions
from trainer.data.folds import Folds
from trainer.data.options import DataOptions, FoldOptions
from trainer.files import fold_directory
from trainer.images.cache import open_images
from trainer.metrics import Probs
from trainer.prediction.fold_model import FoldModel, read_fold_model
from trainer.prediction.mixture import Member, Mixture
from trainer.prediction.predicting import Answer, Predicted, Predictor, answers, mix, plan_of
from trainer.prediction.store import Store
from trainer.prediction.unseen import Unseen
from trainer.training.fit import run_fold
from trainer.training.fold_setup import FoldSetup
from trainer.training.oof import OOF, read_probs
from trainer.training.reporter import SilentReporter
from trainer.training.result import FoldResult

K = 2
TONES = ("dark", "light")
TIMES = ("day", "night", "noon")
BOX = ("left", "top", "right", "bottom")


def write_photos(folder: Path, *, count: int = 24, deep: bool = False) -> Path:
    """Noisy PNG files of 24 x 18 pixels and their CSV with two label columns and boxes.

    Args:
        deep: whether the files have 12 bits in 16.
    """
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    lines = [",".join(("path", "tone", "time", "person", *BOX))]
    for row in range(count):
        tone, time = row % 2, row // 2 % 3
        pixels_HWC = rng.normal(70 + 90 * tone, 30, (24, 18, 3))
        pixels_HWC[..., time] += 60
        pixels_HWC = np.clip(pixels_HWC, 0, 255)
        image = (
            Image.fromarray((pixels_HWC[..., time] * 16).astype(np.uint16))
            if deep
            else Image.fromarray(pixels_HWC.astype(np.uint8))
        )
        image.save(folder / f"{row:02d}.png")
        box = (row % 4, row % 5, 12 + row % 6, 15 + row % 7)
        values = (f"{row:02d}.png", TONES[tone], TIMES[time], f"p{row // 3}", *box)
        lines.append(",".join(map(str, values)))
    (folder / "train.csv").write_text("\n".join(lines) + "\n")
    return folder / "train.csv"


def data_options(source: Path, **changes: object) -> DataOptions:
    return DataOptions(**{"source": str(source), "label": ["tone", "time"], "box": BOX, **changes})


def settings(**changes: object) -> TrainConfig:
    values: dict[str, object] = {
        "backbone": "test_resnet",
        "weights": "none",
        "resize": 16,
        "batch_size": 4,
        "epochs": 1,
        "lr": 1e-2,
    }
    return TrainConfig(**(values | changes))


@dataclasses.dataclass(frozen=True)
class Trained:
    """The directory of a trial, as a sweep leaves it.

    Attributes:
        data: the options of the data that it was trained on.
    """

    directory: Path
    data: DataOptions
    folds: Folds
    code: Path | None = None

    def model(self, fold: int) -> FoldModel:
        return read_fold_model(
            fold_directory(self.directory, fold),
            config=self.directory / "config.json",
            folds=self.folds,
            code=self.code,
        )

    def models(self) -> list[FoldModel]:
        return [self.model(fold) for fold in range(K)]

    def oof(self, fold: int) -> Probs:
        return read_probs(fold_directory(self.directory, fold) / OOF)

    @property
    def prior_K(self) -> tuple[float, ...]:
        labels_N = self.folds.manifest.labels_N
        return tuple((np.bincount(labels_N) / len(labels_N)).tolist())


def train_trial(
    directory: Path, config: TrainConfig, data: DataOptions, *, code: Path | None = None
) -> Trained:
    """Train all folds of a trial."""
    cut = cut_data(data, FoldOptions(k=K), read=ReadOptions(choices=config.views))
    folds = cut.folds
    images = [open_images(folds.manifest, view, threads=1) for view in config.views]
    for fold in range(K):
        setup = FoldSetup(
            config=config,
            images=images,
            folds=folds,
            fold=fold,
            directory=fold_directory(directory, fold),
            device=CPU,
            threads=1,
            code=code,
        )
        assert isinstance(run_fold(setup, SilentReporter()), FoldResult)
    (directory / "config.json").write_text(json.dumps(config.settled().model_dump(mode="json")))
    return Trained(directory, data, folds, code)


def predictor_of(**trials: list[FoldModel]) -> Predictor:
    """Members of equal weight, neither calibrated nor with a rule."""
    members = tuple(Member(name, 1 / len(trials)) for name in trials)
    first = next(model for models in trials.values() for model in models)
    k = len(first.header.classes)
    return Predictor(Mixture(members), trials, tuple([1 / k] * k))


def answered(predictor: Predictor, unseen: Unseen, **rest: object) -> list[Answer]:
    store = rest.pop("store", Store())
    progress = rest.pop("progress", None)
    plan = plan_of(predictor, unseen, **rest)
    return list(answers(plan, device=CPU, store=store, progress=progress))


def predicted(predictor: Predictor, unseen: Unseen, **rest: object) -> Predicted:
    return mix(predictor, unseen, answered(predictor, unseen, **rest))
