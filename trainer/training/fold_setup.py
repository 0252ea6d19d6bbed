"""What a fold run is about: its configuration, its data, its files and its machine."""

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
    """One fold run, before anything of it is built.

    Attributes:
        images: one source per view of `config.views`, in manifest order.
        fold: the fold that is held out and scored.
        directory: where the fold run writes its files.
        threads: torch's CPU threads; other numbers add in another order and give other last bits.
        code: the folder of the user's functions.
        parts: in how many parts a batch went through the network in an earlier fold of this trial,
            after it had run out of memory.
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

    @functools.cached_property
    def config_hash(self) -> str:
        """Identifies the configuration and the files that it refers to, see `config_hash`."""
        return config_hash(self.config, self.code)

    @property
    def identity(self) -> dict[str, Any]:
        """What a checkpoint must agree with to be continued."""
        return {"config": self.config_hash, "folds": self.folds.hash, "fold": self.fold}

    @functools.cached_property
    def seed(self) -> int:
        """Every random number of the fold run derives from it."""
        return derive(self.config.seed, "fold", self.fold)

    @functools.cached_property
    def train_rows(self) -> Ints:
        """The manifest rows that are trained on, ascending."""
        return self.folds.train_rows(self.fold)

    @functools.cached_property
    def valid_rows(self) -> Ints:
        """The manifest rows that are scored, ascending."""
        return self.folds.valid_rows(self.fold)

    @property
    def valid_labels(self) -> Ints:
        """The class of each row that is scored."""
        return self.folds.manifest.labels_N[self.valid_rows]

    def at(self, epoch: int) -> str:
        """Fold and epoch, for messages."""
        return f"fold {self.fold}, epoch {epoch}"
