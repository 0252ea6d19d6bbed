"""What does a large data set cost before the first image is decoded, and how much memory does training on one take?

    python benchmarks/data.py

(1) 200,000 rows (files on disk, 28,572 persons with seven photos each, 18 classes): manifest, cleaning, folds with and
without groups, and the search for leaks, without reading the images; seconds and peak memory of a process of its own.
(2) Clustering 20,000 and 200,000 fingerprints, frames of videos. (3) Private memory (anonymous pages) of a fold run
over a decoded cache of 2 GB: an epoch over all of it with a tiny network, and a ResNet-18 on 256 of its images.
"""

import argparse
import csv
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from photos import photo
from report import mean_std, print_header

ROWS, PHOTOS = 200_000, 7
SIDE = 256
CACHED = 2 * 10**9 // (SIDE * SIDE * 3) + 1


def main() -> None:
    """Measure and print; each part in a process of its own, since peaks of memory do not go away."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--part", choices=["rows", "clusters", "memory"], help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part:
        {"rows": rows, "clusters": clusters, "memory": memory}[options.part](options.folder, options.repeats)
        return
    print_header("numpy", "pandas", "torch")
    with tempfile.TemporaryDirectory() as name:
        for part in ("rows", "clusters", "memory"):
            command = [sys.executable, __file__, "--part", part, "--folder", name, "--repeats", str(options.repeats)]
            environment = {**os.environ, "SWEEPS_CACHE": f"{name}/cache"}
            subprocess.run(command, check=True, env=environment)


def rows(folder: Path, repeats: int) -> None:
    """200,000 rows."""
    from trainer.data.cleaning import FileFacts, clean
    from trainer.data.folds import deviations, make_folds
    from trainer.data.leaks import signs_of_leaks
    from trainer.data.manifest import DIGEST, Manifest, order_classes
    from trainer.data.options import DataOptions
    from trainer.data.sources import read_table

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
        parts, labels_N = order_classes(cleaned.labels, label_columns=table.label_columns, orders={})
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
            writer.writerow((path, mask, "fm"[person % 2], ("young", "middle", "old")[person % 7 // 3], person))
    return source


def clusters(folder: Path, repeats: int) -> None:
    """Frames of videos: each differs from the one before in a few bits of 256."""
    from trainer.data.duplicates import near_duplicate_clusters

    for count, times in ((20_000, repeats), (ROWS, 1)):
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
            f"clustering {count:,} fingerprints into {len(np.unique(found)):,}: {mean_std(seconds, digits=1)} s{asked}"
        )


def memory(folder: Path, repeats: int) -> None:
    """Peak private memory over a cache of 2 GB, read from the anonymous pages while it trains."""
    import threading

    import torch

    from trainer.config import TrainConfig
    from trainer.data.cache import PoolWriter, open_images, pool_of
    from trainer.data.folds import HOLDOUT, Folds
    from trainer.data.manifest import DIGEST, Manifest
    from trainer.data.preprocessing import Preprocessing
    from trainer.fit import run_fold
    from trainer.reporter import EpochReport

    how = Preprocessing((SIDE, SIDE))
    rng = np.random.default_rng(0)
    manifest = Manifest(
        root=folder,
        paths=tuple(f"{row}.jpg" for row in range(CACHED)),
        labels_N=np.arange(CACHED) % 4,
        classes=tuple("abcd"),
        lines=(0,) * CACHED,
        digests_N=np.frombuffer(rng.bytes(16 * CACHED), dtype=DIGEST),
    )
    with PoolWriter(pool_of(folder, how, reading=manifest.reading)) as writer:
        assert manifest.digests_N is not None
        for key in manifest.digests_N.tolist():
            writer.add(key, rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8))
    images = open_images(manifest, how, threads=2)
    peak = 0
    done = threading.Event()

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.02):
            peak = max(peak, _status("RssAnon"))

    class Reporter:
        def epoch(self, report: EpochReport) -> bool:
            return True

        def interrupted(self) -> bool:
            return False

    watcher = threading.Thread(target=watch)
    watcher.start()
    some = np.full(CACHED, HOLDOUT)
    some[:256] = np.arange(256) % 2
    for backbone, fold_N in (("test_resnet", np.arange(CACHED) % 5), ("resnet18", some)):
        config = TrainConfig(backbone=backbone, weights="none", resize=SIDE, epochs=1, batch_size=32)
        folds = Folds(manifest=manifest, fold_N=fold_N, k=2, seed=0)
        peak = 0
        run_fold(
            config,
            images,
            folds,
            fold=0,
            directory=folder / backbone,
            reporter=Reporter(),
            device=torch.device("cpu"),
            threads=2,
        )
        used = len(folds.train_rows(0)) + len(folds.valid_rows(0))
        print(
            f"fold run of {backbone} on {used:,} of {CACHED:,} images (2.0 GB decoded): peak private memory "
            f"{max(peak, _status('RssAnon')) / 1e9:.2f} GB (asked: 1.2)"
        )
    done.set()
    watcher.join()


def _status(key: str) -> int:
    """A line of /proc/self/status in bytes (Linux)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(key):
            return int(line.split()[1]) * 1024
    raise KeyError(key)


if __name__ == "__main__":
    main()
