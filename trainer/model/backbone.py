"""Backbones, which turn images into features: any timm model by name, or a user function.

If pretrained weights cannot be loaded, building a backbone fails. It never falls back to random
weights.

Shapes: B batch, F features, H height, W width in pixels.
"""

from pathlib import Path
from typing import Any, cast, get_args

import safetensors
import timm
import torch
from timm.layers import PatchEmbed
from torch import nn

from trainer.config import TrainConfig
from trainer.errors import ConfigError, first_line
from trainer.fields.declare import is_user_function
from trainer.fields.network import Pooling
from trainer.model.timm_names import check_backbone
from trainer.model.weights import load_backbone_weights
from trainer.user_code import call_backbone, load_user_function

MeanStd = tuple[tuple[float, float, float], tuple[float, float, float]]
IMAGENET: MeanStd = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
# what timm and torch layers raise when they cannot be built, or do not accept an image size
FAILURES = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    ImportError,
    LookupError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
)


def build_backbone(config: TrainConfig, *, code: Path | None = None) -> nn.Module:
    """A module from images (B, 3, H, W) to pooled features (B, F), in train mode.

    The module has the weights that `config.weights` names, and no classifier. All layers before
    the classifier stay: vgg keeps its 4096-wide layers. Random weights are timm's initial weights,
    drawn from torch's global generator. Under `torch.device("meta")` the module has only names and
    shapes.

    Args:
        code: the folder of the user's file, if the backbone is a user function.

    Raises:
        ConfigError: the name is unknown, the model does not accept the size or the pooling, or the
            weights cannot be loaded.
    """
    pretrained = config.weights == "pretrained"
    if is_user_function(config.backbone):
        if config.pooling != "default":
            raise ConfigError(
                f"pooling={config.pooling} is for timm's models; {config.backbone} pools itself. "
                "Use pooling: default"
            )
        backbone = call_backbone(
            load_user_function(config.backbone, code), config.size_HW, pretrained, config.backbone
        )
    else:
        backbone = _timm_model(config, pretrained=pretrained)
    if config.weights not in ("pretrained", "none"):
        # The size is checked first: a wrong size must not be reported as wrong weights.
        feature_width(backbone, config.size_HW, name=config.backbone)
        load_backbone_weights(backbone, Path(config.weights), name=config.backbone)
    return backbone.train()


def feature_width(backbone: nn.Module, size_HW: tuple[int, int], *, name: str) -> int:
    """The number of features F, from a forward pass of one black image.

    Whether the backbone is in train or eval mode is the same afterwards.

    Raises:
        ConfigError: the forward pass fails, or its result is not of shape (B, F). Only a forward
            pass shows whether a model accepts a size.
    """
    height, width = size_HW
    device = next((parameter.device for parameter in backbone.parameters()), torch.device("cpu"))
    was_training = backbone.training
    try:
        with torch.no_grad():
            features = backbone.eval()(torch.zeros(1, 3, height, width, device=device))
    except FAILURES as error:
        size = height if height == width else f"{height}x{width}"
        raise ConfigError(
            f"backbone {name} does not take resize {size}: {first_line(error)}"
        ) from error
    finally:
        backbone.train(was_training)
    if not isinstance(features, torch.Tensor) or features.ndim != 2 or len(features) != 1:
        shape = (
            tuple(features.shape) if isinstance(features, torch.Tensor) else type(features).__name__
        )
        raise ConfigError(
            f"backbone {name} gives {shape} for one image, not one vector (1, F). Choose another "
            "one"
        )
    return features.shape[1]


def takes_one_size(config: TrainConfig) -> bool:
    """Whether a backbone built for `config.size_HW` accepts no other image size.

    Position embeddings or windows can be the reason.
    """
    settings = timm.get_pretrained_cfg(config.backbone)
    return settings is not None and settings.fixed_input_size


def has_pretrained_weights(config: TrainConfig) -> bool:
    """Whether timm lists pretrained weights for the backbone.

    Whether this machine can download the weights is known only after the download.
    """
    settings = timm.get_pretrained_cfg(config.backbone)
    return settings is not None and bool(settings.has_weights)


def normalisation(config: TrainConfig) -> MeanStd:
    """The mean and std per channel, for images with values in 0..1.

    Not for `normalise: dataset`, whose mean and std are measured on the training part of the fold.
    """
    if config.normalise == "none":
        return (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    settings = timm.get_pretrained_cfg(config.backbone) if config.normalise == "backbone" else None
    return IMAGENET if settings is None else (settings.mean, settings.std)


def _timm_model(config: TrainConfig, *, pretrained: bool) -> nn.Module:
    problem = check_backbone(config.backbone)
    if problem:
        raise ConfigError(f"backbone: {problem}")
    # timm checks pretrained weights strictly only if the model has the classifier of these weights
    options: dict[str, Any] = {} if pretrained else {"num_classes": 0}
    if takes_one_size(config):
        options["img_size"] = config.size_HW
    if config.pooling != "default":
        options["global_pool"] = config.pooling
    try:
        model = cast(
            nn.Module, timm.create_model(config.backbone, pretrained=pretrained, **options)
        )
    except (*FAILURES, safetensors.SafetensorError) as error:
        raise ConfigError(f"backbone {config.backbone}{_reason(config, options, error)}") from error
    if pretrained:
        model.reset_classifier(0)  # type: ignore[operator]
    _refuse_cut_patches(model, config)
    return model


def _refuse_cut_patches(model: nn.Module, config: TrainConfig) -> None:
    """Refuse an image size whose sides are not multiples of the patch size.

    Without an error or a warning, timm ignores the rest of such a side: up to 15 pixels with
    patches of 16.

    Raises:
        ConfigError: a side is not a multiple of the patch size.
    """
    embed = getattr(model, "patch_embed", None)
    if not isinstance(embed, PatchEmbed) or embed.dynamic_img_pad:
        return
    sides = list(zip(config.size_HW, embed.patch_size, strict=True))
    if any(side % patch for side, patch in sides):
        near = "x".join(str(max(1, round(side / patch)) * patch) for side, patch in sides)
        patches = "x".join(str(patch) for _, patch in sides)
        raise ConfigError(
            f"backbone {config.backbone} does not take resize {config.resize}: sides must be "
            f"multiples of its patches of {patches} pixels, e.g. {near}"
        )


def _reason(config: TrainConfig, options: dict[str, Any], error: Exception) -> str:
    """The text that names the choice which made timm fail.

    To find the choice, the model is built again without single options. The meta device makes that
    cheap.
    """
    text = first_line(error)
    if config.weights == "pretrained" and _builds(config.backbone, options):
        return (
            f": its pretrained weights cannot be loaded ({text}). "
            "Connect this machine to the model hub or fill its local cache, or set weights: none"
        )
    without_pooling = {name: value for name, value in options.items() if name != "global_pool"}
    if without_pooling != options and _builds(config.backbone, without_pooling):
        taken = [
            name
            for name in get_args(Pooling)[1:]
            if _builds(config.backbone, {**without_pooling, "global_pool": name})
        ]
        return (
            f" does not take pooling {config.pooling} ({text}). "
            f"It takes {', '.join(['default', *taken])}"
        )
    return f" does not take resize {config.resize}: {text}"


def _builds(name: str, options: dict[str, Any]) -> bool:
    try:
        with torch.device("meta"):
            timm.create_model(name, **options)
    except FAILURES:
        return False
    return True
