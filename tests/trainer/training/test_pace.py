"""How fast a backbone trains is measured without a trace in the process."""

import math

import pytest
import torch

from trainer.errors import ConfigError
from trainer.training.pace import seconds_per_image


def test_a_pace_is_measured_and_the_process_stays_as_it_was():
    torch.manual_seed(7)
    before = torch.get_rng_state()
    threads = torch.get_num_threads()
    found = seconds_per_image("test_resnet", 32, batch_size=8, device="cpu", threads=threads + 1)
    assert 0 < found < math.inf
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.get_num_threads() == threads


def test_a_size_that_a_backbone_refuses_is_an_error():
    threads = torch.get_num_threads()
    with pytest.raises(ConfigError):
        seconds_per_image("test_vit", 50, batch_size=8, device="cpu", threads=threads + 1)
    assert torch.get_num_threads() == threads
