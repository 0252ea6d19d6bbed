"""What is opened, on SQLite and on PostgreSQL, and what is refused with what to do."""

import socket
from collections.abc import Callable
from pathlib import Path

import optuna
import pytest
import sqlalchemy as sa
from optuna.storages import RDBStorage

from sweeps.errors import InputError
from sweeps.paths import make_folder
from sweeps.study.storage import open_storage
from sweeps.study.stored_sweep import StoredSweep
from tests.postgres import Server
from tests.sweeps.conftest import close
from tests.sweeps.study.passwords import PASSWORD, url_of_carol
from tests.sweeps.study.stored_trials import Make


def test_a_storage_is_made_where_there_is_none_and_opened_again(
    storage_url: str, make_spec: Make
) -> None:
    first = open_storage(storage_url)
    StoredSweep.create(first, make_spec(), identity="a")
    close(first)
    again = open_storage(storage_url, must_exist=True)
    assert StoredSweep.find(again, "toy") is not None
    close(again)


def test_the_folder_of_a_sqlite_file_is_made(tmp_path: Path) -> None:
    close(open_storage(f"sqlite:///{tmp_path / 'deep' / 'er' / 'sweeps.db'}"))
    assert [file.name for file in (tmp_path / "deep" / "er").iterdir()] == ["sweeps.db"]


def test_sqlite_keeps_its_rollback_journal(sqlite_storage: RDBStorage) -> None:
    with sqlite_storage.engine.connect() as connection:
        assert connection.execute(sa.text("PRAGMA journal_mode")).scalar_one() == "delete"


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg2"])
def test_postgresql_means_psycopg2(postgresql_url: str, scheme: str) -> None:
    storage = open_storage(postgresql_url.replace("postgresql", scheme, 1))
    assert storage.engine.dialect.driver == "psycopg2"
    close(storage)


def test_a_command_that_only_reads_makes_no_file(tmp_path: Path) -> None:
    path = tmp_path / "absent" / "sweeps.db"
    with pytest.raises(InputError, match="no sweeps stored here yet") as caught:
        open_storage(f"sqlite:///{path}", must_exist=True)
    assert str(caught.value) == (
        f"{path}: no sweeps stored here yet. `sweeps run SPACE` starts one; "
        "--storage names another place"
    )
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_named_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written") as caught:
        make_folder(tmp_path / "file" / "runs")
    assert str(caught.value) == (
        f"{tmp_path / 'file' / 'runs'}: cannot be written (Not a directory). "
        "Choose another folder with --runs or $SWEEPS_RUNS"
    )


def test_a_folder_that_can_be_written_is_left_as_it_was(tmp_path: Path) -> None:
    make_folder(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_storage_below_a_regular_file_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"file: cannot be written \(File exists\).*--storage"):
        open_storage(f"sqlite:///{tmp_path / 'file' / 'sweeps.db'}")


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "sweeps.db").write_text("a letter to a friend\n" * 100)
    with pytest.raises(
        InputError,
        match=r"sweeps\.db: cannot be opened \(file is not a database\)\. Name another file",
    ):
        open_storage(f"sqlite:///{tmp_path / 'sweeps.db'}")


def test_a_folder_is_no_database(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is a folder") as caught:
        open_storage(f"sqlite:///{tmp_path}")
    assert (
        str(caught.value)
        == f"--storage: {tmp_path} is a folder, not a database. Name a file in it, as sweeps.db"
    )


def test_a_driver_that_is_not_installed_is_refused() -> None:
    with pytest.raises(
        InputError, match=r"^--storage postgresql\+pg8000://u:\*\*\*@h/db: cannot be opened \("
    ):
        open_storage("postgresql+pg8000://u:secret@h/db")


def test_a_server_that_refuses_is_named_without_its_password() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound but not listening: refuses
        port = unused.getsockname()[1]
        with pytest.raises(InputError, match="Connection refused") as caught:
            open_storage(f"postgresql://user:secret@127.0.0.1:{port}/db")
    text = str(caught.value)
    assert text.startswith(
        f"--storage postgresql://user:***@127.0.0.1:{port}/db: cannot be opened (connection to "
        "server"
    )
    assert "secret" not in text
    assert "\n" not in text


def test_a_password_of_special_characters_is_written_percent_encoded(server: Server) -> None:
    storage = open_storage(url_of_carol(server, password=PASSWORD))
    assert storage.get_all_studies() == []
    close(storage)


WAYS_TO_BE_REFUSED = [
    (
        lambda server: url_of_carol(server, password="not the secret"),
        r'FATAL: password authentication failed for user "carol"\)\. User or password are wrong; '
        r"special characters",
    ),
    (
        lambda server: url_of_carol(server, password="secret").replace(":secret", ""),
        r"no password supplied\)\. Write the password into the URL, postgresql://user:password@host/database$",
    ),
    (
        lambda server: url_of_carol(server, password=PASSWORD, database="postgres"),
        r"permission denied for schema public\)\. The user may not make tables there: "
        r"GRANT CREATE ON SCHEMA public",
    ),
    (
        lambda server: url_of_carol(server, password=PASSWORD, database="nobodys"),
        r'database "nobodys" does not exist\)\. Create it first, or name another one$',
    ),
    (
        lambda server: url_of_carol(server, password="secret").replace("carol:", "nobody:"),
        r'role "nobody" does not exist\)\. Create it first, or name another one$',
    ),
]


@pytest.mark.parametrize(
    ("url", "problem"), WAYS_TO_BE_REFUSED, ids=["wrong", "none", "tables", "database", "role"]
)
def test_whom_a_server_does_not_let_in_is_told_why_and_what_to_do(
    server: Server, url: Callable[[Server], str], problem: str
) -> None:
    with pytest.raises(InputError, match=problem) as caught:
        open_storage(url(server))
    text = str(caught.value)
    assert text.startswith("--storage postgresql://")
    assert "secret" not in text
    assert "\n" not in text


def set_version(url: str, version: str) -> None:
    storage = open_storage(url)
    with storage.engine.begin() as connection:
        connection.execute(sa.text(f"UPDATE alembic_version SET version_num = '{version}'"))
    close(storage)


def test_a_storage_of_a_newer_optuna_is_refused_with_what_to_do(storage_url: str) -> None:
    set_version(storage_url, "v99.0.0.a")
    with pytest.raises(
        InputError, match=r"its tables were made by a newer version of Optuna than"
    ) as caught:
        open_storage(storage_url)
    assert str(caught.value).endswith(
        f"than {optuna.__version__}, which is here. Update: pip install -U optuna"
    )


def test_a_storage_of_an_older_optuna_is_refused_with_what_to_do(storage_url: str) -> None:
    set_version(storage_url, "v0.9.0.a")
    with pytest.raises(
        InputError,
        match=r"by an older version of Optuna\. Bring it up to date: optuna storage upgrade",
    ):
        open_storage(storage_url)
