"""How fast are the batches of an epoch delivered, without a model?

    python benchmarks/epoch.py

The batches are shuffled, normalised and float, of 256x256 pixels, made from sources of 4032x3024
and of 384x512. They are timed from the second epoch on, in three ways:
(a) torch's DataLoader reads an ImageFolder with 2 persistent workers;
(b) `Batches` reads the decoded cache;
(c) `Batches` reads images that are decoded batch by batch, as when data.cache_gb is too small.
The epochs of the three ways run in turn.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from photos import write_photos
from report import mean_std, print_header

SIDE = 256
BATCH = 32
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
SOURCES = {
    "4032x3024": (3024, 4032, 64, 100),
    "384x512": (512, 384, 1_024, 10),
}  # height, width, images, asked for


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--epochs", type=int, default=4, help="measured ones, after one that is not counted"
    )
    options = parser.parse_args()
    print_header("pillow", "torch", "torchvision")
    with tempfile.TemporaryDirectory() as name:
        os.environ["SWEEPS_CACHE"] = f"{name}/cache"
        for source, (height, width, count, asked) in SOURCES.items():
            folder = write_photos(Path(name) / source, count=count, height=height, width=width)
            print(f"source    {count} JPEGs of {source}, batches of {BATCH} at {SIDE}x{SIDE}")
            compare(folder, epochs=options.epochs, asked=asked)


def compare(folder: Path, *, epochs: int, asked: int) -> None:
    """Epochs of every way in turn; prints images per second."""
    ways = {"DataLoader": data_loader(folder), **ours(folder)}
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for epoch in range(epochs + 1):
        for name, deliver in ways.items():
            started = time.perf_counter()
            images = deliver(epoch)
            if epoch:
                rates[name].append(images / (time.perf_counter() - started))
    for name, measured in rates.items():
        print(f"  {name:12} {mean_std(measured, digits=1)} images/s")
    for name in ("decoded", "streamed"):
        ratio = statistics.fmean(rates[name]) / statistics.fmean(rates["DataLoader"])
        print(
            f"  {name} / DataLoader: {ratio:.1f}"
            + (f" (asked: at least {asked})" if name == "decoded" else "")
        )


def data_loader(folder: Path) -> Callable[[int], int]:
    """The usual way."""
    from torch.utils.data import DataLoader
    from torchvision.datasets import ImageFolder
    from torchvision.transforms import v2

    steps = [
        v2.Resize((SIDE, SIDE)),
        v2.PILToTensor(),
        v2.ToDtype(torch.float32, scale=True),
    ]  # on PIL images
    images = ImageFolder(str(folder), transform=v2.Compose([*steps, v2.Normalize(MEAN, STD)]))
    loader = DataLoader(
        images,
        batch_size=BATCH,
        shuffle=True,
        num_workers=2,
        persistent_workers=True,
        drop_last=True,
    )
    return lambda epoch: sum(len(labels) for _, labels in loader)


def ours(folder: Path) -> dict[str, Callable[[int], int]]:
    """The decoded cache, and decoding per batch."""
    import numpy as np

    from trainer.data.data_set import ReadOptions, read_data_set
    from trainer.data.options import DataOptions
    from trainer.images.batches import Batches, even_batches
    from trainer.images.cache import open_images
    from trainer.images.order import epoch_rows
    from trainer.images.preprocessing import Preprocessing

    how = Preprocessing((SIDE, SIDE))
    manifest = read_data_set(
        DataOptions(source=str(folder)), read=ReadOptions(choices=[how])
    ).manifest
    rows = np.arange(len(manifest))

    def way(streamed: list[str]) -> Callable[[int], int]:
        images = open_images(manifest, how, streamed=streamed, threads=2)
        batches = Batches(images, device=torch.device("cpu"), mean_std=(MEAN, STD))

        def deliver(epoch: int) -> int:
            order = epoch_rows(rows, manifest.labels_N, sampling="shuffled", seed=epoch)
            pixels = batches.pixels(even_batches(order, batch_size=BATCH))
            return sum(len(batches.normalised(pixels_BHWC)) for pixels_BHWC in pixels)

        return deliver

    return {"decoded": way([]), "streamed": way([how.key])}


if __name__ == "__main__":
    main()
