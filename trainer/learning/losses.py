"""Losses by name: functions of logits (B, K) and targets (B, K) that return one mean value.

Each row of the targets is a probability distribution. Every loss except soft_f1 is a mean over the
images. Therefore the mean of the losses of a batch's equal parts is the loss of the whole batch.
soft_f1 is computed from sums over the batch.

Shapes: B images of a batch, K classes of one head, N images trained on.
"""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor

from trainer.config import TrainConfig
from trainer.errors import ConfigError
from trainer.fields.declare import is_user_function
from trainer.model.heads import Heads

Loss = Callable[[Tensor, Tensor], Tensor]
HeadsLoss = Callable[[Sequence[Tensor], Tensor], Tensor]
Weights = Tensor | None  # K class weights
NO_CLASS = 1e-7  # makes the soft F1 of a class without any probability 0 instead of 0 / 0


def build_loss(
    config: TrainConfig,
    heads: Heads,
    *,
    labels_N: npt.NDArray[np.int64],
    device: torch.device,
    user_loss: Loss | None = None,
) -> HeadsLoss:
    """Return the loss that a fold run minimises: the weighted mean of the heads' losses.

    The returned function takes the logits of each head and the targets (B, K) of the joint classes.

    Args:
        labels_N: joint classes of the images trained on. Class weights must not depend on the
            held-out fold.
        user_loss: the user function if `config.loss` names one; it is called for each head.

    Raises:
        ConfigError: `head_weights` has a name that is no label column, or all weights are 0.
    """
    head_weights = _head_weights(config, heads)
    losses = []
    for class_of_K, size in zip(heads.class_of, heads.sizes, strict=True):
        weights_K = class_weights(config, np.bincount(class_of_K[labels_N], minlength=size))
        weights = None if weights_K is None else torch.from_numpy(weights_K).float().to(device)
        losses.append(user_loss or _named(config, weights))

    def loss(logits: Sequence[Tensor], targets_BK: Tensor) -> Tensor:
        parts = zip(head_weights, losses, logits, heads.targets(targets_BK), strict=True)
        # a head with weight 0 is left out, because 0 times NaN or infinity is not 0
        return torch.stack(
            [
                weight * head_loss(head_logits.float(), targets)
                for weight, head_loss, head_logits, targets in parts
                if weight
            ]
        ).sum()

    return loss


def class_weights(
    config: TrainConfig, counts_K: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64] | None:
    """Return class weights (K) against class imbalance, or None if `class_weights` is "none".

    A class without training images has weight 0. The mean of the weights over the training images
    is 1, so that a learning rate has the same effect with and without class weights.

    Args:
        counts_K: the number of training images of each class.

    Source: balanced: King and Zeng 2001, equal to scikit-learn's `compute_class_weight("balanced")`
    for the classes that occur. effective_number: Cui et al. 2019, equation 2. Our deviation: Cui et
    al. scale the mean over the classes to 1 instead.
    """
    if config.class_weights == "none":
        return None
    seen_K = np.maximum(counts_K, 1)
    if config.class_weights == "balanced":
        raw_K = 1 / seen_K
    else:
        beta = config.effective_beta
        raw_K = (1 - beta) / (1 - beta**seen_K)
    raw_K = np.where(counts_K > 0, raw_K, 0)
    scaled: npt.NDArray[np.float64] = raw_K * counts_K.sum() / (raw_K * counts_K).sum()
    return scaled


def _head_weights(config: TrainConfig, heads: Heads) -> list[float]:
    """Return one weight per head; the sum of the weights is 1."""
    heads.refuse_unknown(config.head_weights, field="head_weights")
    weights = [config.head_weights.get(name, 1.0) for name in heads.names]
    if sum(weights) <= 0:
        raise ConfigError(
            f"head_weights: one of {', '.join(heads.names)} needs a weight above 0, got 0 for all"
        )
    return [weight / sum(weights) for weight in weights]


def _named(config: TrainConfig, weights_K: Weights) -> Loss:
    assert not is_user_function(config.loss), "the user's function is to be given as `user_loss`"
    return LOSSES[config.loss](config, weights_K)


def _cross_entropy(config: TrainConfig, weights_K: Weights) -> Loss:
    return lambda logits_BK, targets_BK: F.cross_entropy(logits_BK, targets_BK, weight=weights_K)


def _label_smoothing(config: TrainConfig, weights_K: Weights) -> Loss:
    """Szegedy et al. 2016: the share `smoothing` of a target is spread evenly over all classes."""
    return lambda logits_BK, targets_BK: F.cross_entropy(
        logits_BK, targets_BK, weight=weights_K, label_smoothing=config.smoothing
    )


def _focal(config: TrainConfig, weights_K: Weights) -> Loss:
    """Lin et al. 2017: the mean over images of sum_k t_k (1 - p_k)^gamma (-log p_k).

    The class weights are the alpha of Lin et al.
    """

    def loss(logits_BK: Tensor, targets_BK: Tensor) -> Tensor:
        log_p_BK = F.log_softmax(logits_BK, dim=1)
        # -expm1 keeps 1 - p exact near p = 1. The value is clamped, because for gamma < 1 the
        # gradient at p = 1 does not exist.
        easy_BK = torch.clamp(-torch.expm1(log_p_BK), min=1e-8) ** config.focal_gamma
        share_BK = targets_BK if weights_K is None else targets_BK * weights_K
        return (share_BK * easy_BK * -log_p_BK).sum(dim=1).mean()

    return loss


def _soft_f1(config: TrainConfig, weights_K: Weights) -> Loss:
    """One minus the macro F1 over all K classes, with probabilities instead of decisions.

    With tp = sum p t, fp = sum p (1 - t), fn = sum (1 - p) t over the batch, F1 of a class is
    2 tp / (2 tp + fp + fn). The denominator is sum p + sum t. A class without images in the batch
    has an F1 of 0, as in our macro F1. Such a class adds a constant to the loss and no gradient, so
    the batch size should be much larger than K.

    Source: Haltuf's "Best loss function for F1-score metric" (a public notebook of 2018). Our
    deviation: the notebook computes precision and recall separately, each with its own epsilon.
    """

    def loss(logits_BK: Tensor, targets_BK: Tensor) -> Tensor:
        p_BK = logits_BK.softmax(dim=1)
        f1_K = (
            2
            * (p_BK * targets_BK).sum(dim=0)
            / (p_BK.sum(dim=0) + targets_BK.sum(dim=0) + NO_CLASS)
        )
        return 1 - f1_K.mean()

    return loss


def _mixture(config: TrainConfig, weights_K: Weights) -> Loss:
    """The sum of the losses in `loss_mix`, each multiplied by its weight.

    The weights are not normalised: weights of 4 and 6 give ten times the loss of 0.4 and 0.6.
    """
    parts = [
        (weight, LOSSES[name](config, weights_K))
        for name, weight in sorted(config.loss_mix.items())
        if weight
    ]
    return lambda logits_BK, targets_BK: torch.stack(
        [weight * part(logits_BK, targets_BK) for weight, part in parts]
    ).sum()


LOSSES: dict[str, Callable[[TrainConfig, Weights], Loss]] = {
    "cross_entropy": _cross_entropy,
    "focal": _focal,
    "label_smoothing": _label_smoothing,
    "mixture": _mixture,
    "soft_f1": _soft_f1,
}
