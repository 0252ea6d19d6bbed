"""Losses by name: logits (B, K) and targets (B, K), each row a probability distribution, to one mean value.

Shapes: B batch, K classes of one head, N images trained on. Except for soft_f1, which counts over a batch, a loss is
a mean over images: the losses of a batch's equal parts have the whole batch's loss as their mean.
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
NO_CLASS = 1e-7  # keeps the soft F1 of a class without any mass at 0


def build_loss(
    config: TrainConfig,
    heads: Heads,
    *,
    labels_N: npt.NDArray[np.int64],
    device: torch.device,
    own: Loss | None = None,
) -> HeadsLoss:
    """What a fold run minimises: from logits per head and joint targets (B, K) the weighted mean of the heads' losses.

    Args:
        labels_N: joint classes of the images trained on: class weights may know nothing of the held-out fold.
        own: the user's function where `config.loss` names one; it is called for each head.

    Raises:
        ConfigError: `head_weights` names no label column, or leaves no head with a weight.
    """
    head_weights = _head_weights(config, heads)
    losses = []
    for class_of_K, size in zip(heads.class_of, heads.sizes, strict=True):
        weights_K = class_weights(config, np.bincount(class_of_K[labels_N], minlength=size))
        weights = None if weights_K is None else torch.from_numpy(weights_K).float().to(device)
        losses.append(own or _named(config, weights))

    def loss(logits: Sequence[Tensor], targets_BK: Tensor) -> Tensor:
        parts = zip(head_weights, losses, logits, heads.targets(targets_BK), strict=True)
        # a head that counts nothing is left out: 0 times a logit that is not finite would not be 0
        return torch.stack(
            [weight * one(head.float(), t) for weight, one, head, t in parts if weight]
        ).sum()

    return loss


def class_weights(
    config: TrainConfig, counts_K: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64] | None:
    """Weights against imbalance, or None; a class without images trained on has weight 0.

    Their mean over the images trained on is 1, so that a learning rate means the same with and without them.

    Source: balanced: King and Zeng 2001, equal to scikit-learn's `compute_class_weight("balanced")` over the classes
    that occur. effective_number: Cui et al. 2019, equation 2, who scale to mean 1 over the classes instead.
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
    """One weight per head, with sum 1."""
    heads.refuse_unknown(config.head_weights, field="head_weights")
    weights = [config.head_weights.get(name, 1.0) for name in heads.names]
    if sum(weights) <= 0:
        raise ConfigError(
            f"head_weights: one of {', '.join(heads.names)} needs a weight above 0, got 0 for all"
        )
    return [weight / sum(weights) for weight in weights]


def _named(config: TrainConfig, weights_K: Weights) -> Loss:
    assert not is_user_function(config.loss), "the user's function is to be given as `own`"
    return LOSSES[config.loss](config, weights_K)


def _cross_entropy(config: TrainConfig, weights_K: Weights) -> Loss:
    return lambda logits_BK, targets_BK: F.cross_entropy(logits_BK, targets_BK, weight=weights_K)


def _label_smoothing(config: TrainConfig, weights_K: Weights) -> Loss:
    """Szegedy et al. 2016: `smoothing` of the target mass is spread evenly over all classes."""
    return lambda logits_BK, targets_BK: F.cross_entropy(
        logits_BK, targets_BK, weight=weights_K, label_smoothing=config.smoothing
    )


def _focal(config: TrainConfig, weights_K: Weights) -> Loss:
    """Lin et al. 2017: mean of sum_k t_k (1 - p_k)^gamma (-log p_k); their alpha are the class weights."""

    def loss(logits_BK: Tensor, targets_BK: Tensor) -> Tensor:
        log_p_BK = F.log_softmax(logits_BK, dim=1)
        # -expm1 keeps 1 - p exact near p = 1; clamped since p = 1 has no gradient for gamma < 1
        easy_BK = torch.clamp(-torch.expm1(log_p_BK), min=1e-8) ** config.focal_gamma
        share_BK = targets_BK if weights_K is None else targets_BK * weights_K
        return (share_BK * easy_BK * -log_p_BK).sum(dim=1).mean()

    return loss


def _soft_f1(config: TrainConfig, weights_K: Weights) -> Loss:
    """One minus macro F1 with probabilities in place of decisions, over all K classes.

    With tp = sum p t, fp = sum p (1 - t), fn = sum (1 - p) t over the batch, F1 of a class is 2 tp / (2 tp + fp + fn),
    whose denominator is sum p + sum t. A class that the batch lacks counts 0, as in our macro F1: it adds a constant
    and no gradient, so batches should be large against K.

    Source: Haltuf's "Best loss function for F1-score metric" (a public notebook of 2018), there with precision and
    recall apart, each with an epsilon of its own.
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
    """Sum of the losses in `loss_mix`, each times its weight as given: 0.4 and 0.6 stay so, as do 4 and 6."""
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
