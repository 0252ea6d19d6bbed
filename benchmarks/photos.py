"""Pictures that compress and decode like photos: smooth shapes, fine texture, a little noise."""

from pathlib import Path

import numpy as np
from PIL import Image


def photo(seed: int, *, height: int, width: int, grain: float = 0) -> Image.Image:
    """Draw one picture: octaves of noise from coarse to fine, each weaker than the one before.

    `grain` is the standard deviation of the noise on top, in grey levels.
    """
    rng = np.random.default_rng(seed)
    total = np.zeros((height, width, 3), dtype=np.float32)
    cells = 4
    strength = 70.0
    while cells < max(height, width):
        coarse = rng.normal(0, strength, (max(2, cells * height // width), cells, 3)).clip(
            -255, 255
        )
        octave = Image.fromarray((coarse / 2 + 128).clip(0, 255).astype(np.uint8))
        total += (
            np.asarray(octave.resize((width, height), Image.Resampling.BICUBIC), dtype=np.float32)
            - 128
        ) * 2
        cells *= 2
        strength *= 0.62
    if grain:
        total += rng.normal(0, grain, total.shape).astype(np.float32)
    return Image.fromarray((total + 128).clip(0, 255).astype(np.uint8))


def with_grating(
    image: Image.Image, kind: int, *, kinds: int, seed: int, strength: float
) -> Image.Image:
    """Lay a faint sine wave over the picture, whose direction is its class.

    A network can learn these classes, but the task is not trivial.
    """
    rng = np.random.default_rng(seed)
    width, height = image.size
    angle = np.pi * kind / kinds
    phase = rng.uniform(0, 2 * np.pi)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32) / min(height, width)
    wave = np.sin(2 * np.pi * rng.uniform(6, 10) * (x * np.cos(angle) + y * np.sin(angle)) + phase)
    return Image.fromarray(
        (np.asarray(image) + strength * wave[..., None]).clip(0, 255).astype(np.uint8)
    )


def with_grain(image: Image.Image, *, seed: int, grain: float) -> Image.Image:
    """Add noise of `grain` grey levels to every pixel, as a sensor does.

    The noise decides how large the JPEG is.
    """
    rng = np.random.default_rng(seed)
    # The tile is repeated, because drawing 36 million numbers takes seconds.
    tile = rng.normal(0, grain, (600, 800, 3)).astype(np.int16)
    pixels = np.asarray(image).astype(np.int16)
    rows = -(-pixels.shape[0] // 600)
    columns = -(-pixels.shape[1] // 800)
    pixels += np.tile(tile, (rows, columns, 1))[: pixels.shape[0], : pixels.shape[1]]
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def write_gratings(
    folder: Path,
    *,
    count: int,
    height: int,
    width: int,
    kinds: int = 4,
    strength: float = 14,
    grain: float = 0,
) -> Path:
    """Write a folder of JPEGs (quality 90) for each class: pictures under gratings.

    A network can tell the classes apart. One picture in seven lies in the folder of another class,
    so that no network is right about all held-out pictures. Large pictures are drawn at a quarter
    of each side and enlarged before they get their grain, because drawing 12 million pixels takes
    seconds.
    """
    drawn = 4 if height > 1_000 else 1
    base = [
        photo(seed, height=height // drawn, width=width // drawn) for seed in range(min(24, count))
    ]
    for number in range(count):
        named = (number + (number // 7 % (kinds - 1) + 1) * (number % 7 == 0)) % kinds
        path = folder / f"class-{named}" / f"{number:05d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        image = with_grating(
            base[number * 7 % len(base)],
            number % kinds,
            kinds=kinds,
            seed=number,
            strength=strength,
        )
        image = image.resize((width, height), Image.Resampling.BICUBIC)
        if grain:
            image = with_grain(image, seed=number, grain=grain)
        image.save(path, quality=90)
    return folder


def write_photos(
    folder: Path, *, count: int, height: int, width: int, grain: float = 0, distinct: int = 8
) -> Path:
    """Write a folder of JPEGs (quality 90) for each of two classes.

    `distinct` pictures are drawn; the rest repeat them with other noise in a corner.
    """
    base = [
        photo(seed, height=height, width=width, grain=grain) for seed in range(min(distinct, count))
    ]
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
