"""Every test runs on SQLite and on PostgreSQL."""

import dataclasses
import datetime
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import psutil
import pytest
import sqlalchemy as sa

from sweeps.errors import InfrastructureError, InputError, LeaseLostError, SweepBusyError
from sweeps.processes import machine
from sweeps.study import lease as lease_module
from sweeps.study.holder import Holder
from sweeps.study.lease import Lease, Times, find_holder, request_stop

NEVER_S = 3600.0
WAIT_S = 30.0  # how long a test waits for another thread before it fails

Acquire = Callable[..., Lease]


@pytest.fixture
def acquire(engine: sa.Engine) -> Iterator[Acquire]:
    """Take the lease of "toy", or of another sweep; released after the test."""
    leases = []

    def acquire(sweep: str = "toy", **options: Any) -> Lease:
        never = dict.fromkeys(("ttl_s", "renew_every_s", "poll_every_s"), NEVER_S)
        given = {
            field.name: options.pop(field.name)
            for field in dataclasses.fields(Times)
            if field.name in options
        }
        times = Times(**{**never, **given})
        lease = Lease.acquire(engine, sweep, times=times, **{"on_lost": unexpected, **options})
        leases.append(lease)
        return lease

    yield acquire
    for lease in leases:
        lease.release()


def unexpected(error: InfrastructureError) -> None:
    raise AssertionError(f"lost: {error}")


def change(engine: sa.Engine, **values: Any) -> None:
    """Make the stored lease say something else."""
    with engine.begin() as connection:
        assert connection.execute(sa.update(lease_module._leases).values(**values)).rowcount == 1


def server_now(engine: sa.Engine) -> float:
    with engine.connect() as connection:
        return float(connection.execute(sa.select(lease_module._server_clock(engine))).scalar_one())


def started(pid: int) -> float:
    """Seconds from the machine's start to the process's."""
    return psutil.Process(pid).create_time() - psutil.boot_time()


def ended_process() -> tuple[int, float]:
    """Pid and start of a real process that is over."""
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as process:
        start = started(process.pid)
        process.communicate(b"")
    return process.pid, start


def until(condition: Callable[[], bool]) -> None:
    """Wait for another thread."""
    waiting = threading.Event()
    for _ in range(int(WAIT_S / 0.01)):
        if condition():
            return
        waiting.wait(0.01)
    raise AssertionError("nothing happened")


def test_a_killed_process_that_its_parent_has_not_looked_at_is_dead() -> None:
    process = subprocess.Popen(["cat"], stdin=subprocess.PIPE)
    holder = Holder(
        "somebody", "here", process.pid, started(process.pid), since=0.0, machine=machine()
    )
    assert not holder.is_dead_here()
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # ended, and still in the table
    assert holder.is_dead_here()
    process.communicate()


# --- taken and given back


def test_nobody_holds_a_sweep_that_was_never_driven(engine: sa.Engine, acquire: Acquire) -> None:
    assert find_holder(engine, "toy") is None
    acquire("other")
    assert find_holder(engine, "toy") is None


def test_the_holder_is_this_process_since_now(engine: sa.Engine, acquire: Acquire) -> None:
    before = server_now(engine)
    acquire()
    holder = find_holder(engine, "toy")
    assert holder is not None
    assert (holder.host, holder.pid) == (socket.gethostname(), os.getpid())
    assert holder.process_start == pytest.approx(started(os.getpid()), abs=1.1)
    assert before <= holder.since <= server_now(engine)
    assert not holder.is_dead_here()


def test_the_servers_clock_is_the_time_of_day(engine: sa.Engine) -> None:
    now = datetime.datetime.now(datetime.UTC).timestamp()
    assert server_now(engine) == pytest.approx(now, abs=600)


def test_a_second_driver_is_refused_with_who_where_and_since_when(
    engine: sa.Engine, acquire: Acquire
) -> None:
    acquire()
    change(engine, host="gpu-box", machine="another", pid=4711, since=0.0)
    since = datetime.datetime.fromtimestamp(0).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    with pytest.raises(SweepBusyError, match="already running") as caught:
        acquire()
    assert str(caught.value) == (
        f"sweep 'toy' is already running: process 4711 on gpu-box since {since}. "
        "Wait for it, or stop it with `sweeps stop toy`; `sweeps status` shows how far it is"
    )


