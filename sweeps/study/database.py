"""Database URLs and database errors.

A user's URL is checked, completed, and shown without its password. An error becomes one line.
"""

from pathlib import Path
from typing import Any

import sqlalchemy as sa

from sweeps.errors import InputError

PATIENCE_S = 600.0  # a sweep gives up when the database has not answered for this long
EXAMPLES = "sqlite:///runs/sweeps.db, postgresql://user:password@host/database"
# Without these timeouts, libpq waits for a vanished host until the kernel gives up the connection,
# which takes a quarter of an hour.
_POSTGRESQL_TIMEOUTS = {
    "connect_timeout": 10,  # s
    "keepalives_idle": 10,  # s
    "keepalives_interval": 5,  # s
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,  # ms
}
_SQLITE_TIMEOUTS = {"timeout": 30}  # seconds that a writer waits for another writer
# What a user should do about an error. A key is a part of the database's error message.
_ADVICE = {
    "password authentication failed": (
        "User or password are wrong; special characters are written percent-encoded there, "
        "as %40 for @"
    ),
    "no password supplied": (
        "Write the password into the URL, postgresql://user:password@host/database"
    ),
    "permission denied for schema": (
        "The user may not make tables there: GRANT CREATE ON SCHEMA public TO that user"
    ),
    "Connection refused": "Is the server running, and are host and port right?",
    "No such file or directory": "Is the server running, and are host and port right?",
    "could not translate host name": "Is the host's name right?",
    "timeout expired": "Is the server running, and are host and port right?",
    "file is not a database": "Name another file, or move this one away",
    "does not exist": "Create it first, or name another one",
}


def parse_url(url: str) -> sa.URL:
    """Parse and check the URL of a SQLite or PostgreSQL database.

    `postgresql://` means the driver psycopg2. By default, SQLAlchemy 2.1 would look for psycopg 3.

    Raises:
        InputError: the text is not a URL, or the URL names another kind of database or an
            in-memory database. The message does not show the password.
    """
    try:
        parsed = sa.make_url(url)
    except (sa.exc.ArgumentError, ValueError):  # ValueError: the port is not a number
        raise InputError(f"--storage: not a database URL. Examples: {EXAMPLES}") from None
    if _ambiguous(url):
        raise InputError(
            f"--storage {hidden(url)}: the URL has more than one @. Special characters in a user's "
            "name or password are written percent-encoded: %40 for @, %2F for /, %3F for ?"
        )
    if parsed.drivername in ("postgresql", "postgres"):
        parsed = parsed.set(drivername="postgresql+psycopg2")
    kind = parsed.get_backend_name()
    if kind not in ("sqlite", "postgresql"):
        raise InputError(
            f"--storage {hidden(url)}: {kind} is not supported; use sqlite or postgresql"
        )
    if kind == "sqlite" and parsed.database in (None, "", ":memory:"):
        raise InputError("--storage: a sweep needs a file or a server, not an in-memory database")
    return parsed


def engine_options(url: sa.URL) -> dict[str, Any]:
    """Arguments of `sqlalchemy.create_engine`; timeouts in the URL take precedence.

    SQLAlchemy pings the server before each use of a connection. A ping costs 0.1 ms of
    PostgreSQL's time. Without the ping, the first statement after a restart of the server fails.
    """
    timeouts = _SQLITE_TIMEOUTS if url.get_backend_name() == "sqlite" else _POSTGRESQL_TIMEOUTS
    return {
        "pool_pre_ping": True,
        "connect_args": {key: value for key, value in timeouts.items() if key not in url.query},
    }


def sqlite_file(url: sa.URL) -> Path | None:
    """The file of a SQLite URL; None for another database.

    Raises:
        InputError: the path is a folder.
    """
    if url.get_backend_name() != "sqlite":
        return None
    path = Path(str(url.database))
    if path.is_dir():
        raise InputError(
            f"--storage: {path} is a folder, not a database. Name a file in it, as sweeps.db"
        )
    return path


def hidden(url: str) -> str:
    """The URL with *** for each password, also for a password among the query options of libpq."""
    if _ambiguous(url):
        return f"{url.partition('://')[0]}://***"
    try:
        parsed = sa.make_url(url)
    except (sa.exc.ArgumentError, ValueError):
        return "***"
    secret = {key: "***" for key in parsed.query if "password" in key}
    return parsed.update_query_dict(secret).render_as_string(hide_password=True)


def _ambiguous(url: str) -> bool:
    """Whether a part of a password may stand behind an @, and would be read as host or database."""
    scheme, _, rest = url.partition("://")
    return not scheme.startswith("sqlite") and rest.count("@") > 1


def reason(error: BaseException) -> str:
    """The message of the database itself, in one line.

    The SQL statement, its parameters and the messages of wrapping exceptions are left out.
    """
    innermost = error
    while (inner := getattr(innermost, "orig", None) or innermost.__cause__) is not None:
        innermost = inner
    return " ".join(str(innermost).split("\n(Background")[0].split()) or type(innermost).__name__


def advice(message: str) -> str:
    """What a user should do about an error, to append to the error's `reason`; may be empty.

    Example:
        >>> advice("connection failed: Connection refused")
        '. Is the server running, and are host and port right?'
    """
    return next((f". {what}" for part, what in _ADVICE.items() if part in message), "")
