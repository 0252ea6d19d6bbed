"""How fast does a GPU train, as a share of what its arithmetic and memory allow?

    python benchmarks/gpu.py

The script takes under six minutes on a machine with one GPU, and needs neither Ray nor a model hub.

tests     the tests of the CUDA paths (tests/trainer/training/test_on_gpu.py)
rates     images/s of training from decoded images in device memory, scoring of the held-out
          twentieth included; and of two loops in plain torch: `loader` is timm's own loader over
          JPEGs of the right size with the prefetcher, `step` repeats one batch that lies on the
          device, and so is what the step alone allows. All have bf16 autocast, channels_last and
          the optimizer of the line; the loops have no augmentation. The three run in turn.
profile   kernels per step, how long the GPU works on them, and the longest of them
memory    what five trials in one process leave behind
folds     a fold run of digits and of faces, from start to end, with starting and decoding

The limits are derived for 4.3 TB/s and 790 TFLOP/s (bf16), which an H200 reaches. Where the GPU
copies slower, the limits of networks that are bound by memory are lower by the same factor; the
share of that limit is printed, too.
"""

import argparse
import dataclasses
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from photos import write_gratings
from report import print_header

from trainer.config import TrainConfig
from trainer.data.folds import make_folds
from trainer.images.images import Decoded
from trainer.images.manifest import Manifest
from trainer.learning.phases import NoPhases
from trainer.training.fit import run_fold
from trainer.training.fold_run import FoldRun
from trainer.training.fold_setup import FoldSetup
from trainer.training.memory import leftover_bytes, settle, used_bytes
from trainer.training.reporter import EpochReport, SilentReporter

ROOT = Path(__file__).parent.parent
GPU = torch.device("cuda")
COPY_BYTES_PER_S = 4.3e12  # of an H200, for which the limits are derived
FOUR = {"flip": 0.5, "affine": 0.5, "jitter": 0.5, "cutmix": 0.5}
CLASSES = 4
STEPS = 24  # at least, per epoch
IMAGES = 2_048  # at least, per epoch
PARTS = ("tests", "rates", "profile", "memory", "folds")


@dataclasses.dataclass(frozen=True)
class Network:
    """A backbone at a size; its derived limit is in images/s."""

    backbone: str
    side: int
    limit: int


RESNET18 = Network("resnet18", 128, 140_000)
RESNET50 = Network("resnet50", 224, 10_000)
EFFICIENTNET = Network("efficientnet_b4", 320, 3_300)
# no limit is derived for it: that of vit_base at 224, times its ratio of 17.5 to 4.6 GFLOP
VIT = Network("vit_small_patch16_224", 224, 23_000)
LINES = [
    *((RESNET18, batch, optimizer) for batch in (32, 64, 256, 512) for optimizer in ("adamw",)),
    *((RESNET18, batch, "madgrad") for batch in (32, 256)),
    (RESNET50, 64, "adamw"),
    (RESNET50, 256, "adamw"),
    (EFFICIENTNET, 32, "adamw"),
    (VIT, 128, "adamw"),
]


