"""Foreign predictions: a member of an ensemble that was trained elsewhere, e.g. in a notebook.

An `.npz` file has the arrays `ids` (N paths as in the manifest, or file names) and `probs` (N, K),
the out-of-fold probabilities; `classes` (K names) if they are in another order than the sweep's;
`folds` (N numbers) if the folds are known, or the text `folds_hash`; and for `sweeps predict`
`test_ids` and `test_probs`.

Shapes: N images, K classes.
"""

import dataclasses
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sweeps.errors import InputError
from trainer.data.folds import Folds
from trainer.images.manifest import composed
from trainer.metrics import Probs
from trainer.training.oof import DAMAGES

SUMS_TO_1 = 1e-3
Ints = npt.NDArray[np.int64]


@dataclasses.dataclass(frozen=True, eq=False)
class Foreign:
    """The content of a file of foreign predictions.

    Attributes:
        name: the name of the file.
        classes: the K names in the order of the columns of `probs_NK`; empty for the sweep's order.
        folds_N: the fold that held out each image; None if the file does not say.
        test_probs_NK: probabilities of the images `test_ids`; None if the file has none.
    """

    path: Path
    ids: Sequence[str]
    probs_NK: Probs
    classes: Sequence[str]
    folds_N: Ints | None
    folds_hash: str | None
    test_ids: Sequence[str]
    test_probs_NK: Probs | None

    @property
    def name(self) -> str:
        """The name of the file, by which the ensemble knows the member."""
        return self.path.name

    def probs_for(self, folds: Folds) -> Probs:
        """Return the probabilities in manifest order; rows without a fold are NaN.

        Raises:
            InputError: the classes, the images or the folds are not those of the sweep.
        """
        manifest = folds.manifest
        order = self._class_order(manifest.classes)
        row_of = self._rows(manifest.paths)
        scored = folds.scored_rows()
        missing = [row for row in scored.tolist() if row not in row_of]
        if missing:
            raise InputError(
                f"{self.path}: {len(missing)} of {len(scored)} images of the folds have no "
                f"prediction, e.g. {manifest.paths[missing[0]]}. `ids` are paths as in "
                "manifest.csv, or unique file names"
            )
        chosen = np.array([row_of[row] for row in scored.tolist()], dtype=np.int64)
        self._refuse_other_folds(folds, scored, chosen)
        probs_NK = np.full((len(manifest), len(manifest.classes)), np.nan, dtype=np.float32)
        probs_NK[scored] = self.probs_NK[chosen][:, order]
        return probs_NK

    def test_probs_for(self, ids: Sequence[str], classes: Sequence[str]) -> Probs:
        """Return the probabilities of these images, in the order of the sweep's classes.

        Raises:
            InputError: the file has no prediction for an image.
        """
        if self.test_probs_NK is None:
            raise InputError(
                f"{self.path}: no predictions of new images. Add the arrays test_ids and "
                "test_probs, or leave the file out of --from"
            )
        row_of = {_key(name): row for row, name in enumerate(self.test_ids)}
        by_name = {_key(Path(name).stem): row for row, name in enumerate(self.test_ids)}
        rows = [row_of.get(_key(name), by_name.get(_key(Path(name).stem))) for name in ids]
        missing = [name for name, row in zip(ids, rows, strict=True) if row is None]
        if missing:
            raise InputError(
                f"{self.path}: {len(missing)} of {len(ids)} images have no entry in test_ids, "
                f"e.g. {missing[0]}"
            )
        return self.test_probs_NK[np.array(rows, dtype=np.int64)][:, self._class_order(classes)]

    def _class_order(self, classes: Sequence[str]) -> Ints:
        own = list(self.classes or classes)
        if self.probs_NK.shape[1] != len(classes) or set(own) != set(classes):
            raise InputError(
                f"{self.path}: its classes are not those of the sweep. It has "
                f"{self.probs_NK.shape[1]} ({_some(own)}), the sweep {len(classes)} "
                f"({_some(classes)})"
            )
        return np.array([own.index(name) for name in classes], dtype=np.int64)

    def _rows(self, paths: Sequence[str]) -> dict[int, int]:
        """Return for each row of the manifest its row in the file, by path or by file name."""
        exact = {_key(name): row for row, name in enumerate(self.ids)}
        found = {row: exact[_key(path)] for row, path in enumerate(paths) if _key(path) in exact}
        if found:
            return found
        stems = [_key(Path(path).stem) for path in paths]
        if len(set(stems)) < len(stems):  # file names do not tell the images apart
            return {}
        by_stem = {_key(Path(name).stem): row for row, name in enumerate(self.ids)}
        return {row: by_stem[stem] for row, stem in enumerate(stems) if stem in by_stem}

    def _refuse_other_folds(self, folds: Folds, scored: Ints, chosen: Ints) -> None:
        """Check that images that this sweep holds out together were held out together there."""
        other = self.folds_hash is not None and self.folds_hash != folds.hash
        if self.folds_N is not None:
            pairs = set(
                zip(folds.fold_N[scored].tolist(), self.folds_N[chosen].tolist(), strict=True)
            )
            other = other or len(pairs) != len({mine for mine, _ in pairs})
            other = other or len(pairs) != len({theirs for _, theirs in pairs})
        if other:
            raise InputError(
                f"{self.path}: predicted with other folds than the sweep's ({folds.hash}). "
                "Predictions from other folds have seen images that this sweep holds out. Train it "
                "again with the folds in manifest.csv"
            )


