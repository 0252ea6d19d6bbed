"""Backbones: any timm model by name or the user's own, pooled to features,
never silently random.
"""

from typing import get_args

import huggingface_hub
import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn

from trainer.config import TrainConfig
from trainer.errors import ConfigError
from trainer.fields.network import Pooling
from trainer.model import backbone
from trainer.model.backbone import (
    build_backbone,
    feature_width,
    has_pretrained_weights,
    normalisation,
    pretrained_origin,
)
from trainer.model.heads import Heads
from trainer.model.network import build_network
from trainer.model.sizes import takes_one_size

FIRST_CLASS = {  # features, and parameters of the whole network for 100 classes
    "resnet18": (512, 11_227_812),
    "resnet50": (2048, 23_712_932),
    "resnet101": (2048, 42_705_060),
    "rexnet_100": (1280, 3_643_973),
    "efficientnet_b0": (1280, 4_135_648),
    "efficientnet_b4": (1792, 17_727_916),
    "efficientnet_b1_pruned": (1280, 5_179_016),
    "efficientnet_b2_pruned": (1408, 7_041_637),
    "efficientnet_b3_pruned": (1536, 8_471_720),
    "darknet53": (1024, 40_687_428),
    "vgg13": (4096, 129_360_548),
    "vgg13_bn": (4096, 129_366_436),
    "vit_small_patch16_224": (384, 21_727_204),
    "vit_base_patch16_224": (768, 85_921_636),
}
OWN = """
import torch
from torch import nn

class Mean(nn.Module):
    def __init__(self, scale):
        super().__init__()
        self.scale = nn.Parameter(torch.full((), float(scale)))
    def forward(self, images_BCHW):
        return images_BCHW.mean(dim=(2, 3)) * self.scale

class Maps(nn.Module):
    def forward(self, images_BCHW):
        return images_BCHW

class Broken(nn.Module):
    def forward(self, images_BCHW):
        return images_BCHW.mean(dim=(2, 3)) @ torch.zeros(4, 4)

def mean(size_HW, pretrained): return Mean(100 + size_HW[0] if pretrained else size_HW[0])
def maps(size_HW, pretrained): return Maps()
def broken(size_HW, pretrained): return Broken()
def nothing(size_HW, pretrained): return None
"""


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """An empty model hub's cache on a machine without network."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


@pytest.fixture
def own(tmp_path):
    """The folder of a user's file with backbones."""
    (tmp_path / "my_task.py").write_text(OWN)
    return tmp_path


def config_for(backbone: str, **changes: object) -> TrainConfig:
    return TrainConfig(**{"backbone": backbone, "weights": "none", "resize": 32, **changes})


def build(backbone: str, **changes: object) -> nn.Module:
    return build_backbone(config_for(backbone, **changes))


def width(module: nn.Module, size_HW: tuple[int, int] = (32, 32)) -> int:
    return feature_width(module, size_HW, name="it")


@pytest.mark.parametrize("name", FIRST_CLASS)
def test_a_first_class_backbone_becomes_a_network_for_our_classes_at_256(name):
    with torch.device("meta"):
        network = build_network(config_for(name, resize=256), Heads.joint(100), code=None)
        (logits,) = network([torch.zeros(2, 3, 256, 256)])
    assert logits.shape == (2, 100)
    assert (
        network.heads[0].linear.in_features,
        sum(p.numel() for p in network.parameters()),
    ) == FIRST_CLASS[name]


@pytest.mark.parametrize(
    "name", [name for name in FIRST_CLASS if not name.startswith(("vgg", "vit_base"))]
)
def test_a_first_class_backbone_computes_features(name):
    size_HW = (64, 48)
    features_BF = build(name, resize="64x48").eval()(torch.randn(2, 3, *size_HW))
    assert features_BF.shape == (2, FIRST_CLASS[name][0])
    assert features_BF.isfinite().all()


