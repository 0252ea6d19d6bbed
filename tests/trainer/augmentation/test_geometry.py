"""Geometry: torchvision's operators image by image, where the source lies inside the image."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional

from tests.trainer.augmentation.conftest import pictures
from trainer.augmentation import geometry
from trainer.augmentation.draws import Reals

SIZE_HW = (20, 28)
# both compute the places in float32, wrong by up to 1e-5 pixels; neighbouring pixels differ by up
# to 1
TOLERANCE = 5e-5
BILINEAR = InterpolationMode.BILINEAR


def warped(images_BCHW: Tensor, maps_B33: Reals) -> Tensor:
    result = images_BCHW.clone()
    geometry.warp(result, np.ones(len(result), dtype=bool), maps_B33=maps_B33)
    return result


def assert_equal_inside(maps_B33: Reals, *, reference: Callable[[Tensor, int], Tensor]) -> None:
    """Compare where all four neighbours lie in the image:
    torchvision is black beyond, ours is mirrored.
    """
    images_BCHW = pictures(len(maps_B33), size_HW=SIZE_HW)
    for row, result_CHW in enumerate(warped(images_BCHW, maps_B33)):
        inside_CHW = reference(torch.ones_like(images_BCHW[row]), row) > 1 - 1e-5
        assert inside_CHW.float().mean() > 0.25
        expected_CHW = reference(images_BCHW[row], row)
        torch.testing.assert_close(
            result_CHW[inside_CHW], expected_CHW[inside_CHW], atol=TOLERANCE, rtol=0
        )


@pytest.mark.parametrize(
    ("dim", "reference"), [(3, functional.horizontal_flip), (2, functional.vertical_flip)]
)
def test_a_flip_is_exact_and_touches_the_chosen_images_only(dim, reference):
    images_BCHW = pictures(3)
    expected = torch.stack([images_BCHW[0], reference(images_BCHW[1]), images_BCHW[2]])
    geometry.flip(images_BCHW, np.array([False, True, False]), dim=dim)
    assert torch.equal(images_BCHW, expected)


@pytest.mark.parametrize(
    ("horizontal", "vertical", "dims"),
    [(True, False, (3,)), (False, True, (2,)), (True, True, (2, 3))],
)
def test_a_flip_as_a_map_is_the_flip(horizontal, vertical, dims):
    images_BCHW = pictures(1)
    maps_B33 = geometry.flipped(np.array([horizontal]), np.array([vertical]))
    torch.testing.assert_close(
        warped(images_BCHW, maps_B33), images_BCHW.flip(dims), atol=TOLERANCE, rtol=0
    )


def test_turn_scale_and_shift_are_torchvisions_affine():
    degrees_B = np.array([0.0, 15.0, -40.0, 7.0])
    scale_B = np.array([0.8, 1.1, 1.0, 1.3])
    x_B = np.array([3.0, -2.5, 0.0, 1.25])
    y_B = np.array([0.0, 1.5, -4.0, 2.0])

    def reference(image_CHW: Tensor, row: int) -> Tensor:
        moved = [x_B[row], y_B[row]]
        return functional.affine(
            image_CHW, degrees_B[row], moved, scale_B[row], [0.0, 0.0], interpolation=BILINEAR
        )

    assert_equal_inside(
        geometry.turned(degrees_B, scale_B) @ geometry.shifted(x_B, y_B), reference=reference
    )


def test_a_crop_is_torchvisions_resized_crop():
    crops = np.array([[0, 3, 20, 14], [5, 0, 10, 28], [2, 9, 7, 15]])
    images_BCHW = pictures(3, size_HW=SIZE_HW)
    maps_B33 = geometry.cropped(
        (crops[:, 0], crops[:, 1]), (crops[:, 2], crops[:, 3]), size_HW=SIZE_HW
    )
    result_BCHW = warped(images_BCHW, maps_B33)
    for row, (top, left, height, width) in enumerate(crops.tolist()):
        expected_CHW = functional.resized_crop(
            images_BCHW[row], top, left, height, width, list(SIZE_HW)
        )
        # torchvision repeats the outermost pixels of the crop, ours sees its neighbours in the
        # image
        rows_H, columns_W = (
            torch.arange(0.5, full) * part / full
            for full, part in zip(SIZE_HW, (height, width), strict=True)
        )
        inside_HW = ((rows_H >= 0.5) & (rows_H <= height - 0.5))[:, None] & (
            (columns_W >= 0.5) & (columns_W <= width - 0.5)
        )
        assert inside_HW.float().mean() > 0.7
        torch.testing.assert_close(
            result_BCHW[row][:, inside_HW], expected_CHW[:, inside_HW], atol=TOLERANCE, rtol=0
        )


@pytest.mark.parametrize(("sheared", "axis"), [(geometry.sheared_x, 0), (geometry.sheared_y, 1)])
def test_a_shear_is_torchvisions_about_the_corner(sheared, axis):
    slopes_B = np.array([0.3, -0.7])

    def reference(image_CHW: Tensor, row: int) -> Tensor:
        shear = [0.0, 0.0]
        shear[axis] = float(np.degrees(np.arctan(slopes_B[row])))
        return functional.affine(
            image_CHW, 0.0, [0, 0], 1.0, shear, interpolation=BILINEAR, center=[0, 0]
        )

    assert_equal_inside(sheared(slopes_B, size_HW=SIZE_HW), reference=reference)


def test_maps_are_applied_from_left_to_right():
    images_BCHW = pictures(1, size_HW=SIZE_HW)
    maps_B33 = geometry.flipped(np.array([True]), np.array([False])) @ geometry.shifted(
        np.array([5.0]), np.array([3.0])
    )
    expected = images_BCHW.flip(3)[:, :, :-3, :-5]
    torch.testing.assert_close(
        warped(images_BCHW, maps_B33)[:, :, 3:, 5:], expected, atol=TOLERANCE, rtol=0
    )


def test_beyond_its_edge_an_image_is_mirrored():
    images_BCHW = pictures(1, size_HW=SIZE_HW)
    result_BCHW = warped(images_BCHW, geometry.shifted(np.array([4.0]), np.array([0.0])))
    torch.testing.assert_close(
        result_BCHW[..., :4], images_BCHW[..., :4].flip(3), atol=TOLERANCE, rtol=0
    )


def test_even_a_map_that_leads_far_away_gives_values_of_the_image():
    images_BCHW = (pictures(1, size_HW=SIZE_HW) > 0.5).float()
    result_BCHW = warped(
        images_BCHW, geometry.turned(77.0, np.array([0.01])) @ geometry.shifted(500.0, -300.0)
    )
    assert result_BCHW.min() >= 0
    assert result_BCHW.max() <= 1
    assert result_BCHW.std() > 0.1


def test_white_stays_within_1():
    """The weights of four neighbours sum to 1 up to rounding; at this size they exceed it."""
    random = np.random.default_rng(0)
    maps_B33 = geometry.turned(random.uniform(-40, 40, 64), random.uniform(0.5, 1.5, 64))
    maps_B33 = maps_B33 @ geometry.shifted(random.uniform(-9, 9, 64), 0.3)
    assert warped(torch.ones(64, 3, 17, 17), maps_B33).max() == 1
