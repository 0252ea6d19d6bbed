"""The fields of the loss, and of how often each image is drawn in training."""

from typing import Annotated, Literal

from pydantic import BaseModel

from trainer.fields.declare import UserFunction, about

LossName = Literal["cross_entropy", "label_smoothing", "focal", "soft_f1", "mixture"]
MixedName = Literal["cross_entropy", "label_smoothing", "focal", "soft_f1"]


class LossFields(BaseModel):
    """Loss"""

    loss: Annotated[
        LossName | UserFunction,
        about(
            "cross_entropy, label_smoothing, focal, soft_f1, mixture (of these, see loss_mix), or "
            "your own function my_task.py:my_loss."
        ),
    ] = "cross_entropy"
    loss_mix: Annotated[
        dict[MixedName, Annotated[float, about("", ge=0)]],
        about(
            "mixture: the weight of each loss, e.g. {soft_f1: 0.4, focal: 0.6}; as parameters of "
            "a search space loss_mix.soft_f1 and so on.",
            source="mask project: F1 and focal mixed",
        ),
    ] = {}
    focal_gamma: Annotated[
        float,
        about("focal: how much easy images count less.", source="Lin et al. 2017", ge=0, le=10),
    ] = 2.0
    smoothing: Annotated[
        float,
        about(
            "label_smoothing: share of the target spread over all classes.",
            source="Szegedy et al. 2016",
            ge=0,
            lt=1,
        ),
    ] = 0.1
    class_weights: Annotated[
        Literal["none", "balanced", "effective_number"],
        about(
            "Weights against imbalance, from the training part of the fold, scaled to mean 1 over "
            "its images: balanced (1 / images of the class) or effective_number. For every loss "
            "but soft_f1 and your own.",
            source="King and Zeng 2001 (scikit-learn's balanced); Cui et al. 2019",
        ),
    ] = "none"
    effective_beta: Annotated[
        float,
        about(
            "effective_number: beta of (1 - beta) / (1 - beta^n).",
            source="Cui et al. 2019",
            ge=0,
            lt=1,
        ),
    ] = 0.999
    sampling: Annotated[
        Literal["shuffled", "balanced"],
        about(
            "shuffled: each image once per epoch. balanced: as many draws, with repetition, every "
            "class equally often on average."
        ),
    ] = "shuffled"
