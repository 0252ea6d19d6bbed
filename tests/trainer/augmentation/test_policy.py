"""The policy: torchvision's list, ranges and results; one operation per image."""

import numpy as np
import pytest
import torch
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import TrivialAugmentWide

from tests.trainer.augmentation.conftest import LEVEL, pictures
from trainer.augmentation import geometry, policy
from trainer.augmentation.draws import Draws

SIZE_HW = (40, 48)
MANY = policy.plan(Draws(5, count=40_000), probability=1.0)
TORCHVISIONS = {
    "identity": "Identity",
    "shear_x": "ShearX",
    "shear_y": "ShearY",
    "translate_x": "TranslateX",
    "translate_y": "TranslateY",
    "rotate": "Rotate",
    "brightness": "Brightness",
    "saturation": "Color",
    "contrast": "Contrast",
    "sharpness": "Sharpness",
    "posterize": "Posterize",
    "solarize": "Solarize",
    "autocontrast": "AutoContrast",
    "equalize": "Equalize",
}


def test_the_list_is_torchvisions():
    assert [TORCHVISIONS[name] for name in policy.OPERATIONS] == list(
        TrivialAugmentWide._AUGMENTATION_SPACE
    )


@pytest.mark.parametrize("name", policy.OPERATIONS)
def test_strengths_and_signs_are_torchvisions(name):
    strengths, signed = TrivialAugmentWide._AUGMENTATION_SPACE[TORCHVISIONS[name]]
    values = strengths(policy.BINS, *SIZE_HW)
    expected = np.zeros(policy.BINS) if values is None else values.double().numpy()
    if name.startswith("translate"):
        expected = expected / 224  # a share of the side
    np.testing.assert_allclose(policy.OPERATIONS[name].strengths, expected, atol=1e-5)
    assert policy.OPERATIONS[name].signed == signed


@pytest.mark.parametrize("name", policy.OPERATIONS)
@pytest.mark.parametrize("sign", [1, -1])
def test_each_operation_is_what_torchvisions_policy_does(name, sign):
    """At three strengths at once, one per image, where the source lies inside the image
    (torchvision: black).
    """
    bins = np.array([2, 7, 12])
    strength_B = policy.OPERATIONS[name].strengths[bins] * (
        sign if policy.OPERATIONS[name].signed else 1
    )
    side = {"translate_x": SIZE_HW[1], "translate_y": SIZE_HW[0]}.get(name)
    if side:  # torchvision moves by whole pixels
        strength_B = sign * np.array([1, 3, 5]) / side
    images_BCHW = pictures(3, size_HW=SIZE_HW)
    result_BCHW = images_BCHW.clone(memory_format=torch.preserve_format)
    planned = policy.Plan(np.full(3, list(policy.OPERATIONS).index(name)), strength_B)
    geometry.warp(result_BCHW, planned.moved_B, maps_B33=policy.moves(planned, size_HW=SIZE_HW))
    policy.recolour(result_BCHW, planned)

    def reference(image_CHW: torch.Tensor, strength: float) -> torch.Tensor:
        if side:
            strength = round(strength * side)
        return TrivialAugmentWide()._apply_image_or_video_transform(
            image_CHW,
            TORCHVISIONS[name],
            strength,
            interpolation=InterpolationMode.BILINEAR,
            fill={torch.Tensor: None},
        )

    for image_CHW, result_CHW, strength in zip(
        images_BCHW, result_BCHW, strength_B.tolist(), strict=True
    ):
        expected_CHW = reference(image_CHW, strength)
        inside = torch.ones_like(image_CHW, dtype=torch.bool)
        if policy.OPERATIONS[name].move:
            inside = reference(torch.ones_like(image_CHW), strength) > 1 - 1e-5
            assert inside.float().mean() > 0.5
        # 5e-5 for places computed in float32, see test_geometry
        torch.testing.assert_close(result_CHW[inside], expected_CHW[inside], atol=5e-5, rtol=0)


def test_every_operation_is_equally_likely():
    shares = np.bincount(MANY.operation_B) / 40_000
    assert shares.shape == (14,)
    assert np.abs(shares - 1 / 14).max() < 0.0065  # five standard deviations


def test_every_strength_and_both_signs_are_equally_likely():
    rotated_B = MANY.strength_B[MANY.operation_B == list(policy.OPERATIONS).index("rotate")]
    shares = np.bincount(np.rint(np.abs(rotated_B) / 4.5).astype(int)) / len(rotated_B)
    assert shares.shape == (31,)
    assert np.abs(shares - 1 / 31).max() < 0.017
    assert (rotated_B > 0).mean() == pytest.approx(15 / 31, abs=0.05)


def test_an_operation_without_a_sign_is_never_negative():
    for place, operation in enumerate(policy.OPERATIONS.values()):
        assert operation.signed or (MANY.strength_B[MANY.operation_B == place] >= 0).all()


@pytest.mark.parametrize("probability", [0.0, 0.25])
def test_without_the_draw_an_image_keeps_its_identity(probability):
    planned = policy.plan(Draws(5, count=10_000), probability=probability)
    assert (planned.operation_B > 0).mean() == pytest.approx(probability * 13 / 14, abs=0.025)


def test_images_of_other_operations_are_left_alone():
    images_BCHW = (
        pictures(14) * 0.5 + 0.2
    )  # neither black nor white, so that autocontrast has something to do
    result_BCHW = images_BCHW.clone(memory_format=torch.preserve_format)
    policy.recolour(result_BCHW, policy.Plan(np.arange(14), np.full(14, 0.3)))
    changed_B = ((result_BCHW - images_BCHW).abs() > LEVEL / 2).flatten(1).any(1)
    assert changed_B.tolist() == [
        bool(operation.recolour) for operation in policy.OPERATIONS.values()
    ]
