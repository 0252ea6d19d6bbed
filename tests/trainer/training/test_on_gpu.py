"""Real trainings on a real GPU. Without one they are skipped, and the CUDA paths are covered by
test_host_never_waits.py and by stand-ins in the other files.
"""

import math
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.trainer.conftest import (
    CPU,
    Train,
    curve,
    finish_with_interruptions,
    oof,
    paper_manifest,
    setup_of,
    squares,
)
from trainer.augmentation.pipeline import Augmenter
from trainer.config import TrainConfig
from trainer.data.folds import Folds, make_folds
from trainer.errors import OutOfMemoryError
from trainer.images import batches
from trainer.images.images import Decoded
from trainer.learning.optimizers import OPTIMIZERS
from trainer.learning.phases import NoPhases
from trainer.learning.step import NonFiniteStep
from trainer.training.fit import run_fold
from trainer.training.fold_run import FoldRun
from trainer.training.memory import leftover_bytes, settled, used_bytes
from trainer.training.reporter import SilentReporter

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
GPU = torch.device("cuda")
EVERYTHING = {
    **dict.fromkeys(("flip", "flip_vertical", "affine", "resized_crop", "jitter"), 0.5),
    **dict.fromkeys(("grey", "blur", "erasing", "trivial"), 0.5),
    "cutmix": 0.4,
    "mixup": 0.4,
}


@pytest.fixture(autouse=True)
def _room() -> Iterator[None]:
    """No test sees the memory of another one."""
    yield
    batches._RESIDENT.clear()
    torch.cuda.empty_cache()


@pytest.fixture
def larger() -> tuple[Decoded, Folds]:
    """180 images in 3 folds."""
    images_NHWC, labels_N = squares(180, side=32)
    return Decoded(images_NHWC), make_folds(paper_manifest(labels_N), k=3, seed=0)


def test_a_fold_run_on_the_gpu_learns_as_on_the_cpu(train: Train, tiny, larger):
    images, folds = larger
    config = tiny(resize=32, batch_size=12, epochs=6, lr=3e-3)
    here = train(config, "cpu", images=images, folds=folds)
    there = train(config, "gpu", images=images, folds=folds, device=GPU)
    assert there.device == "cuda"
    assert abs(there.metrics["accuracy"] - here.metrics["accuracy"]) < 0.05
    assert abs(there.metrics["log_loss"] - here.metrics["log_loss"]) < 0.1


def test_the_first_steps_have_the_losses_of_the_cpu(tmp_path: Path, tiny, larger):
    losses = [
        first_losses(
            tiny(resize=32, batch_size=12, lr=1e-3), larger, tmp_path / device.type, device
        )
        for device in (CPU, GPU)
    ]
    np.testing.assert_allclose(*losses, atol=0.03)  # bfloat16 has 8 bits


def first_losses(
    config: TrainConfig, data: tuple[Decoded, Folds], folder: Path, device: torch.device
) -> list[float]:
    run = FoldRun(setup_of(config, *data, folder, device), phases=NoPhases())
    run._prepare(1)
    return [
        run._learner.step(views, targets_BK, lr=config.lr, index=index, at="").item()
        for index, (views, targets_BK) in enumerate(run._batches(1))
    ]


def test_augmented_images_are_those_of_the_cpu():
    augment = Augmenter(TrainConfig(resize=64, **EVERYTHING))
    images_BCHW = torch.rand(16, 3, 64, 64).contiguous(memory_format=torch.channels_last)
    here = augment(images_BCHW.clone(memory_format=torch.preserve_format), seed=5)
    there = augment(images_BCHW.to(GPU), seed=5).cpu()
    far = (here - there).abs() > 0.02
    assert far.float().mean() < 0.01  # nearest-neighbour borders and levels may fall elsewhere


@pytest.mark.parametrize("name", [*OPTIMIZERS, "adafactor"])
def test_every_optimizer_learns(train: Train, tiny, larger, name: str):
    images, folds = larger
    lr = {"lion": 3e-4, "sgd": 3e-2, "rmsprop": 1e-3, "madgrad": 1e-3}.get(name, 3e-3)
    config = tiny(resize=32, batch_size=12, epochs=10, optimizer=name, lr=lr)
    result = train(config, images=images, folds=folds, device=GPU)
    assert result.metrics["accuracy"] > 0.9


@pytest.mark.parametrize("name", ["adamw", "madgrad"])
def test_an_interrupted_fold_run_goes_on_where_it_was(
    train: Train, tiny, larger, name: str, tmp_path
):
    images, folds = larger
    about = {"images": images, "folds": folds, "device": GPU}
    config = tiny(resize=32, batch_size=12, epochs=4, optimizer=name, ema=0.9, **EVERYTHING)
    train(config, "whole", **about)
    finish_with_interruptions(train, config, **about)
    np.testing.assert_allclose(oof(tmp_path / "continued"), oof(tmp_path / "whole"), atol=0.1)
    assert [row["lr"] for row in curve(tmp_path / "continued")] == [
        row["lr"] for row in curve(tmp_path / "whole")
    ]


