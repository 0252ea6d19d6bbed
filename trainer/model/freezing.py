"""Which parts of a network are trained in an epoch.

The modules of a backbone are ordered as they were defined (`nn.Module.modules`: a module, then the
modules inside it). For timm's models this is the order of the forward pass. The frozen modules are
always the first n modules in this order, so one number describes them. A parameter belongs to the
module that holds it directly. The parameters of the backbone module itself (position embeddings,
tokens) come first.
"""

import dataclasses
import difflib
from collections.abc import Iterator

from torch import nn

from trainer.config import TrainConfig
from trainer.errors import ConfigError
from trainer.fields.network import UP_TO
from trainer.model.network import Network


def apply_freezing(network: Network, config: TrainConfig, *, epoch: int) -> None:
    """Set which parameters are trained in `epoch`, which counts from 1.

    Call this function after `network.train()`. Repeated calls are allowed. Frozen parameters need
    no gradient, so torch builds no graph for the frozen first modules. A module that is frozen
    together with all modules inside it is set to eval mode: batch norms keep their statistics, and
    dropout and stochastic depth are off. Heads are always trained.

    Raises:
        ConfigError: `freeze` names a stage that the backbone does not have.
    """
    order = _Order.of(network.backbone)
    n_frozen = _n_frozen(order, network.backbone, config, epoch)
    for index, (name, module) in enumerate(order.modules):
        for parameter_name, parameter in module.named_parameters(prefix=name, recurse=False):
            parameter.requires_grad_(index >= n_frozen and parameter_name not in network.fixed)
        if order.ends[name] <= n_frozen:
            module.eval()
    network.heads.requires_grad_(True)


def frozen_backbone(config: TrainConfig, *, epoch: int) -> bool:
    """Whether only the heads are trained in `epoch`, which counts from 1.

    The features of an image are then the same in each epoch and can be computed once.
    """
    return config.freeze == "backbone" and not _thawed(config, epoch)


def stages(backbone: nn.Module) -> list[str]:
    """The suggested names for `up_to:`, in the order of the modules.

    These names are the stages that timm lists, and the direct children of the backbone that have
    parameters. `up_to:` also accepts the name of any other module of the backbone.
    """
    named = {*_listed(backbone), *_parts(backbone)}
    return [name for name, _ in _Order.of(backbone).modules if name in named]


@dataclasses.dataclass(frozen=True)
class _Order:
    """The modules of a backbone in order.

    Attributes:
        modules: the name of each module, and the module.
        starts: for each name the index of the module.
        ends: for each name the index after the last module inside the module.
    """

    modules: list[tuple[str, nn.Module]]
    starts: dict[str, int]
    ends: dict[str, int]

    @classmethod
    def of(cls, backbone: nn.Module) -> "_Order":
        modules = list(backbone.named_modules())
        index_of = {id(module): index for index, (_, module) in enumerate(modules)}
        ends = {
            name: 1 + max(index_of[id(inside)] for inside in module.modules())
            for name, module in modules
        }
        return cls(modules, {name: index_of[id(module)] for name, module in modules}, ends)

    def has_parameters(self, start: int, end: int) -> bool:
        """Whether a module from `start` up to but excluding `end` holds parameters."""
        return any(
            True for _, module in self.modules[start:end] for _ in module.parameters(recurse=False)
        )


def _n_frozen(order: _Order, backbone: nn.Module, config: TrainConfig, epoch: int) -> int:
    """The number n of frozen modules; the first n modules are frozen."""
    freeze = config.freeze
    if freeze == "none" or _thawed(config, epoch):
        return 0
    if freeze == "backbone":
        return len(order.modules)
    if freeze == "all_but_last_block":
        return _last_block(order, backbone)
    stage = freeze.removeprefix(UP_TO)
    if stage not in order.ends:
        known = stages(backbone)
        near = difflib.get_close_matches(stage, list(order.ends), n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise ConfigError(
            f"freeze: backbone {config.backbone} has no stage {stage!r}.{hint} Its stages are "
            f"{', '.join(known)}"
        )
    return order.ends[stage]


def _thawed(config: TrainConfig, epoch: int) -> bool:
    return 0 < config.unfreeze_epoch <= epoch


def _last_block(order: _Order, backbone: nn.Module) -> int:
    """The index of the first module of the last stage with parameters.

    timm's list names the module that ends each stage. If that module has no parameters (vgg: an
    activation), the stage consists of all modules after the previous stage.
    """
    begin = end_before = 0
    for name in _listed(backbone) or list(_parts(backbone)):
        start = order.starts[name]
        end = order.ends[name]
        if not order.has_parameters(start, end):
            start = end_before
        if order.has_parameters(start, end):
            begin = start
        end_before = end
    return begin


def _listed(backbone: nn.Module) -> list[str]:
    """The module names in timm's feature_info, without names that this model does not have."""
    info = getattr(backbone, "feature_info", None) or ()
    names = {name for name, _ in backbone.named_modules()}
    return [
        entry["module"] for entry in getattr(info, "info", info) if entry.get("module") in names
    ]


def _parts(backbone: nn.Module) -> Iterator[str]:
    return (
        name for name, part in backbone.named_children() if any(True for _ in part.parameters())
    )
