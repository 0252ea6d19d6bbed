"""The lease of a sweep: it makes sure that a sweep has one driver at a time.

A lease is a row in a table of our own, beside Optuna's tables. The row has an expiry time. SQLite
and PostgreSQL use the same code. Two other kinds of lock are not used: PgBouncer may silently lose
or share an advisory lock, and a forked child process keeps a file lock. A row has neither problem.

The database computes every time in the row, so the clocks of drivers do not matter. SQLite has no
server and uses the clock of the machine. Therefore machines that share a SQLite file must agree on
the time to within `Times.ttl_s`.
"""

import dataclasses
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable

import sqlalchemy as sa

from sweeps import processes
from sweeps.errors import InfrastructureError, InputError, LeaseLostError, SweepBusyError
from sweeps.study.database import PATIENCE_S, reason
from sweeps.study.holder import Holder
from sweeps.study.lease_table import LONGEST_DOING, leases, prepare_table, server_clock
from sweeps.threads import vital

_STOPS = {False: "drain", True: "now"}  # `now` of `request_stop` -> stored text


def _seconds() -> float:
    """Seconds of a clock that also counts while the machine sleeps.

    With another clock, a driver would think after a sleep that its expired lease is still valid.
    """
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


@dataclasses.dataclass(frozen=True)
class Times:
    """The periods of a lease, in seconds.

    Attributes:
        ttl_s: time from a renewal of the row to its expiry.
        renew_every_s: time between two renewals.
        poll_every_s: time between two checks for a request to stop.
        patience_s: the lease is given up when the storage has not answered for this long.
    """

    ttl_s: float = 60.0
    renew_every_s: float = 15.0
    poll_every_s: float = 2.0
    patience_s: float = PATIENCE_S


