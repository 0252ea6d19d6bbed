"""The functions of a user are called on small made-up data before a GPU is used."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from trainer.errors import ConfigError
from trainer.user_code import (
    Function,
    as_config_error,
    call_backbone,
    call_loss,
    call_metric,
    described,
)

TRIED_ROWS = 64  # images in a random batch


def try_metric(function: Function, classes: Sequence[str], *, reference: str) -> float:
    """The value of the user's metric for random predictions of 64 to 1,024 images.

    Every class has at least one image if there are at most 1,024 classes.

    Raises:
        ConfigError: see `call_metric`.
    """
    rng = np.random.default_rng(0)
    k = len(classes)
    labels_N = rng.permutation(np.arange(max(TRIED_ROWS, min(k, 1_024)), dtype=np.int64) % k)
    probs_NK = rng.dirichlet(np.ones(k), len(labels_N)).astype(np.float32)
    return call_metric(function, probs_NK, labels_N, classes, reference)


def try_loss(function: Function, n_classes: int, *, reference: str) -> float:
    """The value of the user's loss for 64 random images. Half of the images mix two classes.

    Raises:
        ConfigError: see `call_loss`; or the loss has no gradient, or the loss or its gradient is
            not finite.
    """
    import torch

    generator = torch.Generator().manual_seed(0)
    logits_BK = torch.randn(TRIED_ROWS, n_classes, generator=generator).requires_grad_()
    one_hot_BK = torch.eye(n_classes)[torch.arange(TRIED_ROWS) % n_classes]
    share_B1 = torch.ones(TRIED_ROWS, 1)
    share_B1[::2] = torch.rand(TRIED_ROWS // 2, 1, generator=generator)
    targets_BK = one_hot_BK * share_B1 + one_hot_BK.roll(1, dims=0) * (1 - share_B1)
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        loss = call_loss(function, logits_BK, targets_BK, reference)
        with as_config_error(reference, "loss"):
            (gradient,) = (
                torch.autograd.grad(loss, logits_BK, allow_unused=True)
                if loss.requires_grad
                else (None,)
            )
    if gradient is None:
        raise ConfigError(
            f"{reference} returned a value without gradient; compute it from the logits with torch"
        )
    if not bool(gradient.isfinite().all() and loss.isfinite()):
        raise ConfigError(
            f"{reference} gave the loss {loss.item():.4g}, and it or its gradient is not finite"
        )
    return loss.item()


def try_backbone(
    function: Function, size_HW: tuple[int, int], *, reference: str, pretrained: bool = False
) -> int:
    """The number of features F that the user's backbone computes for two images of `size_HW`.

    The call does not change the state of torch's global random generator on the CPU.

    Raises:
        ConfigError: see `call_backbone`; or the module raises an error, or its output does not
            have the shape (B, F).
    """
    import torch

    with torch.random.fork_rng(devices=[]):
        backbone = call_backbone(function, size_HW, pretrained, reference).eval()
        with as_config_error(reference, "backbone"), torch.inference_mode():
            features = backbone(torch.zeros(2, 3, *size_HW))
    if not isinstance(features, torch.Tensor) or features.ndim != 2 or len(features) != 2:
        raise ConfigError(
            f"{reference} made of 2 images (2, 3, {size_HW[0]}, {size_HW[1]}) "
            f"{described(features)}; "
            "a backbone gives features (2, F): pool its maps, e.g. with .mean(dim=(2, 3))"
        )
    return features.shape[1]
