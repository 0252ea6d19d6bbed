"""All hyperparameters of one training, each with its default, bounds and meaning."""

import hashlib
import json
import math
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, model_validator

from trainer.fields.augmentation import AugmentationFields, MixingFields
from trainer.fields.evaluation import ScoringFields, TrainingFields
from trainer.fields.images import ImageFields, parse_size
from trainer.fields.network import NetworkFields
from trainer.fields.objective import LossFields
from trainer.fields.optimization import (
    DECOUPLED,
    DECOUPLED_DECAY,
    OptimizerFields,
    ScheduleFields,
)
from trainer.images.preprocessing import Preprocessing

SECTIONS = (
    NetworkFields,
    ImageFields,
    AugmentationFields,
    MixingFields,
    LossFields,
    OptimizerFields,
    ScheduleFields,
    TrainingFields,
    ScoringFields,
)
# The fields whose null stands for a value that follows from other fields, and the scheduler that
# uses the field; None: every scheduler.
DERIVED = {
    "weight_decay": None,
    "step_epochs": "step",
    "epoch_gamma": "exponential",
    "base_lr": "cyclic",
    "cycle_epochs": "cyclic",
}
LAST_RATE = 0.01  # of the first, for derived schedules
MIN_CYCLE = 2  # epochs of a derived cycle
# fields that were added after fold runs had been stored, and change nothing by default
ADDED = ("second_patience", "resampling", "drop_path")
# defaults that fold runs of an earlier version have in other units: 2 pixels
EARLIER = {"blur_sigma": 2.0}
MIXERS = ("cutmix", "one_class_cutmix", "half_cutmix", "mixup")
AUGMENTERS = (
    "flip",
    "flip_vertical",
    "affine",
    "resized_crop",
    "jitter",
    "grey",
    "blur",
    "erasing",
    "trivial",
)