def test_the_classifier_of_the_model_is_gone_and_what_comes_before_it_stays():
    with torch.device("meta"):
        vgg = build("vgg13_bn")
        resnet = build("resnet18")
    names = [name for name, _ in vgg.named_parameters()]
    assert names[-4:] == [
        "pre_logits.fc1.weight",
        "pre_logits.fc1.bias",
        "pre_logits.fc2.weight",
        "pre_logits.fc2.bias",
    ]
    assert isinstance(resnet.get_submodule("fc"), nn.Identity)


def test_an_unknown_backbone_is_refused():
    with pytest.raises(
        ConfigError, match=r"^backbone: timm has no model 'resnt18'. Nearest: .*'resnet18'"
    ):
        build("resnt18")


@pytest.mark.parametrize("name", ["test_resnet", "test_efficientnet", "test_vit", "test_nfnet"])
@pytest.mark.parametrize("size", [32, "32x48"])
def test_every_family_gives_features_at_our_size(name, size):
    config = config_for(name, resize=size)
    module = build_backbone(config).eval()
    assert module(torch.zeros(2, 3, *config.size_HW)).shape == (2, width(module, config.size_HW))


@pytest.mark.parametrize(
    ("name", "size"), [("test_vit", 37), ("test_vit", "8x32"), ("test_convnext", 16)]
)
@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_a_size_that_the_model_does_not_take_is_refused(name, size, device):
    config = config_for(name, resize=size)
    with (
        torch.device(device),
        pytest.raises(ConfigError, match=rf"^backbone {name} does not take resize {size}[:.] \w"),
    ):
        feature_width(build_backbone(config), config.size_HW, name=name)


@pytest.mark.parametrize(
    ("size", "near"), [(100, "96x96"), ("104x224", "96x224"), (8, "16x16"), (120, "128x128")]
)
def test_a_size_that_patches_do_not_cover_is_refused_with_one_that_they_do(size, near):
    with (
        torch.device("meta"),
        pytest.raises(
            ConfigError,
            match=rf"take resize {size}: sides must be multiples of its patches of 16x16 pixels, "
            rf"e\.g\. {near}$",
        ),
    ):
        build("vit_small_patch16_224", resize=size)


def test_measuring_the_features_changes_nothing():
    module = build("test_resnet")
    before = {key: tensor.clone() for key, tensor in module.state_dict().items()}
    for mode in (True, False):
        width(module.train(mode))
        assert all(part.training is mode for part in module.modules())
    assert all(torch.equal(tensor, before[key]) for key, tensor in module.state_dict().items())


def test_feature_maps_are_not_features():
    with pytest.raises(
        ConfigError,
        match=r"^backbone it gives \(1, 3, 32, 32\) for one image, not one vector \(1, F\)",
    ):
        width(nn.Identity())


@pytest.mark.parametrize(
    ("name", "pooling", "features"),
    [
        ("test_resnet", "default", 96),
        ("test_resnet", "avg", 96),
        ("test_resnet", "max", 96),
        ("test_resnet", "avgmax", 96),
        ("test_resnet", "catavgmax", 192),
        ("test_vit", "token", 64),
        ("test_vit", "avg", 64),
    ],
)
def test_pooling_is_the_one_asked_for(name, pooling, features):
    module = build(name, pooling=pooling).eval()
    images_BCHW = torch.randn(2, 3, 32, 32)
    features_BF = module(images_BCHW)
    assert features_BF.shape == (2, features)
    if name == "test_resnet":
        maps_BCHW = module.forward_features(images_BCHW)
        mean_BC = maps_BCHW.mean(dim=(2, 3))
        max_BC = maps_BCHW.amax(dim=(2, 3))
        expected = {
            "max": max_BC,
            "avgmax": (mean_BC + max_BC) / 2,
            "catavgmax": torch.cat([mean_BC, max_BC], 1),
        }
        torch.testing.assert_close(features_BF, expected.get(pooling, mean_BC))


