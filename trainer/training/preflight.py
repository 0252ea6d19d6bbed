"""A check whether a network can be built and trained, before weights, data or a GPU are needed.

On torch's meta device a network has names and shapes but no memory. Building such a network and
its forward pass of one image take 0.1-1 s and fail where the real network would fail. torch and
timm are imported only if the answer is not in the cache folder.
"""

import functools
import hashlib
import importlib.metadata
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer.cache_folder import remembered
from trainer.config import TrainConfig
from trainer.errors import ConfigError
from trainer.fields.declare import is_user_function
from trainer.images.manifest import PART_MARK

if TYPE_CHECKING:
    from trainer.model.network import Network

# Besides the configuration, the answer depends on these files below trainer/ and on the versions of
# these libraries.
DECIDING_FILES = (
    "config.py",
    "learning/optimizers.py",
    "model/backbone.py",
    "model/freezing.py",
    "model/heads.py",
    "model/network.py",
    "model/sizes.py",
    "model/timm_names.py",
    "training/inputs.py",
    "training/preflight.py",
)
DECIDING_LIBRARIES = ("timm", "torch")
# how a network is trained, not how it is built: with these values, equal networks are recognised
NOT_BUILT = {"freeze": "none", "unfreeze_epoch": 0, "layer_decay": 1.0}


def network_problem(
    config: TrainConfig, head_sizes: Mapping[str, int], *, code: Path | None
) -> str | None:
    """Return one line about the problem of this network, or None if there is no problem.

    Checked are the backbone, its weights (whether they exist, and whether their names and shapes
    fit), image size, pooling, frozen stage, batch norm of single images, layer decay, progressive
    resize, and the names in head_crops and head_weights. Pretrained weights are not downloaded:
    their names and shapes are those of timm's model. A backbone that is a user function is really
    built on the CPU, without its pretrained weights.

    Args:
        head_sizes: the number of classes of each head, see `trainer.model.heads.Heads`; for
            `heads: joint` one head with any name.
        code: the folder of the user functions.
    """
    import torch

    try:
        # a user function may use the global random generator, whose state must not change
        with torch.random.fork_rng(devices=[]):
            _check(config, head_sizes, code)
    except ConfigError as error:
        return str(error)
    return None


def remembered_problem(
    config: TrainConfig, head_sizes: Mapping[str, int], *, code: Path | None
) -> str | None:
    """Return the same as `network_problem`, from the cache folder if the answer is stored there.

    A backbone that is a user function and local weights are checked at each call, because their
    files may have changed.

    Raises:
        DataError: the cache folder cannot be written.
    """
    if _depends_on_files(config):
        return network_problem(config, head_sizes, code=code)
    problem: str | None = remembered(
        "networks",
        _question(config, head_sizes),
        lambda: network_problem(config, head_sizes, code=code),
    )
    return problem


def try_functions(
    losses: Collection[str],
    metric: str | None,
    *,
    labels: Callable[[], Sequence[tuple[str, ...]]],
    heads: Collection[str],
    code: Path,
) -> None:
    """Call the user's loss and metric functions with invented predictions, before any training.

    Args:
        losses: references to user functions, as in `loss`.
        metric: a reference to a user function, or None.
        labels: returns N labels, each with one value per label column; called only if there is a
            user function.
        heads: "joint", "separate" or both; a loss is called with the classes of each head.
        code: the folder of the user functions.

    Raises:
        ConfigError: a function fails; the message has the file and line.
    """
    if not losses and metric is None:
        return
    from trainer.user_code import load_user_function
    from trainer.user_code_checks import try_loss, try_metric

    parts = sorted(set(labels()))
    sizes = {len(parts)} if "joint" in heads else set()
    if "separate" in heads:
        sizes |= {len(set(column)) for column in zip(*parts, strict=True)}
    for reference in losses:
        for n_classes in sorted(sizes):
            try_loss(load_user_function(reference, code), n_classes, reference=reference)
    if metric is not None:
        try_metric(
            load_user_function(metric, code),
            [PART_MARK.join(part) for part in parts],
            reference=metric,
        )


def _question(config: TrainConfig, head_sizes: Mapping[str, int]) -> dict[str, Any]:
    """Return everything that an answer depends on.

    Settings that do not change the answer are left out, so that few networks are built.
    """
    given = {**config.head_crops, **config.head_weights}
    return {
        "decided_by": _deciders(),
        "backbone": config.backbone,
        "weights": config.weights,
        "size_HW": config.size_HW,
        "pooling": config.pooling,
        "drop_path": config.drop_path,
        "head_norm": config.head_norm,
        "freeze": config.freeze,
        "unfreezes": _unfreezes(config),
        "one_image": _images_at_once(config) == 1 and [config.batch_size, config.accumulation],
        "layer_decay": config.layer_decay < 1 and config.layer_decay,
        "progressive": config.progressive < 1
        and [config.progressive, config.progressive_epochs, config.epochs],
        "heads": [sorted(config.head_crops), sorted(config.head_weights), list(head_sizes)]
        if given
        else [],
    }


