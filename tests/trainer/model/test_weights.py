"""Weights from a local file: every layout that a user has, and nothing that does not fit."""

import argparse
import pathlib

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn

from trainer.config import TrainConfig
from trainer.errors import ConfigError
from trainer.model.backbone import build_backbone
from trainer.model.checkpoint import save_weights
from trainer.model.heads import Heads
from trainer.model.network import build_network
from trainer.model.weights import load_backbone_weights

MODELS = ("test_resnet", "test_efficientnet", "test_vit", "test_convnext")


def backbone(name: str, size: int = 32, **options: object) -> nn.Module:
    config = TrainConfig(backbone=name, weights="none", resize=size, **options)
    return build_backbone(config)


def whole(name: str, size: int = 32) -> dict[str, torch.Tensor]:
    """All weights of timm's model, classifier included."""
    options = {"img_size": size} if name == "test_vit" else {}
    state = timm.create_model(name, **options).state_dict()
    return {
        key: torch.rand_like(tensor) if tensor.is_floating_point() else tensor
        for key, tensor in state.items()
    }


def load(module: nn.Module, path: pathlib.Path) -> nn.Module:
    load_backbone_weights(module, path, name="it")
    return module


def assert_filled(module: nn.Module, state: dict[str, torch.Tensor]) -> None:
    for key, tensor in module.state_dict().items():
        assert torch.equal(tensor, state[key]), key


def save_safetensors(state, path):
    save_file(state, path)


def save_torch(state, path):
    torch.save(state, path)


def save_old_torch(state, path):
    torch.save(state, path, _use_new_zipfile_serialization=False)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize(
    ("save", "file"),
    [(save_safetensors, "a.safetensors"), (save_torch, "a.pth"), (save_old_torch, "a.pth.tar")],
)
def test_timms_whole_model_fills_the_backbone_and_its_classifier_is_left_out(
    name, save, file, tmp_path
):
    state = whole(name)
    save(state, tmp_path / file)
    assert_filled(load(backbone(name), tmp_path / file), state)


@pytest.mark.parametrize("name", MODELS)
def test_the_weights_of_a_fold_run_fill_the_backbone_and_its_heads_are_left_out(name, tmp_path):
    config = TrainConfig(backbone=name, weights="none", resize=32, head_norm=True)
    network = build_network(config, Heads.joint(5), code=None)
    save_weights(tmp_path / "model.safetensors", network)
    assert_filled(
        load(backbone(name), tmp_path / "model.safetensors"), network.backbone.state_dict()
    )


def test_the_backbone_alone_fills_it(tmp_path):
    state = backbone("test_resnet").state_dict()
    torch.save(state, tmp_path / "a.pt")
    assert_filled(load(backbone("test_resnet"), tmp_path / "a.pt"), state)


@pytest.mark.parametrize("wrapper", ["state_dict", "model", "state_dict_ema", "model_ema"])
@pytest.mark.parametrize(
    "prefix", ["", "module.", "_orig_mod.", "_orig_mod.module.", "module._orig_mod."]
)
def test_a_training_checkpoint_is_unwrapped(wrapper, prefix, tmp_path):
    state = whole("test_resnet")
    inside = {f"{prefix}{key}": tensor for key, tensor in state.items()}
    arguments = argparse.Namespace(lr=0.1)  # as timm's train.py saves it
    torch.save({"epoch": 3, "args": arguments, wrapper: inside}, tmp_path / "a.pth")
    assert_filled(load(backbone("test_resnet"), tmp_path / "a.pth"), state)


def test_averaged_weights_come_before_the_last_ones(tmp_path):
    averaged = whole("test_resnet")
    torch.save({"state_dict": whole("test_resnet"), "state_dict_ema": averaged}, tmp_path / "a.pth")
    assert_filled(load(backbone("test_resnet"), tmp_path / "a.pth"), averaged)


