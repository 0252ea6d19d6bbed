"""The network: any timm model by name, with a classifier for our classes."""

from typing import Any, cast

import safetensors
import timm
import torch
from torch import nn

from trainer.backbone_names import check_backbone
from trainer.config import TrainConfig
from trainer.errors import ConfigError

MeanStd = tuple[tuple[float, float, float], tuple[float, float, float]]
IMAGENET: MeanStd = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def build_backbone(config: TrainConfig, *, n_classes: int) -> nn.Module:
    """A timm model with `n_classes` logits, for images of `config.size_HW`.

    Raises:
        ConfigError: unknown name, a size the model does not take, or pretrained weights that cannot be had.
    """
    problem = check_backbone(config.backbone)
    if problem:
        raise ConfigError(f"backbone: {problem}")
    settings = timm.get_pretrained_cfg(config.backbone)
    # models with position embeddings are built for one size; the others take any
    size = {"img_size": config.size_HW} if settings is not None and settings.fixed_input_size else {}
    model = _create(config, num_classes=n_classes, **size)
    try:  # a size that a model does not take shows in its first forward pass only
        with torch.inference_mode():
            model.eval()(torch.zeros(1, 3, *config.size_HW))
    except (RuntimeError, ValueError, AssertionError) as error:
        raise ConfigError(
            f"backbone {config.backbone} does not take resize {config.resize}: {_first_line(error)}"
        ) from error
    return model.train()


def _create(config: TrainConfig, **settings: Any) -> nn.Module:
    pretrained = config.weights == "pretrained"
    try:
        model = timm.create_model(config.backbone, pretrained=pretrained, drop_rate=config.dropout, **settings)
    except (OSError, RuntimeError, ValueError, AssertionError, safetensors.SafetensorError) as error:
        if pretrained:
            raise ConfigError(
                f"backbone {config.backbone}: its pretrained weights cannot be loaded ({_first_line(error)}). "
                "Connect this machine to the model hub or fill its local cache, or set weights: none"
            ) from error
        raise ConfigError(
            f"backbone {config.backbone} cannot be built for resize {config.resize}: {_first_line(error)}"
        ) from error
    return cast(nn.Module, model)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def normalisation(config: TrainConfig) -> MeanStd:
    """Mean and std per channel (values in 0..1) for every choice of `normalise` but dataset, which is measured."""
    if config.normalise == "none":
        return (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    settings = timm.get_pretrained_cfg(config.backbone) if config.normalise == "backbone" else None
    return IMAGENET if settings is None else (settings.mean, settings.std)
