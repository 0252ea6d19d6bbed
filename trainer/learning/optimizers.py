"""Optimizers by name, in groups: the learning rate by layer and head, weight decay away from norms and biases."""

import fnmatch
import inspect
import warnings
from collections.abc import Callable, Collection, Iterator
from typing import Any

import timm.optim
import torch
from timm.models._manipulate import group_with_matcher
from torch import nn
from torch.optim import Optimizer

from trainer.config import TrainConfig
from trainer.errors import ConfigError
from trainer.model.timm_names import check_optimizer

with warnings.catch_warnings():
    # madgrad 1.3 still imports a name that torch has deprecated; nothing of ours depends on it
    warnings.simplefilter("ignore")
    from madgrad import MADGRAD

Groups = list[dict[str, Any]]


def build_optimizer(network: nn.Module, config: TrainConfig, *, device: torch.device) -> Optimizer:
    """The optimizer of `config` over all parameters of `network`, frozen ones included: they may thaw later.

    Its groups carry `lr_scale`, the factor of the learning rate that `set_lr` applies. adam, adamw and sgd are fused,
    on the CPU too: a step over resnet18 then takes 30 ms instead of 59 (adam), over efficientnet_b0 7 instead of 20
    (adamw) and 4 instead of 10 (sgd), on one thread.

    Args:
        network: has `backbone` and `heads`.
        device: where the parameters are.

    Raises:
        ConfigError: an optimizer that there is not, or layer_decay with a backbone that has no layer groups.
    """
    problem = check_optimizer(config.optimizer)
    if problem is not None:
        raise ConfigError(f"optimizer: {problem}")
    assert all(parameter.device.type == device.type for parameter in network.parameters())
    optimizer = OPTIMIZERS.get(config.optimizer, _of_timm)(_groups(network, config), config)
    for group in optimizer.param_groups:
        if (
            "max_lr_snapshot" in group
        ):  # timm's corrected weight decay is lr^2 / (highest lr): of this group, that is
            group["max_lr_snapshot"] = config.lr * group["lr_scale"]
    set_lr(optimizer, config.lr)
    return optimizer


