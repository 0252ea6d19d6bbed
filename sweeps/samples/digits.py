"""Sample data for the demo: real images that need no download."""

from pathlib import Path

import numpy as np
from PIL import Image

from trainer.files import write_csv


def write_digits(folder: Path) -> Path:
    """Write scikit-learn's 1,797 handwritten digits (UCI, 8x8 greyscale) as PNG files with a manifest.

    A set that already stands is left alone; one that was cut short (no manifest yet) is written again.

    Returns:
        the CSV, with the columns `path` (relative to it) and `label`; it is written last.
    """
    from sklearn.datasets import load_digits  # 1 s

    digits, source = load_digits(), folder / "digits.csv"
    paths = [f"images/{number:04d}.png" for number in range(len(digits.target))]
    if source.is_file() and all((folder / path).is_file() for path in paths):
        return source
    (folder / "images").mkdir(parents=True, exist_ok=True)
    for path, image_HW in zip(paths, digits.images, strict=True):
        # grey levels are 0..16; times four in size by repetition, as a photo of the original pixels
        pixels_HW = np.kron(np.round(image_HW * (255 / 16)), np.ones((4, 4))).astype(np.uint8)
        Image.fromarray(pixels_HW).save(folder / path)
    write_csv(source, ("path", "label"), zip(paths, digits.target, strict=True))
    return source
