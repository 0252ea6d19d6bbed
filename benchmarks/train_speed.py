"""How fast is a fold run, from files to scores, and does it learn as well?

    python benchmarks/train_speed.py

ResNet-18 trains for five epochs from random weights at 128x128, in batches of 32, with AdamW and a
cosine; every epoch is scored on the held-out fold. The generated photos have four classes and come
from JPEG files of 384x512 and of 4032x3024. There are three ways:

(a) a plain PyTorch loop uses a DataLoader with 2 workers on the files, torchvision's CPU
    transforms, float32 and the contiguous memory format;
(b) a loop uses timm's own loader over files that are 128x128 already, and channels_last: the best
    case of that loader;
(c) `run_fold` trains from either kind of file; reading the data set, cutting it and building the
    decoded cache are included.

The seeds run in turn, (a) and (c) of each. Images/s is the number of images trained on over the
time of everything. `gpu.py` measures training on a GPU.
"""

import argparse
import dataclasses
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from photos import write_gratings
from report import mean_std, print_header

SIDE = 128
BATCH = 32
LR = 1e-3
# Each source has a height, a width, a number of images, a grain in grey levels, and the images per
# second that (c) must reach, as a multiple of those of (a).
SOURCES = {
    "384x512": (512, 384, 320, 0, 1.1),
    "4032x3024": (3024, 4032, 96, 7, 5.0),
    "4032x3024-grainy": (3024, 4032, 96, 12, 5.0),
}
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)


@dataclasses.dataclass(frozen=True)
class Outcome:
    """One training: images per second over everything, and accuracy on the held-out fold."""

    rate: float
    accuracy: float


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--only", choices=[*SOURCES, "timm", "profile"], help="one part of it")
    options = parser.parse_args()
    print_header("torch", "torchvision", "timm", "pillow")
    torch.set_num_threads(os.cpu_count() or 1)
    with tempfile.TemporaryDirectory() as name:
        for source in SOURCES:
            if options.only in (None, source):
                compare_with_plain(Path(name), source, seeds=options.seeds, epochs=options.epochs)
        if options.only in (None, "timm"):
            compare_with_timm(Path(name), seeds=options.seeds, epochs=options.epochs)
        if options.only in (None, "profile"):
            profile(Path(name))


def compare_with_plain(folder: Path, source: str, *, seeds: int, epochs: int) -> None:
    """(a) and (c) in turn."""
    height, width, count, grain, asked = SOURCES[source]
    files = write_gratings(folder / source, count=count, height=height, width=width, grain=grain)
    size_mb = statistics.fmean(path.stat().st_size for path in files.glob("*/*.jpg")) / 1e6
    print(
        f"source    {count} JPEGs of {source}, {size_mb:.2f} MB each; "
        f"{epochs} epochs at {SIDE}x{SIDE}"
    )
    found: dict[str, list[Outcome]] = {"plain loop": [], "foldsweep": []}
    for seed in range(seeds):
        found["plain loop"].append(plain_loop(files, seed=seed, epochs=epochs))
        found["foldsweep"].append(ours(files, seed=seed, epochs=epochs))
    tell(found, asked=asked)


def compare_with_timm(folder: Path, *, seeds: int, epochs: int) -> None:
    """Run (b) and (c) in turn, over files that need no resizing.

    (c) decodes the files once, and this counts as part of its time.
    """
    files = write_gratings(folder / "small", count=320, height=SIDE, width=SIDE)
    print(f"source    320 JPEGs of {SIDE}x{SIDE}; {epochs} epochs")
    found: dict[str, list[Outcome]] = {"timm loader": [], "foldsweep": []}
    for seed in range(seeds):
        found["timm loader"].append(timm_loop(files, seed=seed, epochs=epochs))
        found["foldsweep"].append(ours(files, seed=seed, epochs=epochs))
    tell(found, asked=1.0)


def tell(found: dict[str, list[Outcome]], *, asked: float) -> None:
    """Rates, accuracies, and the ratio."""
    for name, outcomes in found.items():
        rates = [o.rate for o in outcomes]
        accuracies = [o.accuracy for o in outcomes]
        print(f"  {name:12} {mean_std(rates, digits=1)} images/s; accuracy {mean_std(accuracies)}")
    (base, theirs), (_, own) = found.items()
    ratios = [mine.rate / other.rate for mine, other in zip(own, theirs, strict=True)]
    print(f"  foldsweep / {base}: {mean_std(ratios, digits=2)} (asked: at least {asked})")