@pytest.mark.parametrize("ours", [False, True])
def test_position_embeddings_of_another_size_are_resampled_as_timm_does(ours, tmp_path):
    state = whole("test_vit", size=64)
    network = {
        f"backbone.{key}": tensor for key, tensor in state.items() if not key.startswith("head.")
    }
    save_file(network if ours else state, tmp_path / "a.safetensors")
    overlay = {"state_dict": dict(state)}
    expected = timm.create_model(
        "test_vit",
        pretrained=True,
        pretrained_cfg_overlay=overlay,
        num_classes=0,
        img_size=(96, 96),
    ).state_dict()
    module = load(backbone("test_vit", size=96), tmp_path / "a.safetensors")
    assert module.pos_embed.shape != state["pos_embed"].shape
    assert_filled(module, expected)


def test_torchvisions_vgg_is_rewritten_as_timm_does(tmp_path):
    """On paper: every weight is the same zero, for the real ones take half a gigabyte."""
    with torch.device("meta"):
        module = backbone("vgg13_bn", size=224)
    shapes = {
        key: tensor.shape
        for key, tensor in module.state_dict().items()
        if "num_batches_tracked" not in key
    }
    assert len(shapes) < len(
        module.state_dict()
    )  # torchvision's files are older than these counters
    for name, old, columns in (
        ("pre_logits.fc1", "classifier.0", 25_088),
        ("pre_logits.fc2", "classifier.3", 4_096),
    ):
        del shapes[f"{name}.weight"]
        shapes |= {f"{old}.weight": (4_096, columns), f"{old}.bias": shapes.pop(f"{name}.bias")}
    shapes |= {"classifier.6.weight": (1_000, 4_096), "classifier.6.bias": (1_000,)}
    torch.save(
        {key: torch.zeros(()).expand(shape) for key, shape in shapes.items()}, tmp_path / "vgg.pth"
    )
    load(module, tmp_path / "vgg.pth")


@pytest.mark.parametrize("file", ["a.safetensors", "a.pth"])
def test_on_the_meta_device_shapes_are_compared_without_reading_the_weights(file, tmp_path):
    for name, state in (("good", whole("test_vit", 64)), ("bad", whole("test_resnet"))):
        (save_file if file == "a.safetensors" else torch.save)(state, tmp_path / f"{name}-{file}")
    with torch.device("meta"):
        module = backbone("test_vit", size=96)
        load(module, tmp_path / f"good-{file}")
        assert all(tensor.is_meta for tensor in module.state_dict().values())
        with pytest.raises(ConfigError, match="does not fit"):
            load(module, tmp_path / f"bad-{file}")


def test_what_does_not_fit_is_counted_and_named(tmp_path):
    state = whole("test_resnet")
    state["conv1.0.weight"] = torch.zeros(7, 3, 3, 3)
    state["extra"] = torch.zeros(1)
    del state["bn1.weight"], state["bn1.bias"]
    path = tmp_path / "a.safetensors"
    save_file(state, path)
    with pytest.raises(ConfigError) as caught:
        load(backbone("test_resnet"), path)
    needed = "x".join(map(str, backbone("test_resnet").state_dict()["conv1.0.weight"].shape))
    assert str(caught.value) == (
        f"weights: {path} does not fit backbone it: 2 missing (bn1.weight, bn1.bias); "
        "1 unknown (extra); 1 of another shape (conv1.0.weight: 7x3x3x3 in the file, "
        f"{needed} needed). Name a file with weights of this backbone"
    )


def test_weights_that_do_not_fit_change_nothing(tmp_path):
    module = backbone("test_resnet")
    before = {key: tensor.clone() for key, tensor in module.state_dict().items()}
    state = whole("test_resnet")
    del state["bn1.weight"]
    torch.save(state, tmp_path / "a.pth")
    with pytest.raises(ConfigError, match=r"1 missing \(bn1.weight\)\."):
        load(module, tmp_path / "a.pth")
    assert_filled(module, before)


@pytest.mark.parametrize(
    ("of", "into"), [("test_resnet", "test_vit"), ("test_vit", "test_efficientnet")]
)
def test_weights_of_another_model_are_refused_with_the_first_names_only(of, into, tmp_path):
    torch.save(whole(of), tmp_path / "a.pth")
    with pytest.raises(
        ConfigError,
        match=r"^weights: \S+ does not fit backbone it: \d+ missing \((\S+, ){3}\.\.\.\)",
    ):
        load(backbone(into), tmp_path / "a.pth")