def test_a_refused_driver_changes_nothing(engine: sa.Engine, acquire: Acquire) -> None:
    acquire()
    before = find_holder(engine, "toy")
    with pytest.raises(SweepBusyError, match="already running"):
        acquire()
    assert find_holder(engine, "toy") == before


def test_different_sweeps_have_different_leases(engine: sa.Engine, acquire: Acquire) -> None:
    acquire("one")
    acquire("two").release()
    assert find_holder(engine, "one") is not None
    assert find_holder(engine, "two") is None


def test_a_released_lease_is_free(engine: sa.Engine, acquire: Acquire) -> None:
    acquire().release()
    assert find_holder(engine, "toy") is None
    acquire()
    assert find_holder(engine, "toy") is not None


def test_two_releases_are_as_good_as_one(engine: sa.Engine, acquire: Acquire) -> None:
    lease = acquire()
    lease.release()
    acquire()
    lease.release()
    assert find_holder(engine, "toy") is not None


# --- taken over


def test_an_expired_lease_is_taken_over(engine: sa.Engine, acquire: Acquire) -> None:
    acquire()
    change(engine, host="gpu-box", expires=server_now(engine) - 1)
    assert find_holder(engine, "toy") is None
    acquire()
    holder = find_holder(engine, "toy")
    assert holder is not None
    assert holder.host == socket.gethostname()


def test_the_lease_of_a_dead_process_of_this_machine_is_taken_over_at_once(
    engine: sa.Engine, acquire: Acquire
) -> None:
    pid, start = ended_process()
    acquire()
    change(engine, pid=pid, process_start=start)
    acquire()
    holder = find_holder(engine, "toy")
    assert holder is not None
    assert holder.pid == os.getpid()


def test_a_reused_pid_is_another_process(engine: sa.Engine, acquire: Acquire) -> None:
    acquire()
    change(engine, process_start=started(os.getpid()) - 100)
    acquire()
    holder = find_holder(engine, "toy")
    assert holder is not None
    assert not holder.is_dead_here()


def test_another_machines_lease_is_respected_until_it_expires(
    engine: sa.Engine, acquire: Acquire
) -> None:
    pid, start = ended_process()
    acquire()
    change(engine, host="gpu-box", machine="another", pid=pid, process_start=start)
    with pytest.raises(SweepBusyError, match=f"process {pid} on gpu-box since"):
        acquire()


def test_a_container_of_the_same_host_name_does_not_see_the_others_processes(
    engine: sa.Engine, acquire: Acquire
) -> None:
    pid, start = ended_process()
    acquire()
    change(engine, machine=machine().replace("pid:[", "pid:[9"), pid=pid, process_start=start)
    with pytest.raises(SweepBusyError, match=f"process {pid} on {socket.gethostname()} since"):
        acquire()


ONE_WON = ["busy"] * 7 + ["won"]


def test_of_many_drivers_at_once_exactly_one_wins_on_a_new_database(
    engine: sa.Engine, acquire: Acquire
) -> None:
    assert race(acquire) == ONE_WON
    assert race(lambda: acquire("other")) == ONE_WON  # the table is there
    assert find_holder(engine, "other") is not None


def test_of_many_drivers_that_find_the_same_expired_lease_exactly_one_wins(
    engine: sa.Engine, acquire: Acquire
) -> None:
    acquire()
    change(engine, expires=0.0)
    assert race(acquire) == ONE_WON


def test_of_many_drivers_that_find_the_same_dead_one_exactly_one_wins(
    engine: sa.Engine, acquire: Acquire
) -> None:
    pid, start = ended_process()
    acquire()
    change(engine, pid=pid, process_start=start)
    assert race(acquire) == ONE_WON


PROCESS = """\
import sys
import sqlalchemy as sa
from sweeps.processes import machine
from sweeps.errors import SweepBusyError
from sweeps.study.lease import Lease

engine = sa.create_engine(sys.argv[1])
input()
try:
    Lease.acquire(engine, "toy", on_lost=print)
    print("won", flush=True)
except SweepBusyError:
    print("busy", flush=True)
input()
"""


