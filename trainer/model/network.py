"""The network: one backbone, and on its features one classifier per head.

A network with several crops gets one tensor of images per view (see `TrainConfig.views`). A network
returns one tensor of logits (B, classes of the head) per head.

Shapes: B batch, C channels, H height, W width, F features.
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
    """A classifier on features (B, F): optional batch norm, dropout, one linear layer."""

    def __init__(self, width: int, n_classes: int, *, norm: bool, dropout: float) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(width) if norm else nn.Identity()
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(width, n_classes)

    def forward(self, features_BF: Tensor) -> Tensor:
        """The logits (B, classes of the head)."""
        logits: Tensor = self.linear(self.dropout(self.norm(features_BF)))
        return logits


class Network(nn.Module):
    """A backbone and its heads.

    Attributes:
        view_of: for each head the index of the view that the head gets.
        fixed: names of the parameters that the backbone itself excludes from training. They are
            never trained, whatever the configuration freezes.
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
        """The logits of each head.

        All views go through the backbone as one batch, because one large batch is faster than
        several small batches. Also, the batch norms then see in each step the same mixture of crops
        that their running statistics describe.

        Args:
            views: the images (B, C, H, W) of each view.
        """
        if len(views) == 1:
            return self.classify([self.features(views[0])])
        return self.classify(self.features(torch.cat(tuple(views))).chunk(len(views)))

    def features(self, images_BCHW: Tensor) -> Tensor:
        """The features (B, F), which are the output of the backbone."""
        features_BF: Tensor = self.backbone(images_BCHW)
        return features_BF

    def classify(self, features: Sequence[Tensor]) -> Logits:
        """The logits of each head, in float32 also where the backbone runs in bfloat16.

        A head costs little, and bfloat16 would round logits of 8 to 16 to steps of 1/16.

        Args:
            features: the features (B, F) of each view.
        """
        with torch.autocast("cuda" if features[0].is_cuda else "cpu", enabled=False):
            whole = [features_BF.float() for features_BF in features]
            return tuple(
                head(whole[view]) for head, view in zip(self.heads, self.view_of, strict=True)
            )


def build_network(
    config: TrainConfig, heads: Heads, *, code: Path | None, head_seed: int | None = None
) -> Network:
    """The network of `config`, in train mode.

    The initial weights of the heads are torch's (nn.Linear: weights and biases are uniform in
    +-1/sqrt(F)). They are drawn after the weights of the backbone from torch's global generator,
    which the caller seeds.

    Args:
        code: the folder of the user's file, if the backbone is a user function.
        head_seed: seeds the generator before the heads are drawn, so that backbones of one width
            get equal heads; None leaves the generator as the backbone left it.

    Raises:
        ConfigError: `head_crops` names an unknown head, or the backbone cannot be built (see
            `build_backbone`).
    """
    heads.refuse_unknown(config.head_crops, field="head_crops")
    backbone = build_backbone(config, code=code)
    width = feature_width(backbone, config.size_HW, name=config.backbone)
    if head_seed is not None:
        torch.manual_seed(head_seed)
    return Network(
        backbone,
        [Head(width, size, norm=config.head_norm, dropout=config.dropout) for size in heads.sizes],
        view_of=[config.view_of(name) for name in heads.names],
    ).train()
