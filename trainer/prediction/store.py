"""The probabilities that an interrupted prediction has already computed.

There is one file for each fold model and chunk of images. The file's name is a digest of everything
that decides the probabilities: weights, code, preparation, test-time augmentation, and the path,
size and modification time of each image. So changed weights or images are predicted anew.

Shapes: N images of a chunk that can be read, K classes.
"""

import contextlib
import dataclasses
import shutil
import zipfile
import zlib
from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np

from trainer.files import atomic_write
from trainer.metrics import Probs

SUFFIX = ".npz"
DAMAGES = (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile, zlib.error)


@dataclasses.dataclass(frozen=True)
class Store:
    """A folder of probabilities; without a folder nothing is kept."""

    folder: Path | None = None

    def keep_only(self, keys: Collection[str]) -> None:
        """Remove the files of all other keys, which an earlier prediction left."""
        if self.folder is None:
            return
        for path in self.folder.glob("*"):
            if path.name.removesuffix(SUFFIX) not in keys:
                path.unlink(missing_ok=True)

    def write(self, key: str, probs_NK: Probs, bad: Mapping[int, str]) -> None:
        """Keep the probabilities of a chunk and the images of it that cannot be read."""
        if self.folder is not None:
            with atomic_write(self.folder / f"{key}{SUFFIX}") as file:
                np.savez(
                    file,
                    probs=probs_NK,
                    bad=np.array(list(bad), dtype=np.int64),
                    reasons=np.array(list(bad.values()), dtype=np.str_),
                )

    def read(self, key: str) -> tuple[Probs, dict[int, str]] | None:
        """Return what `write` kept under this key, or None."""
        if self.folder is None:
            return None
        try:
            with (
                (self.folder / f"{key}{SUFFIX}").open("rb") as stream,
                np.load(stream, allow_pickle=False) as file,
            ):
                bad = zip(file["bad"].tolist(), file["reasons"].tolist(), strict=True)
                return file["probs"], dict(bad)
        except DAMAGES:  # it does not exist, or is damaged: the chunk is predicted again
            return None

    def remove(self) -> None:
        """Remove the folder, because the prediction is complete."""
        if self.folder is not None:
            with contextlib.suppress(FileNotFoundError):
                shutil.rmtree(self.folder)
