"""Optimizers: torch's own with our names, groups by layer and decay,
and every name that timm has.
"""

import copy
import io
import math
from pathlib import Path

import pytest
import timm
import timm.optim
import torch
from torch import nn

from trainer.config import TrainConfig
from trainer.errors import ConfigError
from trainer.fields.optimization import DECOUPLED
from trainer.learning.optimizers import OPTIMIZERS, build_optimizer, set_lr, skips_on_device
from trainer.model.timm_names import EXCLUDED, known_optimizers

CPU = torch.device("cpu")
OURS = list(OPTIMIZERS)
ALL = sorted(
    name
    for name in timm.optim.list_optimizers()
    if not any(Path(name).match(key) for key in EXCLUDED)
)
FUSED = [("adam", 0.9), ("adamw", 0.9), ("sgd", 0.9), ("sgd", 0.0)]
SLOW = {"adadelta": 1.0, "lars": 3.0, "nlars": 3.0}  # rates that are usual for them


class Net(nn.Module):
    """A convolution and a norm, then one linear head."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.backbone = nn.Sequential(
            nn.Conv2d(3, 8, 3, bias=False),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(2),
            nn.Flatten(),
        )
        self.heads = nn.ModuleList([nn.Linear(32, 3)])

    def forward(self, images_BCHW: torch.Tensor) -> torch.Tensor:
        return self.heads[0](self.backbone(images_BCHW))


@pytest.fixture(scope="module", autouse=True)
def _names_asked_once(tmp_path_factory):
    """All tests here share timm's remembered answer."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SWEEPS_CACHE", str(tmp_path_factory.mktemp("names")))
        known_optimizers()
        yield


@pytest.fixture(autouse=True)
def _own_cache_and_one_thread():
    """In place of the one for all tests, which gives each test an empty cache."""
    torch.set_num_threads(1)


def built(network: nn.Module, **fields) -> torch.optim.Optimizer:
    return build_optimizer(network, TrainConfig(**fields), device=CPU)


def descend(network: nn.Module, optimizer: torch.optim.Optimizer, *, steps: int) -> float:
    """Fit a fixed toy problem; the last loss."""
    generator = torch.Generator().manual_seed(1)
    images_BCHW = torch.randn(24, 3, 6, 6, generator=generator)
    labels_B = torch.arange(24) % 3
    images_BCHW[torch.arange(24), labels_B] += 1
    for _ in range(steps):
        loss = nn.functional.cross_entropy(network(images_BCHW), labels_B)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return loss.item()


def flat(network: nn.Module) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in network.parameters()])


def tensors(state: dict) -> list[torch.Tensor]:
    """All tensors of an optimizer's state, copied."""
    return [value.clone() for entry in state["state"].values() for value in entry.values()]


def group_of(network: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, dict]:
    """The group of each parameter by name."""
    groups = {
        id(parameter): group for group in optimizer.param_groups for parameter in group["params"]
    }
    return {name: groups[id(parameter)] for name, parameter in network.named_parameters()}