@functools.cache
def _deciders() -> dict[str, str]:
    folder = Path(__file__).parents[1]
    files = {
        name: hashlib.sha256((folder / name).read_bytes()).hexdigest()[:16]
        for name in DECIDING_FILES
    }
    return {**files, **{name: importlib.metadata.version(name) for name in DECIDING_LIBRARIES}}


def _check(config: TrainConfig, head_sizes: Mapping[str, int], code: Path | None) -> None:
    """Raise a ConfigError with the problem that `network_problem` returns."""
    import torch

    from trainer.model.backbone import has_pretrained_weights
    from trainer.model.heads import Heads
    from trainer.model.network import build_network
    from trainer.user_code import load_user_function
    from trainer.user_code_checks import try_backbone

    heads = Heads(tuple(head_sizes), tuple(head_sizes.values()), class_of=())
    heads.refuse_unknown(config.head_weights, field="head_weights")
    by_user = is_user_function(config.backbone)
    if by_user:  # called alone first, so that its error is reported with its line
        try_backbone(
            load_user_function(config.backbone, code), config.size_HW, reference=config.backbone
        )
    pretrained = config.weights == "pretrained"
    if _depends_on_files(config):
        built = config.model_copy(update={"weights": "none"}) if pretrained and by_user else config
        with torch.device("cpu" if by_user else "meta"):
            network = build_network(built, heads, code=code)
    else:
        plain = config.model_copy(update=NOT_BUILT)
        network = _of_timm(plain.model_dump_json(), tuple(head_sizes.items()))
    if pretrained and not by_user and not has_pretrained_weights(config):
        raise ConfigError(
            f"backbone {config.backbone}: timm has no pretrained weights of it. Set weights: none"
        )
    _check_training(network, config)
    _check_progressive(network, config)


@functools.lru_cache(maxsize=1)
def _of_timm(config: str, head_sizes: tuple[tuple[str, int], ...]) -> "Network":
    """Build the network of a configuration, given as JSON, on torch's meta device.

    The last one is kept: consecutive questions are often about one network that is frozen in
    several ways, and to build it is most of a check. `_check_training` sets all that an earlier
    check has changed in it.
    """
    import torch

    from trainer.model.heads import Heads
    from trainer.model.network import build_network

    names, sizes = zip(*head_sizes, strict=True)
    heads = Heads(names, sizes, class_of=())
    with torch.device("meta"):
        return build_network(TrainConfig.model_validate_json(config), heads, code=None)


def _check_training(network: "Network", config: TrainConfig) -> None:
    from torch import nn
    from torch.nn.modules.batchnorm import _BatchNorm

    from trainer.learning.optimizers import layer_scales
    from trainer.model.freezing import apply_freezing

    layer_scales(network.backbone, config)
    for epoch in (1, config.unfreeze_epoch) if _unfreezes(config) else (1,):
        network.train()
        apply_freezing(network, config, epoch=epoch)
        if _images_at_once(config) > 1:
            continue
        parts: dict[str, nn.Module] = {
            f"backbone {config.backbone}": network.backbone,
            "head_norm": network.heads,
        }
        for name, part in parts.items():
            if any(isinstance(module, _BatchNorm) and module.training for module in part.modules()):
                raise ConfigError(
                    f"{name} has batch norm, which needs more than one image at a time, "
                    f"got batch_size={config.batch_size} in accumulation={config.accumulation} "
                    "parts. Raise batch_size or lower accumulation"
                )


def _check_progressive(network: "Network", config: TrainConfig) -> None:
    from trainer.model.backbone import feature_width
    from trainer.model.sizes import takes_one_size
    from trainer.training.inputs import size_at

    if config.progressive == 1:
        return
    if takes_one_size(config.backbone):
        raise ConfigError(
            f"progressive={config.progressive}: backbone {config.backbone} takes images of one "
            "size only. Set progressive: 1"
        )
    try:
        feature_width(network.backbone, size_at(config, 1), name=config.backbone)
    except ConfigError as error:
        raise ConfigError(f"progressive={config.progressive}: {error}") from error


def _depends_on_files(config: TrainConfig) -> bool:
    """Whether the user's own files, which may change, decide on the network."""
    return is_user_function(config.backbone) or config.weights not in ("pretrained", "none")


def _unfreezes(config: TrainConfig) -> bool:
    return config.freeze != "none" and 0 < config.unfreeze_epoch <= config.epochs


def _images_at_once(config: TrainConfig) -> int:
    return config.batch_size // config.accumulation