def test_of_many_processes_at_once_exactly_one_wins(engine: sa.Engine) -> None:
    url = engine.url.render_as_string(hide_password=False)
    command = [sys.executable, "-c", PROCESS, url]
    contenders = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    for contender in contenders:
        assert contender.stdin is not None
        contender.stdin.write("go\n")
        contender.stdin.flush()
    ends = []
    for contender in contenders:  # all alive until each has said how it fared
        assert contender.stdout is not None
        ends.append(contender.stdout.readline().strip())
    for contender in contenders:
        contender.communicate("end\n")
    assert sorted(ends) == ["busy", "busy", "won"]


def race(acquire: Callable[[], object], *, drivers: int = 8) -> list[str]:
    """Threads acquire at once; how each of them fared."""
    barrier, ends = threading.Barrier(drivers), []

    def take() -> None:
        barrier.wait(WAIT_S)
        try:
            acquire()
            ends.append("won")
        except SweepBusyError:
            ends.append("busy")
        except InfrastructureError as error:
            ends.append(repr(error))

    threads = [threading.Thread(target=take) for _ in range(drivers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT_S)
    return sorted(ends)


def test_a_driver_that_comes_second_to_an_absent_row_is_refused(
    engine: sa.Engine, acquire: Acquire, monkeypatch: pytest.MonkeyPatch
) -> None:
    acquire()
    monkeypatch.setattr(
        lease_module, "find_holder", lambda *args, **options: None
    )  # as before the first one's insert
    with pytest.raises(
        SweepBusyError, match="'toy' is already running: another driver just took it"
    ):
        acquire()


# --- kept and lost


def expiry(engine: sa.Engine) -> float:
    with engine.connect() as connection:
        return float(connection.execute(sa.select(lease_module._leases.c.expires)).scalar_one())


def test_a_lease_is_renewed_by_the_servers_clock(engine: sa.Engine, acquire: Acquire) -> None:
    acquire(renew_every_s=0.01, ttl_s=60.0)
    change(engine, expires=0.0)
    until(lambda: expiry(engine) > 0)
    assert expiry(engine) == pytest.approx(server_now(engine) + 60, abs=30)


def test_no_clock_of_the_driver_enters_the_row(engine: sa.Engine, acquire: Acquire) -> None:
    """So it may be wrong by hours: all that the database is told in numbers is how long, who, and whom to replace."""
    sent: set[float] = set()

    def listen(connection: Any, cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        values = parameters.values() if isinstance(parameters, dict) else parameters
        sent.update(value for value in values if isinstance(value, float | int))

    sa.event.listen(engine, "before_cursor_execute", listen)
    lease = acquire(ttl_s=61.5)
    lease._renew()
    change(engine, expires=0.0)
    acquire(ttl_s=61.5)
    request_stop(engine, "toy", now=True)
    own = {value for value in sent if value == os.getpid() or abs(value - started(os.getpid())) < 2}
    assert {value for value in sent - own if value not in (0, 1)} == {61.5}


@pytest.fixture
def told() -> list[InfrastructureError]:
    """What a lease said when it was lost."""
    return []


def test_a_stolen_lease_is_reported_once(
    engine: sa.Engine, acquire: Acquire, told: list[InfrastructureError]
) -> None:
    lease = acquire(on_lost=told.append, renew_every_s=0.05, ttl_s=0.0)
    change(engine, owner="a thief")
    assert lease._thread is not None
    lease._thread.join(WAIT_S)  # it ends by itself: nothing is left to renew
    assert not lease._thread.is_alive()
    with pytest.raises(LeaseLostError, match="another driver took over sweep 'toy'"):
        lease.confirm()
    assert [(type(error), str(error)) for error in told] == [
        (LeaseLostError, "another driver took over sweep 'toy'; this one stops")
    ]


def test_the_release_of_a_stolen_lease_leaves_it_to_the_thief(
    engine: sa.Engine, acquire: Acquire
) -> None:
    lease = acquire()
    change(engine, owner="a thief")
    lease.release()
    holder = find_holder(engine, "toy")
    assert holder is not None
    assert holder.owner == "a thief"


class Outage:
    """A database that answers nothing while `on`; `asked` counts."""

    def __init__(self, engine: sa.Engine) -> None:
        self.on, self.asked = False, 0
        sa.event.listen(engine, "before_cursor_execute", self._refuse)

    def _refuse(self, *_: Any) -> None:
        if self.on:
            self.asked += 1
            raise sa.exc.OperationalError("SELECT 1", {}, Exception("server gone\nsecond line"))


class Clock:
    """A clock of the driver that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_fresh_lease_is_confirmed_without_asking(engine: sa.Engine, acquire: Acquire) -> None:
    clock, outage = Clock(), Outage(engine)
    lease = acquire(clock=clock, ttl_s=60.0)
    outage.on = True
    clock.now += 30
    lease.confirm()
    assert outage.asked == 0
    clock.now += 1
    with pytest.raises(sa.exc.OperationalError, match="server gone"):
        lease.confirm()
    outage.on = False
    change(engine, expires=0.0)  # nobody came meanwhile: it is still ours
    lease.confirm()
    assert expiry(engine) > 0
    outage.on = True
    clock.now += 29
    lease.confirm()
    outage.on = False


def test_a_stale_lease_that_another_driver_took_is_not_confirmed(
    engine: sa.Engine, acquire: Acquire, told: list[InfrastructureError]
) -> None:
    clock = Clock()
    lease = acquire(clock=clock, ttl_s=60.0, on_lost=told.append)
    change(engine, expires=0.0)
    second = acquire(ttl_s=60.0)
    clock.now += 61
    for _ in range(2):
        with pytest.raises(
            LeaseLostError, match="another driver took over sweep 'toy'; this one stops"
        ):
            lease.confirm()
    second.confirm()
    assert [type(error) for error in told] == [LeaseLostError]
    lease.release()
    assert find_holder(engine, "toy") is not None


def test_a_storage_that_stays_away_longer_than_the_lease_is_waited_for(
    engine: sa.Engine, acquire: Acquire
) -> None:
    clock, outage = Clock(), Outage(engine)
    acquire(clock=clock, renew_every_s=0.01, ttl_s=60.0, patience_s=600.0)
    outage.on = True
    until(lambda: outage.asked >= 1)
    clock.now += 599
    asked = outage.asked
    until(lambda: outage.asked >= asked + 3)  # any loss would have been told
    outage.on = False
    change(engine, expires=0.0)
    clock.now += 1  # should it have been renewed just before the change
    until(lambda: expiry(engine) > 0)


def test_a_storage_that_stays_away_longer_than_patience_is_reported_once(
    engine: sa.Engine, acquire: Acquire, told: list[InfrastructureError]
) -> None:
    clock, outage = Clock(), Outage(engine)
    lease = acquire(clock=clock, renew_every_s=0.01, patience_s=600.0, on_lost=told.append)
    outage.on = True
    until(lambda: outage.asked >= 1)
    clock.now += 600
    assert lease._thread is not None
    lease._thread.join(WAIT_S)
    outage.on = False
    lease.release()
    assert [(type(error), str(error)) for error in told] == [
        (
            InfrastructureError,
            "the storage of sweep 'toy' did not answer for 600 s (server gone second line). "
            "Finished folds are on disk; run the same command again to continue",
        )
    ]


def test_a_storage_that_cannot_be_written_is_named(engine: sa.Engine) -> None:
    outage = Outage(engine)
    outage.on = True
    with pytest.raises(
        InfrastructureError, match=r"^the storage cannot be written \(server gone second line\)$"
    ):
        Lease.acquire(engine, "toy", on_lost=unexpected)
    outage.on = False


def test_a_release_is_silent_when_the_storage_is_gone(engine: sa.Engine, acquire: Acquire) -> None:
    lease, outage = acquire(), Outage(engine)
    outage.on = True
    lease.release()
    outage.on = False
    assert outage.asked >= 1
    assert find_holder(engine, "toy") is not None


# --- asked to stop


@pytest.fixture
def asked() -> list[bool]:
    """What a driver was asked: whether to stop at once."""
    return []


def test_a_driver_hears_a_request_once_and_a_stronger_one_too(
    engine: sa.Engine, acquire: Acquire, asked: list[bool]
) -> None:
    acquire(on_stop=asked.append, poll_every_s=0.01)
    holder = request_stop(engine, "toy", now=False)
    assert holder == find_holder(engine, "toy")
    until(lambda: asked == [False])
    request_stop(engine, "toy", now=False)
    request_stop(engine, "toy", now=True)
    until(lambda: asked == [False, True])
    request_stop(engine, "toy", now=False)  # the stronger one holds
    renewals = Outage(engine)
    renewals.on = True
    until(lambda: renewals.asked >= 2)
    renewals.on = False
    assert asked == [False, True]


def test_a_request_reaches_its_own_sweep_only(
    engine: sa.Engine, acquire: Acquire, asked: list[bool]
) -> None:
    acquire("one", on_stop=asked.append, poll_every_s=0.01)
    acquire("two")
    request_stop(engine, "two", now=True)
    request_stop(engine, "one", now=False)
    until(lambda: bool(asked))
    assert asked == [False]


def test_a_new_driver_does_not_hear_what_its_predecessor_was_asked(
    engine: sa.Engine, acquire: Acquire, asked: list[bool]
) -> None:
    acquire()
    request_stop(engine, "toy", now=True)
    change(engine, expires=0.0)
    acquire(on_stop=asked.append, poll_every_s=0.01)
    request_stop(engine, "toy", now=False)
    until(lambda: bool(asked))
    assert asked == [False]


NOBODY = "so there is nothing to stop. `sweeps status toy` shows how far it is"


def test_nobody_can_be_asked_where_nobody_drives(engine: sa.Engine, acquire: Acquire) -> None:
    with pytest.raises(InputError, match="nobody drives") as caught:
        request_stop(engine, "toy", now=False)
    assert str(caught.value) == f"nobody drives sweep 'toy' now, {NOBODY}"


@pytest.mark.parametrize("end", ["expired", "dead"])
def test_a_driver_that_is_gone_cannot_be_asked(
    engine: sa.Engine, acquire: Acquire, end: str
) -> None:
    acquire()
    pid, start = ended_process()
    change(
        engine,
        since=0.0,
        **({"expires": 0.0} if end == "expired" else {"pid": pid, "process_start": start}),
    )
    holder = find_holder(engine, "toy", expired_too=True)
    with pytest.raises(InputError, match="nobody drives") as caught:
        request_stop(engine, "toy", now=True)
    assert (
        str(caught.value)
        == f"nobody drives sweep 'toy' now (its last driver, {holder}, is gone), {NOBODY}"
    )


# --- tables of earlier versions


@pytest.fixture
def old_table(engine: sa.Engine) -> sa.Engine:
    """A table without `machine` and `stop`, and the lease of a process that is over in it."""
    pid, _ = ended_process()
    with engine.begin() as connection:
        connection.execute(
            sa.text(
                "CREATE TABLE foldsweep_leases (sweep VARCHAR(255) PRIMARY KEY, owner VARCHAR(36) NOT NULL, "
                "host VARCHAR(255) NOT NULL, pid INTEGER NOT NULL, process_start FLOAT NOT NULL, "
                "since FLOAT NOT NULL, expires FLOAT NOT NULL)"
            )
        )
        insert = f"INSERT INTO foldsweep_leases VALUES ('toy', 'a', '{socket.gethostname()}', {pid}, 0, 0, 9e9)"
        connection.execute(sa.text(insert))
    return engine


def test_the_holder_in_an_older_table_is_told_and_respected(
    old_table: sa.Engine, acquire: Acquire
) -> None:
    holder = find_holder(old_table, "toy")
    assert holder is not None
    assert not holder.is_dead_here()  # nobody knows what its numbers mean
    with pytest.raises(SweepBusyError, match=f"'toy' is already running: process {holder.pid} on"):
        acquire()
    change(old_table, expires=0.0)
    acquire()
    request_stop(old_table, "toy", now=True)


def test_many_drivers_at_once_complete_an_older_table(
    old_table: sa.Engine, acquire: Acquire
) -> None:
    change_old = sa.text("UPDATE foldsweep_leases SET expires = 0")
    with old_table.begin() as connection:
        connection.execute(change_old)
    assert race(acquire) == ONE_WON


# --- who


def test_a_holder_of_another_machine_is_never_called_dead() -> None:
    pid, start = ended_process()
    assert not Holder("a", socket.gethostname(), pid, start, 0.0, "another").is_dead_here()
    assert Holder("a", socket.gethostname(), pid, start, 0.0, machine()).is_dead_here()


def test_a_clock_that_was_set_anew_makes_nobody_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    me = psutil.Process()
    holder = Holder("a", "here", me.pid, started(me.pid), 0.0, machine())
    created, boot = me.create_time(), psutil.boot_time()
    monkeypatch.setattr(psutil.Process, "create_time", lambda process: created + 7200)
    monkeypatch.setattr(
        psutil, "boot_time", lambda: boot + 7200
    )  # both are computed from the time of day
    assert not holder.is_dead_here()
