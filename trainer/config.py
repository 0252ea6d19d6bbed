"""Every hyperparameter of one training, with its default, bounds and meaning."""

import hashlib
import re
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from trainer.data.preprocessing import Background, Crop, Preprocessing, ResizeMode

MAX_SIDE = 4096
OptimizerName = Literal["adam", "adamw", "sgd", "madgrad"]
SchedulerName = Literal["none", "step", "cyclic", "cosine"]
LossName = Literal["cross_entropy", "focal", "label_smoothing"]
Weights = Literal["pretrained", "none"]
Normalise = Literal["backbone", "imagenet", "dataset", "none"]


class TrainConfig(BaseModel):
    """The configuration of a fold run; frozen, hashable by `fingerprint`.

    Field names are the parameter names of a search space. Sizes are pixels, rates are per optimizer
    step, epochs are passes over the training part of the fold.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    backbone: Annotated[
        str, Field(min_length=1, description="A timm model name, e.g. resnet18 or efficientnet_b0.ra_in1k.")
    ] = "resnet18"
    weights: Annotated[
        Weights, Field(description="Start from timm's pretrained weights, or from random ones (none).")
    ] = "pretrained"
    dropout: Annotated[float, Field(ge=0, lt=1, description="Dropout before the classifier.")] = 0.0
    resize: Annotated[
        int | str, Field(description="Image size: one number for a square, or 'HxW' (height x width).")
    ] = 224

    resize_mode: Annotated[
        ResizeMode,
        Field(description="stretch; fit (keep the aspect, pad); crop (keep the aspect, cut the middle out)."),
    ] = "stretch"
    crop: Annotated[
        Crop, Field(description="What is cut out before resizing: none, the row's box, or the largest face.")
    ] = "none"
    background: Annotated[Background, Field(description="keep, or remove: paint all but the foreground.")] = "keep"
    normalise: Annotated[
        Normalise,
        Field(
            description="Mean and std: what the backbone's weights expect, imagenet's, those of the training part of "
            "the fold (dataset), or none (values in 0..1)."
        ),
    ] = "backbone"

    optimizer: Annotated[OptimizerName, Field(description="adam, adamw, sgd (Nesterov) or madgrad.")] = "adamw"
    lr: Annotated[float, Field(gt=0, le=10, description="Learning rate; the highest one a scheduler reaches.")] = 1e-3
    weight_decay: Annotated[float, Field(ge=0, le=1, description="Weight decay; not applied to norms and biases.")] = (
        0.0
    )
    momentum: Annotated[
        float, Field(ge=0, lt=1, description="Momentum of sgd and madgrad, first beta of adam and adamw.")
    ] = 0.9

    scheduler: Annotated[
        SchedulerName, Field(description="How the learning rate moves: none, step, cyclic, cosine.")
    ] = "cosine"
    warmup_epochs: Annotated[
        float, Field(ge=0, description="cosine: epochs of linear rise from 0 to lr, fractions allowed.")
    ] = 0.0
    step_epochs: Annotated[int, Field(ge=1, le=10_000, description="step: epochs between two drops.")] = 7
    step_gamma: Annotated[float, Field(gt=0, le=1, description="step: factor of each drop.")] = 0.1
    base_lr: Annotated[float, Field(gt=0, le=10, description="cyclic: lowest learning rate; the highest is lr.")] = 1e-5
    cycle_epochs: Annotated[float, Field(gt=0, description="cyclic: epochs of one rise and fall (triangular).")] = 2.0

    loss: Annotated[LossName, Field(description="cross_entropy, focal or label_smoothing.")] = "cross_entropy"
    focal_gamma: Annotated[float, Field(ge=0, le=10, description="focal: how much easy images count less.")] = 2.0
    smoothing: Annotated[
        float, Field(ge=0, lt=1, description="label_smoothing: share of the target spread over all classes.")
    ] = 0.1

    epochs: Annotated[int, Field(ge=1, le=10_000, description="Passes over the training part of the fold.")] = 5
    batch_size: Annotated[int, Field(ge=2, le=65_536, description="Images per optimizer step.")] = 32
    patience: Annotated[
        int,
        Field(
            ge=0, le=10_000, description="Early stopping: epochs without improvement of `monitor`; 0 switches it off."
        ),
    ] = 0
    monitor: Annotated[
        Literal["loss", "f1", "accuracy"], Field(description="What early stopping watches on the held-out fold.")
    ] = "loss"
    min_delta: Annotated[float, Field(ge=0, description="Early stopping: the least change that counts.")] = 0.0

    seed: Annotated[int, Field(ge=0, description="Seed of weights, order and dropout; a sweep derives it.")] = 0

    @field_validator("resize")
    @classmethod
    def _size_is_readable(cls, value: int | str) -> int | str:
        height, width = parse_size(value)
        return height if height == width else f"{height}x{width}"

    @model_validator(mode="after")
    def _choices_fit_together(self) -> "TrainConfig":
        if self.scheduler == "cyclic" and self.base_lr > self.lr:
            raise ValueError(f"cyclic needs base_lr <= lr, got base_lr={self.base_lr} and lr={self.lr}")
        if self.scheduler == "cosine" and self.warmup_epochs >= self.epochs:
            raise ValueError(
                f"cosine needs warmup_epochs < epochs, got warmup_epochs={self.warmup_epochs} and epochs={self.epochs}"
            )
        return self

    @property
    def size_HW(self) -> tuple[int, int]:
        """Height and width of the images in pixels."""
        return parse_size(self.resize)

    @property
    def preprocessing(self) -> Preprocessing:
        """What happens to the images before they are cached."""
        return Preprocessing(self.size_HW, self.resize_mode, self.crop, self.background)

    def fingerprint(self) -> str:
        """Hash over every field: two fold runs with one fingerprint and one folds hash are the same."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:16]


def parse_size(value: int | str) -> tuple[int, int]:
    """`224` or `"280x210"` (height x width) as (height, width) in pixels.

    Raises:
        ValueError: not of that form, or a side outside 8..4096.
    """
    match = re.fullmatch(r"(\d+)(?:x(\d+))?", str(value))
    height, width = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
    if not (8 <= height <= MAX_SIDE and 8 <= width <= MAX_SIDE):
        raise ValueError(f"a size is a number or 'HxW' with sides from 8 to {MAX_SIDE} pixels, got {value!r}")
    return height, width
