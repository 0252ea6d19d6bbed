"""The fields for how long a fold run trains, and for which of its epochs is scored."""

from typing import Annotated, Literal

from pydantic import BaseModel

from trainer.fields.declare import UserFunction, about
from trainer.metrics import Goal

Monitor = Literal["f1", "accuracy", "balanced_accuracy", "loss", "log_loss", "ece", "metric"]
Tta = Literal["none", "flip", "crops", "flip_crops"]


class TrainingFields(BaseModel):
    """Length and size"""

    epochs: Annotated[int, about("Passes over the training part of the fold.", ge=1, le=10_000)] = 5
    batch_size: Annotated[int, about("Images per optimizer step.", ge=1, le=65_536)] = 32
    progressive: Annotated[
        float,
        about(
            "Share of each side that training starts with; it grows linearly to the full size "
            "over progressive_epochs. 1: full size throughout. The held-out fold is always scored "
            "at full size.",
            source="Tan and Le 2021 (EfficientNetV2)",
            gt=0,
            le=1,
        ),
    ] = 1.0
    progressive_epochs: Annotated[
        int,
        about(
            "progressive: epochs until the full size; 0: the first half of all epochs.",
            ge=0,
            le=10_000,
        ),
    ] = 0
    patience: Annotated[
        int,
        about(
            "Early stopping: epochs without improvement of `monitor` (in each stage of "
            "two_stage); 0 switches it off. The best epoch by `monitor` then scores the fold, as "
            "with checkpoint: fold_best (biased: 1.3 points too good on 100 held-out digits, while "
            "the last epoch was 1.1 too good and 2.4 points worse).",
            ge=0,
            le=10_000,
        ),
    ] = 0
    monitor: Annotated[
        Monitor,
        about(
            "What early stopping, plateau and checkpoint: fold_best watch on the held-out fold; "
            "metric is your own function."
        ),
    ] = "loss"
    min_delta: Annotated[
        float, about("Early stopping, plateau: the least change that counts.", ge=0)
    ] = 0.0


class ScoringFields(BaseModel):
    """Scoring"""

    checkpoint: Annotated[
        Literal["last", "best", "fold_best"],
        about(
            "Which epoch scores a fold: last (with patience: the best by `monitor`); best (one "
            "common epoch, best on average over the folds, chosen when all are done); fold_best "
            "(each fold's own best epoch by `monitor`: biased, 0.4-0.5 points too good)."
        ),
    ] = "last"
    tta: Annotated[
        Tta,
        about(
            "Test-time augmentation: mean probabilities over the image and its mirror image "
            "(flip), over five crops of 7/8 of each side and the image (crops), or over both. The "
            "loss is that of the mean, too. Epochs that cannot be the score are seen plainly."
        ),
    ] = "none"
    metric: Annotated[
        UserFunction | None,
        about("Your own metric my_task.py:my_metric; a sweep sets it from its metric's name."),
    ] = None
    metric_goal: Annotated[
        Goal, about("Direction of your own metric; a sweep sets it from its metric's goal.")
    ] = Goal.MAXIMIZE
    seed: Annotated[
        int,
        about(
            "Seed of weights, order, dropout and augmentation; a sweep derives it from its own.",
            ge=0,
        ),
    ] = 0
