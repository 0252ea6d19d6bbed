"""The data of a sweep: read, clean and cut them, and write the results to its directory."""

import dataclasses
import json
from pathlib import Path
from typing import Any

from sweeps.paths import SweepFiles
from sweeps.space.spec import SweepSpec
from trainer.data.cleaning import write_rejected
from trainer.data.cut import Cut, cut_data
from trainer.data.data_set import PLAIN_READ, ReadOptions, require_boxes
from trainer.data.fold_files import load_reading, save_folds
from trainer.data.folds import Folds, moved
from trainer.data.image_files import existing
from trainer.data.sources import read_table
from trainer.errors import DataError
from trainer.files import write_json
from trainer.images.crops import require
from trainer.images.manifest import write_label_map, write_manifest

# The options that decide a cut: sweeps with equal values of these options hold out the same images.
CUT_KEYS = ("source", "valid", "layout", "image", "label", "group", "box", "keep", "age_borders")


def check_data(spec: SweepSpec) -> None:
    """Check the data without reading an image, before anything is written or started.

    This finds most of a user's mistakes.

    Raises:
        DataError: see read_table and require_boxes; or the file of corrections or the folds file is
            missing.
        ConfigError: a choice of preprocessing needs a library or weights that are missing.
    """
    read_table(spec.data, fold_column=spec.folds.column)
    require_boxes(spec.data, spec.choices())
    for key, path in (("data.corrections", spec.data.corrections), ("folds.file", spec.folds.file)):
        if path is not None and not existing(path).is_file():
            raise DataError(f"{path}: no such file ({key})")
    for how in spec.choices():
        require(how.crop, how.background, reading=spec.data.reading)


def cut_sweep(
    spec: SweepSpec,
    files: SweepFiles,
    *,
    read: ReadOptions = PLAIN_READ,
) -> Cut:
    """Read, clean and cut a sweep's data.

    Images keep their folds of `earlier_folds`.

    Args:
        files: the sweep's directory, below the runs folder; it need not exist. A sweep that has
            begun keeps the levels of its images.
        read: see trainer.data.cut.

    Raises:
        DataError: see trainer.data.cut.
    """
    if files.identity() is not None:
        read = dataclasses.replace(read, levels_of=load_reading(files.folds_file))
    return cut_data(spec.data, spec.folds, earlier=earlier_folds(spec, files), read=read)


def earlier_folds(spec: SweepSpec, files: SweepFiles) -> Path | None:
    """The folds file whose images keep their folds, or None.

    This is the folds file of the sweep itself. For a new sweep, it is the newest folds file of the
    other sweeps with the same cut. So an image's fold does not change when rows are corrected or
    added, and the out-of-fold predictions of sweeps on the same data stay comparable.
    """
    own = _cut_of(files)
    # the comparison leaves out the paths, because a sweep's data may have moved to another folder
    if (
        own is not None
        and _placeless(own) == _placeless(_identity(spec))
        and files.folds_file.is_file()
    ):
        return files.folds_file
    others = (
        SweepFiles(folder)
        for folder in files.directory.parent.glob("*/")
        if folder != files.directory
    )
    alike = [
        other.folds_file
        for other in others
        if _cut_of(other) == _identity(spec) and other.folds_file.is_file()
    ]
    return max(alike, key=lambda path: path.stat().st_mtime, default=None)


def with_folds(spec: SweepSpec, folds: Folds) -> SweepSpec:
    """The spec with the number of folds and the holdout share of `folds`."""
    return spec.model_copy(
        update={"folds": spec.folds.model_copy(update={"k": folds.k, "holdout": folds.holdout})}
    )


def write_data(files: SweepFiles, cut: Cut, spec: SweepSpec) -> None:
    """Write the manifest, the label map, the rejected rows and the folds.

    The folds do not change any more after this.
    """
    write_manifest(cut.folds.manifest, cut.folds.fold_N, files.manifest)
    write_label_map(cut.folds.manifest, files.labels)
    write_rejected(cut.data.rejected, files.rejected)
    write_json(files.cut, _identity(with_folds(spec, cut.folds)))
    save_folds(cut.folds, files.folds_file)


def changes(cut: Cut) -> str | None:
    """One line about what changed since the earlier folds.

    Returns:
        None if there are no earlier folds or nothing changed.
    """
    earlier = cut.earlier
    if earlier is None or earlier.hash == cut.folds.hash:
        return None
    before = set(earlier.manifest.identities())
    now = set(cut.folds.manifest.identities())
    in_words = [f"{len(now - before):,} images are new", f"{len(before - now):,} are gone"]
    shifted = moved(cut.folds, earlier)
    if shifted:
        in_words.append(f"{shifted:,} moved because their groups grew together")
    return f"images keep their folds ({', '.join(in_words)})"


def _identity(spec: SweepSpec) -> dict[str, Any]:
    """The values that decide a cut: sweeps with equal values hold out the same images."""
    data = spec.data.model_dump(mode="json", include=set(CUT_KEYS)) | {"group": spec.data.grouping}
    # a folder that is read at all is read in the same way with this layout
    data["layout"] = None if data["layout"] == "class_folders" else data["layout"]
    # older sweeps have no such keys
    if spec.data.exclude is not None:
        data["exclude"] = sorted(spec.data.exclude)
    for name in ("folder", "suffix", "class_columns"):
        if getattr(spec.data, name) is not None:
            data[name] = spec.data.model_dump(mode="json", include={name})[name]
    for name in ("source", "valid"):
        data[name] = None if data[name] is None else str(Path(data[name]).resolve())
    folds = spec.folds.model_dump(mode="json", include={"seed", "holdout", "column"})
    if spec.folds.rare is not None:
        folds["rare"] = spec.folds.rare
    return {
        "data": data,
        "folds": {**folds, "k": spec.folds.k if spec.folds.column is None else None},
    }


def _placeless(identity: dict[str, Any]) -> dict[str, Any]:
    """An `_identity` without the paths of the data."""
    data = {key: value for key, value in identity["data"].items() if key not in ("source", "valid")}
    return {**identity, "data": data}


def _cut_of(files: SweepFiles) -> dict[str, Any] | None:
    """The `_identity` in a sweep's directory; None if its file is missing or damaged."""
    try:
        value = json.loads(files.cut.read_text())
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) and value.keys() >= {"data", "folds"} else None
