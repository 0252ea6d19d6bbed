"""The file that freezes a manifest and its folds."""

import io
import json
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from trainer.data.folds import FORMAT, Folds
from trainer.errors import DataError
from trainer.files import atomic_write
from trainer.images.manifest import Manifest
from trainer.images.preprocessing import Reading


def save_folds(folds: Folds, path: Path) -> None:
    """Write `folds` to the file `path`, whole or not at all."""
    manifest = folds.manifest
    head = {
        "format": FORMAT,
        "root": str(manifest.root),
        "k": folds.k,
        "seed": folds.seed,
        "holdout": folds.holdout,
        "hash": folds.hash,
        "label_columns": manifest.label_columns,
        "class_parts": manifest.class_parts,
        "reading": manifest.reading.as_json(),
    }
    # Texts are stored as fixed-width unicode arrays. They need no pickle, which is not safe in a
    # file that people exchange.
    arrays = {
        "head": np.array(json.dumps(head)),
        "paths": np.array(manifest.paths),
        "classes": np.array(manifest.classes),
        "lines": np.array(manifest.lines, dtype=np.int64),
        "labels": manifest.labels_N,
        "fold": folds.fold_N,
        "groups": None if manifest.groups is None else np.array(manifest.groups),
        "boxes": manifest.boxes_N4,
        "digests": manifest.digests_N,
    }
    with atomic_write(path) as file:
        buffer = io.BytesIO()
        present: dict[str, Any] = {
            name: array for name, array in arrays.items() if array is not None
        }
        np.savez_compressed(buffer, **present)
        file.write(buffer.getbuffer())


def load_folds(path: Path) -> Folds:
    """Read a file that `save_folds` wrote.

    Raises:
        DataError: the file is missing, damaged or of another version, or its content does not
            match its hash.
    """
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            head = json.loads(str(file["head"]))
            if head["format"] != FORMAT:
                raise DataError(
                    f"{path}: a folds file of another version of foldsweep "
                    f"(format {head['format']}, not {FORMAT}). Move it away to cut anew"
                )
            arrays = {name: file[name] for name in file.files}
        folds = _from_arrays(head, arrays)
    except FileNotFoundError:
        raise DataError(f"{path}: no such folds file") from None
    except (
        OSError,
        EOFError,
        RuntimeError,
        ValueError,
        TypeError,
        KeyError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        raise DataError(f"{path}: not a readable folds file ({error})") from None
    if folds.hash != head["hash"]:
        raise DataError(
            f"{path}: the folds file was changed after it was frozen "
            f"(hash {folds.hash}, not {head['hash']})"
        )
    return folds


def _from_arrays(head: dict[str, Any], arrays: dict[str, Any]) -> Folds:
    groups = arrays.get("groups")
    manifest = Manifest(
        root=Path(head["root"]),
        paths=tuple(arrays["paths"].tolist()),
        labels_N=arrays["labels"],
        classes=tuple(arrays["classes"].tolist()),
        lines=tuple(arrays["lines"].tolist()),
        label_columns=tuple(head["label_columns"]),
        class_parts=tuple(map(tuple, head["class_parts"])),
        groups=None if groups is None else tuple(groups.tolist()),
        boxes_N4=arrays.get("boxes"),
        digests_N=arrays.get("digests"),
        reading=Reading.from_json(head["reading"]),
    )
    return Folds(
        manifest=manifest,
        fold_N=arrays["fold"],
        k=head["k"],
        seed=head["seed"],
        holdout=head["holdout"],
    )


def load_reading(path: Path) -> Reading | None:
    """How the files of frozen folds became pixels; None if the folds file cannot be read."""
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            return Reading.from_json(json.loads(str(file["head"]))["reading"])
    except (OSError, EOFError, ValueError, TypeError, KeyError, zipfile.BadZipFile, zlib.error):
        return None
