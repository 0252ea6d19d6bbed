"""A database as users name it: its URL checked, completed and shown without the password; its errors in one line."""

from pathlib import Path
from typing import Any

import sqlalchemy as sa

from sweeps.errors import InputError

PATIENCE_S = 600.0  # how long a database may stay away before a sweep gives up
EXAMPLES = "sqlite:///runs/sweeps.db, postgresql://user:password@host/database"
# libpq alone waits for a host that vanished until the kernel gives up, a quarter of an hour later
_POSTGRESQL_TIMEOUTS = {
    "connect_timeout": 10,  # s
    "keepalives_idle": 10,  # s
    "keepalives_interval": 5,  # s
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,  # ms
}
_SQLITE_TIMEOUTS = {"timeout": 30}  # s that a writer waits for another one
# what to do about an error, by a part of what the database says
_ADVICE = {
    "password authentication failed": (
        "User or password are wrong; special characters are written percent-encoded there, as %40 for @"
    ),
    "no password supplied": "Write the password into the URL, postgresql://user:password@host/database",
    "permission denied for schema": "The user may not make tables there: GRANT CREATE ON SCHEMA public TO that user",
    "Connection refused": "Is the server running, and are host and port right?",
    "No such file or directory": "Is the server running, and are host and port right?",
    "could not translate host name": "Is the host's name right?",
    "timeout expired": "Is the server running, and are host and port right?",
    "file is not a database": "Name another file, or move this one away",
    "does not exist": "Create it first, or name another one",
}


def parse_url(url: str) -> sa.URL:
    """A URL of SQLite or PostgreSQL. `postgresql://` means psycopg2 (SQLAlchemy 2.1 alone would look for psycopg 3).

    Raises:
        InputError: not a URL, another kind of database, or one in memory. Passwords are not shown.
    """
    try:
        parsed = sa.make_url(url)
    except (sa.exc.ArgumentError, ValueError):  # ValueError: the port is no number
        raise InputError(f"--storage: not a database URL. Examples: {EXAMPLES}") from None
    if "@" in (parsed.host or ""):
        raise InputError(
            "--storage: the URL has more than one @. Special characters in a user's name or password are written "
            "percent-encoded, %40 for @"
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
    """Arguments of `sqlalchemy.create_engine`; timeouts that the URL itself gives are kept.

    The ping before each use costs 0.1 ms of PostgreSQL's time; without it the first statement after a
    restart of the server fails.
    """
    timeouts = _SQLITE_TIMEOUTS if url.get_backend_name() == "sqlite" else _POSTGRESQL_TIMEOUTS
    return {
        "pool_pre_ping": True,
        "connect_args": {key: value for key, value in timeouts.items() if key not in url.query},
    }


def sqlite_file(url: sa.URL) -> Path | None:
    """The file of a SQLite URL.

    Raises:
        InputError: it is a folder.
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
    """The URL without its password, also where libpq takes one among the options."""
    try:
        parsed = sa.make_url(url)
    except (sa.exc.ArgumentError, ValueError):
        return "***"
    if "@" in (parsed.host or ""):  # the end of a password with an @ in it
        return "***"
    secret = {key: "***" for key in parsed.query if "password" in key}
    return parsed.update_query_dict(secret).render_as_string(hide_password=True)


def reason(error: BaseException) -> str:
    """What the database itself said, in one line: without statement, parameters and what others wrapped around it."""
    innermost = error
    while (inner := getattr(innermost, "orig", None) or innermost.__cause__) is not None:
        innermost = inner
    return " ".join(str(innermost).split("\n(Background")[0].split()) or type(innermost).__name__


def advice(said: str) -> str:
    """` What to do.` about an error of that `reason`, or an empty string."""
    return next((f". {what}" for part, what in _ADVICE.items() if part in said), "")
