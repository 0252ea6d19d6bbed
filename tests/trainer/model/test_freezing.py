"""What is trained in an epoch, by name, and what stays as it is."""

import pytest
import torch
from torch import nn

from trainer.config import TrainConfig
from trainer.errors import ConfigError
from trainer.model.freezing import apply_freezing, frozen_backbone, stages
from trainer.model.heads import Heads
from trainer.model.network import Head, Network, build_network


def config_for(backbone: str, **changes: object) -> TrainConfig:
    return TrainConfig(**{"backbone": backbone, "weights": "none", "resize": 224, **changes})


def frozen(backbone: str, *, device: str = "meta", epoch: int = 1, **changes: object) -> Network:
    """A network as it is in `epoch`."""
    config = config_for(backbone, **changes)
    with torch.device(device):
        network = build_network(config, Heads.joint(3), code=None)
    apply_freezing(network, config, epoch=epoch)
    return network


def own_network(*layers: nn.Module) -> Network:
    """A backbone of the user's own, without any list of stages."""
    return Network(nn.Sequential(*layers), [Head(4, 3, norm=False, dropout=0)], view_of=[0])


def trained(network: Network) -> list[str]:
    return [
        name for name, parameter in network.backbone.named_parameters() if parameter.requires_grad
    ]


def parts(names: list[str], depth: int = 1) -> list[str]:
    """The modules that parameters lie in, in order."""
    return list(dict.fromkeys(".".join(name.split(".")[:depth]) for name in names))


def training_modules(network: Network, kind: type[nn.Module]) -> list[str]:
    return [n for n, m in network.backbone.named_modules() if isinstance(m, kind) and m.training]


@pytest.mark.parametrize("freeze", ["none", "backbone"])
@pytest.mark.parametrize("name", ["resnet18", "vit_small_patch16_224"])
def test_all_or_nothing_of_the_backbone_is_trained(name, freeze):
    network = frozen(name, freeze=freeze)
    assert len(trained(network)) == (
        len(list(network.backbone.parameters())) if freeze == "none" else 0
    )
    assert all(module.training == (freeze == "none") for module in network.backbone.modules())


@pytest.mark.parametrize("freeze", ["none", "backbone", "all_but_last_block", "up_to:layer2"])
def test_heads_are_always_trained(freeze):
    network = frozen("resnet18", freeze=freeze, head_norm=True)
    assert all(parameter.requires_grad for parameter in network.heads.parameters())
    assert all(module.training for module in network.heads.modules())


@pytest.mark.parametrize(
    ("name", "first", "expected"),
    [
        ("resnet18", "layer4.0.conv1.weight", ["layer4"]),
        ("efficientnet_b0", "blocks.6.0.conv_pw.weight", ["blocks", "conv_head", "bn2"]),
        ("vgg13_bn", "features.28.weight", ["features", "pre_logits"]),
        ("vgg13", "features.20.weight", ["features", "pre_logits"]),
        ("vit_small_patch16_224", "blocks.11.norm1.weight", ["blocks", "norm"]),
        ("darknet53", "stages.4.conv_down.conv.weight", ["stages"]),
        ("rexnet_100", "features.15.conv_exp.conv.weight", ["features"]),
    ],
)
def test_the_last_block_and_all_after_it_is_trained(name, first, expected):
    network = frozen(name, freeze="all_but_last_block")
    names = trained(network)
    assert names[0] == first
    assert parts(names) == expected
    assert names == [n for n, _ in network.backbone.named_parameters()][-len(names) :]


@pytest.mark.parametrize(
    ("name", "stage", "first"),
    [
        ("resnet18", "layer3", "layer4.0.conv1.weight"),
        ("resnet18", "layer1.0", "layer1.1.conv1.weight"),
        ("resnet18", "conv1", "bn1.weight"),
        ("resnet18", "maxpool", "layer1.0.conv1.weight"),
        ("efficientnet_b0", "blocks.4", "blocks.5.0.conv_pw.weight"),
        ("efficientnet_b0", "blocks", "conv_head.weight"),
        ("vgg13_bn", "features.20", "features.21.weight"),
        ("vgg13_bn", "features", "pre_logits.fc1.weight"),
        ("vit_small_patch16_224", "blocks.4", "blocks.5.norm1.weight"),
        ("vit_small_patch16_224", "patch_embed", "blocks.0.norm1.weight"),
        ("darknet53", "stages.2", "stages.3.conv_down.conv.weight"),
        ("rexnet_100", "stem", "features.0.conv_dw.conv.weight"),
    ],
)
def test_everything_up_to_a_stage_is_frozen(name, stage, first):
    network = frozen(name, freeze=f"up_to:{stage}")
    names = trained(network)
    everything = [n for n, _ in network.backbone.named_parameters()]
    assert names[0] == first
    assert names == everything[everything.index(first) :]


