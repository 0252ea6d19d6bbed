"""Image sizes that a backbone does not take: said in words, with the nearest size that works."""

import pytest
import torch

from trainer.config import TrainConfig
from trainer.model.sizes import nearest_size, refused_size, size_text
from trainer.training.preflight import network_problem


def problem(backbone, resize):
    config = TrainConfig(backbone=backbone, weights="none", resize=resize)
    return network_problem(config, {"class": 2}, code=None)


@pytest.mark.parametrize(
    ("backbone", "resize", "near"),
    [
        ("coatnet_0_rw_224", "280x210", "288x224"),  # torch: cannot broadcast a dimension
        ("mvitv2_tiny", "280x210", "280"),  # an AssertionError: only squares
        ("xcit_nano_12_p8_224", 101, "104"),  # timm's own word on patches
        pytest.param("halonet26t", "280x210", "256", marks=pytest.mark.slow),
        pytest.param("csatv2", "280x210", "280x208", marks=pytest.mark.slow),
        pytest.param("hrnet_w18", "280x210", "288x224", marks=pytest.mark.slow),
        pytest.param("gcvit_xxtiny", "280x210", "288x224", marks=pytest.mark.slow),
        pytest.param("maxvit_rmlp_nano_rw_256", "280x210", "288x224", marks=pytest.mark.slow),
        pytest.param("efficientformer_l1", 100, "224", marks=pytest.mark.slow),
        pytest.param("crossvit_tiny_240", 100, "192", marks=pytest.mark.slow),
    ],
)
def test_a_size_is_answered_with_the_nearest_one_that_works(backbone, resize, near):
    assert problem(backbone, resize) == (
        f"backbone {backbone} does not take resize {resize}. "
        f"The nearest size that it takes is {near}"
    )
    assert problem(backbone, near if "x" in near else int(near)) is None


def test_patches_are_named_with_an_example_that_the_model_really_takes():
    assert problem("convit_tiny", "280x210") == (  # which takes squares only
        "backbone convit_tiny does not take resize 280x210: sides must be multiples of its patches "
        "of 16x16 pixels, e.g. 272x272"
    )
    assert problem("convit_tiny", 272) is None


def test_a_model_that_takes_the_size_is_asked_no_further(monkeypatch):
    tried = []
    monkeypatch.setattr(
        "trainer.model.sizes._taking", lambda _: lambda size: tried.append(size) or True
    )
    assert nearest_size("resnet18", (37, 41)) == (37, 41)
    assert tried == [(37, 41)]


def test_where_the_size_is_not_to_blame_the_reason_stays():
    assert refused_size("test_resnet", (64, 64), "out of luck") == (
        "backbone test_resnet does not take resize 64: out of luck"
    )
    for unknown in ("my_task.py:mine", "it"):
        assert refused_size(unknown, (64, 32), "out of luck") == (
            f"backbone {unknown} does not take resize 64x32: out of luck"
        )


def test_the_search_leaves_the_random_numbers_of_the_caller_alone():
    torch.manual_seed(5)
    expected = torch.get_rng_state()
    refused_size("mvitv2_tiny", (280, 210), "")
    assert torch.equal(torch.get_rng_state(), expected)


def test_a_size_is_written_as_in_a_search_space():
    assert (size_text((64, 64)), size_text((64, 32))) == ("64", "64x32")
