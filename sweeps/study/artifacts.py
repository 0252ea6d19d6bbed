"""Files that belong to a trial, as the Optuna dashboard shows them.

The content lies in the folder of an artifact store, and a system attribute of the trial says what
it is. `optuna.artifacts.upload_artifact` does the same under a random name, so a write that is
repeated after an outage would show a file twice.
"""

import contextlib
import json
import mimetypes
import os
import shutil
import uuid
from pathlib import Path

from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial

from trainer.files import atomic_write

ATTRIBUTE = "artifacts:"  # and the artifact's id: as optuna.artifacts has it


def attach(storage: BaseStorage, trial_id: int, path: Path, *, store: Path, owner: str) -> None:
    """Store a file as an artifact of a trial that is not over.

    Args:
        store: the folder of the artifact store.
        owner: says whose file it is; with the file's name it makes the artifact's id. A second call
            with the same owner and name replaces the content.

    Raises:
        OSError: the file cannot be read, or the store cannot be written.
        UpdateFinishedTrialError: the trial is over.
    """
    artifact_id = str(uuid.uuid5(uuid.NAMESPACE_OID, f"{owner}/{path.name}"))
    mimetype, encoding = mimetypes.guess_type(path.name)
    _copy(path, store / artifact_id)
    about = {
        "artifact_id": artifact_id,
        "filename": path.name,
        "mimetype": mimetype or "application/octet-stream",
        "encoding": encoding,
    }
    storage.set_trial_system_attr(trial_id, ATTRIBUTE + artifact_id, json.dumps(about))


def artifacts_of(trial: FrozenTrial) -> list[str]:
    """The names of a stored trial's artifacts in the folder of the artifact store."""
    keys = (key for key in trial.system_attrs if key.startswith(ATTRIBUTE))
    return [key.removeprefix(ATTRIBUTE) for key in keys]


def _copy(path: Path, target: Path) -> None:
    """Give the file a second name, which takes no space; where that cannot be, copy it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        os.link(path, target)
        return
    with path.open("rb") as source, atomic_write(target) as file:
        shutil.copyfileobj(source, file)
