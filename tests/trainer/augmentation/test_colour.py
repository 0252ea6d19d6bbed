"""Colour: torchvision's operators image by image, each image at a strength of its own."""

import pytest
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional

from tests.trainer.augmentation.conftest import LEVEL, pictures
from trainer.augmentation import colour

FACTORS = [0.0, 0.4, 1.0, 1.3, 2.0]
# the same sums in another order, or hue and saturation reached another way: a few units in the last
# place (6e-8)
TOLERANCE = 1e-6


def planes(count: int) -> Tensor:
    return pictures(count).contiguous()


@pytest.mark.parametrize(
    ("operation", "reference", "strengths"),
    [
        (colour.brightness, functional.adjust_brightness, FACTORS),
        (colour.contrast, functional.adjust_contrast, FACTORS),
        (colour.saturation, functional.adjust_saturation, FACTORS),
        (colour.sharpness, functional.adjust_sharpness, FACTORS),
        (colour.hue, functional.adjust_hue, [-0.5, -0.3, -0.02, 0.0, 0.1, 0.25, 0.5]),
        (colour.posterize, functional.posterize, [1, 2, 3, 5, 8]),
        (colour.solarize, functional.solarize, [0.0, 0.25, 128 * LEVEL, 1.0]),
    ],
)
def test_each_image_is_what_torchvision_makes_of_it_at_its_own_strength(
    operation, reference, strengths
):
    images_SCHW = planes(len(strengths))
    expected = torch.stack(
        [reference(image, value) for image, value in zip(images_SCHW, strengths, strict=True)]
    )
    result = operation(images_SCHW.clone(), torch.tensor(strengths, dtype=torch.float32))
    torch.testing.assert_close(result, expected, atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize(
    ("operation", "reference"),
    [
        (
            lambda images_SCHW: colour.grey(images_SCHW),
            lambda image: functional.rgb_to_grayscale(image, 3),
        ),
        (
            lambda images_SCHW: colour.autocontrast(images_SCHW, torch.zeros(3)),
            functional.autocontrast,
        ),
        (lambda images_SCHW: colour.equalize(images_SCHW, torch.zeros(3)), functional.equalize),
    ],
    ids=["grey", "autocontrast", "equalize"],
)
def test_operations_without_a_strength_do_not_mix_the_images(operation, reference):
    images_SCHW = planes(3)
    images_SCHW[1] *= 0.5  # each image has its own darkest and lightest value
    expected = torch.stack([reference(image) for image in images_SCHW])
    torch.testing.assert_close(operation(images_SCHW.clone()), expected, atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize(
    ("operation", "reference"),
    [(lambda images_SCHW, bits=bits: colour.posterize(images_SCHW, torch.full((3,), float(bits))),
      lambda image, bits=bits: functional.posterize(image, bits)) for bits in range(2, 9)]
    + [(lambda images_SCHW: colour.equalize(images_SCHW, torch.zeros(3)), functional.equalize)],
)  # fmt: skip
def test_operations_on_levels_are_within_one_level_of_those_on_uint8(operation, reference):
    images_SCHW = planes(3)
    expected = reference((images_SCHW * 255).round().to(torch.uint8)).float() * LEVEL
    torch.testing.assert_close(
        operation(images_SCHW.clone()), expected, atol=LEVEL + TOLERANCE, rtol=0
    )


def test_a_turn_of_the_hue_keeps_the_largest_and_smallest_channel():
    images_SCHW = planes(2)
    turned = colour.hue(images_SCHW.clone(), torch.tensor([0.17, -0.4]))
    torch.testing.assert_close(turned.amax(1), images_SCHW.amax(1), atol=TOLERANCE, rtol=0)
    torch.testing.assert_close(turned.amin(1), images_SCHW.amin(1), atol=TOLERANCE, rtol=0)


def test_a_turn_of_the_hue_leads_through_the_colours():
    red = torch.tensor([1.0, 0.0, 0.0]).view(1, 3, 1, 1).repeat(4, 1, 1, 1)
    turned = colour.hue(red, torch.tensor([0.0, 1 / 6, 1 / 3, -1 / 3])).view(4, 3)
    expected = torch.tensor([[1.0, 0, 0], [1, 1, 0], [0, 1, 0], [0, 0, 1]])
    torch.testing.assert_close(turned, expected, atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("value", [0.0, 0.3, 1.0])
def test_grey_images_have_no_hue_to_turn(value):
    images_SCHW = torch.full((2, 3, 4, 4), value)
    assert torch.equal(colour.hue(images_SCHW.clone(), torch.tensor([0.3, -0.2])), images_SCHW)
