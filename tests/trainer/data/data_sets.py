"""A small data set that is read, and what was decoded meanwhile."""

import collections
import io
from pathlib import Path

import numpy as np
from PIL import Image

from trainer.data.data_set import DataSet, ReadOptions, read_data_set
from trainer.data.options import DataOptions
from trainer.images.cache import open_images
from trainer.images.decode import decode
from trainer.images.images import Decoded
from trainer.images.manifest import Manifest
from trainer.images.preprocessing import Preprocessing

N = 12
HOW = Preprocessing((8, 8))
OTHER = Preprocessing((4, 6), resize_mode="fit")
BOXED = Preprocessing((4, 4), crop="box")
BOX = ("left", "top", "right", "bottom")


class Work:
    """What was decoded, as file content, and what was decoded only
    to be compared or proven whole.
    """

    def __init__(self) -> None:
        self.decodes: collections.Counter[bytes] = collections.Counter()
        self.fingerprints: collections.Counter[bytes] = collections.Counter()

    def clear(self) -> None:
        self.decodes.clear()
        self.fingerprints.clear()

    @property
    def nothing(self) -> bool:
        return not self.decodes and not self.fingerprints


def read(source: Path, *choices: Preprocessing, **options: object) -> DataSet:
    return read_data_set(
        DataOptions(source=str(source), **options), read=ReadOptions(choices=choices)
    )


def pixels(manifest: Manifest, how: Preprocessing) -> np.ndarray:
    found = open_images(manifest, how, threads=2)
    assert isinstance(found, Decoded)
    return found.take(np.arange(len(manifest)))


def expected(manifest: Manifest, how: Preprocessing) -> np.ndarray:
    files = [manifest.file(row).read_bytes() for row in range(len(manifest))]
    return np.stack(
        [
            decode(data, how, reading=manifest.reading, box=manifest.box(n))
            for n, data in enumerate(files)
        ]
    )


def png(pixels_HWC: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels_HWC).save(buffer, format="PNG")
    return buffer.getvalue()


def write_boxes(source: Path, rows: list[tuple[str, int, int, int, int]]) -> None:
    lines = [
        ",".join(map(str, (name, "ab"[number % 2], *box)))
        for number, (name, *box) in enumerate(rows)
    ]
    source.write_text("\n".join([",".join(("path", "label", *BOX)), *lines]) + "\n")