def test_tokens_and_position_embeddings_are_frozen_with_any_beginning():
    names = trained(frozen("vit_small_patch16_224", freeze="up_to:patch_embed"))
    assert not {"cls_token", "pos_embed"} & set(names)


@pytest.mark.parametrize(
    "name", ["resnet18", "efficientnet_b0", "vgg13_bn", "vit_small_patch16_224", "darknet53"]
)
def test_every_stage_in_the_list_can_be_named(name):
    network = frozen(name)
    for stage in stages(network.backbone):
        apply_freezing(network, config_for(name, freeze=f"up_to:{stage}"), epoch=1)
        assert not any(
            parameter.requires_grad
            for parameter in network.backbone.get_submodule(stage).parameters()
        )


def test_the_stages_are_timms_and_the_parts_of_the_model():
    backbone = frozen("resnet18").backbone
    assert stages(backbone) == ["conv1", "bn1", "act1", "layer1", "layer2", "layer3", "layer4"]


@pytest.mark.parametrize(
    ("name", "stage", "hint"),
    [
        ("resnet18", "layr3", " Did you mean 'layer3'?"),
        ("resnet18", "layer5", " Did you mean 'layer4'?"),
        ("resnet18", "zzz", ""),
    ],
)
def test_an_unknown_stage_is_refused_with_those_there_are(name, stage, hint):
    with pytest.raises(ConfigError) as caught:
        frozen(name, freeze=f"up_to:{stage}")
    assert str(caught.value) == (
        f"freeze: backbone {name} has no stage {stage!r}.{hint} "
        "Its stages are conv1, bn1, act1, layer1, layer2, layer3, layer4"
    )


def test_names_in_timms_list_that_are_no_modules_are_passed_over():
    """mvitv2's list says block.0 where the model says stages.0."""
    network = frozen("mvitv2_tiny", freeze="all_but_last_block")
    assert stages(network.backbone) == ["patch_embed", "stages", "norm"]
    assert parts(trained(network)) == ["norm"]


def test_an_own_backbone_has_its_parts_as_stages():
    network = own_network(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.Flatten()
    )
    assert stages(network.backbone) == ["0", "1", "3"]
    apply_freezing(network, config_for("own.py:f", freeze="all_but_last_block"), epoch=1)
    assert trained(network) == ["3.weight", "3.bias"]
    apply_freezing(network, config_for("own.py:f", freeze="up_to:0"), epoch=1)
    assert trained(network) == ["1.weight", "1.bias", "3.weight", "3.bias"]


def test_an_own_backbone_of_one_part_is_all_last_block():
    network = own_network(nn.Linear(4, 4))
    apply_freezing(network, config_for("own.py:f", freeze="all_but_last_block"), epoch=1)
    assert trained(network) == ["0.weight", "0.bias"]


def test_what_the_author_fixed_is_never_trained():
    layers = nn.Linear(4, 4), nn.Linear(4, 4)
    layers[0].requires_grad_(False)
    network = own_network(*layers)
    for freeze in ("backbone", "none"):
        apply_freezing(network, config_for("own.py:f", freeze=freeze), epoch=1)
    assert trained(network) == ["1.weight", "1.bias"]


@pytest.mark.parametrize("freeze", ["backbone", "all_but_last_block", "up_to:layer2"])
def test_from_the_unfreezing_epoch_on_everything_is_trained(freeze):
    config = config_for("resnet18", freeze=freeze, unfreeze_epoch=3)
    with torch.device("meta"):
        network = build_network(config, Heads.joint(3), code=None)
    n_parameters = len(list(network.backbone.parameters()))
    for epoch in (1, 2, 3, 4, 2):
        network.train()
        apply_freezing(network, config, epoch=epoch)
        assert (len(trained(network)) == n_parameters) == (epoch >= 3)
        assert bool(len(training_modules(network, nn.BatchNorm2d)) == 20) == (epoch >= 3)


@pytest.mark.parametrize(
    ("freeze", "unfreeze_epoch", "expected"),
    [
        ("backbone", 0, [True, True, True]),
        ("backbone", 2, [True, False, False]),
        ("backbone", 1, [False, False, False]),
        ("none", 0, [False] * 3),
        ("all_but_last_block", 0, [False] * 3),
        ("up_to:layer4", 0, [False] * 3),
    ],
)
def test_the_whole_backbone_is_frozen_until_its_epoch(freeze, unfreeze_epoch, expected):
    config = config_for("resnet18", freeze=freeze, unfreeze_epoch=unfreeze_epoch)
    assert [frozen_backbone(config, epoch=epoch) for epoch in (1, 2, 3)] == expected


