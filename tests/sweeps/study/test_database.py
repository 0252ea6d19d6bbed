"""What a URL means, and how it and its errors are shown."""

from pathlib import Path

import pytest
import sqlalchemy as sa

from sweeps.errors import InputError
from sweeps.study.database import engine_options, hidden, parse_url, reason, sqlite_file


@pytest.mark.parametrize(
    "url",
    [
        "",
        "sweeps.db",
        "runs/sweeps.db",
        "//",
        "user:secret@host/db",
        "postgresql://u:secret@host:port/db",
    ],
)
def test_what_is_not_a_url_is_told_how_one_looks(url: str) -> None:
    with pytest.raises(InputError, match="not a database URL") as caught:
        parse_url(url)
    assert str(caught.value) == (
        "--storage: not a database URL. Examples: sqlite:///runs/sweeps.db, postgresql://user:password@host/database"
    )


@pytest.mark.parametrize("backend", ["mysql", "mysql+pymysql", "oracle", "redis"])
def test_other_databases_are_not_supported(backend: str) -> None:
    with pytest.raises(InputError, match="is not supported") as caught:
        parse_url(f"{backend}://u:secret@host/db")
    name = backend.split("+")[0]
    assert str(caught.value) == (
        f"--storage {backend}://u:***@host/db: {name} is not supported; use sqlite or postgresql"
    )


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///", "sqlite:///:memory:"])
def test_a_database_in_memory_is_refused(url: str) -> None:
    with pytest.raises(
        InputError,
        match=r"^--storage: a sweep needs a file or a server, not an in-memory database$",
    ):
        parse_url(url)


@pytest.mark.parametrize("password", ["sec@ret", "sec@ret/word", "sec@ret?word", "a@b/c@d?e"])
@pytest.mark.parametrize("scheme", ["postgresql", "postgres"])
def test_a_password_with_an_at_sign_as_it_is_is_told_how_to_write_it(
    scheme: str, password: str
) -> None:
    url = f"{scheme}://user:{password}@host:5432/db"
    with pytest.raises(InputError) as caught:
        parse_url(url)
    assert str(caught.value) == (
        f"--storage {scheme}://***: the URL has more than one @. Special characters in a user's "
        "name or password are written percent-encoded: %40 for @, %2F for /, %3F for ?"
    )
    assert hidden(url) == f"{scheme}://***"


def test_the_path_of_a_file_may_have_at_signs() -> None:
    assert sqlite_file(parse_url("sqlite:////data/me@home@work/sweeps.db")) == Path(
        "/data/me@home@work/sweeps.db"
    )


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg2"])
def test_postgresql_means_psycopg2(scheme: str) -> None:
    assert parse_url(f"{scheme}://u:p%40ss%2F@h/db").render_as_string(hide_password=False) == (
        "postgresql+psycopg2://u:p%40ss%2F@h/db"
    )


def test_no_database_is_waited_for_without_end() -> None:
    options = engine_options(parse_url("postgresql://h/db?connect_timeout=3"))
    assert options["connect_args"] == {
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        "tcp_user_timeout": 30_000,
    }
    assert engine_options(parse_url("sqlite:///a.db"))["connect_args"] == {"timeout": 30}


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://u:secret@h:1/db", "postgresql://u:***@h:1/db"),
        ("postgresql://u@h/db", "postgresql://u@h/db"),
        ("sqlite:///runs/sweeps.db", "sqlite:///runs/sweeps.db"),
        ("not a url with secret", "***"),
        ("postgresql://u:secret@h:port/db", "***"),
    ],
)
def test_passwords_are_hidden(url: str, shown: str) -> None:
    assert hidden(url) == shown


@pytest.mark.parametrize("key", ["password", "sslpassword"])
def test_passwords_among_the_options_are_hidden(key: str) -> None:
    shown = hidden(f"postgresql://u@h/db?{key}=secret&sslmode=require")
    assert "secret" not in shown
    assert "sslmode=require" in shown


def test_a_reason_is_what_the_database_said_and_nothing_around_it() -> None:
    said = sa.exc.OperationalError("INSERT INTO t", {"v": "secret"}, Exception("disk is\n  full"))
    wrapped = RuntimeError("An exception is raised during the commit.")
    wrapped.__cause__ = said
    assert reason(wrapped) == reason(said) == "disk is full"
    assert reason(TimeoutError()) == "TimeoutError"