@pytest.mark.filterwarnings("ignore:Synchronization debug mode")
@pytest.mark.parametrize("changes", [{}, EVERYTHING, {"ema": 0.9, "clip_norm": 1.0}])
def test_the_host_waits_for_no_step(tmp_path: Path, tiny, larger, changes):
    config = tiny(resize=32, batch_size=12, **changes)
    run = FoldRun(setup_of(config, *larger, tmp_path, GPU), phases=NoPhases())
    run._prepare(1)
    batch = iter(run._batches(1))
    for index in range(2):  # the first steps choose algorithms
        run._learner.step(*next(batch), lr=1e-3, index=index, at="")
    try:
        torch.cuda.set_sync_debug_mode("error")
        for index, (views, targets_BK) in enumerate(batch, start=2):
            run._learner.step(views, targets_BK, lr=1e-3, index=index, at="")
    finally:
        torch.cuda.set_sync_debug_mode("default")
    run._learner.check()


@pytest.mark.parametrize("name", ["adamw", "sgd", "madgrad", "lion"])
def test_a_step_whose_loss_is_not_finite_changes_no_weight(tmp_path: Path, tiny, larger, name: str):
    run = FoldRun(
        setup_of(tiny(resize=32, batch_size=12, optimizer=name), *larger, tmp_path, GPU),
        phases=NoPhases(),
    )
    run._prepare(1)
    learner = run._learner
    (first, targets_BK), (second, _), *_ = run._batches(1)
    learner.step(first, targets_BK, lr=1e-3, index=0, at="")
    before = [parameter.detach().clone() for parameter in learner.network.parameters()]

    def bad_step() -> None:
        learner.step([view * math.nan for view in second], targets_BK, lr=1e-3, index=1, at="")
        learner.check()  # the fused optimizers say it only here

    with pytest.raises(NonFiniteStep, match="step 1: the training loss is nan"):
        bad_step()
    for old, new in zip(before, learner.network.parameters(), strict=True):
        assert torch.equal(old, new)


def test_images_that_do_not_lie_on_the_gpu_give_the_same_training(
    train: Train, tiny, larger, tmp_path, monkeypatch
):
    images, folds = larger
    about = {"images": images, "folds": folds, "device": GPU}
    config = tiny(resize=32, batch_size=12)
    train(config, "resident", **about)
    assert batches.resident_bytes() == images.resident_bytes
    monkeypatch.setattr(batches, "on_device", lambda *_, **__: None)
    train(config, "copied", **about)
    np.testing.assert_allclose(oof(tmp_path / "copied"), oof(tmp_path / "resident"), atol=0.1)


@pytest.fixture
def little_memory() -> Iterator[Callable[[float], None]]:
    """Torch may take only so many bytes of the GPU."""
    total = torch.cuda.get_device_properties(GPU).total_memory

    def limit(gibibytes: float) -> None:
        torch.cuda.empty_cache()
        torch.cuda.set_per_process_memory_fraction(gibibytes * 2**30 / total)

    yield limit
    torch.cuda.set_per_process_memory_fraction(1.0)


@pytest.fixture
def large_images() -> tuple[Decoded, Folds]:
    """96 images of 256 x 256 in 3 folds: resnet18 takes about 1.4 GiB for 64 of them."""
    images_NHWC, labels_N = squares(96, side=256)
    return Decoded(images_NHWC), make_folds(paper_manifest(labels_N), k=3, seed=0)


def peak_gibibytes(train: Train, config: TrainConfig, **about: object) -> float:
    torch.cuda.reset_peak_memory_stats()
    train(config, "peak", **about)
    return torch.cuda.max_memory_reserved() / 2**30


def test_a_batch_that_is_too_large_is_split(train: Train, large_images, little_memory):
    images, folds = large_images
    about = {"images": images, "folds": folds, "device": GPU}
    config = TrainConfig(
        backbone="resnet18", weights="none", resize=256, batch_size=64, epochs=1, lr=1e-4
    )
    peak = peak_gibibytes(train, config, **about)
    batches._RESIDENT.clear()
    little_memory(peak * 0.75)
    result = train(config, "split", **about)
    assert result.accumulation == 2
    assert result.notes[0].startswith("fold 0, epoch 1: CUDA out of memory (batch_size=64")
    batches._RESIDENT.clear()
    little_memory(peak * 0.2)
    with pytest.raises(OutOfMemoryError, match="A smaller batch_size or resize helps"):
        train(config, "refused", **about)


def test_trials_in_one_process_leave_no_memory_behind(tmp_path: Path, larger):
    with settled():
        before = used_bytes(GPU)
        for number, backbone in enumerate(["resnet18", "test_vit", "test_convnext", "resnet18"]):
            config = TrainConfig(
                backbone=backbone,
                weights="none",
                resize=160 if backbone == "test_vit" else 64,
                batch_size=12,
                epochs=1,
            )
            images_NHWC, labels_N = squares(60, side=config.size_HW[0])
            folds = make_folds(paper_manifest(labels_N), k=3, seed=0)
            folder = tmp_path / f"{number}"
            run_fold(setup_of(config, Decoded(images_NHWC), folds, folder, GPU), SilentReporter())
            assert leftover_bytes(before, used_bytes(GPU)) == 0, backbone
