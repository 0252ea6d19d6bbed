"""A rehearsal takes the fold run's own steps, and says what a whole fold run takes."""

import dataclasses
import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.rehearsals import measured
from tests.trainer.conftest import Train, paper_manifest, setup_of
from trainer.config import TrainConfig
from trainer.data.fold_files import load_folds, save_folds
from trainer.data.folds import Folds, make_folds
from trainer.images.images import Decoded
from trainer.model.checkpoint import weights_digest
from trainer.training import rehearsal
from trainer.training.fold_setup import FoldSetup
from trainer.training.rehearsal import (
    FEWEST,
    WARM_UP,
    Memory,
    act,
    excerpt,
    fold_run_s,
    looks_of,
    rehearse,
)
from trainer.training.rehearsed import Order, Refused, Rehearsed, Size

SIZE = Size(trained=24, scored=12)
GPU = torch.device("cuda")
Config = Callable[..., TrainConfig]
Toy = tuple[Decoded, Folds]


def ticks() -> Callable[[], float]:
    """A clock that moves on by a second whenever it is read."""
    counter = itertools.count()
    return lambda: float(next(counter))


@pytest.fixture
def setup(toy: Toy, tmp_path: Path) -> Callable[[TrainConfig], FoldSetup]:
    return lambda config: setup_of(config, *toy, tmp_path / "fold-0")


@pytest.fixture
def order(
    toy: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[TrainConfig], Order]:
    """An order for the toy data, whose images need not be decoded."""
    save_folds(toy[1], tmp_path / "folds.npz")
    monkeypatch.setattr(rehearsal, "open_images", lambda *given, **named: toy[0])
    rehearsal._folds.cache_clear()
    rehearsal._images.cache_clear()
    return lambda config: Order(
        config, tmp_path / "folds.npz", SIZE, "cpu", threads=1, seconds=0, code=tmp_path
    )


def test_an_epoch_ends_when_its_steps_were_timed_long_enough(
    tiny: Config, setup: Callable[[TrainConfig], FoldSetup]
) -> None:
    found = rehearse(setup(tiny()), size=SIZE, seconds=0)
    assert found.steps == FEWEST
    found = rehearse(setup(tiny()), size=SIZE, seconds=1e9)
    assert found.steps == 6 - WARM_UP  # the whole epoch


def test_the_steps_are_those_of_a_fold_run(
    tiny: Config, setup: Callable[[TrainConfig], FoldSetup], train: Train, tmp_path: Path
) -> None:
    """A rehearsal of a whole epoch leaves the same weights, bit for bit."""
    config = tiny(epochs=1, flip=0.5, ema=0.9)
    rehearse(setup(config), size=SIZE, seconds=1e9)
    train(config, "other")
    digests = [
        weights_digest(tmp_path / name / "model.safetensors") for name in ("fold-0", "other")
    ]
    assert digests[0] == digests[1]


def test_the_time_of_a_step_is_shared_by_its_images(
    tiny: Config, setup: Callable[[TrainConfig], FoldSetup]
) -> None:
    found = rehearse(setup(tiny()), size=SIZE, seconds=0, clock=ticks())
    # read before and after the steps that are timed, and once to see whether they are enough
    assert found.image_s == pytest.approx(2 / (FEWEST * 4))
    assert found.look_s == pytest.approx(1 / (12 + 4))  # held out, and measured statistics
    assert found.has_statistics
    assert found.end_s == 1


@pytest.mark.parametrize("batch_size", [24, 12])
def test_data_of_few_steps_are_timed_as_far_as_they_go(
    tiny: Config, setup: Callable[[TrainConfig], FoldSetup], batch_size: int
) -> None:
    found = rehearse(setup(tiny(batch_size=batch_size)), size=SIZE, seconds=1e9)
    assert found.steps == 1
    assert found.image_s > 0


def test_features_of_a_frozen_backbone_are_counted_once_for_all_images(
    tiny: Config, setup: Callable[[TrainConfig], FoldSetup]
) -> None:
    config = tiny(freeze="backbone")
    whole = Size(trained=240, scored=120)
    small, large = (
        rehearse(setup(config), size=size, seconds=0, clock=ticks()) for size in (SIZE, whole)
    )
    assert small.once_s > 0
    assert large.once_s == pytest.approx(10 * small.once_s)
    assert rehearse(setup(tiny()), size=whole, seconds=0, clock=ticks()).once_s == 0


