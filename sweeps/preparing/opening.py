"""Begin a sweep or continue it: its directory, its identity, and its entry in the storage."""

import datetime
import importlib.metadata
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from optuna.storages import RDBStorage

from sweeps.errors import InputError, SweepChangedError
from sweeps.paths import SweepFiles, make_folder
from sweeps.preparing.data import write_data
from sweeps.preparing.growth import Growth, difference
from sweeps.space.spec import SweepSpec
from sweeps.study.database import hidden
from sweeps.study.stored_sweep import StoredSweep
from trainer.data.cut import Cut
from trainer.files import atomic_write, file_digest, write_json


def begin(files: SweepFiles, spec: SweepSpec, cut: Cut, *, identity: str, storage_url: str) -> None:
    """Write the files that make a directory the directory of a sweep.

    `sweep.json` is written last.

    Args:
        identity: the sweep's uuid.
        storage_url: URL of the storage; its password is not written.
    """
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
    """Write today's search space into the sweep's directory."""
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
    confirm: Callable[[], None] = lambda: None,
) -> StoredSweep:
    """Continue the sweep called `spec.name`, or begin it. The caller holds the sweep's lease.

    Args:
        files: the sweep's directory.
        storage_url: see `begin`.
        update: whether ranges of the search space may be wider than at the beginning.
        confirm: called before each write; raises if the lease is lost. To read the data may have
            taken hours.

    Raises:
        InputError: see `refuse_other_sweep`.
        SweepChangedError: see `refuse_changes`.
    """
    stored = StoredSweep.find(storage, spec.name)
    refuse_other_sweep(stored, spec.name, files=files, storage_url=storage_url)
    if stored is None:
        identity = files.identity() or str(uuid.uuid4())
        confirm()
        begin(files, spec, cut, identity=identity, storage_url=storage_url)
        confirm()
        return StoredSweep.create(storage, spec, identity=identity)
    fixed = refuse_changes(stored, spec, cut, files=files, update=update)
    confirm()
    write_spec(files, spec)
    return stored if fixed is None else stored.update_spec(fixed)


def refuse_other_sweep(
    stored: StoredSweep | None, name: str, *, files: SweepFiles, storage_url: str
) -> None:
    """Check that the storage and the directory have the same sweep of a name, or both have none.

    Args:
        stored: the stored sweep of this name, if there is one.
        files, storage_url: see `open_sweep`.

    Raises:
        InputError: the storage or the directory belongs to another sweep.
    """
    identity = files.identity()
    if stored is None:
        if identity is not None and files.has_trials():
            raise InputError(
                f"{files.directory} holds the trials of a sweep that is not in the storage "
                f"{hidden(storage_url)}. "
                "Give its --storage, or move the folder away, or choose another name"
            )
    elif identity != stored.uuid:
        what = "has no files of it" if identity is None else "belongs to another sweep of that name"
        raise InputError(
            f"sweep {name!r} is in the storage {hidden(storage_url)}, "
            f"but {files.directory} {what}. "
            "Give the --runs folder it was started with, or choose another name"
        )


def refuse_changes(
    stored: StoredSweep, spec: SweepSpec, cut: Cut, *, files: SweepFiles, update: bool = False
) -> dict[str, Any] | None:
    """Check that new trials of a sweep could be compared with those that it has.

    Args:
        files, update: see `open_sweep`.

    Returns:
        The fixed part of a search space that grew; None if it is as it was.

    Raises:
        SweepChangedError: the search space, the data, a user function's file or local weights
            changed since the sweep began.
    """
    fixed = spec.as_begun(stored.record().identity).fixed_part()
    growth = difference(stored.spec, fixed, sweep=spec.name)
    if growth.lines and not (growth.allowed and update):
        raise SweepChangedError(_changed(growth, spec.name), what=growth.lines)
    refuse_other_data(files, cut, spec)
    _refuse_other_code(files, spec)
    return fixed if growth.lines else None


def user_files(spec: SweepSpec) -> tuple[str, ...]:
    """The files of user functions for backbone, loss and metric, relative to the search space."""
    return tuple(dict.fromkeys(reference.rpartition(":")[0] for reference in spec.user_functions()))


def _refuse_other_code(files: SweepFiles, spec: SweepSpec) -> None:
    """Check that local weights and files of user functions are the same as at the beginning.

    Raises:
        SweepChangedError: a file changed.
    """
    for path, digest in files.weights().items():
        if file_digest(Path(path)) != digest:
            raise SweepChangedError(
                f"{path} changed since sweep {spec.name!r} began, "
                "so new trials could not be compared with its old "
                "ones. Bring the weights back, or give the search space another name",
                what=[path],
            )
    for name in user_files(spec):
        kept = files.code / name
        if not kept.is_file() or kept.read_bytes() != (spec.folder / name).read_bytes():
            raise SweepChangedError(
                f"{name} changed since sweep {spec.name!r} began ({kept} is what it began with), "
                "so new trials could not be compared with its old ones. "
                "Change it back, or give the search space another name",
                what=[name],
            )


def refuse_other_data(files: SweepFiles, cut: Cut, spec: SweepSpec) -> None:
    """Check that the data are the same as at the beginning of the sweep.

    Raises:
        SweepChangedError: the data changed.
    """
    frozen = files.folds().hash
    # The cut follows the frozen folds. So if somebody replaced the folds file, only the hash in
    # `sweep.json` differs.
    if cut.folds.hash != frozen or frozen != (files.folds_hash() or frozen):
        raise SweepChangedError(
            f"the data of sweep {spec.name!r} changed since it began: images, labels or folds of "
            f"{spec.data.source} are not those of {files.folds_file}. "
            "Its trials cannot be compared with new ones: choose another name, "
            "under which unchanged images keep their folds",
            what=[f"images, labels or folds of {spec.data.source}"],
        )


def _changed(growth: Growth, name: str) -> str:
    """The message to a user whose search space differs from that at the beginning of the sweep."""
    if growth.allowed:
        head = f"the search space of sweep {name!r} grew:"
        end = "Add --update to go on with the wider one"
    else:
        head = (
            f"the search space of sweep {name!r} changed since it began, "
            "so new trials could not be compared with its old ones:"
        )
        end = growth.advice
    return "\n".join([head, *(f"  {line}" for line in growth.lines), end])