@pytest.mark.parametrize(
    ("name", "pooling", "taken"),
    [
        ("test_resnet", "token", "default, avg, max, avgmax, catavgmax"),
        ("test_vit", "catavgmax", "default, avg, max, avgmax, token"),
        ("beit_base_patch16_224", "max", "default, avg, token"),
    ],
)
@pytest.mark.parametrize("weights", ["none", "pretrained"])
def test_a_pooling_that_the_model_does_not_take_is_refused(name, pooling, taken, weights, hub):
    with (
        torch.device("meta"),
        pytest.raises(
            ConfigError,
            match=rf"^backbone {name} does not take pooling {pooling} \(.+\)\. It takes {taken}$",
        ),
    ):
        build(name, pooling=pooling, weights=weights)


def test_building_leaves_the_model_ready_to_train_and_without_dropout_of_its_own():
    module = build("test_efficientnet", dropout=0.9)
    assert all(part.training for part in module.modules())
    assert module.drop_rate == 0


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
    with pytest.raises(
        ConfigError, match=r"cannot be loaded \(No pretrained weights exist for test_vit_relpos"
    ):
        build("test_vit_relpos", weights="pretrained")
    assert not has_pretrained_weights(config_for("test_vit_relpos"))
    assert has_pretrained_weights(config_for("test_resnet"))


@pytest.fixture
def published(hub):
    """Fill the hub's cache with weights for a model of timm that are made here, and return them."""

    def publish(name: str) -> dict[str, torch.Tensor]:
        torch.manual_seed(123)
        weights = timm.create_model(name, pretrained=False).state_dict()
        folder = hub / f"models--{timm.get_pretrained_cfg(name).hf_hub_id.replace('/', '--')}"
        snapshot = folder / "snapshots" / ("0" * 40)
        snapshot.mkdir(parents=True)
        (folder / "refs").mkdir()
        (folder / "refs" / "main").write_text("0" * 40)
        save_file(weights, snapshot / "model.safetensors")
        return weights

    return publish


@pytest.fixture
def pretrained(published):
    """The hub's cache with weights for test_resnet."""
    return published("test_resnet")


@pytest.mark.parametrize("name", ["test_resnet", "test_resnet.r160_in1k"])
def test_pretrained_weights_are_loaded(pretrained, name):
    state = build(name, weights="pretrained").state_dict()
    assert pretrained.keys() - state.keys() == {"fc.weight", "fc.bias"}
    for key, tensor in state.items():
        assert torch.equal(tensor, pretrained[key]), key


@pytest.mark.parametrize(
    ("name", "pooling", "classifier"),
    [
        ("test_resnet", "catavgmax", "fc"),
        ("test_efficientnet", "catavgmax", "classifier"),
        ("test_convnext", "max", "head.fc"),
        ("test_vit", "avg", "head"),
        ("test_vit", "avgmax", "head"),
        ("test_vit", "token", "head"),
        ("mobilenetv3_small_050", "max", "classifier"),
        ("levit_128s", "avg", "head"),
    ],
)
def test_pretrained_weights_are_loaded_whatever_the_pooling(name, pooling, classifier, published):
    weights = published(name)
    # of its own, so that no position table is resampled
    size = timm.get_pretrained_cfg(name).input_size[1]
    module = build(name, pooling=pooling, weights="pretrained", resize=size)
    state = module.state_dict()
    gone = weights.keys() - state.keys()
    assert gone
    assert all(key.startswith(classifier) for key in gone)
    for key, tensor in state.items():
        assert torch.equal(tensor, weights[key]), key
    assert width(module, (size, size)) == width(
        build(name, pooling=pooling, resize=size), (size, size)
    )


