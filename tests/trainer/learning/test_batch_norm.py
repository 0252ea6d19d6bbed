"""Batch norm's statistics, measured anew before a network scores images."""

import copy

import pytest
import timm
import torch
from torch import Tensor, nn

from trainer.learning.batch_norm import images_measured, measure_again, trained_norms


def batches(count: int = 3, *, size: int = 8) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [2 + 3 * torch.randn(size, 4, 5, 5, generator=generator) for _ in range(count)]


def norms(network: nn.Module) -> list[nn.BatchNorm2d]:
    return [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.BatchNorm2d(4), nn.Conv2d(4, 6, 3), nn.BatchNorm2d(6), nn.Dropout(0.5)
    ).train()


def test_the_statistics_are_the_mean_over_the_batches(network):
    first = norms(network)[0]
    first.running_mean.fill_(77)
    views = [[batch] for batch in batches()]
    measure_again(network, network, views, lambda view: network(view[0]))
    torch.testing.assert_close(
        first.running_mean, torch.stack([b.mean((0, 2, 3)) for (b,) in views]).mean(0)
    )
    torch.testing.assert_close(
        first.running_var, torch.stack([b.var((0, 2, 3)) for (b,) in views]).mean(0)
    )


def test_modes_momenta_and_weights_stay(network):
    before = copy.deepcopy(network)
    measure_again(network, network, [batches(1)], lambda view: network(view[0]))
    assert [norm.momentum for norm in norms(network)] == [0.1, 0.1]
    assert all(module.training for module in network.modules())
    for new, old in zip(network.parameters(), before.parameters(), strict=True):
        assert torch.equal(new, old)
        assert new.grad is None


def test_a_failure_leaves_modes_and_momenta_too(network):
    averaged = copy.deepcopy(network).eval()
    with pytest.raises(RuntimeError, match="running_mean should contain 3"):
        measure_again(averaged, network, [[torch.zeros(2, 3, 5, 5)]], lambda v: averaged(v[0]))
    assert [norm.momentum for norm in norms(averaged)] == [0.1, 0.1]
    assert not any(module.training for module in averaged.modules())


def test_frozen_layers_keep_theirs(network):
    network[0].eval()
    assert [name for name, _ in trained_norms(network)] == ["2"]
    measure_again(network, network, [batches(1)], lambda view: network(view[0]))
    frozen, trained = norms(network)
    assert torch.equal(frozen.running_mean, torch.zeros(4))
    assert not torch.equal(trained.running_mean, torch.zeros(6))
    assert (frozen.training, trained.training) == (False, True)


def test_an_average_is_measured_in_the_modes_of_what_is_trained(network):
    averaged = copy.deepcopy(network).eval()
    network[0].eval()
    measure_again(averaged, network, [batches(1)], lambda view: averaged(view[0]))
    assert torch.equal(norms(averaged)[0].running_mean, torch.zeros(4))
    assert not torch.equal(norms(averaged)[1].running_mean, torch.zeros(6))
    assert not any(module.training for module in averaged.modules())


@pytest.mark.parametrize(("name", "has"), [("test_resnet", True), ("test_vit", False)])
def test_layers_with_running_statistics_are_known_whatever_their_class(name, has):
    network = timm.create_model(name).train()
    assert bool(list(trained_norms(network))) is has


@pytest.mark.parametrize(
    ("train_images", "batch_size", "counts", "images"),
    [
        (100_000, 32, True, 512),
        (100_000, 32, False, 512),
        (1_437, 32, True, 512),
        (1_437, 32, False, 179),
        (240, 32, True, 240),
        (240, 32, False, 32),
        (20, 32, False, 20),
    ],
)
def test_a_score_that_is_only_shown_costs_an_eighth(train_images, batch_size, counts, images):
    assert images_measured(train_images, batch_size=batch_size, counts=counts) == images
