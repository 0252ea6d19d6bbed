"""One driver per sweep: a row of our own table beside Optuna's, with an expiry by the server's clock.

The same on SQLite and PostgreSQL. Advisory locks are silently lost or shared behind PgBouncer, and a
forked child keeps a file lock; a row is neither.
"""

import dataclasses
import datetime
import os
import socket
import threading
import uuid
from collections.abc import Callable

import psutil
import sqlalchemy as sa

from sweeps.errors import LeaseLostError, SweepBusyError

TTL_S = 60.0
RENEW_EVERY_S = 15.0

_metadata = sa.MetaData()
_leases = sa.Table(
    "foldsweep_leases",
    _metadata,
    sa.Column("sweep", sa.String(255), primary_key=True),
    sa.Column("owner", sa.String(36), nullable=False),
    sa.Column("host", sa.String(255), nullable=False),
    sa.Column("pid", sa.Integer, nullable=False),
    sa.Column("process_start", sa.Float, nullable=False),  # pids are reused
    sa.Column("since", sa.Float, nullable=False),  # s since 1970, the server's clock
    sa.Column("expires", sa.Float, nullable=False),
)


@dataclasses.dataclass(frozen=True)
class Holder:
    """Who owns a sweep now."""

    owner: str
    host: str
    pid: int
    process_start: float
    since: float

    def __str__(self) -> str:
        since = datetime.datetime.fromtimestamp(self.since).astimezone()
        return f"process {self.pid} on {self.host} since {since:%Y-%m-%d %H:%M:%S}"

    def is_dead_here(self) -> bool:
        """Whether it was a process of this machine that no longer exists."""
        if self.host != socket.gethostname():
            return False
        try:
            process = psutil.Process(self.pid)
            reused = abs(process.create_time() - self.process_start) > 1
            return reused or process.status() == psutil.STATUS_ZOMBIE  # killed, and its parent has not looked yet
        except psutil.NoSuchProcess:
            return True


class Lease:
    """The right to drive one sweep, from `acquire` to `release`; a thread renews it in between."""

    def __init__(self, engine: sa.Engine, sweep: str) -> None:
        self._engine, self._sweep, self._owner = engine, sweep, str(uuid.uuid4())
        self._done = threading.Event()
        self._thread: threading.Thread | None = None

    @classmethod
    def acquire(
        cls,
        engine: sa.Engine,
        sweep: str,
        *,
        on_lost: Callable[[LeaseLostError], None],
        ttl_s: float = TTL_S,
        renew_every_s: float = RENEW_EVERY_S,
    ) -> "Lease":
        """Take the lease, or take it over from a driver that is dead or has not renewed it.

        Args:
            on_lost: called once from the renewing thread when the lease cannot be kept.

        Raises:
            SweepBusyError: another driver has it; says where and since when.
        """
        _create_table(engine)
        lease = cls(engine, sweep)
        lease._take(ttl_s)
        lease._thread = threading.Thread(
            target=lease._renew, args=(on_lost, ttl_s, renew_every_s), name=f"lease {sweep}", daemon=True
        )
        lease._thread.start()
        return lease

    def release(self) -> None:
        """Give the lease back. A storage that is gone meanwhile is no error: the row expires by itself."""
        self._done.set()
        if self._thread is not None:
            self._thread.join()
        try:
            with self._engine.begin() as connection:
                connection.execute(sa.delete(_leases).where(_leases.c.owner == self._owner))
        except sa.exc.SQLAlchemyError:
            pass

    def _take(self, ttl_s: float) -> None:
        now = _now(self._engine)
        mine = {
            "owner": self._owner,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "process_start": psutil.Process().create_time(),
            "since": now,
            "expires": now + ttl_s,
        }
        row = _leases.c.sweep == self._sweep
        holder = find_holder(self._engine, self._sweep, expired_too=True)
        free = _leases.c.expires < now
        if holder is not None and holder.is_dead_here():
            free = free | (_leases.c.owner == holder.owner)
        try:
            with self._engine.begin() as connection:
                # one conditional statement: of two drivers that try at once, one changes the row
                taken = connection.execute(sa.update(_leases).where(row & free).values(**mine)).rowcount == 1
                if not taken and holder is None:
                    connection.execute(sa.insert(_leases).values(sweep=self._sweep, **mine))
                    taken = True
        except sa.exc.IntegrityError:  # another one inserted the row first
            taken = False
        if not taken:
            holder = find_holder(self._engine, self._sweep)
            raise SweepBusyError(
                f"sweep {self._sweep!r} is already running: {holder or 'another driver just took it'}. "
                "Wait for it, or stop it there (Ctrl-C); `sweeps status` shows how far it is"
            )

    def _renew(self, on_lost: Callable[[LeaseLostError], None], ttl_s: float, renew_every_s: float) -> None:
        failed_s = 0.0
        while not self._done.wait(renew_every_s):
            try:
                with self._engine.begin() as connection:
                    expires = _server_clock(self._engine) + ttl_s
                    renewal = sa.update(_leases).where(_leases.c.owner == self._owner).values(expires=expires)
                    if connection.execute(renewal).rowcount != 1:
                        on_lost(LeaseLostError(f"another driver took over sweep {self._sweep!r}; this one stops"))
                        return
                failed_s = 0.0
            except sa.exc.SQLAlchemyError as error:
                failed_s += renew_every_s
                if failed_s >= ttl_s:
                    reason = str(error).splitlines()[0]
                    on_lost(LeaseLostError(f"the storage did not answer for {failed_s:.0f} s ({reason}); stopping"))
                    return


def _create_table(engine: sa.Engine) -> None:
    try:
        _metadata.create_all(engine, checkfirst=True)
    except sa.exc.DBAPIError:  # another driver made it between the check and the statement
        if not sa.inspect(engine).has_table(_leases.name):
            raise


def find_holder(engine: sa.Engine, sweep: str, *, expired_too: bool = False) -> Holder | None:
    """Who owns `sweep`, if anybody does."""
    columns = (_leases.c.owner, _leases.c.host, _leases.c.pid, _leases.c.process_start, _leases.c.since)
    query = sa.select(*columns).where(_leases.c.sweep == sweep)
    if not expired_too:
        query = query.where(_leases.c.expires >= _server_clock(engine))
    with engine.connect() as connection:
        if not sa.inspect(connection).has_table(_leases.name):
            return None
        row = connection.execute(query).first()
    return None if row is None else Holder(*row)


def _now(engine: sa.Engine) -> float:
    with engine.connect() as connection:
        return float(connection.execute(sa.select(_server_clock(engine))).scalar_one())


def _server_clock(engine: sa.Engine) -> sa.ColumnElement[float]:
    """Seconds since 1970 by the database's clock, so that drivers need not agree on the time."""
    if engine.dialect.name == "sqlite":
        return sa.literal_column("((julianday('now') - 2440587.5) * 86400.0)", sa.Float)
    return sa.literal_column("extract(epoch from clock_timestamp())::float8", sa.Float)