@pytest.mark.parametrize(
    ("name", "pooling"), [("test_vit", "avg"), ("test_resnet", "catavgmax"), ("test_vit", "max")]
)
def test_the_choice_of_weights_is_no_choice_of_layers(name, pooling, published, tmp_path):
    """Otherwise trials would compare networks under the name of their weights."""
    published(name)
    random = build(name, pooling=pooling)
    save_file(timm.create_model(name).state_dict(), tmp_path / "a.safetensors")
    for weights in ("pretrained", str(tmp_path / "a.safetensors")):
        assert str(build(name, pooling=pooling, weights=weights)) == str(random)


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_pretrained_weights_of_another_size_are_refused_with_their_sizes(device, published):
    published("levit_128s")
    with (
        torch.device(device),
        pytest.raises(
            ConfigError,
            match=r"^backbone levit_128s: its pretrained weights do not take resize 128 "
            r"\(size mismatch for stages\.\S+\.attention_biases\)\. They take 224\. "
            r"Use one of these, or weights: none$",
        ),
    ):
        build("levit_128s", weights="pretrained", resize=128)


def test_pretrained_weights_that_take_no_size_are_refused_with_the_only_way_out(monkeypatch):
    monkeypatch.setattr(backbone, "_pretrained_sizes", lambda name: [])
    with (
        torch.device("meta"),
        pytest.raises(ConfigError, match=r"attention_biases\)\. Use weights: none$"),
    ):
        build("levit_128s", weights="pretrained", resize=128)


def test_an_encoder_that_has_no_classifier_takes_its_pretrained_weights():
    with torch.device("meta"):
        name = "deepseek_vit_412m_enc"
        assert not hasattr(build(name, weights="pretrained", resize=546), "reset_classifier")


# the pooling heads of timm: every kind once
HEADS = (
    *("beit_base_patch16_224", "cait_xxs24_224", "convnext_atto", "deit_tiny_patch16_224"),
    *(
        "densenet121",
        "efficientnet_b0",
        "eva02_tiny_patch14_224",
        "ghostnet_050",
        "hrnet_w18_small",
    ),
    *(
        "inception_next_atto",
        "levit_128s",
        "mobilenetv3_small_050",
        "mobilevit_xxs",
        "nf_regnet_b0",
    ),
    *("regnetx_002", "resnet18", "rexnet_100", "swin_tiny_patch4_window7_224", "test_convnext"),
    *("test_efficientnet", "test_mambaout", "test_nfnet", "test_resnet", "test_vit", "vgg11"),
    *("swinv2_tiny_window16_256", "vit_tiny_patch16_224", "xcit_nano_12_p8_224"),
)


@pytest.mark.slow
@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize("pooling", get_args(Pooling))
def test_pretrained_weights_take_every_pooling_that_random_ones_take(name, pooling):
    size = timm.get_pretrained_cfg(name).input_size[1]

    def built(weights: str) -> tuple[int, str] | str:
        try:
            with torch.device("meta"):
                module = build(name, weights=weights, resize=size, pooling=pooling)
        except ConfigError as error:
            return str(error)
        return width(module, (size, size)), str(module)

    assert built("pretrained") == built("none")
    if isinstance(built("none"), str):
        assert f"does not take pooling {pooling} (" in built("none")


def test_weights_none_does_not_touch_the_hub(pretrained):
    state = build("test_resnet", weights="none").state_dict()
    assert not torch.equal(state["conv1.0.weight"], pretrained["conv1.0.weight"])


def test_pretrained_weights_that_lack_a_layer_are_an_error_and_never_partly_random(pretrained, hub):
    (file,) = hub.rglob("model.safetensors")
    save_file(
        {name: tensor for name, tensor in pretrained.items() if not name.startswith("layer3.")},
        file,
    )
    with pytest.raises(
        ConfigError, match=r"pretrained weights cannot be loaded \(.*test_resnet|ResNet"
    ):
        build("test_resnet", weights="pretrained")


def test_damaged_weights_are_an_error(pretrained, hub):
    (file,) = hub.rglob("model.safetensors")
    file.write_bytes(b"\0" * 100)
    with pytest.raises(
        ConfigError, match=r"^backbone test_resnet: its pretrained weights cannot be loaded \("
    ):
        build("test_resnet", weights="pretrained")


