"""Blur: torchvision's gaussian_blur image by image."""

import pytest
import torch
from torchvision.transforms.v2 import functional

from tests.trainer.augmentation.conftest import pictures
from trainer.augmentation.blur import blur

TOLERANCE = (
    1e-6  # two passes of one dimension against one of two: sums of numbers below 1 in another order
)


@pytest.mark.parametrize(("largest", "taps"), [(1.0, 7), (2.0, 13)])
def test_each_image_is_blurred_as_torchvision_does_with_its_own_sigma(largest, taps):
    images_SCHW = pictures(3).contiguous()
    sigmas = [0.1, 0.7, largest]
    expected = [
        functional.gaussian_blur(image, [taps, taps], [s])
        for image, s in zip(images_SCHW, sigmas, strict=True)
    ]
    result = blur(images_SCHW, torch.tensor(sigmas), largest_sigma=largest)
    torch.testing.assert_close(result, torch.stack(expected), atol=TOLERANCE, rtol=0)


def test_a_kernel_wider_than_the_image_ends_where_the_mirror_would_repeat():
    images_SCHW = pictures(1, size_HW=(5, 9)).contiguous()
    expected = functional.gaussian_blur(images_SCHW, [17, 9], [10.0])
    result = blur(images_SCHW, torch.tensor([10.0]), largest_sigma=10.0)
    torch.testing.assert_close(result, expected, atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("size_HW", [(1, 1), (1, 8), (2, 3)])
def test_tiny_images_can_be_blurred(size_HW):
    images_SCHW = torch.rand((2, 3, *size_HW), generator=torch.Generator().manual_seed(0))
    result = blur(images_SCHW, torch.tensor([0.5, 2.0]), largest_sigma=2.0)
    assert result.shape == images_SCHW.shape
    assert torch.isfinite(result).all()


@pytest.mark.parametrize("value", [0.0, 0.3, 1.0])
def test_one_colour_stays_and_never_exceeds_1(value):
    images_SCHW = torch.full((2, 3, 8, 8), value)
    result = blur(images_SCHW, torch.tensor([0.5, 2.0]), largest_sigma=2.0)
    torch.testing.assert_close(result, images_SCHW, atol=TOLERANCE, rtol=0)
    assert result.max() <= 1
