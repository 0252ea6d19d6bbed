"""Every test runs on SQLite and on PostgreSQL."""

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

from sweeps import lease as lease_module
from sweeps.errors import LeaseLostError, SweepBusyError
from sweeps.lease import Holder, Lease, find_holder

NEVER_S = 3600.0
WAIT_S = 30.0  # how long a test waits for another thread before it fails

Acquire = Callable[..., Lease]


@pytest.fixture
def acquire(engine: sa.Engine) -> Iterator[Acquire]:
    """Take the lease of "toy", or of another sweep; released after the test."""
    leases = []

    def acquire(sweep: str = "toy", **options: Any) -> Lease:
        lease = Lease.acquire(
            engine, sweep, **{"on_lost": unexpected, "renew_every_s": NEVER_S, "ttl_s": NEVER_S, **options}
        )
        leases.append(lease)
        return lease

    yield acquire
    for lease in leases:
        lease.release()


def unexpected(error: LeaseLostError) -> None:
    raise AssertionError(f"lost: {error}")


def change(engine: sa.Engine, **values: Any) -> None:
    """Make the stored lease say something else."""
    with engine.begin() as connection:
        assert connection.execute(sa.update(lease_module._leases).values(**values)).rowcount == 1


def ended_process() -> tuple[int, float]:
    """Pid and start of a real process that is over."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        start = psutil.Process(process.pid).create_time()
        process.communicate(b"\n")
    return process.pid, start


def test_a_killed_process_that_its_parent_has_not_looked_at_is_dead() -> None:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    start = psutil.Process(process.pid).create_time()
    holder = Holder("somebody", socket.gethostname(), process.pid, start, since=0.0)
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
    before = lease_module._now(engine)
    acquire()
    holder = find_holder(engine, "toy")
    assert holder is not None
    assert (holder.host, holder.pid) == (socket.gethostname(), os.getpid())
    assert holder.process_start == pytest.approx(psutil.Process().create_time(), abs=0.01)
    assert before <= holder.since <= lease_module._now(engine)
    assert not holder.is_dead_here()


def test_the_servers_clock_is_the_time_of_day(engine: sa.Engine) -> None:
    now = datetime.datetime.now(datetime.UTC).timestamp()
    assert lease_module._now(engine) == pytest.approx(now, abs=600)


def test_a_second_driver_is_refused_with_who_where_and_since_when(engine: sa.Engine, acquire: Acquire) -> None:
    acquire()
    change(engine, host="gpu-box", pid=4711, since=0.0)
    since = datetime.datetime.fromtimestamp(0).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    with pytest.raises(SweepBusyError, match="already running") as caught:
        acquire()
    assert str(caught.value) == (
        f"sweep 'toy' is already running: process 4711 on gpu-box since {since}. "
        "Wait for it, or stop it there (Ctrl-C); `sweeps status` shows how far it is"
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
    change(engine, host="gpu-box", expires=lease_module._now(engine) - 1)
    assert find_holder(engine, "toy") is None
    acquire()
    holder = find_holder(engine, "toy")
    assert holder is not None
    assert holder.host == socket.gethostname()


def test_the_lease_of_a_dead_process_of_this_machine_is_taken_over_at_once(engine: sa.Engine, acquire: Acquire) -> None:
    pid, start = ended_process()
    acquire()
    change(engine, pid=pid, process_start=start)
    acquire()
    holder = find_holder(engine, "toy")
    assert holder is not None
    assert holder.pid == os.getpid()


def test_a_reused_pid_is_another_process(engine: sa.Engine, acquire: Acquire) -> None:
    acquire()
    change(engine, process_start=psutil.Process().create_time() - 100)
    acquire()
    holder = find_holder(engine, "toy")
    assert holder is not None
    assert not holder.is_dead_here()


def test_another_machines_lease_is_respected_until_it_expires(engine: sa.Engine, acquire: Acquire) -> None:
    pid, start = ended_process()
    acquire()
    change(engine, host="gpu-box", pid=pid, process_start=start)
    with pytest.raises(SweepBusyError, match=f"process {pid} on gpu-box since"):
        acquire()


def test_of_two_drivers_at_once_exactly_one_wins(engine: sa.Engine, acquire: Acquire) -> None:
    acquire("other")  # the table is there
    assert race(acquire) == ["busy", "won"]
    assert find_holder(engine, "toy") is not None


@pytest.mark.parametrize("attempt", range(3))
def test_of_two_drivers_at_once_exactly_one_wins_on_a_new_database(
    engine: sa.Engine, acquire: Acquire, attempt: int
) -> None:
    assert race(acquire) == ["busy", "won"]


def test_of_two_drivers_that_find_the_same_dead_one_exactly_one_wins(engine: sa.Engine, acquire: Acquire) -> None:
    acquire()
    change(engine, expires=0.0)
    assert race(acquire) == ["busy", "won"]


def race(acquire: Acquire) -> list[str]:
    """Two threads acquire at once; how each of them fared."""
    barrier, ends = threading.Barrier(2), []

    def take() -> None:
        barrier.wait(WAIT_S)
        try:
            acquire()
            ends.append("won")
        except SweepBusyError:
            ends.append("busy")
        except sa.exc.SQLAlchemyError as error:
            ends.append(repr(error))

    threads = [threading.Thread(target=take) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT_S)
    return sorted(ends)


def test_a_driver_that_comes_second_to_an_absent_row_is_refused(
    engine: sa.Engine, acquire: Acquire, monkeypatch: pytest.MonkeyPatch
) -> None:
    acquire()
    monkeypatch.setattr(lease_module, "find_holder", lambda *args, **options: None)  # as before the first one's insert
    with pytest.raises(SweepBusyError, match="'toy' is already running: another driver just took it"):
        acquire()


# --- kept and lost


def expiry(engine: sa.Engine) -> float:
    with engine.connect() as connection:
        return float(connection.execute(sa.select(lease_module._leases.c.expires)).scalar_one())


def test_a_lease_is_renewed_by_the_servers_clock(engine: sa.Engine, acquire: Acquire) -> None:
    acquire(renew_every_s=0.01, ttl_s=60.0)
    change(engine, expires=0.0)
    waiting = threading.Event()
    for _ in range(int(WAIT_S / 0.01)):
        if expiry(engine) > 0:
            break
        waiting.wait(0.01)
    assert expiry(engine) == pytest.approx(lease_module._now(engine) + 60, abs=30)


def test_a_stolen_lease_is_reported_once(engine: sa.Engine, acquire: Acquire) -> None:
    lost, told = threading.Event(), []

    def on_lost(error: LeaseLostError) -> None:
        told.append(error)
        lost.set()

    lease = acquire(on_lost=on_lost, renew_every_s=0.05)
    change(engine, owner="a thief")
    assert lost.wait(WAIT_S)
    assert lease._thread is not None
    lease._thread.join(5)  # it ends by itself: nothing is left to renew
    assert not lease._thread.is_alive()
    assert [str(error) for error in told] == ["another driver took over sweep 'toy'; this one stops"]


def test_the_release_of_a_stolen_lease_leaves_it_to_the_thief(engine: sa.Engine, acquire: Acquire) -> None:
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


def test_a_storage_that_stays_away_longer_than_the_lease_is_reported_once(engine: sa.Engine, acquire: Acquire) -> None:
    lost, told, outage = threading.Event(), [], Outage(engine)

    def on_lost(error: LeaseLostError) -> None:
        told.append(str(error))
        lost.set()

    lease = acquire(on_lost=on_lost, renew_every_s=0.05, ttl_s=0.2)
    outage.on = True
    assert lost.wait(WAIT_S)
    outage.on = False
    lease.release()
    (text,) = told
    assert text.startswith("the storage did not answer for 0 s (")
    assert "server gone" in text
    assert "\n" not in text


def test_a_short_outage_is_survived(engine: sa.Engine, acquire: Acquire) -> None:
    outage = Outage(engine)
    acquire(renew_every_s=0.01, ttl_s=NEVER_S)
    outage.on, waiting = True, threading.Event()
    for _ in range(int(WAIT_S / 0.01)):
        if outage.asked >= 3:
            break
        waiting.wait(0.01)
    assert outage.asked >= 3
    outage.on = False
    change(engine, expires=0.0)
    for _ in range(int(WAIT_S / 0.01)):
        if expiry(engine) > 0:
            break
        waiting.wait(0.01)
    assert expiry(engine) > 0


def test_a_release_is_silent_when_the_storage_is_gone(engine: sa.Engine, acquire: Acquire) -> None:
    lease, outage = acquire(), Outage(engine)
    outage.on = True
    lease.release()
    outage.on = False
    assert outage.asked >= 1
    assert find_holder(engine, "toy") is not None


# --- who


def test_a_holder_of_another_machine_is_never_called_dead() -> None:
    pid, start = ended_process()
    assert not Holder("a", "gpu-box", pid, start, 0.0).is_dead_here()
    assert Holder("a", socket.gethostname(), pid, start, 0.0).is_dead_here()