def test_a_local_file_fills_the_backbone(tmp_path):
    weights = timm.create_model("test_resnet", pretrained=False).state_dict()
    save_file(weights, tmp_path / "mine.safetensors")
    state = build("test_resnet", weights=str(tmp_path / "mine.safetensors")).state_dict()
    assert all(torch.equal(tensor, weights[key]) for key, tensor in state.items())


def test_a_wrong_size_is_told_before_the_weights_of_a_local_file(tmp_path):
    with pytest.raises(ConfigError, match=r"^backbone test_vit does not take resize 37"):
        build("test_vit", resize=37, weights=str(tmp_path / "none.safetensors"))


def test_models_with_position_embeddings_take_one_size():
    assert takes_one_size("test_vit")
    assert not takes_one_size("test_resnet")
    assert not takes_one_size("my_task.py:mean")


@pytest.mark.parametrize(("weights", "scale"), [("none", 32), ("pretrained", 132)])
def test_the_users_own_backbone_is_called_with_size_and_pretrained(own, weights, scale):
    module = build_backbone(config_for("my_task.py:mean", weights=weights), code=own)
    assert module.scale.item() == scale
    assert width(module) == 3
    assert module.training


def test_a_local_file_fills_the_users_own_backbone(own):
    torch.save({"scale": torch.tensor(5.0)}, own / "five.pt")
    module = build_backbone(config_for("my_task.py:mean", weights=str(own / "five.pt")), code=own)
    assert module.scale.item() == 5


@pytest.mark.parametrize(
    ("function", "changes", "message"),
    [
        (
            "nothing",
            {},
            "^my_task.py:nothing returned NoneType; a backbone function returns a torch.nn.Module$",
        ),
        ("meen", {}, "^my_task.py has no function 'meen'. Did you mean 'mean'"),
        ("maps", {}, r"^backbone my_task.py:maps gives \(1, 3, 32, 32\) for one image"),
        ("broken", {}, "^backbone my_task.py:broken does not take resize 32: .*mat1 and mat2"),
        (
            "mean",
            {"pooling": "avg"},
            "^pooling=avg is for timm's models; my_task.py:mean pools itself. Use pooling: def",
        ),
    ],
)
def test_a_mistake_in_the_users_own_backbone_is_one_clear_line(own, function, changes, message):
    config = config_for(f"my_task.py:{function}", **changes)
    with pytest.raises(ConfigError, match=message):
        build_network(config, Heads.joint(3), code=own)


def test_the_normalisation_is_the_models_own():
    imagenet = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    half = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)
    assert normalisation(TrainConfig(backbone="resnet18")) == imagenet
    assert normalisation(TrainConfig(backbone="vit_tiny_patch16_224")) == half
    assert normalisation(TrainConfig(backbone="my_task.py:mean")) == imagenet


def test_a_model_without_settings_is_normalised_as_imagenet(monkeypatch):
    monkeypatch.setattr(timm, "get_pretrained_cfg", lambda name: None)
    assert normalisation(TrainConfig(backbone="resnet18")) == (
        (0.485, 0.456, 0.406),
        (0.229, 0.224, 0.225),
    )


# where the weights come from


@pytest.mark.parametrize(
    ("changes", "origin"),
    [
        ({"backbone": "resnet18"}, ("resnet18.a1_in1k", "apache-2.0")),
        ({"backbone": "convnextv2_tiny.fcmae"}, ("convnextv2_tiny.fcmae", "cc-by-nc-4.0")),
        ({"backbone": "resnet18", "weights": "none"}, None),
        ({"backbone": "resnet18", "weights": "own.safetensors"}, None),
        ({"backbone": "my_task.py:network"}, None),
    ],
)
def test_the_pretrained_weights_have_a_name_and_the_licence_that_timm_states(changes, origin):
    assert pretrained_origin(TrainConfig(**changes)) == origin
