"""Selection: an operation sees the chosen images only."""

import numpy as np
import pytest
import torch

from tests.trainer.augmentation.conftest import pictures
from trainer.augmentation.selection import change, strengths

CHOSEN_B = np.array([False, True, False, True])


def test_only_the_chosen_images_are_changed_and_all_of_their_pixels():
    images_BCHW = pictures(4)
    expected = images_BCHW.clone()
    expected[CHOSEN_B] = 1 - expected[CHOSEN_B]
    change(images_BCHW, CHOSEN_B, operation=lambda selected_SCHW: 1 - selected_SCHW)
    assert torch.equal(images_BCHW, expected)


@pytest.mark.parametrize("planes", [True, False])
def test_the_operation_gets_a_copy_in_the_layout_it_asks_for(planes):
    images_BCHW = pictures(4)
    before = images_BCHW.clone()

    def operation(selected_SCHW: torch.Tensor) -> torch.Tensor:
        assert selected_SCHW.shape == (2, 3, 16, 24)
        assert selected_SCHW.is_contiguous() == planes
        assert selected_SCHW.is_contiguous(memory_format=torch.channels_last) == (not planes)
        selected_SCHW.zero_()
        return before[CHOSEN_B]

    change(images_BCHW, CHOSEN_B, operation=operation, planes=planes)
    assert torch.equal(images_BCHW, before)


def test_without_a_chosen_image_nothing_is_called():
    def operation(selected_SCHW: torch.Tensor) -> torch.Tensor:
        raise AssertionError(f"called with {selected_SCHW.shape}")

    change(pictures(4), np.zeros(4, dtype=bool), operation=operation)


def test_strengths_are_those_of_the_chosen_images():
    values = np.arange(8.0).reshape(2, 4)
    expected = torch.tensor([[1.0, 3.0], [5.0, 7.0]])
    assert torch.equal(strengths(values, CHOSEN_B, torch.device("cpu")), expected)
