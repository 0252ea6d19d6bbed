"""One driver per sweep: a row of our own table beside Optuna's, with an expiry by the server's clock.

The same on SQLite and PostgreSQL. Advisory locks are silently lost or shared behind PgBouncer, and a
forked child keeps a file lock; a row is neither. No clock of a driver enters the row: the database computes
every time in it. SQLite has no server, its clock is the machine's: machines that share such a file must agree
on the time to within `TTL_S`.
"""

import dataclasses
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable
from types import TracebackType

import sqlalchemy as sa

from sweeps import processes
from sweeps.errors import InfrastructureError, InputError, LeaseLostError, SweepBusyError
from sweeps.study.database import PATIENCE_S, reason
from sweeps.study.holder import Holder

_STOPS = {False: "drain", True: "now"}  # by `now`, as stored


_metadata = sa.MetaData()


_leases = sa.Table(
    "foldsweep_leases",
    _metadata,
    sa.Column("sweep", sa.String(255), primary_key=True),
    sa.Column("owner", sa.String(36), nullable=False),
    sa.Column("host", sa.String(255), nullable=False),
    sa.Column("pid", sa.Integer, nullable=False),
    sa.Column(
        "process_start", sa.Float, nullable=False
    ),  # s since the machine's start; pids are reused
    sa.Column("since", sa.Float, nullable=False),  # s since 1970, the server's clock
    sa.Column("expires", sa.Float, nullable=False),
    # what earlier versions did not have: null in their rows
    sa.Column("machine", sa.String(255)),  # where `pid` means something
    sa.Column("stop", sa.String(5)),  # drain | now: what somebody asked the driver for
)


