"""Backbones, which turn images into features: any timm model by name, or a user function.

If pretrained weights cannot be loaded, building a backbone fails. It never falls back to random
weights.

Shapes: B batch, F features, H height, W width in pixels.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast, get_args

import safetensors
import timm
import torch
from torch import nn

from trainer.config import TrainConfig
from trainer.errors import ConfigError, first_line
from trainer.fields.declare import is_user_function
from trainer.fields.network import Pooling
from trainer.model.hub import cached_weights
from trainer.model.sizes import FAILURES, cut_patches, refused_size, size_options, size_text
from trainer.model.timm_names import check_backbone
from trainer.model.weights import load_backbone_weights
from trainer.user_code import call_backbone, load_user_function

TRIED = range(64, 513, 32)  # sides of square images that a message may suggest
DROP_PATH = "drop_path_rate"  # timm's option
MeanStd = tuple[tuple[float, float, float], tuple[float, float, float]]
IMAGENET: MeanStd = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def build_backbone(config: TrainConfig, *, code: Path | None = None) -> nn.Module:
    """A module from images (B, 3, H, W) to pooled features (B, F), in train mode.

    The module has the weights that `config.weights` names, and no classifier. All layers before
    the classifier stay: vgg keeps its 4096-wide layers. Random weights are timm's initial weights,
    drawn from torch's global generator. Under `torch.device("meta")` the module has only names and
    shapes; then pretrained weights are compared by shape and nothing is downloaded.

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
        if config.drop_path is not None:
            raise ConfigError(
                f"drop_path is for timm's models; {config.backbone} sets its own. "
                "Leave drop_path out"
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
        raise ConfigError(refused_size(name, size_HW, first_line(error))) from error
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


def has_pretrained_weights(config: TrainConfig) -> bool:
    """Whether timm lists pretrained weights for the backbone.

    Whether this machine can download the weights is known only after the download.
    """
    settings = timm.get_pretrained_cfg(config.backbone)
    return settings is not None and bool(settings.has_weights)


def pretrained_origin(config: TrainConfig) -> tuple[str, str | None] | None:
    """Return timm's name for the pretrained weights that the training began with, and the licence.

    None if the training began with no weights, or with weights that are not timm's. The licence is
    None if timm states none.

    Example:
        >>> pretrained_origin(TrainConfig(backbone="convnextv2_tiny.fcmae"))
        ('convnextv2_tiny.fcmae', 'cc-by-nc-4.0')
    """
    settings = timm.get_pretrained_cfg(config.backbone)
    if config.weights != "pretrained" or settings is None:
        return None
    name = ".".join(filter(None, (settings.architecture, settings.tag)))
    return name or config.backbone, settings.license or None


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
    options = size_options(config.backbone, config.size_HW)
    drop_path = config.drop_path
    # a model without blocks that can be skipped skips none
    if drop_path or (drop_path == 0 and _builds(config.backbone, {**options, DROP_PATH: 0.0})):
        options[DROP_PATH] = drop_path
    try:
        model = _created(config.backbone, options, pretrained=pretrained)
        _pool(model, config.pooling)
    except (*FAILURES, safetensors.SafetensorError) as error:
        raise ConfigError(_reason(config, options, error)) from error
    cut = cut_patches(model, config.size_HW)
    if cut:
        raise ConfigError(refused_size(config.backbone, config.size_HW, cut))
    # some models take the option and have no block that could be skipped
    if drop_path and not any(getattr(part, "drop_prob", 0) for part in model.modules()):
        raise ConfigError(_no_drop_path(config))
    return model


def _created(name: str, options: Mapping[str, Any], *, pretrained: bool) -> nn.Module:
    """timm's model with its own pooling and without its classifier.

    On the meta device nothing is downloaded: the pretrained weights are those of timm's model as
    timm publishes it, which has its own image size.
    """
    if not pretrained:
        return cast(nn.Module, timm.create_model(name, num_classes=0, **options))
    source: dict[str, Any] = {}
    cached = None if torch.empty(0).is_meta else cached_weights(name)
    if cached is not None and cached.suffix == ".safetensors":
        # timm would ask the hub whether it has a newer file, and wait for a hub that is not there
        source = {"pretrained_cfg_overlay": {"file": str(cached), "custom_load": False}}
    elif torch.empty(0).is_meta:
        source = {"pretrained_cfg_overlay": {"state_dict": timm.create_model(name).state_dict()}}
    # timm checks pretrained weights strictly only if the model has the classifier of these weights
    model = cast(nn.Module, timm.create_model(name, pretrained=True, **source, **options))
    if hasattr(model, "reset_classifier"):  # some encoders never have a classifier
        model.reset_classifier(0)  # type: ignore[operator]
    return model


def _pool(model: nn.Module, pooling: str) -> None:
    """Replace the pooling of a model that has no classifier.

    The model is built with its own pooling first, whatever its weights are: some models have other
    layers if they are built with another pooling (vit: a norm behind the pooling and not before
    it), and pretrained weights do not fit these layers.
    """
    if pooling != "default":
        model.reset_classifier(0, pooling)  # type: ignore[operator]


def _reason(config: TrainConfig, options: Mapping[str, Any], error: Exception) -> str:
    """The message that names the choice which made timm fail.

    To find the choice, the model is built again with single choices. The meta device makes that
    cheap.
    """
    name = config.backbone
    text = first_line(error)
    if not _builds(name, options):
        without = {key: value for key, value in options.items() if key != DROP_PATH}
        if DROP_PATH in options and _builds(name, without):
            return _no_drop_path(config)
        return refused_size(name, config.size_HW, text)
    if not _builds(name, options, pooling=config.pooling):
        taken = [each for each in get_args(Pooling)[1:] if _builds(name, options, pooling=each)]
        return (
            f"backbone {name} does not take pooling {config.pooling} ({text}). "
            f"It takes {', '.join(['default', *taken])}"
        )
    if not _builds(name, options, pretrained=True):
        # torch lists in further lines what does not fit, as `size mismatch for NAME: SHAPES`
        first = str(error).partition("\n")[2].strip().partition(":")[0] or text
        sizes = ", ".join(_pretrained_sizes(name))
        advice = f"They take {sizes}. Use one of these, or" if sizes else "Use"
        return (
            f"backbone {name}: its pretrained weights do not take resize {config.resize} "
            f"({first}). {advice} weights: none"
        )
    return (
        f"backbone {name}: its pretrained weights cannot be loaded ({text}). "
        "Connect this machine to the model hub or fill its local cache, or set weights: none"
    )


def _no_drop_path(config: TrainConfig) -> str:
    return (
        f"backbone {config.backbone} does not take drop_path: it has no blocks that can be "
        "skipped. Leave drop_path out, or give it a `when` with other backbones"
    )


def _pretrained_sizes(name: str) -> list[str]:
    """The image sizes that the pretrained weights take: the model's own, and others of TRIED."""
    _, *own_HW = timm.get_pretrained_cfg(name).input_size
    sizes = {tuple(own_HW), *((side, side) for side in TRIED)}
    return [
        size_text(size)
        for size in sorted(sizes)
        if _builds(name, {"img_size": size}, pretrained=True)
    ]


def _builds(
    name: str, options: Mapping[str, Any], *, pooling: str = "default", pretrained: bool = False
) -> bool:
    try:
        with torch.device("meta"):
            _pool(_created(name, options, pretrained=pretrained), pooling)
    except FAILURES:
        return False
    return True