def plain_loop(files: Path, *, seed: int, epochs: int) -> Outcome:
    """(a): what the four projects had."""
    from torch.utils.data import DataLoader, Subset
    from torchvision.datasets import ImageFolder
    from torchvision.transforms import v2

    steps = [
        v2.Resize((SIDE, SIDE)),
        v2.PILToTensor(),
        v2.ToDtype(torch.float32, scale=True),
        v2.Normalize(MEAN, STD),
    ]
    train_paths = training_files(files)
    started = time.perf_counter()
    images = ImageFolder(str(files), transform=v2.Compose(steps))
    inside = [row for row, (path, _) in enumerate(images.samples) if path in train_paths]
    outside = [row for row, (path, _) in enumerate(images.samples) if path not in train_paths]
    torch.manual_seed(seed)
    kept = {"batch_size": BATCH, "num_workers": 2, "persistent_workers": True}
    train = DataLoader(Subset(images, inside), shuffle=True, drop_last=True, **kept)
    valid = DataLoader(Subset(images, outside), **kept)
    accuracy = train_plainly(train, valid, epochs=epochs, memory_format=torch.contiguous_format)
    return Outcome(epochs * len(inside) / (time.perf_counter() - started), accuracy)


def timm_loop(files: Path, *, seed: int, epochs: int) -> Outcome:
    """(b): timm's loader; on the CPU it has no prefetcher."""
    from timm.data import create_dataset, create_loader

    train_paths = training_files(files)
    started = time.perf_counter()
    torch.manual_seed(seed)
    images = create_dataset("", root=str(files))
    rows = {
        inside: [
            r
            for r, (path, _) in enumerate(images.reader.samples)
            if (path in train_paths) == inside
        ]
        for inside in (True, False)
    }
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    shape = {
        "input_size": (3, SIDE, SIDE),
        "batch_size": BATCH,
        "num_workers": 2,
        "mean": MEAN,
        "std": STD,
        "crop_pct": 1.0,
    }
    loaders = []
    for is_training in (True, False):
        part = torch.utils.data.Subset(create_dataset("", root=str(files)), rows[is_training])
        part.transform = None  # create_loader sets it on what it is given
        loader = create_loader(
            part,
            is_training=is_training,
            no_aug=True,
            use_prefetcher=device.type == "cuda",
            device=device,
            **shape,
        )
        part.dataset.transform = part.transform
        loaders.append(loader)
    accuracy = train_plainly(*loaders, epochs=epochs, memory_format=torch.channels_last)
    return Outcome(epochs * len(rows[True]) / (time.perf_counter() - started), accuracy)