@pytest.mark.parametrize(
    ("fields", "plain"),
    [
        (
            {"optimizer": "adam", "momentum": 0.8},
            lambda g: torch.optim.Adam(g, lr=0.01, betas=(0.8, 0.999)),
        ),
        (
            {"optimizer": "adamw", "momentum": 0.8},
            lambda g: torch.optim.AdamW(g, lr=0.01, betas=(0.8, 0.999)),
        ),
        (
            {"optimizer": "sgd", "momentum": 0.8},
            lambda g: torch.optim.SGD(g, lr=0.01, momentum=0.8, nesterov=True),
        ),
        (
            {"optimizer": "sgd", "momentum": 0.8, "nesterov": False},
            lambda g: torch.optim.SGD(g, lr=0.01, momentum=0.8),
        ),
        ({"optimizer": "sgd", "momentum": 0.0}, lambda g: torch.optim.SGD(g, lr=0.01)),
        (
            {"optimizer": "rmsprop", "momentum": 0.8},
            lambda g: torch.optim.RMSprop(g, lr=0.01, momentum=0.8),
        ),
        (
            {"optimizer": "radam", "momentum": 0.8},
            lambda g: torch.optim.RAdam(g, lr=0.01, betas=(0.8, 0.999)),
        ),
    ],
)
def test_it_takes_the_steps_of_torchs_plain_loop(fields, plain):
    ours = Net()
    theirs = Net()
    matrices = [parameter for parameter in theirs.parameters() if parameter.ndim > 1]
    vectors = [parameter for parameter in theirs.parameters() if parameter.ndim == 1]
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}]
    descend(ours, built(ours, lr=0.01, weight_decay=0.1, **fields), steps=8)
    descend(theirs, plain(groups), steps=8)
    torch.testing.assert_close(flat(ours), flat(theirs), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_the_fused_step_reads_gradients_in_the_layout_of_the_weights(layout):
    ours = Net().to(memory_format=layout)
    theirs = Net()
    descend(ours, built(ours, optimizer="adamw", lr=0.01, weight_decay=0.0), steps=5)
    descend(theirs, torch.optim.AdamW(theirs.parameters(), lr=0.01, weight_decay=0.0), steps=5)
    torch.testing.assert_close(flat(ours), flat(theirs), rtol=1e-4, atol=1e-5)


def by_hand(step, *, optimizer: str, **fields) -> None:
    """Compare three steps on one weight of 2 with the loss w^2 with `step(k, gradient, w) -> w`."""
    network = nn.Module()
    network.backbone = nn.Module()
    network.backbone.weight = weight = nn.Parameter(torch.tensor([[2.0]]))
    network.heads = nn.Module()
    made = built(network, optimizer=optimizer, lr=0.1, **fields)
    expected = 2.0
    for k in range(3):
        expected = step(k, 2 * weight.item(), expected)
        weight.grad = torch.full_like(weight, 2 * weight.item())
        made.step()
        assert weight.item() == pytest.approx(expected, rel=1e-4)


def test_madgrad_takes_the_step_of_its_paper():
    """Defazio and Jelassi 2021, algorithm 1: x0 - s / cbrt(v),
    averaged into x with 1 - momentum.
    """
    s = v = 0.0

    def step(k: int, gradient: float, x: float) -> float:
        nonlocal s, v
        rate = (0.1 + 1e-6) * math.sqrt(k + 1)
        s, v = s + rate * gradient, v + rate * gradient**2
        return 0.9 * x + 0.1 * (2.0 - s / (v ** (1 / 3) + 1e-6))

    by_hand(step, optimizer="madgrad", momentum=0.9)


def test_lion_takes_the_step_of_its_paper():
    """Chen et al. 2023, program 1: the sign of an interpolation,
    decoupled decay, a slower average.
    """
    m = 0.0

    def step(k: int, gradient: float, w: float) -> float:
        nonlocal m
        update = math.copysign(1, 0.8 * m + 0.2 * gradient)
        m = 0.99 * m + 0.01 * gradient
        return w - 0.1 * (update + 0.5 * w)

    by_hand(step, optimizer="lion", momentum=0.8, weight_decay=0.5)


@pytest.mark.parametrize("name", OURS)
def test_only_matrices_and_kernels_decay(name):
    network = Net()
    groups = group_of(network, built(network, optimizer=name, weight_decay=0.1))
    assert {key: group["weight_decay"] for key, group in groups.items()} == {
        "backbone.0.weight": 0.1,
        "backbone.1.weight": 0.0,
        "backbone.1.bias": 0.0,
        "heads.0.weight": 0.1,
        "heads.0.bias": 0.0,
    }


class Whole(nn.Module):
    """A network of the kind that is trained: timm's backbone without classifier, and heads."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.backbone = timm.create_model(name, num_classes=0)
        self.heads = nn.ModuleList([nn.Linear(self.backbone.num_features, 5)])


def test_what_the_backbone_exempts_does_not_decay():
    network = Whole("test_vit")
    groups = group_of(network, built(network, weight_decay=0.1))
    decays = {name for name, group in groups.items() if group["weight_decay"]}
    assert "backbone.pos_embed" not in decays
    assert "backbone.cls_token" not in decays
    assert "backbone.patch_embed.proj.weight" in decays


TIMM = [
    "resnet50",
    "efficientnet_b0",
    "rexnet_100",
    "darknet53",
    "vgg13_bn",
    "vit_small_patch16_224",
    "convnext_tiny",
]


@pytest.mark.parametrize(
    "name", [*TIMM, "swin_tiny_patch4_window7_224", "deit3_small_patch16_224", "nfnet_l0"]
)
def test_the_layers_learn_at_timms_rates(name):
    with torch.device("meta"):  # shapes and names only
        network = Whole(name)
        theirs = timm.create_model(name, num_classes=5)
    exempt = theirs.no_weight_decay() if hasattr(theirs, "no_weight_decay") else ()
    groups = timm.optim.param_groups_layer_decay(
        theirs, weight_decay=0.05, no_weight_decay_list=exempt, layer_decay=0.7
    )
    names = {id(parameter): key for key, parameter in theirs.named_parameters()}
    expected = {names[id(parameter)]: group for group in groups for parameter in group["params"]}
    config = TrainConfig(layer_decay=0.7, weight_decay=0.05, lr=0.01)
    ours = group_of(network, build_optimizer(network, config, device=torch.device("meta")))
    body = {
        key.removeprefix("backbone."): group
        for key, group in ours.items()
        if key.startswith("backbone.")
    }
    assert len(body) == len(expected) - 2  # weight and bias of the classifier
    for key, group in body.items():
        assert group["lr_scale"] == pytest.approx(expected[key]["lr_scale"])
        assert group["weight_decay"] == expected[key]["weight_decay"]
        assert group["lr"] == pytest.approx(0.01 * group["lr_scale"])
    assert ours["heads.0.weight"]["lr_scale"] == ours["heads.0.bias"]["lr_scale"] == 1


@pytest.mark.parametrize("name", ALL)
def test_the_optimizers_that_decouple_weight_decay_are_listed(name):
    """Without a gradient a weight shrinks by lr * weight_decay of itself per step, even after many
    steps. Some take nothing off in the first one or two.
    """
    network = Net()
    weight = next(network.parameters())
    with torch.no_grad():
        weight.fill_(1.0)
    optimizer = built(network, optimizer=name, lr=0.01, weight_decay=0.1)
    for _ in range(40):
        for parameter in network.parameters():
            parameter.grad = torch.zeros_like(parameter)
        optimizer.step()
    decoupled = 0.999**40 - 1e-4 < weight.mean().item() < 0.999**38 + 1e-4
    assert decoupled is (name in DECOUPLED)


def test_adam_and_adamw_differ_by_default():
    weights = []
    for name in ("adam", "adamw"):
        torch.manual_seed(0)
        network = Net()
        descend(network, built(network, optimizer=name), steps=2)
        weights.append(flat(network))
    assert not torch.equal(*weights)


def test_equal_groups_are_one():
    network = Whole("test_resnet")
    assert len(built(network, weight_decay=0.0).param_groups) == 1
    assert len(built(network, weight_decay=0.1).param_groups) == 2
    assert len(built(network, weight_decay=0.1, head_lr_factor=10).param_groups) == 4
    layered = built(network, layer_decay=0.5, weight_decay=0.0).param_groups
    assert len(layered) == len({group["lr_scale"] for group in layered})


def test_the_heads_have_a_rate_of_their_own():
    network = Net()
    optimizer = built(network, lr=0.01, head_lr_factor=10)
    set_lr(optimizer, 0.002)
    rates = {name: group["lr"] for name, group in group_of(network, optimizer).items()}
    assert rates["backbone.0.weight"] == 0.002
    assert rates["heads.0.weight"] == rates["heads.0.bias"] == pytest.approx(0.02)


def test_corrected_decay_is_relative_to_the_highest_rate_of_its_group():
    network = Net()
    optimizer = built(network, optimizer="adamc", lr=0.01, head_lr_factor=10)
    highest = {
        name: group["max_lr_snapshot"] for name, group in group_of(network, optimizer).items()
    }
    assert highest["backbone.0.weight"] == 0.01
    assert highest["heads.0.weight"] == pytest.approx(0.1)


def test_layers_of_a_backbone_without_layer_groups_are_refused():
    message = (
        r"layer_decay=0.5: backbone mine does not say what its layers are .* Use layer_decay: 1"
    )
    with pytest.raises(ConfigError, match=message):
        built(Net(), backbone="mine", layer_decay=0.5)


def test_an_unknown_optimizer_is_refused_with_the_nearest_names():
    with pytest.raises(
        ConfigError, match=r"optimizer: timm has no optimizer 'adamm'\. Nearest: 'adam'"
    ):
        built(Net(), optimizer="adamm")


def test_an_excluded_optimizer_is_refused_with_its_reason():
    with pytest.raises(
        ConfigError, match=r"optimizer: 'kron' cannot train here: it does not resume exactly"
    ):
        built(Net(), optimizer="kron")


def test_every_name_is_tried_below():
    assert set(ALL) == known_optimizers()
    assert set(OURS) <= set(ALL)


@pytest.mark.parametrize("name", ALL)
def test_it_learns_and_resumes_to_the_bit_from_a_file(name):
    fields = {
        "optimizer": name,
        "lr": SLOW.get(name, 0.02),
        "weight_decay": 0.01,
        "head_lr_factor": 2,
    }
    whole = Net()
    through = built(whole, **fields)
    first = descend(whole, through, steps=1)
    descend(whole, through, steps=2)
    file = io.BytesIO()
    torch.save({"network": whole.state_dict(), "optimizer": through.state_dict()}, file)
    descend(whole, through, steps=3)

    torch.manual_seed(99)  # nothing may hang on the global generator
    saved = torch.load(io.BytesIO(file.getvalue()), weights_only=True)
    resumed = Net()
    again = built(resumed, **fields)
    resumed.load_state_dict(saved["network"])
    again.load_state_dict(saved["optimizer"])
    descend(resumed, again, steps=3)
    assert torch.equal(flat(resumed), flat(whole))
    assert descend(whole, through, steps=6) < first


@pytest.mark.parametrize("name", ALL)
def test_it_trains_without_momentum(name):
    network = Net()
    descend(
        network, built(network, optimizer=name, lr=0.01, momentum=0.0, weight_decay=0.1), steps=2
    )
    assert flat(network).isfinite().all()


@pytest.mark.parametrize("name", ALL)
def test_frozen_layers_stay_and_may_thaw(name):
    network = Net()
    network.backbone.requires_grad_(False)
    before = flat(network.backbone)
    optimizer = built(network, optimizer=name, lr=0.01, momentum=0.5, weight_decay=0.1)
    assert sum(len(group["params"]) for group in optimizer.param_groups) == 5
    descend(network, optimizer, steps=2)
    assert torch.equal(flat(network.backbone), before)
    network.backbone[0].requires_grad_(True)
    descend(network, optimizer, steps=1)
    network.backbone.requires_grad_(True)
    descend(network, optimizer, steps=2)
    assert flat(network).isfinite().all()
    assert not torch.equal(flat(network.backbone), before)


@pytest.mark.parametrize("name", ["adam", "lamb", "adan", "adafactor"])
def test_momentum_is_the_first_beta(name):
    group = built(Net(), optimizer=name, momentum=0.7).param_groups[0]
    assert group["beta1"] is None if name == "adafactor" else group["betas"][0] == 0.7


@pytest.mark.parametrize("name", OURS)
def test_it_gives_the_same_bits_twice(name):
    networks = [Net(), Net()]
    for network in networks:
        descend(network, built(network, optimizer=name), steps=5)
    assert torch.equal(flat(networks[0]), flat(networks[1]))


@pytest.mark.parametrize(("name", "momentum"), FUSED)
@pytest.mark.parametrize("steps_before", [0, 2])
def test_a_step_that_the_device_refuses_changes_nothing(name, momentum, steps_before):
    network = Net()
    optimizer = built(network, optimizer=name, momentum=momentum, lr=0.05, weight_decay=0.1)
    assert skips_on_device(optimizer)
    for _ in range(steps_before):
        descend(network, optimizer, steps=1)
    weights = flat(network)
    state = tensors(optimizer.state_dict())
    optimizer.found_inf = torch.ones(())
    descend(network, optimizer, steps=2)
    assert torch.equal(flat(network), weights)
    if steps_before:
        assert all(map(torch.equal, tensors(optimizer.state_dict()), state))
    else:  # the state came into being, and is where a first step begins
        assert not any(tensor.any() for tensor in tensors(optimizer.state_dict()))


@pytest.mark.parametrize(("name", "momentum"), FUSED)
def test_a_step_that_the_device_allows_is_the_same_as_one_that_it_does_not_know_of(name, momentum):
    told = Net()
    plain = Net()
    fields = {"optimizer": name, "momentum": momentum, "lr": 0.05, "weight_decay": 0.1}
    optimizer = built(told, **fields)
    optimizer.found_inf = torch.ones(())
    descend(told, optimizer, steps=1)
    told.load_state_dict(copy.deepcopy(plain.state_dict()))  # batch norm has seen a batch
    optimizer.found_inf.zero_()
    descend(told, optimizer, steps=3)
    descend(plain, built(plain, **fields), steps=3)
    assert torch.equal(flat(told), flat(plain))


@pytest.mark.parametrize("name", ["rmsprop", "radam", "lion", "madgrad", "momentum"])
def test_the_others_do_not_skip_on_the_device(name):
    assert not skips_on_device(built(Net(), optimizer=name))