class TrainConfig(
    ScoringFields,
    TrainingFields,
    ScheduleFields,
    OptimizerFields,
    LossFields,
    MixingFields,
    AugmentationFields,
    ImageFields,
    NetworkFields,
):
    """The configuration of a fold run. It is frozen; `fingerprint` identifies it.

    Field names are the parameter names of a search space. A search space names an entry of a
    mapping with a dot (`loss_mix.focal`). Sizes are in pixels, rates are per optimizer step, and
    an epoch is one pass over the training part of the fold. docs/parameters.md lists all fields.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @model_validator(mode="after")
    def _choices_fit_together(self) -> "TrainConfig":
        for problem in self._problems():
            raise ValueError(problem)
        return self

    def _problems(self) -> list[str]:
        """One message for each combination of values that works with no data and no backbone."""
        found = []
        warmup = self.warmup_epochs
        epochs = self.epochs
        if self.scheduler == "cyclic" and self.used_base_lr > self.lr:
            found.append(f"cyclic needs base_lr <= lr, got base_lr={self.base_lr} and lr={self.lr}")
        if self.scheduler not in ("cyclic", "one_cycle") and warmup and warmup >= epochs:
            found.append(
                "warmup_epochs must be below epochs, "
                f"got warmup_epochs={warmup} and epochs={epochs}"
            )
        if self.scheduler in ("cosine", "plateau") and self.min_lr > self.lr:
            found.append(
                f"{self.scheduler} needs min_lr <= lr, got min_lr={self.min_lr} and lr={self.lr}"
            )
        if self.scheduler == "multistep" and (
            not self.milestones or sorted(set(self.milestones)) != self.milestones
        ):
            found.append(
                f"multistep needs milestones in rising order, e.g. [10, 15], got {self.milestones}"
            )
        if self.scheduler == "two_stage" and not (self.second_gap or self.second_epoch):
            found.append(
                "two_stage needs second_gap or second_epoch above 0, "
                "or its second stage never begins"
            )
        if self.loss == "mixture" and sum(self.loss_mix.values()) <= 0:
            found.append(
                "mixture needs loss_mix with weights above 0, e.g. {soft_f1: 0.4, focal: 0.6}"
            )
        if sum(getattr(self, name) for name in MIXERS) > 1 + 1e-9:
            given = ", ".join(
                f"{name}={getattr(self, name)}" for name in MIXERS if getattr(self, name)
            )
            found.append(
                "an image is mixed in one way only: "
                f"the probabilities must sum to at most 1, got {given}"
            )
        if self.batch_size % self.accumulation:
            found.append(
                f"accumulation must divide batch_size, got accumulation={self.accumulation} and "
                f"batch_size={self.batch_size}"
            )
        if self.heads == "joint" and (self.head_weights or self.head_crops):
            found.append("head_weights and head_crops need heads: separate")
        if self.monitor == "metric" and self.metric is None:
            found.append("monitor: metric needs a metric of your own, e.g. my_task.py:my_metric")
        return found

    @property
    def size_HW(self) -> tuple[int, int]:
        """The height and width, in pixels, to which images are resized."""
        return parse_size(self.resize)

    @property
    def preprocessing(self) -> Preprocessing:
        """How images are prepared before they are cached, for all heads that use `crop`.

        A head that is named in `head_crops` uses another crop, see `views`.
        """
        return self.cropped(self.crop)

    def cropped(self, crop: Any) -> Preprocessing:
        """The same preparation as `preprocessing`, with another crop."""
        return Preprocessing(self.size_HW, self.resize_mode, crop, self.background, self.resampling)

    @property
    def local_weights(self) -> Path | None:
        """The file of weights that `weights` names, or None if `weights` does not name a file."""
        return None if self.weights in ("pretrained", "none") else Path(self.weights)

    @property
    def views(self) -> tuple[Preprocessing, ...]:
        """All preparations of an image that the heads use, without repetition.

        `preprocessing` is the first; the other crops of `head_crops` follow in the order of their
        heads' names.
        """
        crops = (self.crop, *(self.head_crops[name] for name in sorted(self.head_crops)))
        return tuple(self.cropped(crop) for crop in dict.fromkeys(crops))

    def view_of(self, head: str) -> int:
        """The index in `views` of the preparation that the head of a label column uses."""
        return self.views.index(self.cropped(self.head_crops.get(head, self.crop)))

    @property
    def augmented(self) -> bool:
        """Whether the network gets a different version of an image in each epoch."""
        return any(getattr(self, name) for name in (*AUGMENTERS, *MIXERS)) or self.progressive < 1

    @property
    def used_weight_decay(self) -> float:
        """`weight_decay`, or the value that follows from the optimizer."""
        if self.weight_decay is not None:
            return self.weight_decay
        return DECOUPLED_DECAY if self.optimizer in DECOUPLED else 0.0

    @property
    def used_step_epochs(self) -> int:
        """`step_epochs`, or the value that follows from the epochs and the warm-up.

        The first drop comes after the warm-up, and in training of two epochs or more.
        """
        if self.step_epochs is not None:
            return self.step_epochs
        third = (self.epochs - self.warmup_epochs) / 3
        return max(1, min(self.epochs - 1, math.ceil(self.warmup_epochs + third)))

    @property
    def used_epoch_gamma(self) -> float:
        """`epoch_gamma`, or the value that follows from the epochs."""
        if self.epoch_gamma is not None:
            return self.epoch_gamma
        return float(LAST_RATE ** (1 / max(1, self.epochs - 1)))

    @property
    def used_base_lr(self) -> float:
        """`base_lr`, or the value that follows from the learning rate."""
        return self.lr * LAST_RATE if self.base_lr is None else self.base_lr

    @property
    def used_cycle_epochs(self) -> float:
        """`cycle_epochs`, or the value that follows from the epochs."""
        if self.cycle_epochs is not None:
            return self.cycle_epochs
        return self.epochs / max(1, self.epochs // MIN_CYCLE)

    def settled(self) -> "TrainConfig":
        """The same configuration as a record that depends on no rule for null.

        Each field of `DERIVED` has the value that is used, or null if the scheduler does not use
        the field.
        """
        used = {
            name: getattr(self, f"used_{name}") if scheduler in (None, self.scheduler) else None
            for name, scheduler in DERIVED.items()
        }
        return self.model_copy(update=used)

    def fingerprint(self) -> str:
        """16 hex digits that identify the values of all fields.

        Two fold runs of the same fold with equal fingerprints and equal folds hashes are the same.
        """
        known = self.model_dump(mode="json")
        for name in ADDED:  # a fold run of a version without the field keeps its fingerprint
            if known[name] == type(self).model_fields[name].default:
                del known[name]
        for name, value in EARLIER.items():
            if known[name] == type(self).model_fields[name].default:
                known[name] = value
        # the keys are sorted because the order of a mapping's entries has no meaning
        values = json.dumps(known, sort_keys=True)
        return hashlib.sha256(values.encode()).hexdigest()[:16]


def nested(values: dict[str, Any]) -> dict[str, Any]:
    """Turn dotted names into mappings. Names without a dot keep their values.

    Example:
        >>> nested({"lr": 0.1, "loss_mix.focal": 0.6, "loss_mix.soft_f1": 0.4})
        {'lr': 0.1, 'loss_mix': {'focal': 0.6, 'soft_f1': 0.4}}
    """
    result: dict[str, Any] = {}
    for name, value in values.items():
        field, dot, key = name.partition(".")
        if dot:
            result[field] = {**result.get(field, {}), key: value}
        else:
            result[field] = {**result.get(field, {}), **value} if isinstance(value, dict) else value
    return result
