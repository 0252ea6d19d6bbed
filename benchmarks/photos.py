"""Pictures that compress and decode like photos: smooth shapes, fine texture, a little noise."""

from pathlib import Path

import numpy as np
from PIL import Image


def photo(seed: int, *, height: int, width: int, grain: float = 0) -> Image.Image:
    """One picture: octaves of noise from coarse to fine, each weaker; `grain` is noise on top, in grey levels."""
    rng = np.random.default_rng(seed)
    total = np.zeros((height, width, 3), dtype=np.float32)
    cells, strength = 4, 70.0
    while cells < max(height, width):
        coarse = rng.normal(0, strength, (max(2, cells * height // width), cells, 3)).clip(-255, 255)
        octave = Image.fromarray((coarse / 2 + 128).clip(0, 255).astype(np.uint8))
        total += (np.asarray(octave.resize((width, height), Image.Resampling.BICUBIC), dtype=np.float32) - 128) * 2
        cells, strength = cells * 2, strength * 0.62
    if grain:
        total += rng.normal(0, grain, total.shape).astype(np.float32)
    return Image.fromarray((total + 128).clip(0, 255).astype(np.uint8))


def write_photos(folder: Path, *, count: int, height: int, width: int, grain: float = 0, distinct: int = 8) -> Path:
    """A folder per class (two classes) of JPEGs, quality 90; `distinct` pictures, the rest with other noise on top."""
    base = [photo(seed, height=height, width=width, grain=grain) for seed in range(min(distinct, count))]
    rng = np.random.default_rng(0)
    for number in range(count):
        path = folder / f"class-{number % 2}" / f"{number:05d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        image = base[number % len(base)]
        if number >= len(base):  # other content, so that no two files are the same
            pixels = np.asarray(image).copy()
            pixels[:64, :64] = rng.integers(0, 256, (64, 64, 3))
            image = Image.fromarray(pixels)
        image.save(path, quality=90)
    return folder
