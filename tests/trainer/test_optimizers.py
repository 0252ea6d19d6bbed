"""Optimizers: torch's own with our names, weight decay away from norms and biases."""

import math
from typing import get_args

import pytest
import torch
from torch import nn

from trainer.config import OptimizerName, TrainConfig
from trainer.optimizers import OPTIMIZERS, build_optimizer

CPU = torch.device("cpu")
ALL = list(OPTIMIZERS)


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 3))


def descend(model: nn.Module, optimizer: torch.optim.Optimizer, *, steps: int) -> float:
    """Fit a fixed toy problem; the last loss."""
    generator = torch.Generator().manual_seed(1)
    inputs_BC, labels_B = torch.randn(32, 4, generator=generator), torch.arange(32) % 3
    inputs_BC[torch.arange(32), labels_B] += 3
    for _ in range(steps):
        loss = nn.functional.cross_entropy(model(inputs_BC), labels_B)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return loss.item()


def flat(model: nn.Module) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


def test_every_name_of_the_configuration_has_an_optimizer():
    assert set(OPTIMIZERS) == set(get_args(OptimizerName))


@pytest.mark.parametrize(
    ("name", "momentum", "plain"),
    [
        ("adam", 0.8, lambda groups: torch.optim.Adam(groups, lr=0.01, betas=(0.8, 0.999))),
        ("adamw", 0.8, lambda groups: torch.optim.AdamW(groups, lr=0.01, betas=(0.8, 0.999))),
        ("sgd", 0.8, lambda groups: torch.optim.SGD(groups, lr=0.01, momentum=0.8, nesterov=True)),
        ("sgd", 0.0, lambda groups: torch.optim.SGD(groups, lr=0.01)),
    ],
)
def test_it_takes_the_steps_of_torchs_own(name, momentum, plain):
    ours, theirs = network(), network()
    config = TrainConfig(optimizer=name, lr=0.01, momentum=momentum, weight_decay=0.1)
    matrices = [parameter for parameter in theirs.parameters() if parameter.ndim > 1]
    vectors = [parameter for parameter in theirs.parameters() if parameter.ndim == 1]
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}]
    descend(ours, build_optimizer(ours, config, device=CPU), steps=5)
    descend(theirs, plain(groups), steps=5)
    assert torch.equal(flat(ours), flat(theirs))


def test_madgrad_takes_the_step_of_its_paper():
    """Defazio and Jelassi 2021, algorithm 1: x0 - s / cbrt(v), averaged into x with 1 - momentum."""
    weight = nn.Parameter(torch.tensor([[2.0]]))
    model = nn.Module()
    model.weight = weight
    optimizer = build_optimizer(model, TrainConfig(optimizer="madgrad", lr=0.1, momentum=0.9), device=CPU)
    x, s, v = 2.0, 0.0, 0.0
    for k in range(3):
        gradient = 2 * weight.item()
        weight.grad = torch.full_like(weight, gradient)
        optimizer.step()
        step = (0.1 + 1e-6) * math.sqrt(k + 1)
        s, v = s + step * gradient, v + step * gradient**2
        x = 0.9 * x + 0.1 * (2.0 - s / (v ** (1 / 3) + 1e-6))
        assert weight.item() == pytest.approx(x, rel=1e-4)


@pytest.mark.parametrize("name", ALL)
def test_only_matrices_and_kernels_decay(name):
    model = network()
    optimizer = build_optimizer(model, TrainConfig(optimizer=name, weight_decay=0.1), device=CPU)
    decay = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    assert {key: decay[id(p)] for key, p in model.named_parameters()} == {
        "0.weight": 0.1,
        "0.bias": 0.0,
        "1.weight": 0.0,
        "1.bias": 0.0,
        "2.weight": 0.1,
        "2.bias": 0.0,
    }


@pytest.mark.parametrize("name", ALL)
def test_frozen_parameters_are_left_out(name):
    model = network()
    model[0].requires_grad_(False)
    before = model[0].weight.clone()
    optimizer = build_optimizer(model, TrainConfig(optimizer=name), device=CPU)
    descend(model, optimizer, steps=2)
    assert sum(len(group["params"]) for group in optimizer.param_groups) == 4
    assert torch.equal(model[0].weight, before)


@pytest.mark.parametrize("name", ALL)
def test_a_network_without_biases_has_one_group(name):
    optimizer = build_optimizer(nn.Linear(4, 3, bias=False), TrainConfig(optimizer=name), device=CPU)
    assert [len(group["params"]) for group in optimizer.param_groups] == [1]


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_it_learns_a_toy_problem(name, momentum):
    model = network()
    config = TrainConfig(optimizer=name, lr=0.05, momentum=momentum)
    optimizer = build_optimizer(model, config, device=CPU)
    first = descend(model, optimizer, steps=1)
    assert descend(model, optimizer, steps=60) < first / 4


@pytest.mark.parametrize("name", ALL)
def test_it_gives_the_same_bits_twice(name):
    models = [network(), network()]
    for model in models:
        descend(model, build_optimizer(model, TrainConfig(optimizer=name), device=CPU), steps=5)
    assert torch.equal(flat(models[0]), flat(models[1]))
