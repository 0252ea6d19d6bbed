"""The moving average of the weights against a plain loop."""

import io

import pytest
import timm
import torch
from torch import nn

from trainer.learning.average import WeightAverage


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4 * 4, 3))


def move(trained: nn.Module, step: int) -> None:
    """Something like a training step: other weights, other running statistics."""
    generator = torch.Generator().manual_seed(step)
    with torch.no_grad():
        for parameter in trained.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.1)
    trained.train()(torch.randn(8, 3, 4, 4, generator=generator))


def bits(module: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


@pytest.mark.parametrize("decay", [0.3, 0.9])
def test_it_is_the_plain_loop_with_the_decay_of_its_step(decay):
    trained = network()
    average = WeightAverage(trained, decay)
    expected = {name: tensor.double() for name, tensor in bits(trained).items()}
    for t in range(8):
        move(trained, t)
        average.update(trained, step=t + 1)
        d = min(decay, 1 - (1 + t) ** (-2 / 3))
        for name, now in bits(trained).items():
            expected[name] = (
                d * expected[name] + (1 - d) * now.double() if now.is_floating_point() else now
            )
    for name, tensor in bits(average.network).items():
        torch.testing.assert_close(tensor.double(), expected[name].double(), rtol=1e-5, atol=1e-6)


def test_the_first_step_copies_all():
    trained = network()
    average = WeightAverage(trained, 0.99)
    move(trained, 0)
    average.update(trained, step=1)
    assert all(
        torch.equal(tensor, bits(trained)[name]) for name, tensor in bits(average.network).items()
    )


def test_running_statistics_are_averaged_and_counters_copied():
    trained = network()
    average = WeightAverage(trained, 0.5)
    means = []
    for t in range(3):
        move(trained, t)
        average.update(trained, step=t + 1)
        means.append(trained[1].running_mean.clone())
    d = 1 - 2 ** (-2 / 3)
    expected = 0.5 * (d * means[0] + (1 - d) * means[1]) + 0.5 * means[2]
    torch.testing.assert_close(average.network[1].running_mean, expected)
    assert average.network[1].num_batches_tracked == 3


def test_the_trained_network_is_left_alone():
    trained = network()
    average = WeightAverage(trained, 0.9)
    move(trained, 0)
    before = bits(trained)
    average.update(trained, step=1)
    move(trained, 1)
    average.update(trained, step=2)
    after_one = network()
    after_one.load_state_dict(before)
    move(after_one, 1)
    assert all(torch.equal(tensor, bits(after_one)[name]) for name, tensor in bits(trained).items())
    assert trained.training
    assert all(parameter.requires_grad for parameter in trained.parameters())


def test_the_average_scores_without_gradients_in_the_same_layout():
    trained = timm.create_model("test_resnet", num_classes=3).to(memory_format=torch.channels_last)
    average = WeightAverage(trained, 0.9)
    average.update(trained, step=1)
    assert not any(module.training for module in average.network.modules())
    assert not any(parameter.requires_grad for parameter in average.network.parameters())
    weights = [p for p in average.network.parameters() if p.ndim == 4]
    assert all(weight.is_contiguous(memory_format=torch.channels_last) for weight in weights)


def test_it_resumes_to_the_bit_from_a_file():
    trained = network()
    through = WeightAverage(trained, 0.9)
    for t in range(3):
        move(trained, t)
        through.update(trained, step=t + 1)
    file = io.BytesIO()
    torch.save({"network": trained.state_dict(), "average": through.state_dict()}, file)
    for t in range(3, 6):
        move(trained, t)
        through.update(trained, step=t + 1)

    saved = torch.load(io.BytesIO(file.getvalue()), weights_only=True)
    resumed = network()
    again = WeightAverage(resumed, 0.9)
    resumed.load_state_dict(saved["network"])
    again.load_state_dict(saved["average"])
    for t in range(3, 6):
        move(resumed, t)
        again.update(resumed, step=t + 1)
    assert all(
        torch.equal(tensor, bits(through.network)[name])
        for name, tensor in bits(again.network).items()
    )


def test_a_state_of_another_network_is_refused():
    average = WeightAverage(network(), 0.9)
    with pytest.raises(RuntimeError, match="Missing key"):
        average.load_state_dict(nn.Linear(2, 2).state_dict())
