"""Probabilities: the model's softmax for every row, in order."""

import numpy as np
import pytest
import torch
from torch import nn

from tests.trainer.conftest import squares
from trainer.data.batches import Batches
from trainer.data.images import Decoded
from trainer.predict import predict

CPU = torch.device("cpu")
IMAGES_NHWC, LABELS_N = squares(11, side=8)


@pytest.fixture
def model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Dropout(0.5), nn.Linear(144, 3))


@pytest.fixture
def batches() -> Batches:
    return Batches(Decoded(IMAGES_NHWC), LABELS_N, device=CPU, mean=(0.5,) * 3, std=(0.5,) * 3)


def test_it_equals_the_softmax_of_the_model_in_eval_mode(model, batches):
    rows_N = np.array([7, 0, 3, 3])
    probs_NK = predict(model, batches, rows_N, batch_size=4)
    with torch.no_grad():
        expected = model.eval()(torch.from_numpy(IMAGES_NHWC[rows_N]).permute(0, 3, 1, 2) / 127.5 - 1).softmax(dim=1)
    np.testing.assert_allclose(probs_NK, expected, atol=1e-6)


def test_rows_are_float32_probabilities(model, batches):
    probs_NK = predict(model, batches, np.arange(11), batch_size=4)
    assert probs_NK.shape == (11, 3)
    assert probs_NK.dtype == np.float32
    assert (probs_NK >= 0).all()
    np.testing.assert_allclose(probs_NK.sum(axis=1), 1, atol=1e-6)


@pytest.mark.parametrize("batch_size", [1, 4, 11, 50])
def test_the_batch_size_does_not_matter(model, batches, batch_size):
    whole = predict(model, batches, np.arange(11), batch_size=11)
    np.testing.assert_allclose(predict(model, batches, np.arange(11), batch_size=batch_size), whole, atol=1e-6)


def test_it_leaves_the_model_in_eval_mode_and_its_state_alone(model, batches):
    before = {key: value.clone() for key, value in model.train().state_dict().items()}
    predict(model, batches, np.arange(11), batch_size=4)
    assert not model.training
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_the_same_bits_twice(model, batches):
    first, second = (predict(model, batches, np.arange(11), batch_size=4) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_the_model_can_be_trained_further(model, batches):
    predict(model, batches, np.arange(11), batch_size=4)
    model.train()(batches.take(torch.arange(4))[0]).sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
