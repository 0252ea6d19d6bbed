"""Who gets the lease of a sweep. Every test runs on SQLite and on PostgreSQL."""

import datetime
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable

import pytest
import sqlalchemy as sa

from sweeps.errors import InfrastructureError, SweepBusyError
from sweeps.processes import machine
from sweeps.study import lease as lease_module
from sweeps.study.lease import find_holder, request_stop
from tests.sweeps.study.leases import (
    Acquire,
    change,
    ended_process,
    server_now,
    started,
)
from tests.sweeps.study.waiting import WAIT_S

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
    assert not holder.is_dead_on_this_machine()


def test_a_name_may_have_letters_of_any_script(engine: sa.Engine, acquire: Acquire) -> None:
    name = "마스크-실험-é"
    acquire(name)
    holder = request_stop(engine, name, now=True)
    assert holder.pid == os.getpid()
    assert find_holder(engine, name) == holder
    with pytest.raises(SweepBusyError, match=name):
        acquire(name)


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
    assert not holder.is_dead_on_this_machine()


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
    barrier = threading.Barrier(drivers)
    ends = []

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


# --- tables of earlier versions


@pytest.fixture
def old_table(engine: sa.Engine) -> sa.Engine:
    """A table without `machine` and `stop`, and the lease of a process that is over in it."""
    pid, _ = ended_process()
    with engine.begin() as connection:
        connection.execute(
            sa.text(
                "CREATE TABLE foldsweep_leases (sweep VARCHAR(255) PRIMARY KEY, owner VARCHAR(36) "
                "NOT NULL, host VARCHAR(255) NOT NULL, pid INTEGER NOT NULL, "
                "process_start FLOAT NOT NULL, since FLOAT NOT NULL, expires FLOAT NOT NULL)"
            )
        )
        insert = (
            f"INSERT INTO foldsweep_leases VALUES ('toy', 'a', '{socket.gethostname()}', {pid}, 0, "
            "0, 9e9)"
        )
        connection.execute(sa.text(insert))
    return engine


def test_the_holder_in_an_older_table_is_told_and_respected(
    old_table: sa.Engine, acquire: Acquire
) -> None:
    holder = find_holder(old_table, "toy")
    assert holder is not None
    assert not holder.is_dead_on_this_machine()  # nobody knows what its numbers mean
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


# --- a container that is started again


@pytest.fixture
def before(engine: sa.Engine, acquire: Acquire) -> list[str]:
    """The lease of a driver in this container's last life; the texts of `on_wait`."""
    acquire(ttl_s=600)
    change(engine, machine="this host, other pids", owner="the last life")
    return []


QUICK = {"ttl_s": 600.0, "poll_every_s": 0.02}


def test_its_own_lease_is_waited_for_until_it_expires(
    engine: sa.Engine, acquire: Acquire, before: list[str]
) -> None:
    def expire(text: str) -> None:
        before.append(text)
        change(engine, expires=server_now(engine) - 1)

    acquire(**QUICK, on_wait=expire)
    (text,) = before
    assert text.startswith("the driver of sweep 'toy', process ")
    assert text.endswith(
        "may have ended with its container: waiting at most 600 s to see whether it renews "
        "its lease"
    )
    holder = find_holder(engine, "toy")
    assert holder is not None
    assert holder.machine == machine()


def test_a_driver_that_renews_meanwhile_lives_and_is_named(
    engine: sa.Engine, acquire: Acquire, before: list[str]
) -> None:
    def renew(text: str) -> None:
        before.append(text)
        later = threading.Timer(0.3, lambda: change(engine, expires=server_now(engine) + 1000))
        later.start()

    with pytest.raises(SweepBusyError, match="is already running: process "):
        acquire(**QUICK, on_wait=renew)
    assert before


@pytest.mark.parametrize("where", [{"host": "gpu-box"}, {"machine": machine()}])
def test_a_driver_elsewhere_or_one_that_can_be_asked_for_is_not_waited_for(
    engine: sa.Engine, acquire: Acquire, before: list[str], where: dict[str, str]
) -> None:
    change(engine, **where)
    with pytest.raises(SweepBusyError):
        acquire(**QUICK, on_wait=before.append)
    assert before == []
