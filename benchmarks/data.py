"""What does a large data set cost before the first image is decoded,
and how much memory does training on one take?

    python benchmarks/data.py

(1) There are 200,000 rows: files on disk, 28,572 persons with seven photos each, 18 classes. The
benchmark makes the manifest, cleans the rows, makes folds with and without groups, and searches for
leaks. It does not read the images. It prints the seconds and the peak memory of a process of its
own.
(2) It clusters 20,000 and 200,000 fingerprints, which stand for frames of videos.
(3) It measures the private memory (anonymous pages) of a fold run over a decoded cache of 2 GB and
of one over a cache of 256 images. A tiny network trains an epoch over the whole cache. A ResNet-18
trains on 256 of its images, with small and with usual batches. The difference between the two
figures is what the large cache costs.
"""

import argparse
import csv
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from photos import photo
from report import mean_std, print_header

if TYPE_CHECKING:
    from trainer.data.fold_column import HOLDOUT
    from trainer.images.manifest import Manifest

ROWS = 200_000
PHOTOS = 7
SIDE = 256
CACHED = 2 * 10**9 // (SIDE * SIDE * 3) + 1
FEW = 256


def main() -> None:
    """Measure and print.

    Each part runs in a process of its own, because the peak memory of a process never goes down.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument(
        "--part", choices=["rows", "clusters", "memory", "fold_run"], help=argparse.SUPPRESS
    )
    parser.add_argument("--fold-run", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part == "fold_run":
        fold_run(options.folder, options.fold_run)
        return
    if options.part:
        {"rows": rows, "clusters": clusters, "memory": memory}[options.part](
            options.folder, options.repeats
        )
        return
    print_header("numpy", "pandas", "torch")
    with tempfile.TemporaryDirectory() as name:
        for part in ("rows", "clusters", "memory"):
            command = [
                sys.executable,
                __file__,
                "--part",
                part,
                "--folder",
                name,
                "--repeats",
                str(options.repeats),
            ]
            environment = {**os.environ, "SWEEPS_CACHE": f"{name}/cache"}
            subprocess.run(command, check=True, env=environment)


def rows(folder: Path, repeats: int) -> None:
    """200,000 rows."""
    from trainer.data.cleaning import FileFacts, clean
    from trainer.data.folds import deviations, make_folds
    from trainer.data.leaks import signs_of_leaks
    from trainer.data.options import DataOptions
    from trainer.data.sources import read_table
    from trainer.images.manifest import DIGEST, Manifest, order_classes

    source = _write_rows(folder)
    rng = np.random.default_rng(0)
    facts = FileFacts(
        errors={},
        sizes_N2=np.full((ROWS, 2), 512, dtype=np.int32),
        traits_N=np.zeros(ROWS, dtype=np.uint16),
        digests_N=np.frombuffer(rng.bytes(16 * ROWS), dtype=DIGEST),
    )
    seconds: dict[str, list[float]] = {}

    def timed(what: str, started: float) -> float:
        now = time.perf_counter()
        seconds.setdefault(what, []).append(now - started)
        return now

    for _ in range(repeats):
        begun = at = time.perf_counter()
        data = DataOptions(source=str(source), label=["mask", "gender", "age"], group="person")
        table = read_table(data)
        cleaned = clean(table, facts, data)
        parts, labels_N = order_classes(
            cleaned.labels, label_columns=table.label_columns, orders={}
        )
        common = {
            "root": table.root,
            "paths": tuple(table.paths),
            "labels_N": labels_N,
            "classes": tuple(" / ".join(part) for part in parts),
            "lines": tuple(table.lines),
        }
        at = timed("manifest (CSV, files exist, cleaning)", at)
        assert table.groups is not None
        grouped = make_folds(Manifest(**common, groups=tuple(table.groups)), k=5, seed=0)
        deviations(grouped)
        at = timed("folds of whole groups, validated", at)
        plain = make_folds(Manifest(**common), k=5, seed=0)
        at = timed("folds without groups", at)
        signs = signs_of_leaks(plain.manifest, plain.fold_N, digests=facts.digests_N)
        assert {sign.kind for sign in signs} >= {"folder"}
        timed("signs of leaks", at)
        timed("together", begun)
    print(f"200,000 rows, {ROWS // PHOTOS + 1:,} groups, 18 classes (asked: 15 s and 1.5 GB)")
    for what, measured in seconds.items():
        print(f"  {what:38} {mean_std(measured, digits=2)} s")
    print(f"  peak memory of the process             {_status('VmHWM') / 1e9:.2f} GB")


def _write_rows(folder: Path) -> Path:
    """Hard links to a few tiny JPEGs: as many files as rows."""
    originals = []
    for number in range(8):
        originals.append(folder / f"original-{number}.jpg")
        photo(number, height=32, width=24).save(originals[-1])
    source = folder / "rows" / "train.csv"
    source.parent.mkdir()
    with source.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("path", "mask", "gender", "age", "person"))
        for row in range(ROWS):
            person = row // PHOTOS
            path = f"{person:06d}_person/photo{row % PHOTOS}.jpg"
            (source.parent / path).parent.mkdir(exist_ok=True)
            os.link(originals[row % len(originals)], source.parent / path)
            mask = ("worn", "wrong", "none")[max(0, row % PHOTOS - 4)]
            writer.writerow(
                (path, mask, "fm"[person % 2], ("young", "middle", "old")[person % 7 // 3], person)
            )
    return source


def clusters(folder: Path, repeats: int) -> None:
    """Frames of videos: each differs from the one before in a few bits of 256."""
    from trainer.data.duplicates import near_duplicate_clusters

    for count, times in ((20_000, repeats), (ROWS, repeats)):
        rng = np.random.default_rng(0)
        bits = rng.random((count, 256)) < 0.5
        for start in range(0, count, 20):  # videos of 20 frames
            for frame in range(start + 1, min(start + 20, count)):
                bits[frame] = bits[frame - 1]
                bits[frame, rng.integers(0, 256, 4)] ^= True
        hashes_N4 = np.packbits(bits, axis=1).view(">u8").astype(np.uint64)
        seconds = []
        for _ in range(times):
            started = time.perf_counter()
            found = near_duplicate_clusters(hashes_N4, distance=16)
            seconds.append(time.perf_counter() - started)
        asked = " (asked: 60)" if count == 20_000 else ""
        print(
            f"clustering {count:,} fingerprints into {len(np.unique(found)):,}: "
            f"{mean_std(seconds, digits=1)} s{asked}"
        )


def memory(folder: Path, repeats: int) -> None:
    """Peaks of fold runs over 2 GB and over 256 images, each in a process of its own."""
    for cached in (CACHED, FEW):
        _fill_cache(_manifest(folder, cached))
    for backbone, batch_size, used in (
        ("test_resnet", 16, CACHED),
        ("resnet18", 8, FEW),
        ("resnet18", 32, FEW),
    ):
        peaks = []
        for cached in (CACHED, FEW):
            command = [sys.executable, __file__, "--part", "fold_run", "--folder", str(folder)]
            run = f"{backbone},{batch_size},{min(used, cached)},{cached}"
            done = subprocess.run(
                [*command, "--fold-run", run], check=True, capture_output=True, text=True
            )
            peaks.append(int(done.stdout) / 1e9)
        large, small = (cached * SIDE * SIDE * 3 / 1e9 for cached in (CACHED, FEW))
        print(
            f"fold run of {backbone}, batches of {batch_size}, {used:,} images: "
            f"peak private memory {peaks[0]:.2f} GB over {large:.1f} GB of decoded images "
            f"(asked: 1.2), {peaks[1]:.2f} GB over {small:.2f} GB"
        )


def _manifest(folder: Path, count: int) -> "Manifest":
    from trainer.images.manifest import DIGEST, Manifest

    return Manifest(
        root=folder / str(count),
        paths=tuple(f"{row}.jpg" for row in range(count)),
        labels_N=np.arange(count) % 4,
        classes=tuple("abcd"),
        lines=(0,) * count,
        digests_N=np.frombuffer(np.random.default_rng(count).bytes(16 * count), dtype=DIGEST),
    )


def _fill_cache(manifest: "Manifest") -> None:
    from trainer.images.cache import pool_of
    from trainer.images.pool import PoolWriter
    from trainer.images.preprocessing import Preprocessing

    rng = np.random.default_rng(0)
    assert manifest.digests_N is not None
    with PoolWriter(
        pool_of(manifest.root, Preprocessing((SIDE, SIDE)), reading=manifest.reading)
    ) as writer:
        for key in manifest.digests_N.tolist():
            writer.add(key, rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8))


def fold_run(folder: Path, run: str) -> None:
    """Train one fold run and print its peak private memory in bytes.

    The peak is read from the anonymous pages while the fold run trains.
    """
    import torch

    from trainer.config import TrainConfig
    from trainer.data.folds import Folds
    from trainer.images.cache import open_images
    from trainer.images.preprocessing import Preprocessing
    from trainer.training.fit import run_fold
    from trainer.training.fold_setup import FoldSetup

    backbone, *numbers = run.split(",")
    batch_size, used, cached = map(int, numbers)
    manifest = _manifest(folder, cached)
    images = open_images(manifest, Preprocessing((SIDE, SIDE)), threads=2)
    fold_N = np.full(cached, HOLDOUT)
    fold_N[:used] = np.arange(used) % 5
    peak = 0
    done = threading.Event()

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.02):
            peak = max(peak, _status("RssAnon"))

    watcher = threading.Thread(target=watch)
    watcher.start()
    setup = FoldSetup(
        config=TrainConfig(
            backbone=backbone, weights="none", resize=SIDE, epochs=1, batch_size=batch_size
        ),
        images=[images],
        folds=Folds(manifest=manifest, fold_N=fold_N, k=5, seed=0),
        fold=0,
        directory=folder / run,
        device=torch.device("cpu"),
        threads=2,
    )
    run_fold(setup, Quiet())
    done.set()
    watcher.join()
    print(peak)


class Quiet:
    """A reporter that lets every fold run go on."""

    def epoch(self, report: object) -> bool:
        """Go on."""
        return True

    def past(self, report: object) -> bool:
        """Go on."""
        return True

    def owns(self) -> bool:
        """Always."""
        return True

    def interrupted(self) -> bool:
        """Never."""
        return False


def _status(key: str) -> int:
    """A line of /proc/self/status in bytes (Linux)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(key):
            return int(line.split()[1]) * 1024
    raise KeyError(key)


if __name__ == "__main__":
    main()
