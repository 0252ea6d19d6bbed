"""The digits sample data set: real images that need no download, a fifth of them held back."""

from pathlib import Path

import numpy as np
from PIL import Image

from trainer.files import write_csv
from trainer.seeds import derive

HELD_BACK = 0.2  # share of the digits that `sweeps predict` can be tried on


def write_digits(folder: Path) -> Path:
    """Write scikit-learn's 1,797 handwritten digits as PNG files, 1,438 of them with a manifest.

    The source images are 8x8 greyscale (UCI); the PNG files are 32x32. The 359 digits in the folder
    `test` are held back: sample_submission.csv names them as a competition would, and answers.csv
    has their labels. A complete data set is left unchanged. An incomplete data set (a file is
    missing) is written again.

    Returns:
        the CSV file, with the columns `path` (relative to the CSV file) and `label`. The CSV file
        is written last.
    """
    from sklearn.datasets import load_digits  # this import takes 1 s

    digits = load_digits()
    source = folder / "digits.csv"
    count = len(digits.target)
    order = sorted(range(count), key=lambda number: derive(0, "held-back digits", number))
    test = sorted(order[: int(HELD_BACK * count)])
    paths = [f"images/{number:04d}.png" for number in range(count)]
    for number in test:
        paths[number] = f"test/{number:04d}.png"
    tables = [source, folder / "sample_submission.csv", folder / "answers.csv"]
    if all(path.is_file() for path in [*tables, *(folder / path for path in paths)]):
        return source
    for name in ("images", "test"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for path, image_HW in zip(paths, digits.images, strict=True):
        # The grey levels are 0..16. Each pixel becomes 4x4 equal pixels, without interpolation.
        pixels_HW = np.kron(np.round(image_HW * (255 / 16)), np.ones((4, 4))).astype(np.uint8)
        Image.fromarray(pixels_HW).save(folder / path)
    names = [Path(paths[number]).name for number in test]
    write_csv(tables[2], ("id", "label"), zip(names, digits.target[test], strict=True))
    write_csv(tables[1], ("id", "label"), ((name, 0) for name in names))
    training = sorted(set(range(count)) - set(test))
    rows = ((paths[number], digits.target[number]) for number in training)
    write_csv(source, ("path", "label"), rows)
    return source
