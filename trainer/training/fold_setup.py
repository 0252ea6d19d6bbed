"""The setup of a training: its configuration, data, files and device."""

import abc
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
class TrainingSetup(abc.ABC):
    """The setup of one training. Network and optimizer are not built yet.

    Attributes:
        images: one source per view of `config.views`, in manifest order.
        directory: the folder of the training's files.
        threads: torch's CPU threads. Another number of threads adds numbers in another order, and
            the last bits of the results differ.
        code: the folder of the user functions.
        parts: the number of parts that batches were split into in an earlier training of this
            trial, after that training ran out of memory; 1 if batches were not split.
    """

    config: TrainConfig
    images: Sequence[ImageSource]
    folds: Folds
    directory: Path
    device: torch.device
    threads: int
    code: Path | None = None
    parts: int = 1

    @functools.cached_property
    def config_hash(self) -> str:
        """The identity of the configuration and of the files that it names, see `config_hash`."""
        return config_hash(self.config, self.code)

    @property
    @abc.abstractmethod
    def identity(self) -> dict[str, Any]:
        """The identity that a checkpoint must have so that this training can continue from it."""

    @property
    @abc.abstractmethod
    def seed(self) -> int:
        """The seed from which every random number of the training is derived."""

    @property
    @abc.abstractmethod
    def train_rows(self) -> Ints:
        """The manifest rows of the training images, ascending."""

    @property
    @abc.abstractmethod
    def valid_rows(self) -> Ints:
        """The manifest rows that are scored, ascending. There may be none."""

    @property
    @abc.abstractmethod
    def held_out(self) -> int | None:
        """The fold that is held out; None if no fold is."""

    @property
    @abc.abstractmethod
    def last_epoch(self) -> int:
        """The epoch with which the training ends, unless early stopping ends it before."""

    @property
    @abc.abstractmethod
    def name(self) -> str:
        """The name of the training for messages, e.g. `fold 2`."""

    def at(self, epoch: int) -> str:
        """Return name and epoch for messages."""
        return f"{self.name}, epoch {epoch}"


@dataclasses.dataclass(frozen=True, kw_only=True)
class FoldSetup(TrainingSetup):
    """The setup of one fold run.

    Attributes:
        fold: the fold that is held out and scored.
        every_epoch: whether the caller decides something by the scores of every epoch, e.g. whether
            to stop the trial. All epochs are then scored like the last one.
        without_weights: whether a fold run counts as finished if its weights were removed after
            its result was written. Otherwise it is trained again.
    """

    fold: int
    every_epoch: bool = False
    without_weights: bool = False

    @property
    def identity(self) -> dict[str, Any]:
        """See TrainingSetup."""
        return {"config": self.config_hash, "folds": self.folds.hash, "fold": self.fold}

    @functools.cached_property
    def seed(self) -> int:
        """See TrainingSetup."""
        return derive(self.config.seed, "fold", self.fold)

    @functools.cached_property
    def train_rows(self) -> Ints:
        """See TrainingSetup."""
        return self.folds.train_rows(self.fold)

    @functools.cached_property
    def valid_rows(self) -> Ints:
        """The manifest rows of the held-out fold, which are scored, ascending."""
        return self.folds.valid_rows(self.fold)

    @property
    def held_out(self) -> int:
        """See TrainingSetup."""
        return self.fold

    @property
    def last_epoch(self) -> int:
        """See TrainingSetup."""
        return self.config.epochs

    @property
    def name(self) -> str:
        """See TrainingSetup."""
        return f"fold {self.fold}"

    @property
    def valid_labels(self) -> Ints:
        """The class of each row that is scored."""
        return self.folds.manifest.labels_N[self.valid_rows]
