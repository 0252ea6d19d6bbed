"""Erasing: a rectangle of noise, what torchvision's erase makes of the same noise."""

import numpy as np
import pytest
import torch
from torchvision.transforms.v2 import functional

from tests.trainer.augmentation.conftest import pictures
from trainer.augmentation.draws import Draws
from trainer.augmentation.erasing import erase, noise

ALL = np.ones(64, dtype=bool)


def erased(images_BCHW: torch.Tensor, *, seed: int = 0, largest_area: float = 0.33) -> torch.Tensor:
    result = images_BCHW.clone()
    erase(
        result, ALL[: len(result)], draws=Draws(seed, count=len(result)), largest_area=largest_area
    )
    return result


def test_the_changed_pixels_are_one_rectangle_as_torchvision_erases_it():
    images_BCHW = pictures(64, size_HW=(20, 28))
    for image_CHW, result_CHW in zip(images_BCHW, erased(images_BCHW), strict=True):
        changed_HW = (image_CHW != result_CHW).any(0)
        rows = changed_HW.any(1).nonzero()
        columns = changed_HW.any(0).nonzero()
        top = int(rows.min())
        left = int(columns.min())
        height = int(rows.max()) + 1 - top
        width = int(columns.max()) + 1 - left
        noise_CHW = result_CHW[:, top : top + height, left : left + width]
        assert torch.equal(
            result_CHW, functional.erase(image_CHW, top, left, height, width, noise_CHW)
        )
        assert changed_HW.sum() == height * width  # every pixel inside
        assert (
            0.02 * 560 - height - width < height * width < 0.33 * 560 + height + width
        )  # sides are rounded
        assert 1 / 4 < height / width < 4


def test_rectangles_reach_every_pixel_and_differ_from_image_to_image():
    images_BCHW = pictures(64, size_HW=(8, 8))
    changed_BHW = (erased(images_BCHW) != images_BCHW).any(1)
    assert changed_BHW.any(0).all()
    assert len({tuple(row) for row in changed_BHW.flatten(1).tolist()}) > 30


def test_the_whole_image_can_be_erased():
    images_BCHW = torch.full((64, 3, 4, 4), 2.0)
    assert (erased(images_BCHW, largest_area=1.0) < 1).flatten(1).all(1).any()


def test_noise_is_even_and_without_structure():
    values_SV = noise(torch.tensor([5, 6, 2**31 - 1], dtype=torch.int32), count=30_000).double()
    assert values_SV.min() >= 0
    assert values_SV.max() < 1
    shares = (
        torch.stack([torch.histc(values_V, bins=20, min=0, max=1) for values_V in values_SV])
        / 30_000
    )
    assert (shares - 0.05).abs().max() < 0.007  # five standard deviations
    # neighbours in a row, and two images, are uncorrelated
    for one, other in ((values_SV[0, 1:], values_SV[0, :-1]), (values_SV[0], values_SV[2])):
        assert torch.corrcoef(torch.stack([one, other]))[0, 1].abs() < 0.03


@pytest.mark.parametrize("seed", [0, 1000, 2**31 - 60])
def test_noise_is_the_published_hash(seed):
    def lowbias32(x: int) -> int:
        x ^= x >> 16
        x = x * 0x7FEB352D % 2**32
        x ^= x >> 15
        x = x * 0x846CA68B % 2**32
        return x ^ x >> 16

    expected = [(lowbias32(seed + place) >> 8) / 2**24 for place in range(50)]
    assert noise(torch.tensor([seed], dtype=torch.int32), count=50)[0].tolist() == expected
