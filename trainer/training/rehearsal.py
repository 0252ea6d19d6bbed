"""A rehearsal of a fold run: a few real steps, one scoring and the files, with their times.

A rehearsal is a fold run on a part of the images that ends its first epoch early. Its steps are the
fold run's own, so what would fail in a fold run fails here. From the times of the parts follows the
time of a whole fold run (`fold_run_s`). Decoding is not part of it.
"""

import dataclasses
import functools
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from trainer.config import TrainConfig
from trainer.data.fold_files import load_folds
from trainer.data.folds import Folds
from trainer.data.placing import Ints
from trainer.errors import NonFiniteLossError, OutOfMemoryError, TrainerError, first_line
from trainer.images.batches import resident_bytes
from trainer.images.cache import open_images
from trainer.images.images import ImageSource
from trainer.images.preprocessing import Preprocessing
from trainer.learning.batch_norm import images_measured
from trainer.learning.phases import NoPhases
from trainer.training.fit import pick_device, set_up_torch
from trainer.training.fold_run import FoldRun
from trainer.training.fold_setup import FoldSetup
from trainer.training.inputs import FeatureInputs
from trainer.training.memory import used_bytes
from trainer.training.rehearsed import Gpus, Order, Outcome, Reason, Refused, Rehearsed, Size
from trainer.training.result import FoldResult
from trainer.training.scoring import counts_fully
from trainer.training.tta_views import TTA_TRANSFORMS, Views

WARM_UP = 2  # steps that are not timed: memory is allocated, and a GPU tries out algorithms
FEWEST = 3  # steps that are timed, where the data have as many
# Batches whose images are decoded for a rehearsal, and images that are decoded at least, of the
# training part and of the held-out fold.
BATCHES, SCORED_BATCHES = 8, 2
TRAINED, SCORED = 1_200, 300
RESET_PEAK = "5"  # written to clear_refs, it makes Linux count a process's peak memory anew

Clock = Callable[[], float]


def excerpt(folds: Folds, *, batch_size: int) -> Folds:
    """The images of rehearsals: some that fold run 0 trains on, and some that it scores.

    They are spread evenly over the classes, and have every class at least once where the part has
    it. Small parts stay whole.

    Args:
        batch_size: the largest batch size of the rehearsals.
    """
    labels_N = folds.manifest.labels_N
    train = _some(folds.train_rows(0), labels_N, count=max(TRAINED, BATCHES * batch_size))
    valid = _some(folds.valid_rows(0), labels_N, count=max(SCORED, SCORED_BATCHES * batch_size))
    rows = np.sort(np.concatenate([train, valid]))
    manifest = folds.manifest
    boxes, digests = manifest.boxes_N4, manifest.digests_N
    part = dataclasses.replace(
        manifest,
        paths=tuple(manifest.paths[row] for row in rows),
        labels_N=labels_N[rows],
        lines=tuple(manifest.lines[row] for row in rows),
        groups=None if manifest.groups is None else tuple(manifest.groups[row] for row in rows),
        boxes_N4=None if boxes is None else boxes[rows],
        digests_N=None if digests is None else digests[rows],
    )
    return dataclasses.replace(folds, manifest=part, fold_N=folds.fold_N[rows])


def _some(rows: Ints, labels_N: Ints, *, count: int) -> Ints:
    if len(rows) <= count:
        return rows
    by_class = rows[np.argsort(labels_N[rows], kind="stable")]
    even = by_class[np.linspace(0, len(rows) - 1, count).astype(np.int64)]
    _, first = np.unique(labels_N[by_class], return_index=True)
    return np.unique(np.concatenate([even, by_class[first]]))


def act(order: Order) -> Outcome:
    """Rehearse what is ordered. The process keeps folds and images for the next order."""
    try:
        return _act(order)
    except (OutOfMemoryError, torch.OutOfMemoryError, MemoryError) as error:
        return Refused("memory", first_line(error))
    except NonFiniteLossError as error:
        return Refused("loss", first_line(error))
    except TrainerError as error:
        return Refused("configuration", str(error))
    except Exception as error:  # noqa: BLE001 - as at the boundary of a trial
        text = first_line(error)
        # torch has no exception of its own for the memory of the host
        reason: Reason = "memory" if "can't allocate memory" in text else "error"
        return Refused(reason, f"{type(error).__name__}: {text}")


