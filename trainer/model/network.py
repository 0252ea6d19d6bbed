"""The network: one backbone, and a classifier per head on its features.

Shapes: B batch, C channels, H height, W width, F features. A network of several crops gets one tensor per view (see
TrainConfig.views) and gives one tensor of logits (B, classes of the head) per head.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from trainer.config import TrainConfig
from trainer.model.backbone import build_backbone, feature_width
from trainer.model.heads import Heads

Logits = tuple[Tensor, ...]


class Head(nn.Module):
    """Features (B, F) to logits: batch norm if wanted, dropout, one linear layer."""

    def __init__(self, width: int, n_classes: int, *, norm: bool, dropout: float) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(width) if norm else nn.Identity()
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(width, n_classes)

    def forward(self, features_BF: Tensor) -> Tensor:
        """Logits."""
        logits: Tensor = self.linear(self.dropout(self.norm(features_BF)))
        return logits


class Network(nn.Module):
    """Backbone and heads.

    Attributes:
        view_of: which view each head sees.
        fixed: names of the backbone's parameters that its own author keeps from training, whatever is frozen or not.
    """

    def __init__(
        self, backbone: nn.Module, heads: Sequence[Head], *, view_of: Sequence[int]
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.heads = nn.ModuleList(heads)
        self.view_of = tuple(view_of)
        self.fixed = frozenset(
            name for name, p in backbone.named_parameters() if not p.requires_grad
        )

    def forward(self, views: Sequence[Tensor]) -> Logits:
        """Logits of images (B, C, H, W) per view.

        All views go through the backbone together: one large batch is faster than several small ones, and its batch
        norms then see the same mixture of crops in every step as their running statistics hold.
        """
        if len(views) == 1:
            return self.classify([self.features(views[0])])
        return self.classify(self.features(torch.cat(tuple(views))).chunk(len(views)))

    def features(self, images_BCHW: Tensor) -> Tensor:
        """Features (B, F), the backbone's output."""
        features_BF: Tensor = self.backbone(images_BCHW)
        return features_BF

    def classify(self, features: Sequence[Tensor]) -> Logits:
        """Logits of features (B, F) per view."""
        return tuple(
            head(features[view]) for head, view in zip(self.heads, self.view_of, strict=True)
        )


def build_network(config: TrainConfig, heads: Heads, *, code: Path | None) -> Network:
    """The network of `config` in train mode.

    The heads' initial weights are torch's (nn.Linear: uniform in +-1/sqrt(F), weights and biases), drawn after the
    backbone's from torch's global generator, which the caller seeds.

    Args:
        code: the folder of the user's file, for a backbone of their own.

    Raises:
        ConfigError: `head_crops` names no head, or the backbone cannot be built (see there).
    """
    heads.refuse_unknown(config.head_crops, field="head_crops")
    backbone = build_backbone(config, code=code)
    width = feature_width(backbone, config.size_HW, name=config.backbone)
    return Network(
        backbone,
        [Head(width, size, norm=config.head_norm, dropout=config.dropout) for size in heads.sizes],
        view_of=[config.view_of(name) for name in heads.names],
    ).train()
