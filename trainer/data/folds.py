"""Stratified folds, frozen to one file whose hash stands in every result."""

import dataclasses
import functools
import hashlib
import io
import json
import zipfile
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt

from trainer.data.manifest import Manifest
from trainer.errors import DataError
from trainer.files import atomic_write

FORMAT = 1


@dataclasses.dataclass(frozen=True)
class Folds:
    """A manifest with the fold that holds out each image.

    Attributes:
        fold_N: for each image, the fold (0..k-1) whose model never sees it in training.
    """

    manifest: Manifest
    fold_N: npt.NDArray[np.int64]
    k: int
    seed: int

    @functools.cached_property
    def hash(self) -> str:
        """Over paths, classes and folds; it changes when any image changes its class or its fold."""
        manifest = self.manifest
        head = json.dumps([FORMAT, self.k, list(manifest.classes), list(manifest.paths)])
        digest = hashlib.sha256(head.encode())
        digest.update(manifest.labels_N.tobytes())
        digest.update(self.fold_N.tobytes())
        return digest.hexdigest()[:16]

    def train_rows(self, fold: int) -> npt.NDArray[np.int64]:
        """Manifest rows that fold run `fold` trains on, ascending."""
        return np.flatnonzero(self.fold_N != fold)

    def valid_rows(self, fold: int) -> npt.NDArray[np.int64]:
        """Manifest rows that fold run `fold` is scored on, ascending."""
        return np.flatnonzero(self.fold_N == fold)


def make_folds(manifest: Manifest, *, k: int, seed: int) -> Folds:
    """Cut the manifest into k stratified folds of nearly equal class shares.

    Raises:
        DataError: a class has fewer than k images, so some fold would lack it.
    """
    if k < 2:
        raise DataError(f"folds.k must be at least 2, got {k}")
    from sklearn.model_selection import StratifiedKFold  # 1.3 s; a continued sweep reads its folds instead

    counts = np.bincount(manifest.labels_N, minlength=len(manifest.classes))
    small = [f"{name!r} ({count})" for name, count in zip(manifest.classes, counts, strict=True) if count < k]
    if small:
        raise DataError(
            f"{manifest.root}: {len(small)} of {len(manifest.classes)} classes have fewer images than the {k} folds: "
            f"{', '.join(small[:10])}. Add images, drop these classes, or lower folds.k"
        )
    fold_N = np.empty(len(manifest), dtype=np.int64)
    splitter = StratifiedKFold(n_splits=k, shuffle=True, random_state=seed % 2**32)
    for fold, (_, held_out) in enumerate(splitter.split(np.zeros(len(manifest)), manifest.labels_N)):
        fold_N[held_out] = fold
    return Folds(manifest=manifest, fold_N=fold_N, k=k, seed=seed)


def save_folds(folds: Folds, path: Path) -> None:
    """Freeze `folds` to `path`, whole or not at all."""
    manifest = folds.manifest
    head = {"format": FORMAT, "root": str(manifest.root), "k": folds.k, "seed": folds.seed, "hash": folds.hash}
    # fixed-width unicode arrays: no pickle in a file that people will exchange
    with atomic_write(path) as file:
        buffer = io.BytesIO()
        np.savez_compressed(
            buffer,
            head=np.array(json.dumps(head)),
            paths=np.array(manifest.paths),
            classes=np.array(manifest.classes),
            lines=np.array(manifest.lines, dtype=np.int64),
            labels=manifest.labels_N,
            fold=folds.fold_N,
        )
        file.write(buffer.getbuffer())


def load_folds(path: Path) -> Folds:
    """Read frozen folds.

    Raises:
        DataError: the file is missing, damaged, or its content does not match its hash.
    """
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            head = json.loads(str(file["head"]))
            manifest = Manifest(
                root=Path(head["root"]),
                paths=tuple(file["paths"].tolist()),
                labels_N=file["labels"],
                classes=tuple(file["classes"].tolist()),
                lines=tuple(file["lines"].tolist()),
            )
            folds = Folds(manifest=manifest, fold_N=file["fold"], k=head["k"], seed=head["seed"])
    except FileNotFoundError:
        raise DataError(f"{path}: no such folds file") from None
    except (OSError, EOFError, RuntimeError, ValueError, TypeError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{path}: not a readable folds file ({error})") from None
    if folds.hash != head["hash"]:
        raise DataError(
            f"{path}: the folds file was changed after it was frozen (hash {folds.hash}, not {head['hash']})"
        )
    return folds