def train_plainly(train, valid, *, epochs: int, memory_format: torch.memory_format) -> float:
    """The loop of (a) and (b)."""
    import timm

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = timm.create_model("resnet18", num_classes=4).to(device).to(memory_format=memory_format)
    optimizer = torch.optim.AdamW(model.parameters(), lr=LR, weight_decay=0)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * len(train))
    accuracy = 0.0
    for _ in range(epochs):
        model.train()
        for images, labels in train:
            images = images.to(device).contiguous(memory_format=memory_format)
            labels = labels.to(device)
            with torch.autocast("cuda", dtype=torch.bfloat16, enabled=device.type == "cuda"):
                loss = torch.nn.functional.cross_entropy(model(images), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            scheduler.step()
        accuracy = score(model, valid, device, memory_format)
    return accuracy


@torch.inference_mode()
def score(
    model: torch.nn.Module, valid, device: torch.device, memory_format: torch.memory_format
) -> float:
    """Accuracy."""
    model.eval()
    right = total = 0
    for images, labels in valid:
        said = model(images.to(device).contiguous(memory_format=memory_format)).argmax(dim=1).cpu()
        right += int((said == labels.cpu()).sum())
        total += len(labels)
    return right / total


def ours(files: Path, *, seed: int, epochs: int) -> Outcome:
    """(c), with a cache folder of its own: everything is read, judged, decoded and trained on."""
    from trainer.config import TrainConfig
    from trainer.images.cache import open_images
    from trainer.training.fit import pick_device, run_fold
    from trainer.training.fold_setup import FoldSetup
    from trainer.training.reporter import SilentReporter

    config = TrainConfig(
        weights="none",
        resize=SIDE,
        batch_size=BATCH,
        epochs=epochs,
        lr=LR,
        weight_decay=0,
        normalise="imagenet",
        seed=seed,
    )
    with tempfile.TemporaryDirectory() as own:
        os.environ["SWEEPS_CACHE"] = f"{own}/cache"
        started = time.perf_counter()
        folds = cut(files, choices=[config.preprocessing])
        images = open_images(folds.manifest, config.preprocessing, threads=os.cpu_count() or 1)
        setup = FoldSetup(
            config=config,
            images=[images],
            folds=folds,
            fold=0,
            directory=Path(own) / "fold-0",
            device=pick_device(),
            threads=os.cpu_count() or 1,
        )
        result = run_fold(setup, SilentReporter())
        seconds = time.perf_counter() - started
    return Outcome(epochs * len(folds.train_rows(0)) / seconds, result.metrics["accuracy"])


def cut(files: Path, *, choices=()):
    """The folds that all ways train on."""
    from trainer.data.cut import cut_data
    from trainer.data.data_set import ReadOptions
    from trainer.data.options import DataOptions, FoldOptions

    return cut_data(
        DataOptions(source=str(files)), FoldOptions(k=5), read=ReadOptions(choices=list(choices))
    ).folds


def training_files(files: Path) -> set[str]:
    """Paths of fold 0's training part, not counted in anybody's time."""
    with tempfile.TemporaryDirectory() as own:
        os.environ["SWEEPS_CACHE"] = own
        folds = cut(files)
    return {str(folds.manifest.file(row)) for row in folds.train_rows(0)}


def profile(folder: Path) -> None:
    """Where an epoch's time goes, and what a checkpoint after each would cost."""
    from trainer.config import TrainConfig
    from trainer.images.images import Decoded
    from trainer.learning.phases import TimedPhases
    from trainer.training.fit import pick_device, run_fold
    from trainer.training.fold_setup import FoldSetup
    from trainer.training.reporter import SilentReporter

    files = write_gratings(folder / "profile", count=320, height=SIDE, width=SIDE)
    with tempfile.TemporaryDirectory() as own:
        os.environ["SWEEPS_CACHE"] = own
        folds = cut(files)
    images = Decoded(
        np.random.default_rng(0).integers(0, 256, (320, SIDE, SIDE, 3), dtype=np.uint8)
    )
    for augmentation in ({}, {"flip": 0.5, "affine": 0.5, "jitter": 0.5, "cutmix": 0.5}):
        for optimizer in ("adamw", "madgrad"):
            config = TrainConfig(
                weights="none",
                resize=SIDE,
                batch_size=BATCH,
                epochs=4,
                optimizer=optimizer,
                **augmentation,
            )
            phases = TimedPhases(pick_device())
            with tempfile.TemporaryDirectory() as own:
                setup = FoldSetup(
                    config=config,
                    images=[images],
                    folds=folds,
                    fold=0,
                    directory=Path(own),
                    device=pick_device(),
                    threads=os.cpu_count() or 1,
                )
                result = run_fold(setup, SilentReporter(), phases=phases, checkpoint_every_s=0)
            print(
                f"profile   {optimizer}, {', '.join(augmentation) or 'no augmentation'}: "
                "an epoch of 256 images"
            )
            for line in shares(phases.seconds, result.seconds):
                print(f"  {line}")


def shares(seconds: dict[str, float], total: float) -> Iterator[str]:
    """Each phase as a share of the epochs; a checkpoint is written at most every 60 s."""
    for name, spent in seconds.items():
        if name != "checkpoint":
            yield f"{name:10} {spent / total:6.1%}"
    each = seconds["checkpoint"] / 3
    yield f"checkpoint {each:.2f} s each: {each / 60:.1%} of the time at one per 60 s"


if __name__ == "__main__":
    main()
