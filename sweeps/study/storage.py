"""The database of a sweep, opened for Optuna."""

import optuna
import sqlalchemy as sa
from optuna.exceptions import StorageInternalError
from optuna.storages import RDBStorage

from sweeps.errors import InputError
from sweeps.paths import make_folder
from sweeps.study.database import advice, engine_options, hidden, parse_url, reason, sqlite_file

STORAGE_ERRORS = (StorageInternalError, sa.exc.SQLAlchemyError)


def open_storage(url: str, *, must_exist: bool = False) -> RDBStorage:
    """Open the storage at a database URL; an absent SQLite file is created.

    SQLite keeps its default rollback journal. The file may lie on NFS, where WAL does not work.

    Args:
        must_exist: True for commands that only read. An absent SQLite file is then an error.

    Raises:
        InputError: the text is not a URL, the server does not answer or refuses the login, the path
            cannot be written, or another version of Optuna created the tables. The message does not
            show the password.
    """
    parsed = parse_url(url)
    file = sqlite_file(parsed)
    if file is not None and must_exist and not file.is_file():
        raise InputError(
            f"{file}: no sweeps stored here yet. `sweeps run SPACE` starts one; "
            "--storage names another place"
        )
    if file is not None and not must_exist:
        make_folder(file.parent, option="--storage")
    address = parsed.render_as_string(hide_password=False)
    try:
        storage = RDBStorage(
            address, engine_kwargs=engine_options(parsed), skip_compatibility_check=True
        )
        _check_version(storage, url)
    except (*STORAGE_ERRORS, ImportError, TypeError) as error:
        message = reason(error)
        raise InputError(
            f"--storage {hidden(url)}: cannot be opened ({message}){advice(message)}"
        ) from None
    return storage


def _check_version(storage: RDBStorage, url: str) -> None:
    """Check that the storage's tables have the version of the installed Optuna.

    Raises:
        InputError: the tables have another version.
    """
    stored = storage.get_current_version()
    if stored == storage.get_head_version():
        return
    if stored in storage.get_all_versions():
        what = (
            "an older version of Optuna. "
            f"Bring it up to date: optuna storage upgrade --storage {hidden(url)}"
        )
    else:
        what = (
            f"a newer version of Optuna than {optuna.__version__}, which is here. "
            "Update: pip install -U optuna"
        )
    raise InputError(f"--storage {hidden(url)}: its tables were made by {what}")