def main() -> None:
    """Run the parts that are asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", choices=PARTS, nargs="+", default=PARTS)
    parser.add_argument("--epochs", type=int, default=3, help="measured, after two that are not")
    parser.add_argument("--networks", nargs="+", help="of `rates`: backbones; default: all of them")
    options = parser.parse_args()
    print_header("torch", "torchvision", "timm")
    print(f"gpu       {torch.cuda.get_device_name()}, {measured_copy() / 1e12:.2f} TB/s copied")
    torch.set_num_threads(os.cpu_count() or 1)
    settle()
    with tempfile.TemporaryDirectory() as name:
        os.environ["SWEEPS_CACHE"] = f"{name}/cache"
        parts: dict[str, Callable[[], None]] = {
            "tests": run_tests,
            "rates": lambda: rates(Path(name), options.networks, epochs=options.epochs),
            "profile": profile,
            "memory": memory,
            "folds": lambda: whole_folds(Path(name)),
        }
        for part in options.only:
            started = time.perf_counter()
            parts[part]()
            print(f"{part:9} took {time.perf_counter() - started:.0f} s", flush=True)


def measured_copy() -> float:
    """Bytes read and written per second by a copy within the device."""
    source = torch.empty(2**31, dtype=torch.uint8, device=GPU)
    target = torch.empty_like(source)
    seconds = []
    for _ in range(6):
        torch.cuda.synchronize()
        started = time.perf_counter()
        target.copy_(source)
        torch.cuda.synchronize()
        seconds.append(time.perf_counter() - started)
    return 2 * len(source) / min(seconds)


def run_tests() -> None:
    """The tests that need a GPU, in a process of their own."""
    tests = "tests/trainer/training/test_on_gpu.py"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", tests]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    print(done.stdout[-6_000:] if done.returncode else done.stdout.strip().splitlines()[-1])


class Epochs(SilentReporter):
    """Keeps how long each epoch took."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def epoch(self, report: EpochReport) -> bool:
        self.seconds.append(report.metrics["seconds"])
        return True


