"""Fold models: the trained networks of a member, each from the weights of one fold run."""

import dataclasses
import functools
import json
from pathlib import Path

import pydantic
import torch

from trainer.config import TrainConfig
from trainer.data.folds import Folds
from trainer.errors import CheckpointError, first_line
from trainer.files import file_digest, fold_directory
from trainer.model.checkpoint import load_weights, read_header
from trainer.model.network import Network, build_network
from trainer.model.weights_header import WeightsHeader
from trainer.training.result import RESULT, WEIGHTS, FoldResult
from trainer.user_code import code_digest


@dataclasses.dataclass(frozen=True)
class FoldModel:
    """A trained network on disk, and everything that it needs to predict.

    Attributes:
        weights: the file of the weights.
        code: the folder of the user's file, if the backbone is a user function.
    """

    weights: Path
    header: WeightsHeader
    code: Path | None = None

    @functools.cached_property
    def network(self) -> Network:
        """The network in host memory and in eval mode; it is built and loaded once.

        Neither pretrained weights nor a file of weights that the configuration names are looked
        for, because the fold run's own weights replace them: no network connection is needed.

        Raises:
            CheckpointError: the weights are missing or damaged, or belong to another network.
            ConfigError: the network cannot be built, e.g. because the user's file is gone.
        """
        config = self.header.config.model_copy(update={"weights": "none"})
        network = build_network(config, self.header.heads, code=self.code)
        load_weights(self.weights, network)
        return network.to(memory_format=torch.channels_last).eval()

    @functools.cached_property
    def digest(self) -> str:
        """16 hex digits that identify the content of the file of weights."""
        return file_digest(self.weights)

    @property
    def code_digest(self) -> str:
        """16 hex digits that identify the user's file with the backbone; "" without one."""
        alone = self.header.config.model_copy(update={"loss": "cross_entropy", "metric": None})
        return code_digest(alone, self.code)

    @property
    def batch_size(self) -> int:
        """The images that are predicted at once, as the fold run scored them."""
        config = self.header.config
        return max(1, 2 * config.batch_size // config.accumulation)

    def unloaded(self) -> "FoldModel":
        """The same model without its network, to be sent to another process."""
        return dataclasses.replace(self, header=dataclasses.replace(self.header))


def read_fold_model(
    directory: Path, *, config: Path, folds: Folds, code: Path | None = None
) -> FoldModel:
    """Return the fold model that a finished fold run left. The weights are not loaded.

    Args:
        directory: the directory of the fold run.
        config: the file with the configuration of the trial. It is used only for weights without a
            header, which an earlier version of foldsweep wrote.
        folds: the folds of the trial, for the same purpose.

    Raises:
        CheckpointError: the weights are missing, cut off, of another version, of other classes or
            of another fold.
    """
    path = directory / WEIGHTS
    texts = read_header(path)
    header = (
        WeightsHeader.from_texts(texts, where=str(path))
        if "format" in texts
        else _earlier_header(directory, config, folds)
    )
    if header.classes != folds.manifest.classes:
        raise CheckpointError(
            f"{path}: the weights are of other classes ({len(header.classes)}: "
            f"{', '.join(header.classes[:3])}, ...) than the folds ({len(folds.manifest.classes)}: "
            f"{', '.join(folds.manifest.classes[:3])}, ...)"
        )
    if header.fold is not None and directory != fold_directory(directory.parent, header.fold):
        raise CheckpointError(
            f"{path}: the weights are those of fold {header.fold}, so the file lies in the "
            "wrong folder. Put the files back where the sweep wrote them"
        )
    return FoldModel(path, header, code)


def _earlier_header(directory: Path, config: Path, folds: Folds) -> WeightsHeader:
    """The header that a fold run of an earlier version would have written."""
    try:
        result = FoldResult(**json.loads((directory / RESULT).read_text()))
        values = TrainConfig(**json.loads(config.read_text()))
    except (OSError, TypeError, ValueError, pydantic.ValidationError) as error:
        raise CheckpointError(
            f"{directory / WEIGHTS}: the file has no header, because an earlier version wrote it, "
            f"and the files beside it cannot be used ({first_line(error)})"
        ) from None
    (red, green, blue), (red_std, green_std, blue_std) = result.mean, result.std
    manifest = folds.manifest
    return WeightsHeader(
        config=values,
        classes=manifest.classes,
        label_columns=manifest.label_columns,
        class_parts=manifest.class_parts,
        mean_std=((red, green, blue), (red_std, green_std, blue_std)),
        reading=manifest.reading,
        fold=result.fold,
        version="an earlier version",
    )
