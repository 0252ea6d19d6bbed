"""The network: one backbone, and a classifier per head on the view that it sees."""

from pathlib import Path

import pytest
import torch
from torch import nn

from trainer.config import TrainConfig
from trainer.errors import ConfigError
from trainer.model.heads import Heads
from trainer.model.network import Network, build_network

COLUMNS = Heads(("mask", "gender", "age"), (3, 2, 4), class_of=())


def build(labels: Heads, /, **changes: object) -> Network:
    values = {
        "backbone": "test_resnet",
        "weights": "none",
        "resize": 32,
        "normalise": "none",
        **changes,
    }
    return build_network(TrainConfig(**values), labels, code=None)


def images(seed: int) -> torch.Tensor:
    return torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(seed))


def test_one_head_gives_logits_of_the_joint_classes():
    network = build(Heads.joint(5))
    (logits_BK,) = network([images(0)])
    assert logits_BK.shape == (4, 5)
    assert network.view_of == (0,)


def test_separate_heads_give_logits_of_each_column():
    network = build(COLUMNS, heads="separate")
    assert [tuple(logits.shape) for logits in network([images(0)])] == [(4, 3), (4, 2), (4, 4)]


def test_features_classified_are_the_forward_pass():
    network = build(COLUMNS, heads="separate").eval()
    features_BF = network.features(images(0))
    assert features_BF.shape == (4, 96)
    for logits, expected in zip(network.classify([features_BF]), network([images(0)]), strict=True):
        assert torch.equal(logits, expected)


def test_every_head_sees_the_view_of_its_crop():
    crops = {"mask": "face", "age": "box"}
    network = build(COLUMNS, heads="separate", head_crops=crops).eval()
    config = TrainConfig(heads="separate", head_crops=crops)
    assert [config.views[view].crop for view in network.view_of] == ["face", "none", "box"]
    views = [images(seed) for seed in range(3)]
    for head, view, logits in zip(network.heads, network.view_of, network(views), strict=True):
        torch.testing.assert_close(logits, head(network.features(views[view])))


def test_all_views_go_through_the_backbone_in_one_call():
    network = build(COLUMNS, heads="separate", head_crops={"mask": "face"})
    seen = []
    network.backbone.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    network([images(0), images(1)])
    assert len(seen) == 1
    assert torch.equal(seen[0], torch.cat([images(0), images(1)]))


def test_a_head_crop_of_no_column_is_refused():
    with pytest.raises(
        ConfigError,
        match=r"^head_crops: 'sex' is no label column. The columns are mask, gender, age$",
    ):
        build(COLUMNS, heads="separate", head_crops={"sex": "face"})


def test_the_head_is_batch_norm_dropout_and_one_linear_layer():
    network = build(Heads.joint(5), head_norm=True, dropout=0.5)
    head = network.heads[0]
    features_BF = torch.randn(64, 96) * 3 + 1
    normed_BF = nn.functional.batch_norm(features_BF, None, None, training=True)
    torch.testing.assert_close(head.norm(features_BF), normed_BF)
    dropped_BF = head.dropout(features_BF)
    assert 0.4 < (dropped_BF == 0).float().mean() < 0.6
    network.eval()
    torch.testing.assert_close(head(features_BF), head.linear(head.norm(features_BF)))


def test_without_batch_norm_and_dropout_the_head_is_the_linear_layer():
    head = build(Heads.joint(5)).heads[0]
    features_BF = torch.randn(4, 96)
    assert torch.equal(head(features_BF), head.linear(features_BF))
    assert {name for name, _ in head.named_parameters()} == {"linear.weight", "linear.bias"}


def test_the_weights_have_the_names_that_files_are_read_by():
    names = build(COLUMNS, heads="separate", head_norm=True).state_dict()
    assert {name.partition(".")[0] for name in names} == {"backbone", "heads"}
    assert {"backbone.conv1.0.weight", "heads.2.linear.weight", "heads.0.norm.running_mean"} <= set(
        names
    )


def test_the_global_generator_decides_the_initial_weights():
    def weights(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        return nn.utils.parameters_to_vector(build(Heads.joint(5)).parameters()).detach()

    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))


def test_it_is_built_ready_to_train():
    assert all(module.training for module in build(Heads.joint(5), head_norm=True).modules())


def test_what_the_backbones_author_fixes_is_known(tmp_path: Path):
    (tmp_path / "own.py").write_text(
        "from torch import nn\n"
        "def pooled(size_HW, pretrained):\n"
        "    layers = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), "
        "nn.Linear(4, 6))\n    layers[0].requires_grad_(False)\n"
        "    return layers\n"
    )
    network = build_network(
        TrainConfig(backbone="own.py:pooled", resize=32), Heads.joint(2), code=tmp_path
    )
    assert network.fixed == {"0.weight", "0.bias"}
    assert build(Heads.joint(2)).fixed == frozenset()


def test_it_learns_a_toy_problem():
    torch.manual_seed(0)
    network = build(Heads.joint(2))
    labels_B = torch.arange(16) % 2
    images_BCHW = torch.randn(16, 3, 32, 32) + 2 * labels_B[:, None, None, None]
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-2)
    losses = []
    for _ in range(15):
        loss = nn.functional.cross_entropy(network([images_BCHW])[0], labels_B)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.2 * losses[0]


def test_heads_are_float32_where_the_backbone_is_not():
    network = build_network(
        TrainConfig(backbone="test_resnet", weights="none", resize=32), Heads.joint(3), code=None
    ).eval()
    images_BCHW = torch.randn(4, 3, 32, 32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        features_BF = network.features(images_BCHW)
        (logits_BK,) = network([images_BCHW])
    assert (features_BF.dtype, logits_BK.dtype) == (torch.bfloat16, torch.float32)
    head = network.heads[0].linear
    torch.testing.assert_close(logits_BK, head(features_BF.float()))


def test_a_head_seed_gives_backbones_of_one_width_equal_heads():
    def head(backbone: str, **seed: int) -> torch.Tensor:
        torch.manual_seed(0)
        config = TrainConfig(backbone=backbone, weights="none", resize=32)
        return build_network(config, Heads.joint(3), code=None, **seed).heads[0].linear.weight

    one, other = "test_efficientnet", "test_byobnet"
    assert torch.equal(head(one, head_seed=7), head(other, head_seed=7))
    assert not torch.equal(head(one, head_seed=7), head(one, head_seed=8))
    assert not torch.equal(head(one), head(other))
