"""Sample data for the demo: real images that need no download."""

import csv
import io
from pathlib import Path

import numpy as np
from PIL import Image

from trainer.files import atomic_write


def write_digits(folder: Path) -> Path:
    """Write scikit-learn's 1,797 handwritten digits (UCI, 8x8 greyscale) as PNG files with a manifest.

    Files that already stand are left alone, so the decoded cache stays valid.

    Returns:
        the CSV, with the columns `path` (relative to it) and `label`; it is written last.
    """
    from sklearn.datasets import load_digits  # 1 s

    digits = load_digits()
    rows = []
    for number, (image_HW, label) in enumerate(zip(digits.images, digits.target, strict=True)):
        path = Path("images") / f"{number:04d}.png"
        rows.append((path.as_posix(), str(label)))
        if not (folder / path).is_file():
            # grey levels are 0..16; times four in size by repetition, as a photo of the original pixels
            pixels = np.kron(np.round(image_HW * (255 / 16)), np.ones((4, 4))).astype(np.uint8)
            png = io.BytesIO()
            Image.fromarray(pixels).save(png, format="PNG")
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(png.getvalue())
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([("path", "label"), *rows])
    with atomic_write(folder / "digits.csv") as file:
        file.write(text.getvalue().encode())
    return folder / "digits.csv"
