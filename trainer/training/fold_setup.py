"""The setup of a fold run: its configuration, data, files and device."""

import dataclasses
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from trainer.config import TrainConfig
from trainer.data.folds import Folds
from trainer.data.placing import Ints
from trainer.images.images import ImageSource
from trainer.seeds import derive
from trainer.training.result import config_hash


@dataclasses.dataclass(frozen=True, kw_only=True)
class FoldSetup:
    """The setup of one fold run. Network and optimizer are not built yet.

    Attributes:
        images: one source per view of `config.views`, in manifest order.
        fold: the fold that is held out and scored.
        directory: the folder of the fold run's files.
        threads: torch's CPU threads. Another number of threads adds numbers in another order, and
            the last bits of the results differ.
        code: the folder of the user functions.
        parts: the number of parts that batches were split into in an earlier fold of this trial,
            after that fold ran out of memory; 1 if batches were not split.
        every_epoch: whether the caller decides something by the scores of every epoch, e.g. whether
            to stop the trial. All epochs are then scored like the last one.
        without_weights: whether a fold run counts as finished if its weights were removed after
            its result was written. Otherwise it is trained again.
    """

    config: TrainConfig
    images: Sequence[ImageSource]
    folds: Folds
    fold: int
    directory: Path
    device: torch.device
    threads: int
    code: Path | None = None
    parts: int = 1
    every_epoch: bool = False
    without_weights: bool = False

    @functools.cached_property
    def config_hash(self) -> str:
        """The identity of the configuration and of the files that it names, see `config_hash`."""
        return config_hash(self.config, self.code)

    @property
    def identity(self) -> dict[str, Any]:
        """The identity that a checkpoint must have so that this fold run can continue from it."""
        return {"config": self.config_hash, "folds": self.folds.hash, "fold": self.fold}

    @functools.cached_property
    def seed(self) -> int:
        """The seed from which every random number of the fold run is derived."""
        return derive(self.config.seed, "fold", self.fold)

    @functools.cached_property
    def train_rows(self) -> Ints:
        """The manifest rows of the training images, ascending."""
        return self.folds.train_rows(self.fold)

    @functools.cached_property
    def valid_rows(self) -> Ints:
        """The manifest rows of the held-out fold, which are scored, ascending."""
        return self.folds.valid_rows(self.fold)

    @property
    def valid_labels(self) -> Ints:
        """The class of each row that is scored."""
        return self.folds.manifest.labels_N[self.valid_rows]

    def at(self, epoch: int) -> str:
        """Return fold and epoch for messages."""
        return f"fold {self.fold}, epoch {epoch}"
