"""Stochastic depth: timm's own, with the probability that the configuration has."""

import pytest
import torch

from trainer.config import TrainConfig
from trainer.errors import ConfigError
from trainer.model.backbone import build_backbone

BEFORE = "a111d9422eece4c5"  # of all defaults, before there was drop_path


def config_for(backbone, **changes):
    return TrainConfig(**{"backbone": backbone, "weights": "none", "resize": 64, **changes})


def rates(backbone, drop_path):
    """The probability of each block to be skipped, where it is not 0."""
    with torch.device("meta"):
        module = build_backbone(config_for(backbone, drop_path=drop_path))
    return [part.drop_prob for part in module.modules() if getattr(part, "drop_prob", 0)]


@pytest.mark.parametrize("backbone", ["resnet18", "test_vit", "test_convnext", "efficientnet_b0"])
def test_the_probability_rises_to_the_one_that_is_asked_for(backbone):
    found = rates(backbone, 0.3)
    assert found
    assert found == sorted(found)
    assert found[-1] == pytest.approx(0.3, abs=0.02)


def test_left_out_it_is_what_timm_gives_the_backbone():
    assert rates("resnet18", None) == []
    assert max(rates("swin_tiny_patch4_window7_224", None)) == pytest.approx(0.1)
    assert rates("swin_tiny_patch4_window7_224", 0.0) == []


def test_blocks_are_skipped_in_training_only():
    torch.manual_seed(0)
    module = build_backbone(config_for("test_vit", drop_path=0.9)).requires_grad_(False)
    images_BCHW = torch.ones(1, 3, 64, 64).expand(8, -1, -1, -1)
    module.train()
    assert len(module(images_BCHW).unique(dim=0)) > 1  # each image skips its own blocks
    module.eval()
    assert torch.equal(module(images_BCHW), module(images_BCHW))


def test_a_backbone_without_such_blocks_is_refused_unless_none_is_skipped():
    assert rates("vgg11", 0.0) == []
    with pytest.raises(
        ConfigError,
        match=r"^backbone vgg11 does not take drop_path: it has no blocks that can be "
        r"skipped\. Leave drop_path out, or give it a `when` with other backbones$",
    ):
        rates("vgg11", 0.2)


def test_a_wrong_size_is_not_blamed_on_drop_path():
    with pytest.raises(ConfigError, match="test_vit does not take resize 37: sides must be"):
        build_backbone(config_for("test_vit", resize=37, drop_path=0.2))


def test_a_function_of_the_users_own_sets_its_own(tmp_path):
    with pytest.raises(
        ConfigError,
        match=r"^drop_path is for timm's models; my_task\.py:mine sets its own\. Leave",
    ):
        build_backbone(config_for("my_task.py:mine", drop_path=0.2), code=tmp_path)


def test_a_fold_run_of_a_version_without_it_keeps_its_fingerprint():
    assert TrainConfig().fingerprint() == BEFORE
    assert TrainConfig(drop_path=0.0).fingerprint() != BEFORE


@pytest.mark.parametrize("value", [-0.1, 1.0])
def test_it_is_a_probability_below_one(value):
    with pytest.raises(ValueError, match="drop_path"):
        TrainConfig(drop_path=value)
