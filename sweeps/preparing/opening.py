"""What stands before a sweep starts: its data, folds, decoded images, directory and identity."""

import datetime
import importlib.metadata
import uuid
from pathlib import Path
from typing import Any

from optuna.storages import RDBStorage

from sweeps.errors import InputError
from sweeps.paths import SweepFiles, make_folder
from sweeps.preparing.data import write_data
from sweeps.preparing.growth import Growth, difference
from sweeps.space.spec import SweepSpec
from sweeps.study.database import hidden
from sweeps.study.stored_sweep import StoredSweep
from trainer.data.cut import Cut
from trainer.files import atomic_write, file_digest, write_json


def begin(files: SweepFiles, spec: SweepSpec, cut: Cut, *, identity: str, storage_url: str) -> None:
    """Write what makes a directory a sweep; `sweep.json` last."""
    make_folder(files.directory)
    write_data(files, cut, spec)
    write_spec(files, spec)
    for name in user_files(spec):
        with atomic_write(files.code / name) as file:
            file.write((spec.folder / name).read_bytes())
    values: dict[str, Any] = {
        "format": 1,
        "uuid": identity,
        "name": spec.name,
        "created": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
        "foldsweep": importlib.metadata.version("foldsweep"),
        "storage": hidden(storage_url),
        "folds_hash": cut.folds.hash,
        "weights": {path: file_digest(Path(path)) for path in spec.local_weights()},
    }
    write_json(files.about, values)


def write_spec(files: SweepFiles, spec: SweepSpec) -> None:
    """Write the search space as it is now."""
    from ruamel.yaml import YAML

    with atomic_write(files.spec) as file:
        YAML(typ="safe", pure=True).dump(spec.raw, file)


def open_sweep(
    storage: RDBStorage,
    spec: SweepSpec,
    cut: Cut,
    *,
    files: SweepFiles,
    storage_url: str,
    update: bool = False,
) -> StoredSweep:
    """Continue the sweep of that name, or begin it. The caller holds its lease.

    Args:
        update: the search space may have grown.

    Raises:
        InputError: the storage or the folder belong to another sweep, or the search space or the data
            changed since it began.
    """
    stored, identity = StoredSweep.find(storage, spec.name), files.identity()
    if stored is None:
        if identity is not None and files.has_trials():
            raise InputError(
                f"{files.directory} holds the trials of a sweep that is not in the storage {hidden(storage_url)}. "
                "Give its --storage, or move the folder away, or choose another name"
            )
        identity = identity or str(uuid.uuid4())
        begin(files, spec, cut, identity=identity, storage_url=storage_url)
        return StoredSweep.create(storage, spec, identity=identity)
    if identity != stored.uuid:
        what = "has no files of it" if identity is None else "belongs to another sweep of that name"
        raise InputError(
            f"sweep {spec.name!r} is in the storage {hidden(storage_url)}, but {files.directory} {what}. "
            "Give the --runs folder it was started with, or choose another name"
        )
    growth = difference(stored.spec, spec.fixed_part(), sweep=spec.name)
    if growth.lines and not (growth.allowed and update):
        raise InputError(_changed(growth, spec.name))
    refuse_other_data(files, cut, spec)
    _refuse_other_code(files, spec)
    write_spec(files, spec)
    return stored.update_spec(spec.fixed_part()) if growth.lines else stored


def user_files(spec: SweepSpec) -> tuple[str, ...]:
    """The user's files that backbone, loss and metric name functions of, relative to the search space."""
    return tuple(dict.fromkeys(reference.rpartition(":")[0] for reference in spec.user_functions()))


def _refuse_other_code(files: SweepFiles, spec: SweepSpec) -> None:
    for path, digest in files.weights().items():
        if file_digest(Path(path)) != digest:
            raise InputError(
                f"{path} changed since sweep {spec.name!r} began, so new trials could not be compared with its old "
                "ones. Bring the weights back, or give the search space another name"
            )
    for name in user_files(spec):
        kept = files.code / name
        if not kept.is_file() or kept.read_bytes() != (spec.folder / name).read_bytes():
            raise InputError(
                f"{name} changed since sweep {spec.name!r} began ({kept} is what it began with), so new trials could "
                "not be compared with its old ones. Change it back, or give the search space another name"
            )


def refuse_other_data(files: SweepFiles, cut: Cut, spec: SweepSpec) -> None:
    """A sweep that has begun keeps its data.

    Raises:
        InputError: they changed.
    """
    frozen = files.folds().hash
    # the cut follows the frozen folds: a folds file from elsewhere shows only in the hash of the beginning
    if cut.folds.hash != frozen or frozen != (files.folds_hash() or frozen):
        raise InputError(
            f"the data of sweep {spec.name!r} changed since it began: images, labels or folds of "
            f"{spec.data.source} are not those of {files.folds_file}. "
            "Its trials cannot be compared with new ones: choose another name, under which unchanged images keep "
            "their folds"
        )


def _changed(growth: Growth, name: str) -> str:
    if growth.allowed:
        head, end = (
            f"the search space of sweep {name!r} grew:",
            "Add --update to go on with the wider one",
        )
    else:
        head = f"the search space of sweep {name!r} changed since it began, so new trials could not be compared with its"
        head, end = f"{head} old ones:", growth.advice
    return "\n".join([head, *(f"  {line}" for line in growth.lines), end])
