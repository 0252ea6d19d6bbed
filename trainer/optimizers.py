"""Optimizers by name; weight decay leaves norms and biases alone."""

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from trainer.config import OptimizerName, TrainConfig

with warnings.catch_warnings():
    # madgrad 1.3 still imports a name that torch has deprecated; nothing of ours depends on it
    warnings.simplefilter("ignore")
    from madgrad import MADGRAD

Groups = list[dict[str, Any]]


def build_optimizer(model: nn.Module, config: TrainConfig, *, device: torch.device) -> Optimizer:
    """The optimizer of `config` over all parameters of `model`, fused where the device has it."""
    decayed = [p for p in model.parameters() if p.requires_grad and p.ndim > 1]
    plain = [p for p in model.parameters() if p.requires_grad and p.ndim <= 1]
    groups: Groups = [
        {"params": decayed, "weight_decay": config.weight_decay},
        {"params": plain, "weight_decay": 0.0},
    ]
    return OPTIMIZERS[config.optimizer]([group for group in groups if group["params"]], config, device.type == "cuda")


def _adam(groups: Groups, config: TrainConfig, fused: bool) -> Optimizer:
    return torch.optim.Adam(groups, lr=config.lr, betas=(config.momentum, 0.999), fused=fused)


def _adamw(groups: Groups, config: TrainConfig, fused: bool) -> Optimizer:
    return torch.optim.AdamW(groups, lr=config.lr, betas=(config.momentum, 0.999), fused=fused)


def _sgd(groups: Groups, config: TrainConfig, fused: bool) -> Optimizer:
    return torch.optim.SGD(groups, lr=config.lr, momentum=config.momentum, nesterov=config.momentum > 0, fused=fused)


def _madgrad(groups: Groups, config: TrainConfig, fused: bool) -> Optimizer:
    """Defazio and Jelassi 2021, the authors' package; it has no fused form."""
    optimizer: Optimizer = MADGRAD(groups, lr=config.lr, momentum=config.momentum)
    return optimizer


OPTIMIZERS: dict[OptimizerName, Callable[[Groups, TrainConfig, bool], Optimizer]] = {
    "adam": _adam,
    "adamw": _adamw,
    "sgd": _sgd,
    "madgrad": _madgrad,
}
