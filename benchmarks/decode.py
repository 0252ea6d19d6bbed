"""How fast do photos become the decoded cache?

    python benchmarks/decode.py

JPEGs of 4032x3024 become images of 256x256, on all cores, in two ways:
(a) torchvision's ImageFolder makes a full Pillow decode and an antialiased resize, through
DataLoader workers;
(b) `read_data_set` fills an empty cache, as `sweeps prepare` and `sweeps run` call it: every file
is read, hashed, judged, decoded and written to the cache.
The two ways run in turn, several times. Then the benchmark prints the difference between the pixels
of (b) and a full decode that is resampled by areas.
"""

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
from photos import write_photos
from PIL import Image
from report import mean_std, print_header

HEIGHT = 3024
WIDTH = 4032
SIDE = 256
# These make smooth, grainy and very grainy photos. The larger the file, the larger the share of the
# time that its Huffman codes take.
GRAINS = (0, 6, 12)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=int, default=48)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    print_header("pillow", "torch", "torchvision")
    for grain in GRAINS:
        with tempfile.TemporaryDirectory() as name:
            folder = write_photos(
                Path(name) / "photos", count=options.photos, height=HEIGHT, width=WIDTH, grain=grain
            )
            compare(folder, Path(name), photos=options.photos, repeats=options.repeats)


def compare(folder: Path, caches: Path, *, photos: int, repeats: int) -> None:
    """Both ways in turn; prints images per second."""
    size_bytes = statistics.fmean(path.stat().st_size for path in folder.rglob("*.jpg"))
    print(
        f"photos    {photos} JPEGs of {WIDTH}x{HEIGHT}, {size_bytes / 1e6:.1f} MB each, "
        f"to {SIDE}x{SIDE}"
    )
    rates: dict[str, list[float]] = {"ImageFolder": [], "ours": []}
    for repeat in range(repeats):
        rates["ImageFolder"].append(photos / image_folder(folder))
        os.environ["SWEEPS_CACHE"] = f"{caches}/cache-{repeat}"
        rates["ours"].append(photos / ours(folder))
    for what, measured in rates.items():
        print(f"  {what:12} {mean_std(measured, digits=2)} images/s")
    ratio = statistics.fmean(rates["ours"]) / statistics.fmean(rates["ImageFolder"])
    print(f"  ours / ImageFolder: {ratio:.2f} (asked: at least 3.5)")
    differences = [difference(path) for path in sorted(folder.rglob("*.jpg"))[:8]]
    print(
        "  mean absolute difference to a full decode by areas: "
        f"{mean_std(differences)} grey levels, "
        f"largest {max(differences):.3f} (asked: at most 2)"
    )


def image_folder(folder: Path) -> float:
    """Seconds for one pass of the usual way."""
    from torch.utils.data import DataLoader
    from torchvision.datasets import ImageFolder
    from torchvision.transforms import v2

    resize = v2.Compose(
        [v2.Resize((SIDE, SIDE)), v2.PILToTensor()]
    )  # on PIL images, which is the faster order
    started = time.perf_counter()
    for _ in DataLoader(
        ImageFolder(str(folder), transform=resize), batch_size=8, num_workers=os.cpu_count() or 1
    ):
        pass
    return time.perf_counter() - started


def ours(folder: Path) -> float:
    """Seconds from an empty cache to a full one."""
    from trainer.data.data_set import ReadOptions, read_data_set
    from trainer.data.options import DataOptions
    from trainer.images.preprocessing import Preprocessing

    started = time.perf_counter()
    found = read_data_set(
        DataOptions(source=str(folder)), read=ReadOptions(choices=[Preprocessing((SIDE, SIDE))])
    )
    seconds = time.perf_counter() - started
    assert not found.rejected
    return seconds


def difference(path: Path) -> float:
    """Mean absolute difference in grey levels between our decode and the full one."""
    from trainer.images.decode import decode
    from trainer.images.preprocessing import Preprocessing, Reading

    ours_HWC = decode(path.read_bytes(), Preprocessing((SIDE, SIDE)), reading=Reading())
    with Image.open(path) as image:
        full_HWC = np.asarray(image.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BOX))
    return float(np.abs(ours_HWC.astype(int) - full_HWC.astype(int)).mean())


if __name__ == "__main__":
    main()
