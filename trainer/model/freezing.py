"""Which parts of a network are trained in an epoch.

The modules of a backbone have an order, in which they were defined (`nn.Module.modules`: a module, then what is inside
it). What is frozen is a beginning of that order, so it is one number. For timm's models it is the order of the forward
pass. A parameter belongs to the module that holds it; those of the backbone itself (position embeddings, tokens) come
first.
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
    """Set what is trained in `epoch` (from 1); to be called after `network.train()`, as often as one likes.

    Frozen parameters need no gradient, so no graph is built for a frozen beginning of the backbone. Modules that are
    frozen with all that is inside them go to eval mode: batch norms keep their statistics, dropout and stochastic depth
    are off. Heads are always trained.

    Raises:
        ConfigError: `freeze` names a stage that the backbone lacks.
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
    """Whether nothing but the heads is trained in `epoch` (from 1), so that features can be computed once."""
    return config.freeze == "backbone" and not _thawed(config, epoch)


def stages(backbone: nn.Module) -> list[str]:
    """Names for `up_to:`, in order: the stages that timm lists, and the parts of the backbone that have parameters.

    Any other module of the backbone can be named, too.
    """
    named = {*_listed(backbone), *_parts(backbone)}
    return [name for name, _ in _Order.of(backbone).modules if name in named]


@dataclasses.dataclass(frozen=True)
class _Order:
    """The modules of a backbone in order, each with its name, and where each ends: the index after its last inside."""

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
        """Whether modules `start` to before `end` hold any."""
        return any(
            True for _, module in self.modules[start:end] for _ in module.parameters(recurse=False)
        )


def _n_frozen(order: _Order, backbone: nn.Module, config: TrainConfig, epoch: int) -> int:
    """How many modules are frozen: so many first ones."""
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
    """Where the last stage with parameters begins.

    timm's list names what ends a stage. Where that has no parameters itself (vgg: an activation), the stage is all
    since the one before.
    """
    begin = end_before = 0
    for name in _listed(backbone) or list(_parts(backbone)):
        start, end = order.starts[name], order.ends[name]
        if not order.has_parameters(start, end):
            start = end_before
        if order.has_parameters(start, end):
            begin = start
        end_before = end
    return begin


def _listed(backbone: nn.Module) -> list[str]:
    """timm's feature_info, without names that are no module of this model."""
    info = getattr(backbone, "feature_info", None) or ()
    names = {name for name, _ in backbone.named_modules()}
    return [
        entry["module"] for entry in getattr(info, "info", info) if entry.get("module") in names
    ]


def _parts(backbone: nn.Module) -> Iterator[str]:
    return (
        name for name, part in backbone.named_children() if any(True for _ in part.parameters())
    )