def images_of(network: Network, batch: int) -> int:
    """Of one epoch: whole batches."""
    return max(STEPS, -(-IMAGES // batch)) * batch


def setup_of(config: TrainConfig, folder: Path, *, count: int) -> FoldSetup:
    """A fold of noise that is decoded already; a twentieth of `count` more is held out."""
    side = config.size_HW[0]
    total = count * 20 // 19
    labels_N = np.arange(total, dtype=np.int64) % CLASSES
    paths = tuple(f"{row}.jpg" for row in range(total))
    manifest = Manifest(Path("/"), paths, labels_N, tuple("abcd"), (0,) * total)
    some_NHWC = np.random.default_rng(0).integers(0, 256, (256, side, side, 3), dtype=np.uint8)
    return FoldSetup(
        config=config,
        images=[Decoded(np.resize(some_NHWC, (total, side, side, 3)))],
        folds=make_folds(manifest, k=20, seed=0),
        fold=0,
        directory=folder,
        device=GPU,
        threads=os.cpu_count() or 1,
    )


def config_of(network: Network, batch: int, optimizer: str, **changes: object) -> TrainConfig:
    """Random weights, a constant size, and what the line says."""
    return TrainConfig(
        backbone=network.backbone,
        weights="none",
        resize=network.side,
        batch_size=batch,
        optimizer=optimizer,
        **changes,
    )


def ours(network: Network, batch: int, optimizer: str, *, epochs: int, augmented: bool) -> float:
    """Images/s of our trainer, the median of the epochs."""
    changes = FOUR if augmented else {}
    config = config_of(network, batch, optimizer, epochs=epochs + 2, **changes)
    reporter = Epochs()
    with tempfile.TemporaryDirectory() as own:
        setup = setup_of(config, Path(own), count=images_of(network, batch))
        run_fold(setup, reporter)
    trained = len(setup.train_rows) // batch * batch
    return trained / statistics.median(reporter.seconds[2:])  # the first try out algorithms


class PlainLoop:
    """Model and optimizer as timm's train script builds them, in bf16 and channels_last."""

    def __init__(self, network: Network, optimizer: str) -> None:
        import timm
        from timm.optim import create_optimizer_v2

        model = timm.create_model(network.backbone, num_classes=CLASSES).to(GPU)
        self._model = model.to(memory_format=torch.channels_last).train()
        self._optimizer = create_optimizer_v2(self._model, opt=optimizer, lr=1e-3, weight_decay=0)

    def step(self, images: torch.Tensor, labels: torch.Tensor) -> None:
        """Forward, backward, optimizer; nothing is read on the host."""
        images = images.contiguous(memory_format=torch.channels_last)
        with torch.autocast("cuda", dtype=torch.bfloat16):
            loss = torch.nn.functional.cross_entropy(self._model(images), labels)
        loss.backward()
        self._optimizer.step()
        self._optimizer.zero_grad()


def step_alone(network: Network, batch: int, optimizer: str) -> float:
    """Images/s of a loop that repeats one batch on the device."""
    loop = PlainLoop(network, optimizer)
    images = torch.randn(batch, 3, network.side, network.side, device=GPU)
    labels = torch.arange(batch, device=GPU) % CLASSES
    seconds = []
    for _ in range(4):
        torch.cuda.synchronize()
        started = time.perf_counter()
        for _ in range(20):
            loop.step(images, labels)
        torch.cuda.synchronize()
        seconds.append(time.perf_counter() - started)
    return 20 * batch / min(seconds)


def timm_loader(network: Network, batch: int, optimizer: str, *, files: Path, epochs: int) -> float:
    """Images/s of timm's loader and the same loop, the median of the epochs after the first."""
    from timm.data import create_dataset, create_loader

    loader = create_loader(
        create_dataset("", root=str(files)),
        input_size=(3, network.side, network.side),
        batch_size=batch,
        is_training=True,
        no_aug=True,
        num_workers=max(2, (os.cpu_count() or 2) - 2),
        persistent_workers=True,
        device=GPU,
    )
    loop = PlainLoop(network, optimizer)
    seconds = []
    for _ in range(epochs + 1):
        started = time.perf_counter()
        for images, labels in loader:
            loop.step(images, labels)
        torch.cuda.synchronize()
        seconds.append(time.perf_counter() - started)
    return len(loader) * batch / statistics.median(seconds[1:])


def rates(folder: Path, backbones: Sequence[str] | None, *, epochs: int) -> None:
    """One line per network, batch size and optimizer."""
    lines = [line for line in LINES if not backbones or line[0].backbone in backbones]
    loaded_sides = {network.side for network, _, _ in lines} & {128, 224}
    files = {
        side: write_gratings(folder / f"{side}", count=count, height=side, width=side)
        for side, count in ((128, 2_048), (224, 1_024))
        if side in loaded_sides
    }
    slower = min(1.0, measured_copy() / COPY_BYTES_PER_S)
    print(
        "network                   batch optimizer    ours  augmented     step   loader"
        "   ours, augmented as share of the limit (of a limit lower by the copy bandwidth)"
    )
    for network, batch, optimizer in lines:
        plain, augmented = (
            ours(network, batch, optimizer, epochs=epochs, augmented=augmented)
            for augmented in (False, True)
        )
        alone = step_alone(network, batch, optimizer)
        loaded = (
            timm_loader(network, batch, optimizer, files=files[network.side], epochs=epochs)
            if network.side in files
            else float("nan")
        )
        shares = [f"{rate / network.limit:.0%}" for rate in (plain, augmented)]
        lower = [f"{rate / network.limit / slower:.0%}" for rate in (plain, augmented)]
        print(
            f"{network.backbone + '@' + str(network.side):26}{batch:5} {optimizer:9}"
            f"{plain:8.0f} {augmented:10.0f} {alone:8.0f} {loaded:8.0f}"
            f"   {', '.join(shares)} of {network.limit:,} ({', '.join(lower)})",
            flush=True,
        )
        torch.cuda.empty_cache()


def profile() -> None:
    """Kernels and device time of an epoch after the second."""
    from torch.profiler import ProfilerActivity

    cases = [
        ("no augmentation, adamw", RESNET18, 256, config_of(RESNET18, 256, "adamw", epochs=9)),
        ("four, adamw", RESNET18, 256, config_of(RESNET18, 256, "adamw", **FOUR)),
        (
            "four, madgrad, ema",
            RESNET18,
            256,
            config_of(RESNET18, 256, "madgrad", ema=0.99, **FOUR),
        ),
        ("no augmentation, adamw", RESNET50, 64, config_of(RESNET50, 64, "adamw")),
    ]
    for name, network, batch, config in cases:
        with tempfile.TemporaryDirectory() as own:
            fold_run = FoldRun(setup_of(config, Path(own), count=40 * batch), phases=NoPhases())
            for _ in range(2):
                fold_run.train_epoch(interrupted=lambda: False)
            started = time.perf_counter()
            fold_run.train_epoch(interrupted=lambda: False)
            seconds = time.perf_counter() - started
            with torch.profiler.profile(activities=[ProfilerActivity.CUDA]) as record:
                fold_run.train_epoch(interrupted=lambda: False)
        events = record.events()
        kernels = [e for e in events if e.device_type.name == "CUDA"]
        busy = sum(e.time_range.elapsed_us() for e in kernels) / 1e6
        launches = sum("LaunchKernel" in e.name for e in events)
        waits = sum("Synchronize" in e.name for e in events)
        print(
            f"{network.backbone}@{network.side}, batch {batch}, {name}: an epoch of 40 steps and "
            f"its scoring: {seconds * 1e3:.0f} ms, GPU busy {busy * 1e3:.0f} ms; per step "
            f"{len(kernels) / 40:.0f} kernels and copies, {launches / 40:.0f} launches; "
            f"{waits} waits of the host"
        )
        totals: dict[str, list[float]] = {}
        for kernel in kernels:
            totals.setdefault(kernel.name[:90], []).append(kernel.time_range.elapsed_us())
        for kernel, spent in sorted(totals.items(), key=lambda item: -sum(item[1]))[:14]:
            print(f"  {sum(spent) / 1e3:7.1f} ms {len(spent) / 40:6.1f} x {kernel}")


def memory() -> None:
    """Device memory before, and after each of five different trials in this process."""
    before = used_bytes(GPU)
    for number, (network, batch) in enumerate(
        [(RESNET18, 64), (RESNET50, 32), (EFFICIENTNET, 8), (VIT, 32), (RESNET18, 256)]
    ):
        with tempfile.TemporaryDirectory() as own:
            config = config_of(network, batch, "adamw", epochs=1, ema=0.9, **FOUR)
            run_fold(setup_of(config, Path(own), count=max(200, 4 * batch)), SilentReporter())
        after = used_bytes(GPU)
        left = leftover_bytes(before, after)
        print(
            f"  after trial {number}: {after / 2**20:.0f} MiB ({before / 2**20:.0f} before); "
            + (f"{left / 2**20:.0f} MiB too much: a new worker" if left else "the worker stays")
        )


def whole_folds(folder: Path) -> None:
    """`python -m trainer` on the sample data of the product."""
    from sweeps.samples.digits import write_digits
    from sweeps.samples.faces import write_faces

    write_digits(folder / "digits")
    write_faces(folder / "faces", persons=60)
    for name, fields in whole_fold_configs(folder):
        path = folder / f"{name}.yaml"
        path.write_text(fields)
        seconds = []
        for attempt in range(3):  # the first one decodes
            command = [sys.executable, "-m", "trainer", "--config", str(path), "--fold", "0"]
            command += ["--out", str(folder / f"out-{name}-{attempt}")]
            started = time.perf_counter()
            done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
            seconds.append(time.perf_counter() - started)
            if done.returncode:
                print(done.stderr[-3_000:])
                break
        else:
            said = ", ".join(f"{taken:.1f}" for taken in seconds)
            metrics = json.loads(done.stdout)["metrics"]
            print(f"  {name}: {said} s; macro-F1 {metrics['f1']:.4f}")


def whole_fold_configs(folder: Path) -> Iterator[tuple[str, str]]:
    """The search spaces' own choices."""
    yield (
        "digits",
        f"data: {{source: {folder}/digits/digits.csv, image: path, label: label}}\n"
        "folds: {k: 5, seed: 42}\nbackbone: test_resnet\nweights: none\nresize: 32\n"
        "batch_size: 64\nepochs: 5\n",
    )
    yield (
        "faces",
        f"data: {{source: {folder}/faces/images, layout: profile_folders, group: person,\n"
        "  label: [mask, gender, age], age_borders: [30, 60]}\n"
        "folds: {k: 5, seed: 42}\nbackbone: resnet18\nweights: none\nresize: 128\n"
        "batch_size: 64\nepochs: 5\nflip: 0.5\naffine: 0.5\n",
    )


if __name__ == "__main__":
    main()