def test_a_fold_run_takes_its_parts(tiny: Config) -> None:
    found = measured(start_s=1, once_s=2, image_s=0.1, look_s=0.01, epoch_s=0.5, end_s=3)
    size = Size(trained=100, scored=20)
    assert fold_run_s(found, tiny(epochs=4), size=size) == pytest.approx(
        1 + 2 + 4 * (100 * 0.1 + 0.5) + 4 * 20 * 0.01 + 3
    )


def test_only_epochs_that_count_are_scored_with_all_views(tiny: Config) -> None:
    found = measured(look_s=1)
    size = Size(trained=100, scored=20)
    config = tiny(epochs=4, tta="flip")
    assert fold_run_s(found, config, size=size) == 3 * 20 + 40
    assert fold_run_s(found, config, size=size, every_epoch=True) == 4 * 40
    best = tiny(epochs=4, tta="flip", checkpoint="fold_best")
    assert fold_run_s(found, best, size=size) == 4 * 40


def test_statistics_of_batch_norms_are_looks_too(tiny: Config) -> None:
    size = Size(trained=800, scored=20)
    assert looks_of(tiny(), size, fully=True, measures=True) == 20 + 512
    assert looks_of(tiny(), size, fully=False, measures=True) == 20 + 100
    assert looks_of(tiny(), size, fully=True, measures=False) == 20


def test_the_mean_of_rehearsals_has_their_largest_peak() -> None:
    first = measured(image_s=1, steps=3, memory_bytes=5, notes=("split",))
    mean = Rehearsed.mean([first, measured(image_s=3, steps=4, memory_bytes=9)])
    assert (mean.image_s, mean.steps, mean.memory_bytes, mean.notes) == (2, 7, 9, ("split",))


def test_the_size_of_fold_runs_is_the_mean_over_the_folds() -> None:
    folds = make_folds(paper_manifest(np.arange(10) % 3), k=3, seed=0)
    assert Size.of(folds) == Size(pytest.approx(20 / 3), pytest.approx(10 / 3))


def test_an_excerpt_has_every_class_and_stays_in_its_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rehearsal, "TRAINED", 20)
    monkeypatch.setattr(rehearsal, "SCORED", 10)
    labels_N = np.array([0] * 300 + [1] * 3 + [2] * 100, dtype=np.int64)
    folds = make_folds(paper_manifest(labels_N), k=3, seed=0)
    part = excerpt(folds, batch_size=4)
    train, valid = part.train_rows(0), part.valid_rows(0)
    assert 32 <= len(train) <= 35  # eight batches
    assert 10 <= len(valid) <= 13
    for rows in (train, valid):
        assert set(part.manifest.labels_N[rows]) == {0, 1, 2}
    number = [int(path.removesuffix(".png")) for path in part.manifest.paths]
    assert list(part.fold_N) == list(folds.fold_N[number])
    assert list(part.manifest.labels_N) == list(labels_N[number])


def test_small_data_stay_whole_and_can_be_stored(toy: Toy, tmp_path: Path) -> None:
    part = excerpt(toy[1], batch_size=4)
    save_folds(part, tmp_path / "part.npz")
    assert load_folds(tmp_path / "part.npz").manifest.paths == toy[1].manifest.paths


def test_a_process_rehearses_one_order_after_another(
    tiny: Config, order: Callable[[TrainConfig], Order]
) -> None:
    for optimizer in ("sgd", "madgrad"):
        found = act(order(tiny(optimizer=optimizer)))
        assert isinstance(found, Rehearsed), found
        assert found.steps == FEWEST
        assert found.memory_bytes > 0