@pytest.mark.parametrize("freeze", ["none", "backbone", "all_but_last_block", "up_to:stages.0"])
def test_applying_twice_is_applying_once(freeze):
    config = config_for("test_convnext", freeze=freeze, resize=64)
    network = build_network(config, Heads.joint(3), code=None)

    def state() -> list[object]:
        return [
            *(p.requires_grad for p in network.parameters()),
            *(m.training for m in network.modules()),
        ]

    apply_freezing(network, config, epoch=1)
    once = state()
    apply_freezing(network, config, epoch=1)
    assert state() == once
    network.train()
    apply_freezing(network, config, epoch=1)
    assert state() == once


@pytest.mark.parametrize(
    ("name", "freeze", "still"),
    [
        ("test_resnet", "backbone", ""),
        ("test_resnet", "up_to:layer2", "layer3"),
        ("test_efficientnet", "up_to:blocks.1", "blocks.2"),
    ],
)
def test_frozen_batch_norms_keep_their_statistics_and_the_others_move(name, freeze, still):
    network = frozen(name, device="cpu", freeze=freeze, resize=32)
    before = {key: buffer.clone() for key, buffer in network.backbone.named_buffers()}
    network([torch.randn(4, 3, 32, 32)])
    moved = [
        key
        for key, buffer in network.backbone.named_buffers()
        if not torch.equal(buffer, before[key])
    ]
    running = [key for key in before if "running" in key]
    expected = running[[key.startswith(still) for key in running].index(True) :] if still else []
    assert [key for key in moved if "running" in key] == expected


def test_frozen_stochastic_depth_and_dropout_are_off_and_the_rest_on():
    network = own_network(nn.Linear(4, 4), nn.Dropout(0.5), nn.Linear(4, 4), nn.Dropout(0.5))
    apply_freezing(network, config_for("own.py:f", freeze="up_to:1"), epoch=1)
    assert training_modules(network, nn.Dropout) == ["3"]
    assert network.backbone.training  # it is frozen in part only


@pytest.mark.parametrize(
    ("name", "freeze", "last_frozen", "first_trained"),
    [
        ("test_resnet", "up_to:layer2", "layer2", "layer3"),
        ("test_vit", "up_to:blocks.2", "blocks.2", "blocks.3"),
        ("test_efficientnet", "up_to:blocks.1", "blocks.1", "blocks.2"),
    ],
)
def test_no_graph_is_built_for_the_frozen_beginning(name, freeze, last_frozen, first_trained):
    network = frozen(name, device="cpu", freeze=freeze, resize=32)
    outputs = {}
    for stage in (last_frozen, first_trained):
        network.backbone.get_submodule(stage).register_forward_hook(
            lambda _, __, output, stage=stage: outputs.__setitem__(stage, output)
        )
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(
        lambda tensor: kept.append(tensor) or tensor, lambda tensor: tensor
    ):
        (logits,) = network([torch.randn(2, 3, 32, 32)])
    assert outputs[last_frozen].grad_fn is None
    assert outputs[first_trained].grad_fn is not None
    frozen_names = {n for n, p in network.backbone.named_parameters() if not p.requires_grad}
    addresses = {tensor.data_ptr() for tensor in kept}
    assert not {
        n
        for n, p in network.backbone.named_parameters()
        if n in frozen_names and p.data_ptr() in addresses
    }
    logits.sum().backward()
    with_gradient = {n for n, p in network.backbone.named_parameters() if p.grad is not None}
    assert with_gradient == set(trained(network))


def test_a_frozen_backbones_features_need_no_graph():
    network = frozen("test_resnet", device="cpu", freeze="backbone", resize=32)
    features_BF = network.features(torch.randn(2, 3, 32, 32))
    assert not features_BF.requires_grad
    assert network.classify([features_BF])[0].requires_grad


def test_training_moves_what_is_trained_only():
    network = frozen("test_resnet", device="cpu", freeze="up_to:layer2", resize=32)
    for (
        parameter
    ) in network.parameters():  # a residual branch that starts at 0 has no gradients inside
        nn.init.uniform_(parameter, 0.1, 1)
    before = {name: p.detach().clone() for name, p in network.named_parameters()}
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, weight_decay=0.1)
    nn.functional.cross_entropy(
        network([torch.randn(4, 3, 32, 32)])[0], torch.tensor([0, 1, 2, 0])
    ).backward()
    optimizer.step()
    moved = {name for name, p in network.named_parameters() if not torch.equal(p, before[name])}
    assert moved == {name for name, p in network.named_parameters() if p.requires_grad}
