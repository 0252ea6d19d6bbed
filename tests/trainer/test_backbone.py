"""Backbones: any timm model by name, never silently random."""

import huggingface_hub
import pytest
import timm
import torch
from safetensors.torch import save_file

from trainer.backbone import build_backbone, normalisation
from trainer.config import TrainConfig
from trainer.errors import ConfigError


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """An empty model hub's cache on a machine without network."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def build(backbone: str, *, n_classes: int = 3, **changes: object) -> torch.nn.Module:
    config = TrainConfig(**{"backbone": backbone, "weights": "none", "resize": 32, **changes})
    return build_backbone(config, n_classes=n_classes)


def test_an_unknown_backbone_is_refused():
    with pytest.raises(ConfigError, match=r"^backbone: timm has no model 'resnt18'. Nearest: .*'resnet18'"):
        build("resnt18")


@pytest.mark.parametrize("name", ["test_resnet", "test_efficientnet", "test_vit", "test_nfnet"])
@pytest.mark.parametrize("size", [32, "32x48"])
def test_every_family_gives_logits_for_our_classes_at_our_size(name, size):
    model = build(name, n_classes=5, resize=size).eval()
    height, width = TrainConfig(resize=size).size_HW
    assert model(torch.zeros(2, 3, height, width)).shape == (2, 5)


@pytest.mark.parametrize(("name", "size"), [("test_vit", 37), ("test_vit", 8), ("test_convnext", 16)])
def test_a_size_that_the_model_does_not_take_is_refused_when_it_is_built(name, size):
    with pytest.raises(ConfigError, match=rf"^backbone {name} does not take resize {size}: \w"):
        build(name, resize=size)


def test_building_leaves_the_model_ready_to_train():
    assert build("test_resnet").training


def test_dropout_is_active_in_training_only():
    model, images_BCHW = build("test_efficientnet", dropout=0.9), torch.randn(4, 3, 32, 32)
    model.eval()
    assert torch.equal(model(images_BCHW), model(images_BCHW))
    features = model.forward_features(images_BCHW)
    model.train()
    assert not torch.equal(model.forward_head(features), model.forward_head(features))


def test_the_seed_decides_the_random_weights():
    weights = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        weights.append(torch.cat([p.detach().flatten() for p in build("test_resnet").parameters()]))
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_weights_that_cannot_be_had_are_an_error_that_says_what_to_do(hub):
    with pytest.raises(
        ConfigError,
        match=r"^backbone test_resnet: its pretrained weights cannot be loaded \(.+\). "
        r"Connect this machine to the model hub or fill its local cache, or set weights: none$",
    ):
        build("test_resnet", weights="pretrained")


def test_a_model_without_any_pretrained_weights_is_never_silently_random(hub):
    with pytest.raises(ConfigError, match=r"cannot be loaded \(No pretrained weights exist for test_vit_relpos"):
        build("test_vit_relpos", weights="pretrained")


@pytest.fixture
def pretrained(hub):
    """The hub's cache with weights for test_resnet.r160_in1k that were made here."""
    torch.manual_seed(123)
    weights = timm.create_model("test_resnet", pretrained=False).state_dict()
    folder = hub / "models--timm--test_resnet.r160_in1k"
    snapshot = folder / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text("0" * 40)
    save_file(weights, snapshot / "model.safetensors")
    return weights


@pytest.mark.parametrize("name", ["test_resnet", "test_resnet.r160_in1k"])
def test_pretrained_weights_are_loaded_under_a_new_classifier(pretrained, name):
    state = build(name, weights="pretrained", n_classes=7).state_dict()
    assert state["fc.weight"].shape[0] == 7
    for key, tensor in state.items():
        assert key.startswith("fc.") or torch.equal(tensor, pretrained[key]), key


def test_weights_none_does_not_touch_the_hub(pretrained):
    state = build("test_resnet", weights="none").state_dict()
    assert not torch.equal(state["conv1.0.weight"], pretrained["conv1.0.weight"])


def test_damaged_weights_are_an_error(pretrained, hub):
    (file,) = hub.rglob("model.safetensors")
    file.write_bytes(b"\0" * 100)
    with pytest.raises(ConfigError, match=r"^backbone test_resnet: its pretrained weights cannot be loaded \("):
        build("test_resnet", weights="pretrained")


def test_the_normalisation_is_the_models_own():
    imagenet = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    half = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)
    assert normalisation(TrainConfig(backbone="resnet18")) == imagenet
    assert normalisation(TrainConfig(backbone="vit_tiny_patch16_224")) == half


def test_a_model_without_settings_is_normalised_as_imagenet(monkeypatch):
    monkeypatch.setattr(timm, "get_pretrained_cfg", lambda name: None)
    assert normalisation(TrainConfig(backbone="resnet18")) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
