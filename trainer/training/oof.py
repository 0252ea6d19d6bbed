"""The OOF file: out-of-fold probabilities of images, from the fold run that did not train on them.

Each fold run writes one file with the manifest rows of its held-out fold, their probabilities and
the hash of the folds. Only this module knows the name and the format of the file. Files that were
written before 2026-11-28 have no hash: `result.json` beside them has it.

The file is an uncompressed archive, so its arrays can be mapped into memory: 500 files of 3,780
images and 18 classes are put into manifest order in 0.20 s, and by `np.load` in 0.24 s. Checking
the sums of their bytes takes 0.05 s of it, and finds what a disk or a copy damaged.

Shapes: N images of the manifest, M rows of one file, K classes.
"""

import dataclasses
import io
import json
import mmap
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from trainer.data.folds import Folds
from trainer.errors import DataError
from trainer.files import atomic_write, fold_directory
from trainer.images.images import Rows
from trainer.metrics import Probs
from trainer.training.result import RESULT

OOF = "oof.npz"
# the names of the arrays in the file
ROWS = "rows"
PROBS = "probs"
FOLDS = "folds"  # the hash of the folds, as a text
HEAD_BYTES = 4096  # of an array in numpy's format; the head of a plain array has 128
# the exceptions that numpy, zipfile and struct raise for a damaged file
DAMAGES = (
    OSError,
    EOFError,
    ValueError,
    KeyError,
    IndexError,
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
)


@dataclasses.dataclass(frozen=True, eq=False)
class Finished:
    """The out-of-fold probabilities of the finished folds of a trial.

    Attributes:
        probs_NK: in manifest order; NaN in the rows that no finished fold held out.
        folds: the numbers of the finished folds, ascending.
    """

    probs_NK: Probs
    folds: tuple[int, ...]


def write_oof(path: Path, rows_M: Rows, probs_MK: Probs, *, folds_hash: str) -> None:
    """Write the probabilities of the held-out rows; the file is complete or does not exist."""
    with atomic_write(path) as file:
        np.savez(
            file,
            **{  # type: ignore[arg-type]
                ROWS: np.asarray(rows_M, dtype=np.int64),
                PROBS: np.ascontiguousarray(probs_MK, dtype=np.float32),
                FOLDS: np.array(folds_hash),
            },
        )


def read_probs(path: Path) -> Probs:
    """Return the probabilities (M, K) of one file that this process has written."""
    # a copy, because the file may be removed while the caller uses the probabilities
    return np.array(_arrays(path)[PROBS])


def read_oof(trial_directory: Path, folds: Folds) -> Probs:
    """Return the probabilities (N, K) of a trial in manifest order, from the files of its folds.

    Rows that are in no held-out fold are NaN: the holdout, and the images of a fixed split that are
    always trained on.

    Raises:
        DataError: the file of a fold is missing or damaged, or belongs to other folds, or an image
            of a held-out fold is not predicted exactly once.
    """
    return _read(trial_directory, folds, tuple(range(folds.k)))


def read_finished(trial_directory: Path, folds: Folds) -> Finished:
    """Return the probabilities of a trial's finished folds, e.g. of a trial that was pruned.

    A fold is finished if its `result.json` exists, which is written last.

    Raises:
        DataError: the file of a finished fold is missing or damaged, or belongs to other folds, or
            an image of a finished fold is not predicted exactly once.
    """
    done = tuple(
        fold
        for fold in range(folds.k)
        if (fold_directory(trial_directory, fold) / RESULT).is_file()
    )
    return Finished(_read(trial_directory, folds, done), done)


def _read(trial_directory: Path, folds: Folds, wanted: tuple[int, ...]) -> Probs:
    n_images = len(folds.manifest)
    n_classes = len(folds.manifest.classes)
    probs_NK = np.full((n_images, n_classes), np.nan, dtype=np.float32)
    times_N: npt.NDArray[np.int64] = np.zeros(n_images, dtype=np.int64)
    for fold in wanted:
        path = fold_directory(trial_directory, fold) / OOF
        try:
            arrays = _arrays(path)
            _refuse_other_folds(path, arrays, folds)
            rows_M, probs_MK = arrays[ROWS], arrays[PROBS]
            _refuse_impossible(rows_M, probs_MK, n_classes=n_classes)
            probs_NK[rows_M] = probs_MK
            np.add.at(times_N, rows_M, 1)
        except FileNotFoundError:
            raise DataError(f"{path}: missing; the trial's folds are not complete") from None
        except DAMAGES as error:
            raise DataError(f"{path}: not readable out-of-fold probabilities ({error})") from None
    wrong_N = times_N != np.isin(folds.fold_N, wanted)
    if wrong_N.any():
        raise DataError(
            f"{trial_directory}: {wrong_N.sum()} of {n_images} images are not predicted "
            "exactly once"
        )
    return probs_NK


def _refuse_other_folds(path: Path, arrays: dict[str, npt.NDArray[Any]], folds: Folds) -> None:
    stored = str(arrays[FOLDS]) if FOLDS in arrays else _hash_of_result(path.with_name(RESULT))
    if stored is not None and stored != folds.hash:
        raise DataError(
            f"{path}: predictions for other folds (hash {stored}, the folds file has "
            f"{folds.hash}). They cannot be mixed with predictions for these folds: leave the "
            "trial out, or bring back the folds file that it was trained with"
        )


def _hash_of_result(path: Path) -> str | None:
    """The hash of the folds in `result.json`, or None if the file is missing or damaged."""
    try:
        return str(json.loads(path.read_text())["folds_hash"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _arrays(path: Path) -> dict[str, npt.NDArray[Any]]:
    """The arrays of a file by name, mapped into memory and checked against their sums.

    `np.load` maps no archives into memory.
    """
    with path.open("rb") as stream, zipfile.ZipFile(stream) as archive:
        mapped = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
        return {
            member.filename.removesuffix(".npy"): _mapped(mapped, member)
            for member in archive.infolist()
        }


def _mapped(mapped: mmap.mmap, member: zipfile.ZipInfo) -> npt.NDArray[Any]:
    """The array in one member of an archive.

    Raises:
        ValueError, struct.error: the member is damaged, or was not written by `write_oof`.
    """
    # the local header: 30 bytes, of which the last four are the lengths of the name and of more
    name_bytes, more_bytes = struct.unpack_from("<HH", mapped, member.header_offset + 26)
    start = member.header_offset + 30 + name_bytes + more_bytes
    with memoryview(mapped) as whole, whole[start : start + member.file_size] as content:
        if zlib.crc32(content) != member.CRC:
            raise ValueError(f"Bad CRC-32 for file {member.filename!r}")
        head = io.BytesIO(content[:HEAD_BYTES])
    version = np.lib.format.read_magic(head)
    if version != (1, 0):
        raise ValueError(f"{member.filename} has version {version} of numpy's format")
    shape, fortran_order, dtype = np.lib.format.read_array_header_1_0(head)
    if dtype.hasobject or fortran_order:
        raise ValueError(f"{member.filename} is no plain array")
    count = int(np.prod(shape))
    array: npt.NDArray[Any] = np.frombuffer(mapped, dtype, count, offset=start + head.tell())
    return array.reshape(shape)


def _refuse_impossible(
    rows_M: npt.NDArray[Any], probs_MK: npt.NDArray[Any], *, n_classes: int
) -> None:
    whole = probs_MK.shape == (rows_M.size, n_classes) and probs_MK.dtype == np.float32
    if not whole or (rows_M < 0).any() or not np.isfinite(probs_MK).all():
        raise ValueError(f"not finite probabilities of {n_classes} classes, one row per image")