def test_counters_that_older_files_lack_start_at_zero(tmp_path):
    state = {
        key: tensor for key, tensor in whole("test_resnet").items() if "num_batches" not in key
    }
    torch.save(state, tmp_path / "a.pth")
    module = load(backbone("test_resnet"), tmp_path / "a.pth")
    assert module.bn1.num_batches_tracked == 0
    assert torch.equal(module.bn1.running_mean, state["bn1.running_mean"])


def test_half_precision_is_widened(tmp_path):
    state = {k: v.half() if v.is_floating_point() else v for k, v in whole("test_resnet").items()}
    torch.save(state, tmp_path / "a.pth")
    module = load(backbone("test_resnet"), tmp_path / "a.pth")
    assert module.bn1.weight.dtype == torch.float32
    assert torch.equal(module.bn1.weight, state["bn1.weight"].float())


@pytest.mark.parametrize("old", [False, True])
def test_a_file_with_python_objects_is_not_run(old, tmp_path):
    path = tmp_path / "a.pth"
    marker = tmp_path / "ran"
    torch.save({"model": _Touches(marker)}, path, _use_new_zipfile_serialization=not old)
    message = (
        "an old one that could run code"
        if old
        else r"holds Python objects \(.*pathlib\.Path.*\), which could"
    )
    with pytest.raises(ConfigError, match=message):
        load(backbone("test_resnet"), path)
    assert not marker.exists()


class _Touches:
    """Writes a file when it is unpickled."""

    def __init__(self, path: pathlib.Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[object, ...]:
        return pathlib.Path.touch, (self._path,)


@pytest.mark.parametrize("file", ["a.safetensors", "a.pth"])
@pytest.mark.parametrize("damage", ["cut", "text", "empty"])
@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_a_damaged_file_is_told(file, damage, device, tmp_path):
    path = tmp_path / file
    (save_file if file == "a.safetensors" else torch.save)(whole("test_resnet"), path)
    content = path.read_bytes()
    path.write_bytes(
        {"cut": content[: len(content) // 2], "text": b"<!DOCTYPE html>", "empty": b""}[damage]
    )
    with torch.device(device):
        module = backbone("test_resnet")
        with pytest.raises(
            ConfigError,
            match=rf"^weights: {path} (cannot be read \(|is damaged)[^\n]*Name a whole .saf",
        ):
            load(module, path)


def test_a_missing_file_is_told(tmp_path):
    with pytest.raises(
        ConfigError,
        match=r"^weights: there is no file \S+/no\.pth\. Name an existing file, pretrain",
    ):
        load(backbone("test_resnet"), tmp_path / "no.pth")
    with pytest.raises(ConfigError, match=r"^weights: there is no file "):
        load(backbone("test_resnet"), tmp_path)


@pytest.mark.parametrize(
    ("content", "held"),
    [
        ({"epoch": 3, "net": {"a": torch.zeros(1)}}, "its entries are epoch, net"),
        ([torch.zeros(1)], "list"),
        ({}, "its entries are "),
        ({1: torch.zeros(1)}, "its entries are 1"),
    ],
)
def test_a_file_without_a_state_dict_is_told(content, held, tmp_path):
    torch.save(content, tmp_path / "a.pth")
    with pytest.raises(
        ConfigError, match=rf"^weights: \S+ holds no state dict \({held}\)\. Save one: "
    ):
        load(backbone("test_resnet"), tmp_path / "a.pth")


def test_a_module_of_no_library_is_filled_under_its_own_names(tmp_path):
    """Its part `backbone` is not taken for ours."""

    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.backbone = nn.Linear(2, 2)

    state = Own().state_dict()
    torch.save(state, tmp_path / "a.pth")
    assert_filled(load(Own(), tmp_path / "a.pth"), state)
    torch.save({f"backbone.{key}": tensor for key, tensor in state.items()}, tmp_path / "ours.pth")
    assert_filled(load(Own(), tmp_path / "ours.pth"), state)