def _act(order: Order) -> Rehearsed:
    config = _costliest_epoch(order.config)
    folds = _folds(order.folds_file)
    images = [
        _images(order.folds_file, view, order.streamed, order.threads) for view in config.views
    ]
    device = pick_device(order.device)
    set_up_torch(device, order.threads)
    with tempfile.TemporaryDirectory() as folder:
        setup = FoldSetup(
            config=config,
            images=images,
            folds=folds,
            fold=0,
            directory=Path(folder),
            device=device,
            threads=order.threads,
            code=order.code,
        )
        return rehearse(setup, size=order.size, seconds=order.seconds)


def _costliest_epoch(config: TrainConfig) -> TrainConfig:
    """The configuration whose first epoch costs what the costliest epoch of `config` costs.

    With progressive resize images grow, and a backbone that is unfrozen later trains then.
    """
    return config.model_copy(
        update={"progressive": 1.0, "unfreeze_epoch": min(1, config.unfreeze_epoch)}
    )


# A process rehearses many configurations of one search space, like a worker its trials.
@functools.lru_cache(maxsize=1)
def _folds(path: Path) -> Folds:
    return load_folds(path)


@functools.lru_cache(maxsize=8)
def _images(path: Path, how: Preprocessing, streamed: tuple[str, ...], threads: int) -> ImageSource:
    return open_images(_folds(path).manifest, how, streamed=streamed, threads=threads)


def rehearse(
    setup: FoldSetup, *, size: Size, seconds: float, clock: Clock = time.perf_counter
) -> Rehearsed:
    """Rehearse a fold run in this process.

    Args:
        setup: the images of the rehearsal.
        size: the size of a whole fold run.
        seconds: how long steps are timed, beyond the first `FEWEST`.

    Raises:
        TrainerError: what the fold run would raise.
    """
    memory = Memory(setup.device)
    begun = _now(setup.device, clock)
    run = _Rehearsal(setup, seconds=seconds, clock=clock)
    built = _now(setup.device, clock)
    run.train_epoch(interrupted=lambda: False)
    trained = _now(setup.device, clock)
    result: FoldResult = run.finish()
    ended = _now(setup.device, clock)
    steps = run.steps
    features_s = run.prepare_s if run.has_features else 0.0
    images = len(setup.train_rows) + len(setup.valid_rows)
    spent = trained - built - run.prepare_s - run.warm_s - steps.seconds - run.score_s
    warm_images = run.warm_images
    return Rehearsed(
        start_s=built - begun + max(0.0, run.warm_s - warm_images * steps.image_s),
        once_s=features_s * (size.trained + size.scored) / images,
        image_s=steps.image_s,
        look_s=run.score_s / run.looks,
        epoch_s=max(0.0, spent),
        end_s=ended - trained,
        steps=steps.count,
        has_statistics=run.has_statistics,
        memory_bytes=memory.peak_bytes() + _rest_of_data_set(setup, size),
        memory_kind=memory.kind,
        notes=tuple(result.notes),
    )


def fold_run_s(
    measured: Rehearsed, config: TrainConfig, *, size: Size, every_epoch: bool = False
) -> float:
    """Seconds of a whole fold run, scoring included; early stopping may end it earlier.

    Args:
        config: the configuration of the fold run, whose epochs and scoring count.
        every_epoch: see FoldSetup.
    """
    fully = [
        counts_fully(config, epoch=epoch, every_epoch=every_epoch)
        for epoch in range(1, config.epochs + 1)
    ]
    looks = sum(
        looks_of(config, size, fully=each, measures=measured.has_statistics) for each in fully
    )
    each_epoch = size.trained * measured.image_s + measured.epoch_s
    return (
        measured.start_s
        + measured.once_s
        + config.epochs * each_epoch
        + looks * measured.look_s
        + measured.end_s
    )


def looks_of(config: TrainConfig, size: Size, *, fully: bool, measures: bool) -> float:
    """How many images go through the network when an epoch is scored.

    Args:
        fully: whether the epoch may be the result: with test-time augmentation, and with batch norm
            statistics of more images.
        measures: whether batch norm statistics are measured.
    """
    views = len(TTA_TRANSFORMS[config.tta]) if fully else 1
    measured = images_measured(int(size.trained), batch_size=config.batch_size, counts=fully)
    return size.scored * views + measured * measures


@dataclasses.dataclass(frozen=True)
class _Steps:
    """Steps that were timed together."""

    count: int
    images: int
    seconds: float

    @property
    def image_s(self) -> float:
        return self.seconds / self.images