class Lease:
    """The right to drive one sweep, from `acquire` to `release`. A context manager.

    A thread renews the lease. While the storage does not answer, the lease is kept for
    `patience_s`, although the row may expire and another driver may take it. Therefore a writer
    calls `confirm` before each write.
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
        self._doing: str | None = None
        self._doing_stored: str | None = None
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
        on_wait: Callable[[str], None] | None = None,
        times: Times = Times(),
        clock: Callable[[], float] = _seconds,
    ) -> "Lease":
        """Take a free lease, or the lease of a driver that is dead or has not renewed it.

        Args:
            on_lost: called once, from another thread, when the lease cannot be kept. The error is
                LeaseLostError if another driver has the lease, and InfrastructureError if the
                storage did not answer for too long. `on_lost` must not raise.
            on_stop: called from another thread when a user asks the driver to stop. The argument is
                True if running trials are to be interrupted; a later request to interrupt them
                calls `on_stop` again. `on_stop` must not raise.
            on_wait: called with a sentence before this method waits for the lease of a driver that
                may have ended with its container, see `Holder.may_be_gone`; without it, there is
                no waiting.

        Raises:
            SweepBusyError: another driver has the lease; the message names its process and host,
                and since when it has the lease.
            InfrastructureError: the storage cannot be written.
        """
        lease = cls(engine, sweep, on_lost=on_lost, on_stop=on_stop, times=times, clock=clock)
        try:
            prepare_table(engine)
            try:
                lease._take()
            except SweepBusyError:
                holder = find_holder(engine, sweep)
                if on_wait is None or holder is None or not holder.may_be_gone():
                    raise
                on_wait(
                    f"the driver of sweep {sweep!r}, {holder}, may have ended with its container: "
                    f"waiting at most {times.ttl_s:.0f} s to see whether it renews its lease"
                )
                lease._wait_out(holder)
                lease._take()
        except sa.exc.SQLAlchemyError as error:
            raise InfrastructureError(f"the storage cannot be written ({reason(error)})") from error
        lease._thread.start()
        return lease

    def __enter__(self) -> "Lease":
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        """Give the lease back. If it is lost, this explains an error, and is raised in its place.

        A process that was stopped for longer than its lease lasts wakes among files and servers
        that have gone on without it, and stumbles over anything.

        Raises:
            LeaseLostError: there is an error, and another driver has the lease.
        """
        try:
            if isinstance(error, Exception) and not isinstance(error, LeaseLostError):
                self._explain(error)
        finally:
            self.release()

    def confirm(self) -> None:
        """Make sure that this driver keeps the lease for at least half of `ttl_s` from now.

        Raises:
            LeaseLostError: another driver has the lease.
            SQLAlchemyError: the storage does not answer, so the owner of the lease is unknown.
        """
        if self._clock() - self._confirmed_at > self._times.ttl_s / 2:
            self._renew()

    def say(self, doing: str | None) -> None:
        """Tell other processes what the driver does; they see it after `poll_every_s`.

        Args:
            doing: for example "images decoded: 12,000 of 90,000"; None for nothing special.
        """
        self._doing = doing and doing[:LONGEST_DOING]

    def release(self) -> None:
        """Give the lease back.

        An unreachable storage is not an error here, because the row expires by itself.
        """
        self._done.set()
        self._thread.join()
        try:
            with self._engine.begin() as connection:
                connection.execute(sa.delete(leases).where(self._mine))
        except sa.exc.SQLAlchemyError:
            pass

    @property
    def _mine(self) -> sa.ColumnElement[bool]:
        return (leases.c.sweep == self._sweep) & (leases.c.owner == self._owner)

    def _take(self) -> None:
        now = server_clock(self._engine)
        mine = {
            "owner": self._owner,
            "host": socket.gethostname(),
            "machine": processes.machine(),
            "pid": os.getpid(),
            "process_start": processes.started_s(),
            "since": now,
            "expires": now + self._times.ttl_s,
            "stop": None,
            "doing": None,
        }
        asked_at = self._clock()
        holder = find_holder(self._engine, self._sweep, include_expired=True)
        free = leases.c.expires < now
        if holder is not None and holder.is_dead_on_this_machine():
            free = free | (leases.c.owner == holder.owner)
        try:
            with self._engine.begin() as connection:
                # One conditional statement: if two drivers try at once, only one changes the row.
                take = (
                    sa.update(leases).where((leases.c.sweep == self._sweep) & free).values(**mine)
                )
                taken = connection.execute(take).rowcount == 1
                if not taken and holder is None:
                    connection.execute(sa.insert(leases).values(sweep=self._sweep, **mine))
                    taken = True
        except sa.exc.IntegrityError:  # another driver inserted the row first
            taken = False
        if not taken:
            holder = find_holder(self._engine, self._sweep)
            raise SweepBusyError(
                f"sweep {self._sweep!r} is already running: "
                f"{holder or 'another driver just took it'}. "
                f"Wait for it, or stop it with `sweeps stop {self._sweep}`; "
                "`sweeps status` shows how far it is"
            )
        self._confirmed_at = asked_at

    def _wait_out(self, holder: Holder) -> None:
        """Wait until the lease of a driver has expired, or was renewed, or changed hands."""
        query = sa.select(leases.c.expires).where(leases.c.owner == holder.owner)
        first: float | None = None
        while not self._done.wait(self._times.poll_every_s):
            with self._engine.connect() as connection:
                live = query.where(leases.c.expires >= server_clock(self._engine))
                expires = connection.execute(live).scalar_one_or_none()
            if expires is None or expires != (first := expires if first is None else first):
                return

    def _keep(self) -> None:
        """Renew the lease and check for requests to stop, until it is released or lost."""
        with vital(f"the renewal of the lease of sweep {self._sweep!r}", on_end=self._report_lost):
            self._keep_until_done()

    def _keep_until_done(self) -> None:
        """See `_keep`. This also ends when the storage has not answered for `patience_s`."""
        times = self._times
        answered_at = self._clock()
        while not self._done.wait(min(times.renew_every_s, times.poll_every_s)):
            try:
                if self._clock() - self._confirmed_at >= times.renew_every_s:
                    self._renew()
                self._check_stop()
                self._store_doing()
                answered_at = self._clock()
            except LeaseLostError:
                return
            except sa.exc.SQLAlchemyError as error:
                silent_s = self._clock() - answered_at
                if silent_s >= times.patience_s:
                    self._report_lost(
                        InfrastructureError(
                            f"the storage of sweep {self._sweep!r} did not answer "
                            f"for {silent_s:.0f} s ({reason(error)}). Finished folds are on disk; "
                            "run the same command again to continue"
                        )
                    )
                    return

    def _explain(self, error: Exception) -> None:
        """Raise LeaseLostError from an error if another driver has the lease."""
        try:
            self.confirm()
        except LeaseLostError as lost:
            raise lost from error
        except sa.exc.SQLAlchemyError:
            pass  # then the lease does not explain it

    def _renew(self) -> None:
        asked_at = self._clock()
        with self._engine.begin() as connection:
            expires = server_clock(self._engine) + self._times.ttl_s
            renew = sa.update(leases).where(self._mine).values(expires=expires)
            kept = connection.execute(renew).rowcount == 1
        if not kept:
            error = LeaseLostError(
                f"another driver took over sweep {self._sweep!r}; this one stops"
            )
            self._report_lost(error)
            raise error
        self._confirmed_at = asked_at

    def _check_stop(self) -> None:
        """Call `on_stop` if the row has a request to stop that was not passed on yet."""
        with self._engine.connect() as connection:
            query = sa.select(leases.c.stop).where(self._mine)
            stop = connection.execute(query).scalar_one_or_none()
        if stop is not None and stop != self._stop_seen:
            self._stop_seen = stop
            self._on_stop(stop == _STOPS[True])

    def _store_doing(self) -> None:
        doing = self._doing
        if doing != self._doing_stored:
            with self._engine.begin() as connection:
                connection.execute(sa.update(leases).where(self._mine).values(doing=doing))
            self._doing_stored = doing

    def _report_lost(self, error: InfrastructureError) -> None:
        with self._reporting:
            first = not self._reported_lost
            self._reported_lost = True
        if first:
            self._on_lost(error)


def request_stop(engine: sa.Engine, sweep: str, *, now: bool) -> Holder:
    """Ask the driver of a sweep to stop; the driver may be on any machine.

    The driver checks for requests every `Times.poll_every_s` seconds.

    Args:
        now: True to interrupt running trials; False to let running trials finish. A request to
            interrupt replaces a request to finish, and not the reverse.

    Returns:
        The driver that was asked.

    Raises:
        InputError: the sweep has no driver.
    """
    prepare_table(engine)
    holder = find_holder(engine, sweep, include_expired=True)
    changed_rows = 0
    if holder is not None and not holder.is_dead_on_this_machine():
        of_holder = (leases.c.sweep == sweep) & (leases.c.owner == holder.owner)
        live = leases.c.expires >= server_clock(engine)
        stop: str | sa.ColumnElement[str] = (
            _STOPS[now] if now else sa.func.coalesce(leases.c.stop, _STOPS[now])
        )
        with engine.begin() as connection:
            request = sa.update(leases).where(of_holder & live).values(stop=stop)
            changed_rows = connection.execute(request).rowcount
    if not changed_rows:
        last = "" if holder is None else f" (its last driver, {holder}, is gone)"
        raise InputError(
            f"nobody drives sweep {sweep!r} now{last}, so there is nothing to stop. "
            f"`sweeps status {sweep}` shows how far it is"
        )
    assert holder is not None
    return holder


def find_holder(engine: sa.Engine, sweep: str, *, include_expired: bool = False) -> Holder | None:
    """The driver that holds the lease of `sweep`, or None.

    Args:
        include_expired: also return the holder of an expired lease.
    """
    return find_holders(engine, sweep, include_expired=include_expired).get(sweep)


def find_holders(
    engine: sa.Engine, *sweeps: str, include_expired: bool = False
) -> dict[str, Holder]:
    """The drivers that hold the leases of these sweeps, or of all sweeps if none is named."""
    with engine.connect() as connection:
        if not sa.inspect(connection).has_table(leases.name):
            return {}
        stored = {column["name"] for column in sa.inspect(connection).get_columns(leases.name)}
        fields = [field.name for field in dataclasses.fields(Holder) if field.name in stored]
        query = sa.select(leases.c.sweep, *(leases.c[name] for name in fields))
        if sweeps:
            query = query.where(leases.c.sweep.in_(sweeps))
        if not include_expired:
            query = query.where(leases.c.expires >= server_clock(engine))
        rows = [row._asdict() for row in connection.execute(query)]
    return {str(row.pop("sweep")): Holder(**row) for row in rows}
