"""Losses by name: logits (B, K) and class indices (B) to one mean value."""

from collections.abc import Callable

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor

from trainer.config import LossName, TrainConfig

Loss = Callable[[Tensor, Tensor], Tensor]


def build_loss(config: TrainConfig) -> Loss:
    """The loss of `config`."""
    return LOSSES[config.loss](config)


def _cross_entropy(config: TrainConfig) -> Loss:
    return F.cross_entropy


def _label_smoothing(config: TrainConfig) -> Loss:
    """Szegedy et al. 2016: `smoothing` of the target mass is spread evenly over all classes."""
    return lambda logits_BK, labels_B: F.cross_entropy(logits_BK, labels_B, label_smoothing=config.smoothing)


def _focal(config: TrainConfig) -> Loss:
    """Lin et al. 2017 without class weights: mean of (1 - p)^gamma * -log p of the true class."""

    def loss(logits_BK: Tensor, labels_B: Tensor) -> Tensor:
        log_p_B = F.log_softmax(logits_BK.float(), dim=1).gather(1, labels_B[:, None])[:, 0]
        # -expm1 keeps 1 - p exact near p = 1; clamped since p = 1 has no gradient for gamma < 1
        return (torch.clamp(-torch.expm1(log_p_B), min=1e-8) ** config.focal_gamma * -log_p_B).mean()

    return loss


LOSSES: dict[LossName, Callable[[TrainConfig], Loss]] = {
    "cross_entropy": _cross_entropy,
    "focal": _focal,
    "label_smoothing": _label_smoothing,
}
