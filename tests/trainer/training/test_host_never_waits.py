"""What a step does on a GPU before its backward pass, on tensors that know their device
but have no values.

They refuse whatever would need a value on the host (`.item()`, boolean masks) and operations over
two devices: what passes here makes no step wait for the device, and mixes no devices.
A backward pass needs a real one.
"""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

from tests.trainer.conftest import squares
from trainer.config import TrainConfig
from trainer.images import batches
from trainer.images.batches import Batches
from trainer.images.images import Decoded
from trainer.images.manifest import Manifest
from trainer.learning.losses import build_loss
from trainer.learning.optimizers import build_optimizer, skips_on_device
from trainer.learning.step import DeviceGuard
from trainer.model.heads import Heads
from trainer.model.network import build_network
from trainer.training import inputs as module
from trainer.training.inputs import ImageInputs, TrainingRows

GPU = torch.device("cuda")
IMAGES_NHWC, LABELS_N = squares(36, side=16)
ROWS = np.arange(30)
EVERYTHING = {
    **{
        name: 0.5
        for name in (
            "flip",
            "flip_vertical",
            "affine",
            "resized_crop",
            "jitter",
            "grey",
            "blur",
            "erasing",
        )
    },
    "trivial": 0.5,
    "cutmix": 0.3,
    "one_class_cutmix": 0.3,
    "half_cutmix": 0.2,
    "mixup": 0.2,
}


@pytest.fixture
def no_values(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Tensors without values, and what torch's stand-ins cannot do."""
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: tensor)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (10**12, 10**12))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 0)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 0)
    monkeypatch.setattr(
        module, "epoch_rows", lambda train_rows, *_, **__: train_rows
    )  # made on the host
    with FakeTensorMode(allow_non_fake_inputs=True):
        yield
    batches._RESIDENT.clear()


def manifest() -> Manifest:
    parts = tuple((f"{label // 2}", f"{label % 2}") for label in range(3))
    paths = tuple(map(str, range(36)))
    return Manifest(
        "/",
        paths,
        LABELS_N,
        ("a", "b", "c"),
        (0,) * 36,
        label_columns=("mask", "age"),
        class_parts=parts,
    )


@pytest.mark.parametrize("resident", [True, False])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        EVERYTHING,
        {"progressive": 0.5, "resize": 64, "flip": 0.5, "cutmix": 0.5},
        {"heads": "separate", "cutmix": 0.5},
        {
            "loss": "mixture",
            "loss_mix": {"soft_f1": 0.4, "focal": 0.6},
            "class_weights": "balanced",
        },
    ],
)
def test_a_training_batch_and_its_loss_are_made_without_waiting(
    no_values, monkeypatch, resident, changes
):
    config = TrainConfig(
        **{"backbone": "test_resnet", "weights": "none", "resize": 16, "batch_size": 8, **changes}
    )
    if not resident:
        monkeypatch.setattr(batches, "on_device", lambda *_, **__: None)
    height, width = config.size_HW
    images = Decoded(np.resize(IMAGES_NHWC, (36, height, width, 3)))
    heads = Heads.joint(3) if config.heads == "joint" else Heads.separate(manifest())
    with GPU:
        network = build_network(config, heads, code=None)
    loss = build_loss(config, heads, labels_N=LABELS_N[ROWS], device=GPU)
    source = ImageInputs(
        config,
        [Batches(images, device=GPU, mean_std=((0.5,) * 3, (0.5,) * 3))],
        TrainingRows(config, ROWS, LABELS_N, 3),
    )
    seen = 0
    # a tensor made from numbers on the host is copied at once, and the copy waits for the device
    monkeypatch.setattr(torch, "tensor", lambda *_, **__: pytest.fail("made from host numbers"))
    for views, targets_BK in source.epoch(1, seed=3):
        value = loss(source.forward(network, views), targets_BK)
        assert (views[0].device.type, targets_BK.device.type, value.device.type) == ("cuda",) * 3
        assert views[0].is_contiguous(memory_format=torch.channels_last)
        seen += 1
    assert seen == 4
    with pytest.raises(DataDependentOutputException, match="_local_scalar_dense"):
        value.item()


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd"])
def test_a_bad_loss_is_told_to_the_optimizer_without_waiting(no_values, name):
    config = TrainConfig(backbone="test_resnet", weights="none", resize=16, optimizer=name)
    with GPU:
        network = build_network(config, Heads.joint(3), code=None)
    optimizer = build_optimizer(network, config, device=GPU)
    assert skips_on_device(optimizer)
    guard = DeviceGuard(optimizer, GPU)
    for index in range(3):
        guard.allow(index, torch.zeros((), device=GPU), norm=torch.zeros((), device=GPU))
    with pytest.raises(DataDependentOutputException):  # only here
        guard.check()