def test_the_costliest_epoch_is_rehearsed(tiny: Config) -> None:
    config = tiny(
        epochs=8, freeze="backbone", unfreeze_epoch=5, progressive=0.5, progressive_epochs=4
    )
    changed = rehearsal._costliest_epoch(config)
    assert (changed.progressive, changed.unfreeze_epoch) == (1, 1)
    assert rehearsal._costliest_epoch(tiny(freeze="backbone")).unfreeze_epoch == 0


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried ..."), "memory"),
        (MemoryError(), "memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), "memory"),
        (ZeroDivisionError("division by zero"), "error"),
    ],
)
def test_what_would_fail_a_trial_is_an_answer(
    tiny: Config,
    order: Callable[[TrainConfig], Order],
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    reason: str,
) -> None:
    def fail(*given: object, **named: object) -> None:
        raise error

    monkeypatch.setattr(rehearsal._Rehearsal, "train_epoch", fail)
    found = act(order(tiny()))
    assert isinstance(found, Refused)
    assert found.reason == reason


def test_errors_of_the_trainer_keep_their_words(
    tiny: Config, order: Callable[[TrainConfig], Order]
) -> None:
    found = act(order(tiny(optimizer="sgd").model_copy(update={"lr": 1e30})))
    assert isinstance(found, Refused)
    assert found.reason == "loss"
    assert "A lower lr or a warm-up usually helps" in found.text
    found = act(order(tiny(freeze="up_to:nowhere")))
    assert isinstance(found, Refused)
    assert found.reason == "configuration"
    assert "has no stage 'nowhere'" in found.text


def test_batches_that_had_to_be_split_are_noted(
    tiny: Config, order: Callable[[TrainConfig], Order], monkeypatch: pytest.MonkeyPatch
) -> None:
    from trainer.learning.step import Stepper

    whole = Stepper._gradients

    def small(self: Stepper, views: object, targets_BK: torch.Tensor, parts: int) -> torch.Tensor:
        if parts == 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return whole(self, views, targets_BK, parts)

    monkeypatch.setattr(Stepper, "_gradients", small)
    found = act(order(tiny()))
    assert isinstance(found, Rehearsed)
    assert "batches were split into 2 parts" in found.notes[0]


def test_on_a_gpu_the_peak_is_that_of_its_allocator(monkeypatch: pytest.MonkeyPatch) -> None:
    """With fakes: no GPU is needed."""
    calls: list[str] = []
    monkeypatch.setattr(rehearsal, "used_bytes", lambda device: calls.append("freed"))
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda device: calls.append("reset"))
    monkeypatch.setattr(torch.cuda, "max_memory_reserved", lambda device: 7)
    memory = Memory(GPU)
    assert calls == ["freed", "reset"]
    assert (memory.kind, memory.peak_bytes()) == ("CUDA's allocator", 7)


def test_on_a_cpu_a_peak_does_not_outlive_its_rehearsal() -> None:
    first = Memory(torch.device("cpu"))
    if first.kind != "resident memory":
        pytest.skip("only Linux counts the peak of a process anew")
    block = np.ones(200 * 2**20, dtype=np.uint8)
    high = first.peak_bytes()
    del block
    assert Memory(torch.device("cpu")).peak_bytes() < high - 100 * 2**20


def test_on_a_gpu_times_wait_for_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[torch.device] = []
    monkeypatch.setattr(torch.cuda, "synchronize", waited.append)
    assert rehearsal._now(GPU, lambda: 3.0) == 3
    assert rehearsal._now(torch.device("cpu"), lambda: 4.0) == 4
    assert waited == [GPU]


def test_images_that_will_lie_on_a_gpu_count_as_its_memory(
    tiny: Config, setup: Callable[[TrainConfig], FoldSetup], monkeypatch: pytest.MonkeyPatch
) -> None:
    """100 bytes of 36 images: those of 360 take 900 more, if the device has twice as much."""
    monkeypatch.setattr(rehearsal, "resident_bytes", lambda: 100)
    whole = Size(trained=240, scored=120)
    on_gpu = dataclasses.replace(setup(tiny()), device=GPU)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (5_000, 9_000))
    assert rehearsal._rest_of_data_set(on_gpu, whole) == 900
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (1_000, 9_000))
    assert rehearsal._rest_of_data_set(on_gpu, whole) == 0


def test_the_gpus_are_told_by_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert rehearsal.gpus() is None
    first = type("Properties", (), {"name": "H100", "total_memory": 80})
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: first)
    assert rehearsal.gpus() == rehearsal.Gpus(2, "H100", 80)