def _seconds() -> float:
    """A clock that goes on while the machine sleeps, so that a lease is not taken for fresh afterwards."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


@dataclasses.dataclass(frozen=True)
class Times:
    """How often a lease is looked after, in seconds.

    Attributes:
        ttl_s: how long the row lasts after it was renewed.
        renew_every_s: time between two renewals.
        poll_every_s: time between two looks for a request to stop.
        patience_s: how long the storage may be silent before the lease is given up.
    """

    ttl_s: float = 60.0
    renew_every_s: float = 15.0
    poll_every_s: float = 2.0
    patience_s: float = PATIENCE_S


class Lease:
    """The right to drive one sweep, from `acquire` to `release`; a thread renews it in between. A context manager.

    While the storage does not answer the lease is kept for `patience_s`, though the row may expire and go
    to another driver. So who writes calls `confirm` first.
    """

    def __init__(
        self,
        engine: sa.Engine,
        sweep: str,
        *,
        on_lost: Callable[[InfrastructureError], None],
        on_stop: Callable[[bool], None],
        times: Times,
        clock: Callable[[], float],
    ) -> None:
        self._engine = engine
        self._sweep = sweep
        self._owner = str(uuid.uuid4())
        self._on_lost = on_lost
        self._on_stop = on_stop
        self._times = times
        self._clock = clock
        self._confirmed_at = clock()
        self._stop_seen: str | None = None
        self._reported_lost = False
        self._reporting = threading.Lock()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._keep, name=f"lease {sweep}", daemon=True)

    @classmethod
    def acquire(
        cls,
        engine: sa.Engine,
        sweep: str,
        *,
        on_lost: Callable[[InfrastructureError], None] = lambda error: None,
        on_stop: Callable[[bool], None] = lambda now: None,
        times: Times = Times(),
        clock: Callable[[], float] = _seconds,
    ) -> "Lease":
        """Take the lease, or take it over from a driver that is dead or has not renewed it.

        Args:
            on_lost: called once, from another thread, when the lease cannot be kept: with LeaseLostError if
                another driver has it, with InfrastructureError if the storage was silent for too long.
            on_stop: called from another thread when somebody asks the driver to stop, with whether running
                trials are to be interrupted; a later request for that calls it again. Like `on_lost` it
                must not raise.

        Raises:
            SweepBusyError: another driver has it; says where and since when.
            InfrastructureError: the storage cannot be written.
        """
        lease = cls(engine, sweep, on_lost=on_lost, on_stop=on_stop, times=times, clock=clock)
        try:
            _prepare_table(engine)
            lease._take()
        except sa.exc.SQLAlchemyError as error:
            raise InfrastructureError(f"the storage cannot be written ({reason(error)})") from error
        lease._thread.start()
        return lease

    def __enter__(self) -> "Lease":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()

    def confirm(self) -> None:
        """Make sure that the sweep is still ours for a while: half the time that a lease lasts, at least.

        Raises:
            LeaseLostError: another driver has it.
            SQLAlchemyError: the storage does not answer, so that nobody knows.
        """
        if self._clock() - self._confirmed_at > self._times.ttl_s / 2:
            self._renew()

    def release(self) -> None:
        """Give the lease back. A storage that is gone meanwhile is no error: the row expires by itself."""
        self._done.set()
        self._thread.join()
        try:
            with self._engine.begin() as connection:
                connection.execute(sa.delete(_leases).where(self._mine))
        except sa.exc.SQLAlchemyError:
            pass

    @property
    def _mine(self) -> sa.ColumnElement[bool]:
        return (_leases.c.sweep == self._sweep) & (_leases.c.owner == self._owner)

    def _take(self) -> None:
        now = _server_clock(self._engine)
        mine = {
            "owner": self._owner,
            "host": socket.gethostname(),
            "machine": processes.machine(),
            "pid": os.getpid(),
            "process_start": processes.started_s(),
            "since": now,
            "expires": now + self._times.ttl_s,
            "stop": None,
        }
        asked_at = self._clock()
        holder = find_holder(self._engine, self._sweep, expired_too=True)
        free = _leases.c.expires < now
        if holder is not None and holder.is_dead_here():
            free = free | (_leases.c.owner == holder.owner)
        try:
            with self._engine.begin() as connection:
                # one conditional statement: of two drivers that try at once, one changes the row
                take = (
                    sa.update(_leases).where((_leases.c.sweep == self._sweep) & free).values(**mine)
                )
                taken = connection.execute(take).rowcount == 1
                if not taken and holder is None:
                    connection.execute(sa.insert(_leases).values(sweep=self._sweep, **mine))
                    taken = True
        except sa.exc.IntegrityError:  # another one inserted the row first
            taken = False
        if not taken:
            holder = find_holder(self._engine, self._sweep)
            raise SweepBusyError(
                f"sweep {self._sweep!r} is already running: {holder or 'another driver just took it'}. "
                f"Wait for it, or stop it with `sweeps stop {self._sweep}`; `sweeps status` shows how far it is"
            )
        self._confirmed_at = asked_at

    def _keep(self) -> None:
        """Renew and look for requests until released, lost, or out of patience."""
        times = self._times
        answered_at = self._clock()
        while not self._done.wait(min(times.renew_every_s, times.poll_every_s)):
            try:
                if self._clock() - self._confirmed_at >= times.renew_every_s:
                    self._renew()
                self._obey()
                answered_at = self._clock()
            except LeaseLostError:
                return
            except sa.exc.SQLAlchemyError as error:
                silent_s = self._clock() - answered_at
                if silent_s >= times.patience_s:
                    self._report_lost(
                        InfrastructureError(
                            f"the storage of sweep {self._sweep!r} did not answer for {silent_s:.0f} s "
                            f"({reason(error)}). Finished folds are on disk; run the same command again to continue"
                        )
                    )
                    return

    def _renew(self) -> None:
        asked_at = self._clock()
        with self._engine.begin() as connection:
            expires = _server_clock(self._engine) + self._times.ttl_s
            kept = (
                connection.execute(
                    sa.update(_leases).where(self._mine).values(expires=expires)
                ).rowcount
                == 1
            )
        if not kept:
            error = LeaseLostError(
                f"another driver took over sweep {self._sweep!r}; this one stops"
            )
            self._report_lost(error)
            raise error
        self._confirmed_at = asked_at

    def _obey(self) -> None:
        with self._engine.connect() as connection:
            stop = connection.execute(
                sa.select(_leases.c.stop).where(self._mine)
            ).scalar_one_or_none()
        if stop is not None and stop != self._stop_seen:
            self._stop_seen = stop
            self._on_stop(stop == _STOPS[True])

    def _report_lost(self, error: InfrastructureError) -> None:
        with self._reporting:
            first = not self._reported_lost
            self._reported_lost = True
        if first:
            self._on_lost(error)


def request_stop(engine: sa.Engine, sweep: str, *, now: bool) -> Holder:
    """Ask the driver of a sweep, on whatever machine, to stop; it looks every few seconds.

    Args:
        now: interrupt running trials; else they finish. The stronger of two requests holds.

    Returns:
        Who was asked.

    Raises:
        InputError: nobody drives the sweep.
    """
    _prepare_table(engine)
    holder = find_holder(engine, sweep, expired_too=True)
    asked = 0
    if holder is not None and not holder.is_dead_here():
        theirs = (_leases.c.sweep == sweep) & (_leases.c.owner == holder.owner)
        live = _leases.c.expires >= _server_clock(engine)
        stop: str | sa.ColumnElement[str] = (
            _STOPS[now] if now else sa.func.coalesce(_leases.c.stop, _STOPS[now])
        )
        with engine.begin() as connection:
            asked = connection.execute(
                sa.update(_leases).where(theirs & live).values(stop=stop)
            ).rowcount
    if not asked:
        last = "" if holder is None else f" (its last driver, {holder}, is gone)"
        raise InputError(
            f"nobody drives sweep {sweep!r} now{last}, so there is nothing to stop. "
            f"`sweeps status {sweep}` shows how far it is"
        )
    assert holder is not None
    return holder


def find_holder(engine: sa.Engine, sweep: str, *, expired_too: bool = False) -> Holder | None:
    """Who owns `sweep`, if anybody does."""
    with engine.connect() as connection:
        if not sa.inspect(connection).has_table(_leases.name):
            return None
        stored = {column["name"] for column in sa.inspect(connection).get_columns(_leases.name)}
        fields = [field.name for field in dataclasses.fields(Holder) if field.name in stored]
        query = sa.select(*(_leases.c[name] for name in fields)).where(_leases.c.sweep == sweep)
        if not expired_too:
            query = query.where(_leases.c.expires >= _server_clock(engine))
        row = connection.execute(query).first()
    return None if row is None else Holder(**row._asdict())


def _prepare_table(engine: sa.Engine) -> None:
    """Make the table, or add the columns that an earlier version did not have."""
    try:
        _metadata.create_all(engine, checkfirst=True)
    except sa.exc.DBAPIError:  # another driver made it between the check and the statement
        if not sa.inspect(engine).has_table(_leases.name):
            raise
    for name in _missing_columns(engine):
        kind = _leases.c[name].type.compile(engine.dialect)
        try:
            with engine.begin() as connection:
                connection.execute(sa.text(f"ALTER TABLE {_leases.name} ADD COLUMN {name} {kind}"))
        except sa.exc.DBAPIError:  # another driver added it meanwhile
            if name in _missing_columns(engine):
                raise


def _missing_columns(engine: sa.Engine) -> list[str]:
    stored = {column["name"] for column in sa.inspect(engine).get_columns(_leases.name)}
    return [column.name for column in _leases.c if column.name not in stored]


def _server_clock(engine: sa.Engine) -> sa.ColumnElement[float]:
    """Seconds since 1970 by the database's clock, so that drivers need not agree on the time."""
    if engine.dialect.name == "sqlite":
        return sa.literal_column("((julianday('now') - 2440587.5) * 86400.0)", sa.Float)
    return sa.literal_column("extract(epoch from clock_timestamp())::float8", sa.Float)
