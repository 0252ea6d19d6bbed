"""The digits sample data set: real images that need no download."""

from pathlib import Path

import numpy as np
from PIL import Image

from trainer.files import write_csv


def write_digits(folder: Path) -> Path:
    """Write scikit-learn's 1,797 handwritten digits as PNG files with a manifest.

    The source images are 8x8 greyscale (UCI); the PNG files are 32x32. A complete data set is left
    unchanged. An incomplete data set (no manifest, or a missing image) is written again.

    Returns:
        the CSV file, with the columns `path` (relative to the CSV file) and `label`. The CSV file
        is written last.
    """
    from sklearn.datasets import load_digits  # this import takes 1 s

    digits = load_digits()
    source = folder / "digits.csv"
    paths = [f"images/{number:04d}.png" for number in range(len(digits.target))]
    if source.is_file() and all((folder / path).is_file() for path in paths):
        return source
    (folder / "images").mkdir(parents=True, exist_ok=True)
    for path, image_HW in zip(paths, digits.images, strict=True):
        # The grey levels are 0..16. Each pixel becomes 4x4 equal pixels, without interpolation.
        pixels_HW = np.kron(np.round(image_HW * (255 / 16)), np.ones((4, 4))).astype(np.uint8)
        Image.fromarray(pixels_HW).save(folder / path)
    write_csv(source, ("path", "label"), zip(paths, digits.target, strict=True))
    return source