class _Rehearsal(FoldRun):
    """A fold run whose epoch ends as soon as its steps were timed long enough.

    Attributes:
        prepare_s: seconds from the beginning of the epoch to its first batch.
        warm_s: seconds of the steps that warm up.
        warm_images: their images.
        score_s: seconds of scoring the epoch.
        looks: images that scoring put through the network.
        has_statistics: whether batch norms are trained, whose statistics scoring measured.
    """

    def __init__(self, setup: FoldSetup, *, seconds: float, clock: Clock) -> None:
        super().__init__(setup, phases=NoPhases())
        self._seconds = seconds
        self._clock = clock
        self._epoch_began = 0.0
        self.prepare_s = self.warm_s = self.score_s = 0.0
        self.warm_images = 0
        self.looks = 1.0
        self.has_statistics = False
        self.steps = _Steps(1, 1, 0.0)

    @property
    def has_features(self) -> bool:
        """Whether the images went through a frozen backbone once, before the first step."""
        return isinstance(self._inputs, FeatureInputs)

    def _prepare(self, epoch: int) -> None:
        began = self._now()
        super()._prepare(epoch)
        self.prepare_s = self._now() - began

    def _batches(self, epoch: int, *, start: int = 0) -> Iterator[tuple[Views, Tensor]]:
        """The batches of the epoch, until their steps were timed long enough."""
        warm_up = min(WARM_UP, self._steps - 1)
        began = since = self._now()
        images = 0
        count = 0
        for count, batch in enumerate(super()._batches(epoch, start=start), start=1):
            yield batch  # the caller takes the step of this batch before it asks for the next one
            images += len(batch[1])
            if count == warm_up:
                self.warm_images, images = images, 0
                since = self._now()
                self.warm_s = since - began
            # without waiting for a GPU, which is synchronised once, after the last step
            if count >= warm_up + FEWEST and self._clock() - since >= self._seconds:
                break
        self.steps = _Steps(count - warm_up, images, self._now() - since)

    def _score(self, epoch: int) -> dict[str, float]:
        self.has_statistics = self._learner.has_statistics  # scoring leaves the eval mode behind
        began = self._now()
        scores = super()._score(epoch)
        self.score_s = self._now() - began
        self.looks = looks_of(
            self._config,
            Size(len(self._setup.train_rows), len(self._setup.valid_rows)),
            fully=self._scoring.counts(epoch),
            measures=self.has_statistics,
        )
        return scores

    def _now(self) -> float:
        return _now(self._setup.device, self._clock)


def _now(device: torch.device, clock: Clock) -> float:
    """The time when the device has done all its work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return clock()


class Memory:
    """The peak of the memory since this object was made.

    On a GPU it is what CUDA's allocator has reserved for this process; the context of CUDA, about
    half a gigabyte, is not in it. Elsewhere it is the resident memory of the process, the libraries
    included. Where that cannot be counted anew, which only Linux can, earlier peaks count, too.

    Attributes:
        kind: a name for tables.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        used_bytes(device)  # frees what an earlier rehearsal left
        if device.type == "cuda":
            self.kind = "CUDA's allocator"
            torch.cuda.reset_peak_memory_stats(device)
            return
        self.kind = "resident memory"
        try:
            Path("/proc/self/clear_refs").write_text(RESET_PEAK)
        except OSError:
            self.kind = "resident memory, peak so far"

    def peak_bytes(self) -> int:
        """The peak in bytes."""
        if self._device.type == "cuda":
            return torch.cuda.max_memory_reserved(self._device)
        if self.kind == "resident memory":
            lines = Path("/proc/self/status").read_text().splitlines()
            (peak,) = (line.split()[1] for line in lines if line.startswith("VmHWM:"))
            return int(peak) * 1024
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def gpus() -> Gpus | None:
    """The GPUs of this machine; None if torch finds none."""
    if not torch.cuda.is_available():
        return None
    first = torch.cuda.get_device_properties(0)
    return Gpus(torch.cuda.device_count(), first.name, first.total_memory)


def _rest_of_data_set(setup: FoldSetup, size: Size) -> int:
    """The device memory of the images that a whole fold run has besides those of the rehearsal.

    Images lie on the GPU if they take at most half of its memory, see `trainer.images.batches`.
    """
    resident = resident_bytes()
    if not resident:
        return 0
    part = len(setup.train_rows) + len(setup.valid_rows)
    whole = int(resident * (size.trained + size.scored) / part)
    free, _ = torch.cuda.mem_get_info(setup.device)
    return whole - resident if whole < (free + resident) / 2 else 0
