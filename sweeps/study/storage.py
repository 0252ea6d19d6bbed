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
    """Open the storage at a database URL; a SQLite file is made when absent.

    SQLite keeps its rollback journal: the file may lie on NFS, where WAL does not work.

    Args:
        must_exist: for commands that only read: an absent SQLite file is an error, not a new file.

    Raises:
        InputError: not a URL, a server that does not answer or lets us not in, a path that cannot be
            written, or a storage written by another version of Optuna. Passwords are not shown.
    """
    parsed = parse_url(url)
    file = sqlite_file(parsed)
    if file is not None and must_exist and not file.is_file():
        raise InputError(
            f"{file}: no sweeps stored here yet. `sweeps run SPACE` starts one; --storage names another place"
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
        said = reason(error)
        raise InputError(
            f"--storage {hidden(url)}: cannot be opened ({said}){advice(said)}"
        ) from None
    return storage


def _check_version(storage: RDBStorage, url: str) -> None:
    stored, ours = storage.get_current_version(), storage.get_head_version()
    if stored == ours:
        return
    if stored in storage.get_all_versions():
        what = f"an older version of Optuna. Bring it up to date: optuna storage upgrade --storage {hidden(url)}"
    else:
        what = f"a newer version of Optuna than {optuna.__version__}, which is here. Update: pip install -U optuna"
    raise InputError(f"--storage {hidden(url)}: its tables were made by {what}")