def set_lr(optimizer: Optimizer, lr: float) -> None:
    """Give every group its share of the learning rate `lr`."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group["lr_scale"]


def skips_on_device(optimizer: Optimizer) -> bool:
    """Whether `step()` does nothing, without asking the host, while `optimizer.found_inf` is a tensor of 1.

    torch's fused kernels read the attributes `found_inf` (float, no dimensions, 0 or 1, on the parameters' device) and
    `grad_scale`, which its GradScaler sets.
    """
    fused = all(group.get("fused") for group in optimizer.param_groups)
    return fused and isinstance(optimizer, torch.optim.Adam | torch.optim.SGD)


def _groups(network: nn.Module, config: TrainConfig) -> Groups:
    """All parameters by the factor of their learning rate and their weight decay; as few groups as possible."""
    backbone = network.get_submodule("backbone")
    exempt: Collection[str] = getattr(
        backbone, "no_weight_decay", tuple
    )()  # names or patterns, as timm reads them
    scales = layer_scales(backbone, config)
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        inside = name.removeprefix("backbone.")
        decays = parameter.ndim > 1 and (
            inside == name or not any(fnmatch.fnmatch(inside, key) for key in exempt)
        )
        scale = config.head_lr_factor if inside == name else scales.get(inside, 1.0)
        groups.setdefault((scale, config.weight_decay if decays else 0.0), []).append(parameter)
    return [
        {"params": parameters, "lr_scale": scale, "weight_decay": decay}
        for (scale, decay), parameters in groups.items()
    ]


def layer_scales(backbone: nn.Module, config: TrainConfig) -> dict[str, float]:
    """The factor of the learning rate for each parameter of the backbone, by name; absent names have factor 1.

    The layers are timm's groups of the whole model: what no group matches (a last norm, a neck) belongs to the
    classifier's layer, whose factor is 1, as in `timm.optim.param_groups_layer_decay`.
    """
    if config.layer_decay == 1:
        return {}
    matcher = getattr(backbone, "group_matcher", None)
    if matcher is None:
        raise ConfigError(
            f"layer_decay={config.layer_decay}: backbone {config.backbone} does not say what its layers are "
            "(timm's group_matcher). Use layer_decay: 1"
        )
    layers = group_with_matcher(_names_with_classifier(backbone), matcher(), reverse=True)
    last = max(layers.values())
    return {name: config.layer_decay ** (last - layer) for name, layer in layers.items()}


def _names_with_classifier(backbone: nn.Module) -> Iterator[tuple[str, None]]:
    """The parameters' names as timm's own model has them, whose classifier is our heads."""
    yield from ((name, None) for name, _ in backbone.named_parameters())
    classifier = getattr(backbone, "pretrained_cfg", {}).get("classifier") or "heads"
    yield f"{classifier if isinstance(classifier, str) else classifier[0]}.weight", None


def _adam(groups: Groups, config: TrainConfig) -> Optimizer:
    """Kingma and Ba 2015."""
    return torch.optim.Adam(groups, lr=config.lr, betas=(config.momentum, 0.999), fused=True)


def _adamw(groups: Groups, config: TrainConfig) -> Optimizer:
    """Loshchilov and Hutter 2019."""
    return torch.optim.AdamW(groups, lr=config.lr, betas=(config.momentum, 0.999), fused=True)


def _sgd(groups: Groups, config: TrainConfig) -> Optimizer:
    """Sutskever et al. 2013, torch's variant of Nesterov's momentum."""
    nesterov = config.nesterov and config.momentum > 0
    optimizer = torch.optim.SGD(
        groups, lr=config.lr, momentum=config.momentum, nesterov=nesterov, fused=True
    )
    if config.momentum > 0:
        optimizer.register_step_pre_hook(_start_momentum)
    return optimizer


def _start_momentum(optimizer: Optimizer, args: Any, kwargs: Any) -> None:
    """Give parameters that have their first gradient a momentum of 0, the same start as torch's.

    torch's fused kernel would read uninitialised memory if its first step is skipped, and fails on a group of which
    only a part has thawed.
    """
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            if parameter.grad is not None and "momentum_buffer" not in optimizer.state[parameter]:
                optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)


def _rmsprop(groups: Groups, config: TrainConfig) -> Optimizer:
    """Tieleman and Hinton 2012; torch's defaults (alpha 0.99)."""
    return torch.optim.RMSprop(groups, lr=config.lr, momentum=config.momentum)


def _radam(groups: Groups, config: TrainConfig) -> Optimizer:
    """Liu et al. 2020."""
    return torch.optim.RAdam(groups, lr=config.lr, betas=(config.momentum, 0.999))


def _lion(groups: Groups, config: TrainConfig) -> Optimizer:
    """Chen et al. 2023; timm's, torch has none."""
    optimizer: Optimizer = timm.optim.Lion(groups, lr=config.lr, betas=(config.momentum, 0.99))
    return optimizer


def _madgrad(groups: Groups, config: TrainConfig) -> Optimizer:
    """Defazio and Jelassi 2021, the authors' package; it has no fused form."""
    optimizer: Optimizer = MADGRAD(groups, lr=config.lr, momentum=config.momentum)
    return optimizer


def _of_timm(groups: Groups, config: TrainConfig) -> Optimizer:
    """Any other optimizer of timm, with its own defaults but for lr, weight decay and momentum.

    `momentum` is its momentum where it has one, else the first of its betas where it has betas by default.
    """
    info = timm.optim.get_optimizer_info(config.optimizer)
    settings: dict[str, Any] = dict(info.defaults or {})
    known = inspect.signature(info.opt_class).parameters
    if info.has_momentum:
        settings["momentum"] = config.momentum
        if config.momentum == 0 and "nesterov" in known:  # several refuse one without the other
            settings["nesterov"] = False
    elif info.has_betas:
        betas = settings.get("betas", known["betas"].default)
        if betas is not None:  # None: adafactor keeps no first moment
            settings["betas"] = (config.momentum, *betas[1:])
    optimizer: Optimizer = timm.optim.create_optimizer_v2(
        groups, opt=config.optimizer, lr=config.lr, **settings
    )
    return optimizer


OPTIMIZERS: dict[str, Callable[[Groups, TrainConfig], Optimizer]] = {
    "adam": _adam,
    "adamw": _adamw,
    "sgd": _sgd,
    "rmsprop": _rmsprop,
    "radam": _radam,
    "lion": _lion,
    "madgrad": _madgrad,
}
