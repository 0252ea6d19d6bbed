"""Whether a network can be built and fed, before there are weights, data or a GPU.

On torch's meta device a network has names and shapes but no memory: building it and sending an image through takes
0.1-1 s, and fails where the real one would. torch and timm are imported only for an answer that is not remembered.
"""

import functools
import hashlib
import importlib.metadata
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer.cache_folder import writable_cache_folder
from trainer.config import TrainConfig
from trainer.errors import ConfigError
from trainer.fields.declare import is_user_function
from trainer.files import write_json
from trainer.images.manifest import PART_MARK

if TYPE_CHECKING:
    from trainer.model.network import Network

# what decides an answer besides the configuration: these files below trainer/ and the libraries' versions
DECIDING_FILES = (
    "config.py",
    "learning/optimizers.py",
    "model/backbone.py",
    "model/freezing.py",
    "model/heads.py",
    "model/network.py",
    "model/timm_names.py",
    "training/inputs.py",
    "training/preflight.py",
)
DECIDING_LIBRARIES = ("timm", "torch")


def network_problem(
    config: TrainConfig, head_sizes: Mapping[str, int], *, code: Path | None
) -> str | None:
    """What is wrong with this network, in one line, or None.

    Asked are: backbone and its weights (their existence; a local file's names and shapes), size, pooling, frozen stage,
    batch norm of single images, layer decay, progressive resize, names in head_crops and head_weights. A backbone of
    the user's own is called for real, without its pretrained weights, on the CPU.

    Args:
        head_sizes: classes by head, see `trainer.model.heads.Heads`; one head of any name for `heads: joint`.
        code: the folder of the user's file, for a backbone of their own.
    """
    import torch

    try:
        # the user's function may draw from the global generator, which is not ours to move
        with torch.random.fork_rng(devices=[]):
            _check(config, head_sizes, code)
    except ConfigError as error:
        return str(error)
    return None


def remembered_problem(
    config: TrainConfig, head_sizes: Mapping[str, int], *, code: Path | None
) -> str | None:
    """The same, from the cache folder if it was asked before.

    A backbone of the user's own and local weights are asked anew each time: their files may have changed.

    Raises:
        DataError: the cache folder cannot be written.
    """
    if is_user_function(config.backbone) or config.weights not in ("pretrained", "none"):
        return network_problem(config, head_sizes, code=code)
    question = _question(config, head_sizes)
    digest = hashlib.sha256(json.dumps(question, sort_keys=True).encode()).hexdigest()[:32]
    path = writable_cache_folder() / "networks" / f"{digest}.json"
    try:
        answer: dict[str, str | None] = json.loads(path.read_text())
        return answer["problem"]
    except (OSError, ValueError, LookupError, TypeError):  # never asked, or not written by us
        problem = network_problem(config, head_sizes, code=code)
    write_json(path, {"problem": problem, "question": question})
    return problem


def try_functions(
    losses: Collection[str],
    metric: str | None,
    *,
    labels: Callable[[], Sequence[tuple[str, ...]]],
    heads: Collection[str],
    code: Path,
) -> None:
    """Call the user's losses and metric on made-up predictions, before anything is decoded or trained.

    Args:
        labels: N labels as the data name them, one value per label column; read only if there is something to try.
        heads: joint, separate or both: a loss is called with the classes of each head.

    Raises:
        ConfigError: a function fails; the text has its file and line.
    """
    if not losses and metric is None:
        return
    from trainer.user_code import load_user_function, try_loss, try_metric

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
    """All that an answer depends on; what does not change it is left out, so that few networks are built."""
    given = {**config.head_crops, **config.head_weights}
    return {
        "decided_by": _deciders(),
        "backbone": config.backbone,
        "weights": config.weights,
        "size_HW": config.size_HW,
        "pooling": config.pooling,
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
    """The same as `network_problem`, as a ConfigError."""
    import torch

    from trainer.model.backbone import has_pretrained_weights
    from trainer.model.heads import Heads
    from trainer.model.network import build_network
    from trainer.user_code import load_user_function, try_backbone

    heads = Heads(tuple(head_sizes), tuple(head_sizes.values()), class_of=())
    heads.refuse_unknown(config.head_weights, field="head_weights")
    own = is_user_function(config.backbone)
    if own:  # first of all alone: what fails in it is told with its line
        try_backbone(
            load_user_function(config.backbone, code), config.size_HW, reference=config.backbone
        )
    without = (
        config.model_copy(update={"weights": "none"}) if config.weights == "pretrained" else config
    )
    with torch.device("cpu" if own else "meta"):
        network = build_network(without, heads, code=code)
    if without is not config and not own and not has_pretrained_weights(config):
        raise ConfigError(
            f"backbone {config.backbone}: timm has no pretrained weights of it. Set weights: none"
        )
    _check_training(network, config)
    _check_progressive(network, config)


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
                    f"{name} has batch norm, which needs more than one image at a time, got batch_size="
                    f"{config.batch_size} in accumulation={config.accumulation} parts. Raise batch_size or lower "
                    "accumulation"
                )


def _check_progressive(network: "Network", config: TrainConfig) -> None:
    from trainer.model.backbone import feature_width, takes_one_size
    from trainer.training.inputs import size_at

    if config.progressive == 1:
        return
    if takes_one_size(config):
        raise ConfigError(
            f"progressive={config.progressive}: backbone {config.backbone} takes images of one size only. "
            "Set progressive: 1"
        )
    try:
        feature_width(network.backbone, size_at(config, 1), name=config.backbone)
    except ConfigError as error:
        raise ConfigError(f"progressive={config.progressive}: {error}") from error


def _unfreezes(config: TrainConfig) -> bool:
    return config.freeze != "none" and 0 < config.unfreeze_epoch <= config.epochs


def _images_at_once(config: TrainConfig) -> int:
    return config.batch_size // config.accumulation