def read_foreign(path: Path) -> Foreign:
    """Read a file of foreign predictions.

    Raises:
        InputError: the file cannot be read, or its arrays do not fit each other.
    """
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except FileNotFoundError:
        raise InputError(f"--from {path}: no such file") from None
    except (*DAMAGES, zipfile.BadZipFile) as error:
        raise InputError(
            f"--from {path}: not an .npz file of predictions ({error}). It needs the arrays ids "
            "and probs"
        ) from None
    lacking = [name for name in ("ids", "probs") if name not in arrays]
    if lacking:
        raise InputError(
            f"--from {path}: no array {' and '.join(lacking)}. It needs ids (paths as in "
            "manifest.csv) and probs (one row per image, one column per class)"
        )
    probs_NK = _checked(path, "probs", arrays["probs"], rows=len(arrays["ids"]))
    test = arrays.get("test_probs")
    test_ids = arrays.get("test_ids", np.array([], dtype=np.str_))
    ids = [str(name) for name in arrays["ids"].tolist()]
    if len(set(ids)) < len(ids):
        raise InputError(f"--from {path}: {len(ids) - len(set(ids))} of its ids occur twice")
    folds = arrays.get("folds")
    if folds is not None and folds.shape != (len(ids),):
        raise InputError(f"--from {path}: folds must have one number per id")
    return Foreign(
        path,
        ids,
        probs_NK,
        [str(name) for name in arrays.get("classes", np.array([], dtype=np.str_)).tolist()],
        None if folds is None else folds.astype(np.int64),
        str(arrays["folds_hash"]) if "folds_hash" in arrays else None,
        [str(name) for name in test_ids.tolist()],
        None if test is None else _checked(path, "test_probs", test, rows=len(test_ids)),
    )


def _checked(path: Path, name: str, probs: npt.NDArray[np.generic], *, rows: int) -> Probs:
    if probs.ndim != 2 or len(probs) != rows or not np.issubdtype(probs.dtype, np.floating):
        raise InputError(
            f"--from {path}: {name} must be numbers with one row per id ({rows}), "
            f"got {probs.dtype} of shape {probs.shape}"
        )
    probs_NK = probs.astype(np.float32)
    wrong = ~(np.isfinite(probs_NK).all(axis=1) & (np.abs(probs_NK.sum(axis=1) - 1) <= SUMS_TO_1))
    if wrong.any() or (probs_NK < 0).any():
        raise InputError(
            f"--from {path}: {name} are no probabilities: row {int(np.argmax(wrong))} sums to "
            f"{probs_NK[int(np.argmax(wrong))].sum():.4g}"
        )
    return probs_NK


def _key(name: str) -> str:
    return composed(name.replace("\\", "/"))


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
